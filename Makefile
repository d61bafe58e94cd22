PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
GALLERY := smoke/tiny steady/baseline
GALLERY_RUNS := $(addprefix reports/out/gallery/,$(GALLERY))

.DEFAULT_GOAL := help
.PHONY: help setup browser run test check gallery gate baselines selftest bench docs clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-9s %s\n", $$1, $$2}'

setup: $(STAMP) ## a virtual environment in .venv with everything in it

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

run: $(STAMP) ## the main job: the baseline scenario simulated and emulated, judged side by side
	$(BIN)/edgekpi run scenarios/steady/baseline.yaml

browser: ## Debian's Chromium, where this may be installed; without one the pages are not tested
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; } \
	  || echo "no Chromium, and not root on Debian: the tests of the pages will be skipped"

test: $(STAMP) browser ## all tests, the live ones included
	$(BIN)/python -m pytest -n auto --dist loadgroup -m "not live"
	$(BIN)/python -m pytest -m live

check: $(STAMP) ## format, lint, import directions, types, all tests: what CI runs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(MAKE) test
	$(MAKE) gate

gallery: $(STAMP) ## simulate the bundled scenarios that baselines are kept of
	rm -rf reports/out/gallery
	@for scenario in $(GALLERY); do \
	  echo "simulating $$scenario"; \
	  $(BIN)/edgekpi simulate $$scenario --replications 10 --quiet \
	    --out reports/out/gallery/$$scenario >/dev/null || [ $$? -lt 22 ] || exit 1; \
	done

gate: gallery ## judge them by their limits and against the baselines in reports/baselines
	$(BIN)/edgekpi gate $(GALLERY_RUNS) --baseline reports/baselines --allow versions

baselines: gallery ## make them the baselines, after a change of numbers that is meant
	$(BIN)/edgekpi baseline promote $(GALLERY_RUNS)

selftest: $(STAMP) ## measure the gate's false alarms and power; some minutes, for the night
	$(BIN)/edgekpi gate --self-test

bench: $(STAMP) ## the benchmarks, side by side with what they are compared to
	$(BIN)/python -m benchmarks.simulator
	$(BIN)/python -m benchmarks.runtime
	$(BIN)/python -m benchmarks.commits
	$(BIN)/python -m benchmarks.attribution
	$(BIN)/python -m benchmarks.batch
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.loadtest
	$(BIN)/python -m benchmarks.http

docs: $(STAMP) ## docs/scenario.md anew from the schema
	$(BIN)/python -m scenarios.reference > docs/scenario.md

clean: ## remove what make setup and runs have made
	rm -rf $(VENV) reports/out .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache

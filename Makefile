PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup browser run test check bench clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-8s %s\n", $$1, $$2}'

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

bench: $(STAMP) ## the benchmarks, side by side with what they are compared to
	$(BIN)/python -m benchmarks.simulator
	$(BIN)/python -m benchmarks.runtime
	$(BIN)/python -m benchmarks.attribution
	$(BIN)/python -m benchmarks.batch
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.loadtest

clean: ## remove what make setup and runs have made
	rm -rf $(VENV) reports/out .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache

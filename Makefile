PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup run test check bench clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-7s %s\n", $$1, $$2}'

setup: $(STAMP) ## a virtual environment in .venv with everything in it

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

run: $(STAMP) ## the main job: the baseline scenario simulated and emulated, judged side by side
	$(BIN)/edgekpi run scenarios/steady/baseline.yaml

test: $(STAMP) ## all tests, the live ones included
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

clean: ## remove what make setup and runs have made
	rm -rf $(VENV) reports/out .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache

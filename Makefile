# Every target works from a clean clone: the virtual environment is made on the way.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
TESTS ?= tests
JOBS ?= 4

.PHONY: start test check format bench docs dashboards pictures portal-pictures clean

start: $(VENV)/.runtime  ## run the platform here, with the sample plugins, watching the code
	@exec $(BIN)/platform start --watch

test: $(VENV)/.dev  ## run every test
	$(BIN)/pytest -n $(JOBS) --dist worksteal $(TESTS)

check: $(VENV)/.dev  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev  ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench  ## measure; prints a table, changes nothing
	$(BIN)/python -m tests.benchmarks

docs: $(VENV)/.dev  ## write the reference pages that are made from the code
	$(BIN)/python -m docs.generate

dashboards: $(VENV)/.dev  ## write grafana/dashboards from grafana/generator
	$(BIN)/python -m grafana.generator

pictures: $(VENV)/.pictures  ## draw the dashboards for the docs; takes some minutes
	$(BIN)/python -m tests.monitoring.pictures

portal-pictures: $(VENV)/.dev  ## draw the pages of the portal for the docs
	$(BIN)/python -m tests.portal_pictures

clean:  ## remove what make made
	rm -rf $(VENV) .clients .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1)."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "$(PYTHON) cannot make a virtual environment: install its venv module (Debian: python3-venv)."; \
	    rm -rf $(VENV); exit 1; }

$(VENV)/.runtime: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.bench: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	@touch $@ $(VENV)/.dev $(VENV)/.runtime

$(VENV)/.pictures: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev,pictures]'
	@touch $@ $(VENV)/.dev $(VENV)/.runtime

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.runtime

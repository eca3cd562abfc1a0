# `make` alone lists what one can do. Every target builds .venv when it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Waiting threads sleep instead of spinning: on a shared machine spinning threads take the cores from each other.
export OMP_WAIT_POLICY ?= passive

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test check bench format wheel clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.base  ## make .venv and install ponder with the tested versions

quickstart: $(VENV)/.base  ## the whole recipe in miniature: cold start, GRPO, evaluation, report
	$(BIN)/ponder quickstart --out runs/quickstart

test: $(VENV)/.dev  ## the fast tests, then the slow ones
	$(BIN)/python -m pytest -x -q
	$(BIN)/python -m pytest -x -q -m slow

check: $(VENV)/.dev  ## formatting, lint, types, import order
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: $(VENV)/.dev  ## every benchmark, on an otherwise idle machine
	@set -e; for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python $$file; done

format: $(VENV)/.dev  ## put the sources in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel: $(VENV)/.dev  ## build dist/*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:  ## remove caches and builds; .venv and runs stay
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "ponder needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)

# Without an NVIDIA GPU torch goes in by itself first, so that pip settles on one build of it before it looks at the rest.
$(VENV)/.base: $(VENV)/bin/python pyproject.toml constraints.txt
	@if [ "$$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null 2>&1; then $(PIP) torch; fi
	$(PIP) -e .
	@$(BIN)/python -c "from ponder.engines.native import library; library()"  # compiled now, not in the first run
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	$(PIP) -e ".[dev]"
	@touch $@

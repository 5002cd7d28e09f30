# Each target makes its own environment in .venv; only Python 3.11 or newer and make are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# PIP_ARGS: further options for pip, e.g. PIP_ARGS="--extra-index-url URL" for CPU-only wheels of torch.
PIP_ARGS ?=
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev

.PHONY: demo test lint types

demo: $(STAMP)
	$(BIN)/meteoseg demo

test: $(STAMP)
	$(BIN)/python -m pytest

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV_STAMP)
	$(BIN)/mypy

$(BIN)/python:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'meteoseg needs Python 3.11 or newer: make PYTHON=python3.12')"
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -e ".[test]"
	touch $@

$(DEV_STAMP): pyproject.toml | $(STAMP)
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -e ".[dev]"
	touch $@

# Two commands set everything up: `make demo` runs the main job on real data, `make test` passes the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export OMP_NUM_THREADS := 1

.PHONY: setup demo test lint clean help

help:
	@echo "make demo          set up, then run the main job (about ten minutes on two cores); SMOKE=1 for a short one"
	@echo "make test          set up, then run all tests"
	@echo "make lint          format, lint, types and import contracts"
	@echo "make clean         remove the virtual environment and what was run"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "transmeta needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/python -m workflows.demo --out runs/$(if $(SMOKE),smoke,demo) $(if $(SMOKE),--smoke)

test: $(STAMP)
	$(BIN)/python -m pytest --cov=transmeta --cov-report=term:skip-covered

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) runs

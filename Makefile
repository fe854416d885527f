# Everything a fresh machine with Python 3.11 and make needs; each target does its own set-up, once.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TEST_STAMP := $(VENV)/.installed-test

.PHONY: demo test check bench docs clean

demo: $(STAMP)          ## fetch model and messages, train, judge, report, classify two messages
	$(BIN)/classtune demo -o demo

test: $(TEST_STAMP) check    ## lint, types, house, unit and end-to-end tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses auto --dist loadscope

check: $(TEST_STAMP)         ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(TEST_STAMP)         ## every figure of the README; writes benchmarks/results.json
	$(BIN)/python benchmarks/run.py

docs: $(STAMP)          ## docs/cli.md and docs/settings.md from the code
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) demo

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $$(command -v $(PYTHON) || command -v python3) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $(STAMP)

$(TEST_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $(TEST_STAMP)

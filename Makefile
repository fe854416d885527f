# Everything a fresh machine with Python 3.11 and make needs; each target does its own set-up, once.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TEST_STAMP := $(VENV)/.installed-test
PIP := -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
NEW_VENV = rm -rf $(1) && $$(command -v $(PYTHON) || command -v python3) -m venv $(1)

.PHONY: help demo clients test test-fast test-core test-lowest test-package test-faults check bench docs clean

help:                   ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1|/' | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

demo: $(STAMP)          ## fetch model and messages, train, judge, report, classify two messages
	$(BIN)/classtune demo -o demo

# By name, so that modules that wait (kills, servers) run beside those that compute: xdist's own order, by number of
# tests, keeps all that wait for the end.
test: $(TEST_STAMP) check    ## lint, types, house, unit and end-to-end tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses auto --dist loadscope --no-loadscope-reorder

clients:                ## JavaScript's clients (0.5 GB), which two tests ask; without them these skip and say so
	npm install --no-save --no-audit --no-fund --loglevel error --ignore-scripts @huggingface/inference@4 @huggingface/transformers@4

test-faults: $(TEST_STAMP)   ## kills, full disks and hostile bundles, 25 tries each, two minutes of 64 clients; prints what survived
	CLASSTUNE_FAULT_TRIES=25 CLASSTUNE_LOAD_SECONDS=120 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -s \
		tests/faults tests/tutorial/test_killed_tutorial.py tests/server/test_load.py

# No training of a whole classifier, no export, no browser: settings, tables, decisions, figures, the loop itself.
FAST := tests/test_house.py tests/test_public.py tests/test_config.py tests/test_sources.py tests/data tests/decisions \
	tests/judging tests/training/test_loop.py tests/training/test_loss.py

test-fast: $(TEST_STAMP)     ## lint, and the tests that need no training: under a minute
	$(BIN)/ruff check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses auto $(FAST)

test-core:              ## import everything, train and predict, in an environment without any extra
	$(call NEW_VENV,.venv-core)
	.venv-core/bin/python $(PIP) .
	.venv-core/bin/python tests/core_alone.py

# pip takes the build of torch that needs no CUDA, which uv would not; uv keeps it and resolves the rest.
# What old releases warn of, because the packages below them are new ones, is no fault of theirs or ours.
test-lowest:            ## all tests with the oldest versions that pyproject.toml allows
	$(call NEW_VENV,.venv-lowest)
	.venv-lowest/bin/python $(PIP) uv
	.venv-lowest/bin/python $(PIP) --no-deps torch
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --constraint constraints.txt \
		--resolution lowest-direct --editable '.[test]'
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -q --numprocesses auto --dist loadscope \
		-W ignore::DeprecationWarning -W ignore::PendingDeprecationWarning $(TESTS)

test-package:           ## build wheel and sdist, check them, try each in an environment of its own
	$(call NEW_VENV,.venv-package)
	rm -rf dist
	.venv-package/bin/python $(PIP) build twine
	.venv-package/bin/python -m build --outdir dist .
	.venv-package/bin/twine check --strict dist/*
	$(call NEW_VENV,.venv-package)
	.venv-package/bin/python $(PIP) dist/*.whl
	cd dist && ../.venv-package/bin/python ../tests/core_alone.py
	.venv-package/bin/python $(PIP) --force-reinstall --no-deps dist/*.tar.gz
	cd dist && ../.venv-package/bin/python ../tests/core_alone.py

check: $(TEST_STAMP)         ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(TEST_STAMP)         ## every figure of the README; writes benchmarks/results.json
	$(BIN)/python benchmarks/run.py

docs: $(STAMP)          ## docs/cli.md and docs/settings.md from the code
	$(BIN)/python docs/generate.py

clean:                  ## remove environments and what the targets wrote
	rm -rf $(VENV) .venv-core .venv-lowest .venv-package dist demo

# The extras that the README's first pages use, all of them small.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $$(command -v $(PYTHON) || command -v python3) -m venv $(VENV)
	$(BIN)/python $(PIP) --editable '.[serve,excel,lora]'
	touch $(STAMP)

$(TEST_STAMP): $(STAMP)
	$(BIN)/python $(PIP) --editable '.[test]'
	touch $(TEST_STAMP)

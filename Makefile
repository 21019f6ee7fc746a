# What can be done here. Plain `make` lists it. Each target does what it needs first, and nothing twice.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Real runs of other people; the tests marked `corpus` read them.
RUNAUDIT_CORPUS ?= ../shared/corpus
# `make gpu GPU_PYTHON=python3` uses an interpreter that has torch with CUDA already, and installs nothing.
GPU_PYTHON ?= $(BIN)/python
GPU_NEEDS := $(if $(filter $(BIN)/python,$(GPU_PYTHON)),$(INSTALLED))
# Modules of benchmarks/ that `make bench` runs; each prints what it reached and its targets.
BENCHMARKS := revalidation audit five_tools evaluation_core label_quality queue losses start history webhooks uploads api

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test test-corpus lint bench gpu fuzz examples clean
MAKEFLAGS += --no-print-directory

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED)  ## make .venv with everything in it (several gigabytes, one to three minutes)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(INSTALLED)  ## audit the two example runs over HTTP and show what comes back (under two minutes)
	$(BIN)/python -m examples.demo

serve: $(INSTALLED)  ## start the service on this machine until Ctrl-C: database, broker, API, workers, reaper
	$(BIN)/runaudit serve

test: lint  ## everything that CI runs: lint, then the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-corpus: $(INSTALLED)  ## the tests that read real runs of other people (RUNAUDIT_CORPUS, default ../shared/corpus)
	RUNAUDIT_CORPUS='$(RUNAUDIT_CORPUS)' $(BIN)/python -m pytest -m corpus

lint: $(INSTALLED)  ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)  ## every benchmark that needs no GPU, one after the other, with its target (about an hour)
	@for module in $(BENCHMARKS); do \
		echo "== python -m benchmarks.$$module"; \
		CUDA_VISIBLE_DEVICES= $(BIN)/python -m benchmarks.$$module || failed="$$failed $$module"; \
	done; test -z "$$failed" || { echo "ended with an error:$$failed"; exit 1; }

gpu: $(GPU_NEEDS)  ## every check and benchmark that wants CUDA, in one run of under 9 minutes
	@$(GPU_PYTHON) -c 'import torch, sys; sys.exit(0 if torch.cuda.is_available() else "make gpu needs CUDA, and torch sees none here")'
	timeout 240 $(GPU_PYTHON) -m pytest -m gpu
	timeout 280 $(GPU_PYTHON) -m benchmarks.revalidation

fuzz: $(INSTALLED)  ## 10,000 generated requests against the live service, sequences of calls too: no server error
	$(BIN)/python -m benchmarks.schema_cases

examples: $(INSTALLED)  ## train the two example runs again (about a quarter of an hour; see examples/README.md)
	$(BIN)/python -m examples.train

clean:  ## remove .venv and the tools' caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

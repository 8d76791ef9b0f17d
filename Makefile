# `make` lists the targets. Everything is installed into .venv; nothing else on the machine is touched.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3.11
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help demo test check format test-slow docs bench clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.venv/bin/python:
	@$(PYTHON) -m venv .venv || python3 -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"

.venv/.demo: .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing Millpond into .venv ..."
	@$(INSTALL) --editable ".[demo]"
	@touch $@

.venv/.test: .venv/.demo
	@echo "Installing what tests and checks need ..."
	@$(INSTALL) --editable ".[demo,postgres,openlineage]" --group test --group lint
	@touch $@

.venv/.docs: .venv/.demo
	@$(INSTALL) --editable ".[demo,postgres,openlineage]" --group docs
	@touch $@

.venv/.bench: .venv/.test
	@$(INSTALL) --group bench
	@touch $@

.venv/.slow: .venv/.test
	@$(INSTALL) --group slow
	@touch $@

demo: .venv/.demo ## Land, check, model and query the NYC flights of 2013, the whole way
	@$(BIN)/python examples/demo.py

check: .venv/.test ## Lint, formatting, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check ## Everything in check, then all tests, on real servers
	$(BIN)/python -m pytest -m "not slow" -n 2

format: .venv/.test ## Format and fix what can be fixed
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

test-slow: .venv/.slow ## The slow tier: kills at random moments, large files, Spark as a reader
	$(BIN)/python -m pytest -m slow

docs: .venv/.docs ## Build the documentation into site/; a broken link is an error
	$(BIN)/python docs/generate.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The documentation is in site/."

bench: .venv/.bench ## Run the benchmarks and rewrite docs/performance.md
	$(BIN)/python bench/run.py

clean: ## Remove what the targets made
	rm -rf .venv site demo-project .mypy_cache .ruff_cache .import_linter_cache .hypothesis

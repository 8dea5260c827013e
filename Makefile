# Every target sets up what it needs: its own virtual environment, the right Python, a clear word if something is missing.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help run test check format bench clean venv peers

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /\1\t/' | expand -t 12

venv: $(VENV)/.done ## install ocs and everything its tests need into .venv

$(VENV)/.done: pyproject.toml .ci/setup
	@.ci/setup venv $(VENV)
	@touch $@

peers: .peers/.done ## install the published ocs and socs, each in an environment of its own, to be compared with

.peers/.done: .ci/setup $(VENV)/.done
	@.ci/setup peers .peers
	@touch $@

run: $(VENV)/.done ## run the demonstration site: router, registry, aggregator, fake data, and a live picture of it
	@$(BIN)/ocs up

test: $(VENV)/.done .peers/.done ## run every test: unit, integration, faults, interoperation with the published package
	@$(BIN)/python -m pytest

check: $(VENV)/.done ## format, lint, types, import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.done ## rewrite the code in the house format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.done .peers/.done ## measure side by side with the published package: a table, and JSON in benchmarks/results
	@$(BIN)/python -m benchmarks

clean: ## remove what the other targets made
	rm -rf $(VENV) .peers build dist .pytest_cache .mypy_cache .ruff_cache

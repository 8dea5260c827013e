# Every target sets up what it needs: its own virtual environment, the right Python, a clear word if something is missing.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help run test check audit format bench dashboards soak soakpysmurf clean venv peers

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /\1\t/' | expand -t 12

venv: $(VENV)/.dev ## install ocs and everything its tests need into .venv

$(VENV)/.run: pyproject.toml .ci/setup
	@.ci/setup run $(VENV)
	@touch $@

$(VENV)/.dev: pyproject.toml .ci/setup
	@.ci/setup dev $(VENV)
	@touch $(VENV)/.run $@

peers: .peers/.done ## install the published ocs and socs, each in an environment of its own, to be compared with

.peers/.done: .ci/setup .ci/socs-modules.txt pyproject.toml | $(VENV)/.dev
	@.ci/setup peers .peers
	@touch $@

run: $(VENV)/.run ## run the demonstration site: router, registry, aggregator, fake data, and a live picture of it
	@$(BIN)/ocs up

test: $(VENV)/.dev .peers/.done ## run every test: unit, integration, faults, interoperation with the published package
	@$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not alone" --durations 15; first=$$?; \
	$(BIN)/python -m pytest -m alone --durations 10 && exit $$first

check: $(VENV)/.dev ## format, lint, types, import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

audit: $(VENV)/.dev ## look for security advisories about the installed packages
	@$(BIN)/python .ci/dependencies.py

format: $(VENV)/.dev ## rewrite the code in the house format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.dev .peers/.done ## measure side by side with the published package: a table, and JSON in benchmarks/results
	@$(BIN)/python -m benchmarks

dashboards: $(VENV)/.dev ## write Grafana's dashboards, alert rules and provisioning anew, from docker/dashboards
	@cd docker && ../$(BIN)/python -m dashboards

soak: $(VENV)/.dev .peers/.done ## mix faults by chance for ten minutes (MINUTES=, SEED=), then count every recorded sample
	@$(BIN)/python -m tests.harness.recording soak --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

soakpysmurf: $(VENV)/.dev ## announce files to a pysmurf monitor for ten minutes (MINUTES=, RATE=), with another process in its database
	@$(BIN)/python -m tests.harness.pysmurf_soak --minutes $(or $(MINUTES),10) --rate $(or $(RATE),1000)

clean: ## remove what the other targets made
	rm -rf $(VENV) .peers build dist .pytest_cache .mypy_cache .ruff_cache

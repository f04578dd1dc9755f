# Two commands matter: `make demo` runs the whole loop here, `make test` runs the tests.
# Both set up what they need: a virtual environment in .venv, and the CDK command line in node_modules.

PYTHON ?= python3
STAGE  ?= dev
APPROVAL ?= broadening
VENV   := .venv
BIN    := $(VENV)/bin
# Compiled modules are kept: an import that compiles anew costs seconds.
unexport PYTHONDONTWRITEBYTECODE
# The pinned Node and Python come first, whatever the machine has.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Node trusts the certificates that the machine trusts, as pyproject.toml asks of uv.
export NODE_USE_SYSTEM_CA ?= 1
CDK    := node_modules/.bin/cdk

.DEFAULT_GOAL := help
.PHONY: help setup demo up test check bench synth deploy destroy format clean

help: ## list the commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Driftless needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Set PYTHON=python3.12, say.")'
	@echo "setting up $(VENV) (once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -qq --disable-pip-version-check "$$(sed -n 's/^\(uv==[0-9.]*\).*/\1/p' requirements.txt)"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements-dev.txt
	@touch $@

node_modules/.ready: package.json package-lock.json $(VENV)/.ready
	@echo "setting up the CDK command line (once) ..."
	@$(BIN)/npm ci --loglevel=error --no-update-notifier --no-audit --no-fund >/dev/null
	@touch $@

setup: $(VENV)/.ready node_modules/.ready ## install what the other commands need

demo: setup ## run the whole loop on this machine; JSON=FILE also writes the outcome of each step
	@$(BIN)/python -m local demo $(if $(JSON),--json $(JSON))

up: setup ## leave the local cloud and its endpoint running
	@$(BIN)/python -m local up

test: setup ## run the tests
	@$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

check: setup ## lint, types, import rules, templates
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@for file in $$(git ls-files -- app.py bench core infra lambdas local ops training | grep '\.py$$'); do \
	  [ $$(wc -l <$$file) -le 600 ] || grep -q '^# Over 600 lines: ' $$file \
	    || { echo "$$file has over 600 lines: divide it, or say why in a line '# Over 600 lines: ...'"; exit 1; }; \
	done
	@for stage in dev local prod; do \
	  $(CDK) synth --quiet -c stage=$$stage -o .build/check/$$stage || exit 1; \
	done
	@$(BIN)/cfn-lint .build/check/*/*.template.json
	@echo "lint, types, import rules, module sizes, cdk-nag and cfn-lint: clean"

format: setup ## format the code
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

bench: setup ## measure, beside peers; writes JSON to .build/bench
	@$(BIN)/python -m bench all $(ARGS)

synth: setup ## write the templates of STAGE to cdk.out
	@$(CDK) synth --quiet -c stage=$(STAGE)

deploy: setup ## deploy STAGE into the AWS account of your credentials
	@$(CDK) deploy --all -c stage=$(STAGE) --require-approval $(APPROVAL)

destroy: setup ## empty and remove STAGE (a prod stage keeps, and lists, what holds data)
	@$(BIN)/python -m ops destroy --stage $(STAGE)

clean: ## remove what the commands above made
	rm -rf $(VENV) node_modules cdk.out .build .local .mypy_cache .ruff_cache

# rspm.ha: what a developer or CI types. `make` alone lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
VENV ?= .venv
VENV_BIN := $(VENV)/bin
COLLECTIONS := .cache/collections
COLLECTION_LINK := $(COLLECTIONS)/ansible_collections/rspm/ha
# Another environment as soon as the requirements say something else.
VENV_STAMP := $(VENV)/.requirements-$(firstword $(shell sha256sum requirements-dev.txt))

export PYTHON
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/$(COLLECTIONS)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sort -u | awk -F ':.*## ' '{ printf "  make %-16s %s\n", $$1, $$2 }'

.PHONY: venv
venv: $(VENV_STAMP) $(COLLECTION_LINK) ## make .venv with everything that the other targets need

$(VENV_STAMP): requirements-dev.txt
	@tests/tools/venv.sh $(VENV) $@

# The checkout under its full name, for playbooks, pytest, mypy and ansible-lint.
$(COLLECTION_LINK):
	@mkdir -p $(@D) && ln -sfn ../../../.. $@

# A newer Ansible than the Python of Debian 12 runs, for the tests that need nothing else of it.
ANSIBLE_NEXT := 2.21
.PHONY: ansible-next
ansible-next: .cache/ansible-$(ANSIBLE_NEXT)/ansible-playbook ## fetch a newer ansible-core, and a Python for it
.cache/ansible-$(ANSIBLE_NEXT)/ansible-playbook: tests/tools/ansible_next.sh | venv lab-tools
	@tests/tools/ansible_next.sh $(@D) $(ANSIBLE_NEXT) $(VENV_BIN)/python

.PHONY: test-fast
test-fast: venv lab-tools ansible-next ## all static checks and the unit tests (7 minutes on two cores)
	@$(VENV_BIN)/python tests/tools/checks.py

.PHONY: test
test: test-fast ## everything: the static checks first, then the scenarios on the lab
	@$(MAKE) --no-print-directory test-lab

.PHONY: format
format: venv ## format the Python files and repair what ruff can
	@$(VENV_BIN)/ruff check --fix --quiet . || true
	@$(VENV_BIN)/ruff format .

.PHONY: docs
docs: venv ## make docs/variables.md and the roles' READMEs of the argument specs
	@$(VENV_BIN)/python tests/tools/made_pages.py

.PHONY: sanity
sanity: venv ## ansible-test sanity alone, with its output
	@$(VENV_BIN)/python tests/tools/sanity.py

.PHONY: build
build: venv ## build the collection into dist/
	@$(VENV_BIN)/ansible-galaxy collection build --force --output-path dist

.PHONY: clean
clean: ## remove what the checks and the build left; keeps .venv and the lab's images
	@rm -rf dist tests/output .ansible .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@rm -rf .cache/build .cache/mypy .cache/pytest .cache/ruff .cache/sanity
	@find . -path ./.venv -prune -o -path ./.cache -prune -o -name __pycache__ -type d -print0 | xargs -0r rm -rf

.PHONY: distclean
distclean: clean ## remove .venv and the newer Ansible too
	@rm -rf .venv $(COLLECTIONS) .cache/ansible-$(ANSIBLE_NEXT)

# ---------------------------------------------------------------------------------------------------------------------
# The lab and the benchmarks bring their own targets (test-lab, demo, bench-*), which may use $(VENV_BIN) and depend on
# `venv`.
-include tests/lab/lab.mk
-include tests/faults/faults.mk
-include bench/bench.mk

# Every target sets itself up: only Python >= 3.11, git and make are needed. `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BENCH := $(VENV)/.installed-bench
IPFS := build/ipfs/.installed
UV := $(shell command -v uv 2>/dev/null)
ifdef UV
  INSTALL := $(UV) pip install --quiet --python $(BIN)/python
else
  INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check
endif
CODE := debros tests $(wildcard bench examples)

.PHONY: help demo test check test-integration sim browser bench format lock clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*  ## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 26

demo: $(INSTALLED)  ## import this repository's history and put debros through its paces
	@$(BIN)/debros demo

test: $(INSTALLED)  ## the tests
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal --ignore=tests/integration tests

test-integration: $(INSTALLED) $(IPFS) browser  ## programs as a user starts them: README, examples, the command
	@$(BIN)/python -m pytest -q tests/integration

browser:  ## Debian's Chromium, in which test-integration opens the live page
ifeq ($(shell command -v chromedriver 2>/dev/null),)
	@echo "Installing Debian's chromium and chromium-driver ..." >&2
	@apt-get install -y -qq chromium chromium-driver >/dev/null || { apt-get update -qq && apt-get install -y -qq chromium chromium-driver >/dev/null; }
endif

sim: $(INSTALLED)  ## thousands of simulated storms: SIM="0 2000" are the seeds
	@$(BIN)/python -m debros.testing.storm $(or $(SIM),0 2000)

check: $(INSTALLED)  ## lint, format, types by two checkers, the import contract
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/pyright --pythonpath $(BIN)/python
	@$(BIN)/lint-imports

bench: $(BENCH)  ## measure, and print the table
	@$(BIN)/python -m bench

format: $(INSTALLED)  ## format the code, mend what lint can mend
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

clean:  ## remove everything that is made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. It is made anew only when what it is made from changes.

$(INSTALLED): pyproject.toml requirements-dev.lock
	@$(call make-venv,$(VENV))
	@echo "Installing the locked development packages into $(VENV) ..." >&2
	@$(INSTALL) -r requirements-dev.lock
	@$(INSTALL) --no-deps --editable .
	@rm -rf $(VENV)/lib/python*/site-packages/trio-stubs  # old stubs that libp2p brings; they hide trio's own types
	@touch $@

$(BENCH): $(INSTALLED) requirements-bench.lock
	@$(INSTALL) -r requirements-bench.lock
	@touch $@

$(IPFS): tests/integration/ipfs/package.json tests/integration/ipfs/witness.mjs
	@command -v npm >/dev/null || { echo "The integration tests need node >= 20 and npm: another implementation of IPFS is their witness" >&2; exit 1; }
	@mkdir -p build/ipfs
	@cp tests/integration/ipfs/package.json tests/integration/ipfs/witness.mjs build/ipfs/
	@echo "Installing the IPFS witness into build/ipfs ..." >&2
	@npm install --prefix build/ipfs --no-audit --no-fund --ignore-scripts --silent
	@touch $@

define make-venv
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "debros needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
@test -x $(1)/bin/python || $(if $(UV),$(UV) venv --quiet --python $(PYTHON) $(1),$(PYTHON) -m venv $(1))
endef

lock:  ## pin the newest versions that pyproject.toml allows
	@rm -rf build/lock
	@$(PYTHON) -m venv build/lock
	@build/lock/bin/python -m pip install --quiet --disable-pip-version-check '.[dev]'
	@{ echo "# made by: make lock"; build/lock/bin/python -m pip freeze --exclude debros; } > requirements-dev.lock
	@build/lock/bin/python -m pip install --quiet --disable-pip-version-check '.[dev,bench]'
	@{ echo "# made by: make lock"; build/lock/bin/python -m pip freeze --exclude debros; } > requirements-bench.lock
	@rm -rf build/lock

# Everything sets itself up: `make run` and `make test` need Python 3.11 or newer and this file.
# Stamps in .venv remember what is installed, so that nothing is done twice.

VENV := .venv
BIN := $(VENV)/bin
# 3.14 last: Hypercorn 0.18 has a crash at its start there.
CANDIDATES := python3 python3.13 python3.12 python3.11 python3.14
SUITABLE = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $(1)))
find_python = $(shell for p in $(CANDIDATES); do \
	"$$p" -c "$(call SUITABLE,$(1))" >/dev/null 2>&1 && { echo "$$p"; break; }; done)
PYTHON ?= $(or $(call find_python,13),$(call find_python,99))
UV = $(or $(shell command -v uv 2>/dev/null),$(wildcard $(BIN)/uv))
INSTALL = $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)
COMPILE = $(or $(UV),$(BIN)/uv) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links $(ARGS)
# What a target passes on: make run ARGS='--bind 127.0.0.1:9000', make test ARGS='-k worker -x'
ARGS ?=

.PHONY: help setup run test contract lint types floors docs bench peers lock clean
.DELETE_ON_ERROR:

help:
	@echo "make run      serve the application on http://127.0.0.1:8000 (make run ARGS='--bind HOST:PORT')"
	@echo "make test     the whole suite (make test ARGS='-k name')"
	@echo "make contract one suite against every implementation of the example (make contract ARGS='-i flask,loop -k import')"
	@echo "make setup    only install what these two need"
	@echo "make lint types floors docs bench    each check alone"
	@echo "make peers    other projects' own test suites, on our faces and through the shim"
	@echo "make lock     resolve the dependencies anew, with uv (make lock ARGS=--upgrade)"
	@echo "make clean    remove what was generated, but neither .venv nor .data"

setup: $(VENV)/.dev

run: $(VENV)/.app
	@$(BIN)/decant up $(ARGS)

test: $(VENV)/.dev
	@.ci/pytest $(ARGS)

# The Flask application of examples/shortener in its team's environment: step 0 adds Decant's base install, step 1 what
# its Quart half needs.
TEAM := examples/shortener/.venv
STEP1 := examples/shortener/step1/.venv
INSTALL_IN = $(if $(UV),$(UV) pip install --quiet --python $(1)/bin/python,$(1)/bin/python -m pip install --quiet --disable-pip-version-check)

contract: $(VENV)/.dev $(TEAM)/.made $(STEP1)/.made
	@echo "the example's own tests"
	@cd examples/shortener && .venv/bin/python -m pytest -q -p no:cacheprovider
	@$(BIN)/python -m tests.contract $(ARGS)

$(TEAM)/.made: examples/shortener/requirements.txt pyproject.toml | $(BIN)/python
	@echo "installing examples/shortener/requirements.txt"
	@test -x $(TEAM)/bin/python || $(BIN)/python -m venv $(TEAM)
	@$(call INSTALL_IN,$(TEAM)) -r examples/shortener/requirements.txt -e .
	@touch $@

$(STEP1)/.made: examples/shortener/step1/requirements.txt examples/shortener/requirements.txt pyproject.toml | $(BIN)/python
	@echo "installing examples/shortener/step1/requirements.txt"
	@test -x $(STEP1)/bin/python || $(BIN)/python -m venv $(STEP1)
	@$(call INSTALL_IN,$(STEP1)) -r examples/shortener/step1/requirements.txt
	@touch $@

lint: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.dev
	@$(BIN)/mypy

floors: $(VENV)/.dev
	@$(BIN)/lint-imports --no-logo

docs: $(VENV)/.dev
	@$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(VENV)/.dev $(TEAM)/.made $(STEP1)/.made
	@for script in bench/*.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

# The suites are downloaded once: tests/peers/download.py. The last line is the extensions' figures, as JSON.
peers: $(VENV)/.dev
	@$(BIN)/python -m tests.peers.run $(ARGS)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none of $(CANDIDATES) is: install one," \
		"or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make virtual environments: on Debian and" \
		"Ubuntu, apt install python3-venv" >&2; exit 1; }

# The build requirements are in the lock files too, so that nothing is fetched whose hash is not checked.
$(VENV)/.app: requirements/app.lock pyproject.toml | $(BIN)/python
	@echo "installing requirements/app.lock"
	@$(INSTALL) --require-hashes -r requirements/app.lock
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.lock pyproject.toml | $(BIN)/python
	@echo "installing requirements/dev.lock"
	@$(INSTALL) --require-hashes -r requirements/dev.lock
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $(VENV)/.app $@

lock: | $(BIN)/python
	@test -n "$(UV)" || $(BIN)/python -m pip install --quiet uv
	@$(COMPILE) --extra all pyproject.toml requirements/app.in -o requirements/app.lock
	@$(COMPILE) --extra dev pyproject.toml requirements/dev.in -c requirements/app.lock -o requirements/dev.lock

clean:
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage dist docs/_build
	@find src tests bench migrations -name __pycache__ -type d -prune -exec rm -rf {} +

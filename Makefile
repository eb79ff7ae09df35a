# Everything a person does with this repository. Needs make and Python 3.11 or newer; each target
# makes and fills .venv by itself, and does so again only when pyproject.toml or constraints.txt changed.

VENV := .venv
BIN := $(VENV)/bin
# What the tests start (python, node, comfysup) is what is installed here. `run` keeps the caller's
# PATH: a demo prints how to call comfysup in another terminal, which has that one.
test test-containers test-openapi test-pythons test-without-pidfds chaos fuzz: export PATH := $(CURDIR)/$(BIN):$(PATH)
# pip reads these too for the tools that build the package: once under the old name, once under the new.
PINNED := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1

.DEFAULT_GOAL := help
.PHONY: help run test test-all test-containers test-openapi test-pythons test-without-pidfds check dist chaos fuzz openapi format constraints clean \
  python

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/run.stamp ## serve $COMFYSUP_WORKSPACE (/workspace), or a demo where it holds no ComfyUI; ARGS="--help"
	@workspace="$${COMFYSUP_WORKSPACE:-/workspace}"; \
	for main in "$$workspace"/ComfyUI-*/main.py; do \
	  if [ -e "$$main" ]; then exec $(BIN)/comfysup serve $(ARGS); fi; \
	done; \
	echo "No environment in $$workspace (ComfyUI-*/main.py): a demo with stand-ins instead."; \
	exec $(BIN)/comfysup demo $(ARGS)

# Most tests wait for processes, so that more of them run at a time than there are processors.
JOBS := 4
UNIT := tests/unit
PYTEST = $(BIN)/python -m pytest

test: $(VENV)/dev.stamp ## the tests that need Python alone; ARGS="-k drain -x" goes to pytest
	@echo '--- tests, $(JOBS) at a time'
	$(PYTEST) --numprocesses=$(JOBS) --dist=worksteal --ignore=tests/container --ignore=tests/openapi $(ARGS)

test-all: test test-containers test-openapi test-without-pidfds ## those and all that need more: the image and its containers

# Sandboxes and older kernels have no pidfds.
test-without-pidfds: $(VENV)/dev.stamp
	@echo '--- scenarios where the kernel refuses pidfds'
	TEST_WITHOUT_PIDFDS=1 $(PYTEST) --numprocesses=$(JOBS) --dist=worksteal tests/scenarios $(ARGS)

test-containers: $(VENV)/dev.stamp
	@echo '--- tests of the image'
	$(PYTEST) tests/container $(ARGS)

# The tools have an environment of their own: the plugin that schemathesis brings would change pytest.
test-openapi: $(VENV)/dev.stamp
	@echo '--- tests of the OpenAPI document with its tools'
	@[ -x $(VENV)/openapi/bin/schemathesis ] || { \
	  python3 -m venv $(VENV)/openapi && \
	  $(PINNED) $(VENV)/openapi/bin/python -m pip install --quiet schemathesis openapi-python-client; }
	OPENAPI_TOOLS=$(VENV)/openapi/bin $(PYTEST) tests/openapi $(ARGS)

# In each an environment of its own, with the same pins.
test-pythons: $(VENV)/dev.stamp ## the unit tests with each newer Python of this machine
	@pythons=$$(.ci/newer-pythons); \
	[ -n "$$pythons" ] || echo '--- no Python newer than 3.11 on this machine: the unit tests ran with that alone'; \
	for python in $$pythons; do \
	  version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') && \
	  echo "--- unit tests with $$python ($$version)" && \
	  "$$python" -m venv $(VENV)/pythons/$$version && \
	  $(PINNED) $(VENV)/pythons/$$version/bin/python -m pip install --quiet --editable '.[dev]' && \
	  $(VENV)/pythons/$$version/bin/python -m pytest --numprocesses=$(JOBS) --dist=worksteal $(UNIT) $(ARGS) || exit; \
	done

check: $(VENV)/dev.stamp ## format, lint, types, layers and docs; changes nothing
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/mkdocs build --quiet --strict

# Built with what .venv has, which constraints.txt pins.
dist: $(VENV)/dev.stamp ## the source distribution and the wheel, in dist/
	rm -f dist/comfysup-*
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/comfysup-*

format: $(VENV)/dev.stamp ## put the code in its format, mend what ruff can mend
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

constraints: ## new pins: the newest versions that pyproject.toml allows, on Python 3.11
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && \
	python3.11 -m venv "$$fresh" && \
	"$$fresh/bin/python" -m pip install --quiet --editable '.[dev,openapi]' && \
	{ echo '# Every package that the image and CI install, exactly. Made by `make constraints`.'; \
	  "$$fresh/bin/python" -m pip freeze --all --exclude pip --exclude comfysup | grep -E '^[A-Za-z0-9._-]+==[^ ]+$$'; } > "$$fresh/pins" && \
	cp "$$fresh/pins" constraints.txt && cat constraints.txt

chaos: $(VENV)/dev.stamp ## what befalls a daemon, at random, long; ROUNDS=200 SEED=1 CHAOS_KEEP=DIR
	$(BIN)/python -m tests.chaos $(or $(ROUNDS),200) $(or $(SEED),1)

fuzz: $(VENV)/dev.stamp ## strangers at the API, long; EXAMPLES=10000
	COMFYSUP_FUZZ_EXAMPLES=$(or $(EXAMPLES),10000) $(BIN)/python -m pytest tests/fuzz --timeout=3600 -s

openapi: $(VENV)/dev.stamp ## write comfysup/api/openapi.json again, after a change of the API
	$(BIN)/python -m comfysup.api.openapi

clean: ## remove what the other targets made
	rm -rf $(VENV) dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find comfysup tests -name __pycache__ -prune -exec rm -rf {} +

# `run` leaves out the tools of development.
$(VENV)/run.stamp: WHAT := .
$(VENV)/dev.stamp: WHAT := .[dev]
$(VENV)/%.stamp: pyproject.toml constraints.txt
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  python=$$($(MAKE) --silent --no-print-directory python) && "$$python" -m venv --clear $(VENV); }
	@echo 'Installing $(WHAT) into $(VENV)'
	@$(PINNED) $(BIN)/python -m pip install --quiet --editable '$(WHAT)'
	@touch $@

# Says which Python is used: 3.11 first, for which the pins were made.
python:
	@for name in python3.11 python3.12 python3.13 python3.14 python3; do \
	  path=$$(command -v $$name) || continue; \
	  "$$path" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  if "$$path" -c 'import ensurepip, venv' 2>/dev/null; then echo "$$path"; exit; fi; \
	  without="$${without:-$$name}"; \
	done; \
	if [ -z "$$without" ]; then \
	  echo "cannot set up: no Python 3.11 or newer here. On Debian: apt-get install python3 python3-venv" >&2; \
	else \
	  echo "cannot set up: $$without makes no virtual environments. On Debian: apt-get install $$without-venv" >&2; \
	fi; \
	exit 1

# Two commands matter: make demo, make test. The rest serves them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000
DATA ?= demo-data

.PHONY: help demo test venv lint bench soak deb broken-builds lock clean system

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

demo: $(BIN)/wificrm  ## play a whole centre on this machine (no root)
	$(BIN)/wificrm demo --port $(PORT) --data $(DATA)

venv: $(BIN)/wificrm  ## the program and its libraries in .venv, as the lock file has them

$(BIN)/wificrm: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit("wificrm needs Python 3.11 or newer; set PYTHON=") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/.dev: $(BIN)/wificrm requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	@touch $@

test: system $(VENV)/.dev lint  ## every test, the venue lab and the browser too (root on Debian)
	files=$$(mktemp -d -t wificrm-XXXX) && trap 'rm -rf --one-file-system $$files' EXIT && \
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --basetemp=$$files

lint: $(VENV)/.dev  ## format, style, types, import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

deb: $(BIN)/wificrm  ## the Debian package, dist/wificrm_VERSION_ARCH.deb (no root; DEB_ARCH=arm64 for another kind of box)
	PYTHON=$(BIN)/python router_scripts/debian/package/build

broken-builds: $(VENV)/.dev  ## see the security tests fail, each on its deliberately broken build
	$(BIN)/python -m tests.security.broken

system:  # what tests need of the system: installed on Debian as root, named elsewhere
	@tests/install_system

soak: system $(VENV)/.dev  ## 20,000 devices come and go, time compressed; what is left over (12 minutes, root)
	$(BIN)/python -m tests.soak

bench: $(VENV)/.dev  ## the figures, each beside its limit
	$(BIN)/python -m bench

lock: $(VENV)/.dev  ## pin the libraries anew from pyproject.toml
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --no-header --no-annotate --extra reports --extra postgres --extra watch -o requirements.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --no-header --no-annotate --all-extras -o requirements-dev.lock pyproject.toml

clean:  ## remove what was made here
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis artefacts

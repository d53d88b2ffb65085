PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# Where it is set, each command that a test starts would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test soak elsewhere bench docs lint format clean

help: ## show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv and install the project into it

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make PYTHON=/path/to/python3")'
	@echo "==> installing into $(VENV) (once, about a minute)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $@

demo: $(READY) ## run the main job on the example inbox
	$(BIN)/crm demo

test: $(READY) ## run all tests (the long races and kills: make soak)
	$(BIN)/python -m pytest -n 3 -m "not soak" $(ARGS)

soak: $(READY) ## run the long races and kills
	$(BIN)/python -m pytest -n 3 -m soak $(ARGS)

elsewhere: $(READY) ## run all tests on Debian's PostgreSQL 17 by TCP, then through PgBouncer (needs root and apt)
	$(BIN)/python scripts/elsewhere.py $(ARGS)

bench: $(READY) ## measure every call and renew the figures in docs/performance.md (10 minutes, on an idle machine)
	$(BIN)/python benchmarks/speed.py $(ARGS)
	$(BIN)/python benchmarks/publish.py

docs: $(READY) ## build the documentation in build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "==> build/site/index.html: open it in a browser"

lint: $(READY) ## ruff, mypy in strict mode on app/, names, frozen migrations, which room may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy scripts/wheel/_names.py scripts/check_names.py scripts/freeze_migrations.py
	$(BIN)/python scripts/check_names.py
	$(BIN)/python scripts/freeze_migrations.py --check
	$(BIN)/lint-imports --no-logo

format: $(READY) ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove what the other targets made, the embedded servers' data too
	@[ ! -x $(BIN)/python ] || $(BIN)/python -c 'from shutil import rmtree; from app.embedded import places; rmtree(places.scratch_directory(), ignore_errors=True)'
	rm -rf $(VENV) .crm .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test soak lint format clean

help: ## show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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
	$(BIN)/python -m pytest -n 2 -m "not soak" $(ARGS)

soak: $(READY) ## run the long races and kills
	$(BIN)/python -m pytest -m soak $(ARGS)

lint: $(READY) ## ruff, and mypy in strict mode on app/
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove what the other targets made, the embedded server's data too
	rm -rf $(VENV) .crm .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo

.PHONY: help setup test test-all lint types contracts format demo readme-image clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

setup: $(VENV)/installed  ## make .venv with the pinned packages

test: setup  ## all tests but the slow ones and those for a GPU
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

test-all: setup  ## the slow ones, too
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not gpu"

lint: setup  ## ruff and codespell
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell

types: setup  ## mypy, strict
	$(BIN)/mypy

contracts: setup  ## who may import whom
	$(BIN)/lint-imports

format: setup  ## rewrite what ruff can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

demo: setup  ## all tables and the figure on the embedded corpus
	$(BIN)/lai run demo --ledger $(DEMO)/ledger.sqlite
	$(BIN)/lai report demo --ledger $(DEMO)/ledger.sqlite --out $(DEMO)/report

readme-image:  ## Table 4 of the committed report as the README shows it; needs chromium
	chromium --headless --no-sandbox --disable-gpu --window-size=1100,2300 \
	  --screenshot=$(CURDIR)/docs/images/page.png file://$(CURDIR)/reports/scierc-first/index.html
	$(BIN)/python -c "from PIL import Image; Image.open('docs/images/page.png').convert('RGB').crop((10, 1088, 680, 1602)).save('docs/images/table4.png', optimize=True)"
	rm docs/images/page.png

clean:  ## remove .venv and the demo
	rm -rf $(VENV) $(DEMO)

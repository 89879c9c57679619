PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo

.PHONY: help setup test test-all lint types contracts format demo bench bench-driver bench-search search-truth drill readme-image statistics-figures clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,tracking]'
	touch $@

setup: $(VENV)/installed  ## make .venv with the pinned packages

test: setup  ## all tests but the slow ones and those for a GPU, two at a time
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --no-loadscope-reorder

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

demo: setup  ## a study on the embedded corpus and its report, runs/demo/report/index.html
	$(BIN)/lai run demo --ledger $(DEMO)/ledger.sqlite
	$(BIN)/lai report demo --ledger $(DEMO)/ledger.sqlite --out $(DEMO)/report

bench: setup  ## speed and memory against PL-Marker's padded shapes, into docs/benchmarks (half an hour of CPU time; more with bf16)
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m tests.benchmarks

bench-driver: setup  ## what the driver adds to its trials, beside bare Ray Tune, into docs/benchmarks (twenty minutes)
	$(BIN)/python -m tests.benchmarks.driver

bench-search: setup  ## epochs that each way to search needs, replayed on a table, into docs/benchmarks
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.search

search-truth: setup  ## that table, trained anew (a quarter of an hour of CPU time; resumes)
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m tests.benchmarks.search --ledger runs/search-truth/ledger.sqlite

drill: setup  ## 100 random schedules of kills over driver, worker and node, into docs/benchmarks (twenty minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.drills --out docs/benchmarks

readme-image: setup  ## Table 4 of the committed report as the README shows it; needs chromium
	$(BIN)/python docs/images/shoot.py reports/scierc-first/index.html table4 docs/images/table4.png

statistics-figures: setup  ## docs/statistics-figures.md: coverage, level and power by simulation
	OMP_NUM_THREADS=1 $(BIN)/python tests/property/theory.py > docs/statistics-figures.md

clean:  ## remove .venv and the demo
	rm -rf $(VENV) $(DEMO)

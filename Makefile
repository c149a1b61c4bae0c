# Everything runs in .venv, made with the versions in constraints.txt. `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Tests of one file stay together: they share what is dear to make. Each process may start a Milvus server of its own.
AT_ONCE := -n 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help install demo dev test test-slow e2e lint docs bench

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install: $(INSTALLED) ## Make .venv with everything that development and the demo need

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else "Python 3.11 to 3.13 is needed, this is %d.%d: make install PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install ## Play the whole story on the packaged brand library (under 3 minutes)
	$(BIN)/mmrag demo

dev: install ## Serve the Dagster UI with the sensor and the schedules on http://127.0.0.1:3000
	home="$$($(BIN)/python -m mmrag_pipeline.dagster_home)" && DAGSTER_HOME="$$home" $(BIN)/dg dev

test: install ## The test suite
	$(BIN)/python -m pytest -m "not slow" $(AT_ONCE)

test-slow: install ## The slow tests, which `make test` leaves out
	$(BIN)/python -m pytest -m slow $(AT_ONCE)

e2e: install ## Play the story and the faults on a live Dagster and a real Milvus server
	$(BIN)/python -m mmrag_pipeline_tests.e2e

docs: install ## Build docs/ into build/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

lint: install ## Formatting and static checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: install ## Side-by-side measurements (benchmarks/)
	$(BIN)/python -m benchmarks

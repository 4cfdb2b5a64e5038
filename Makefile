# Two commands on a fresh machine: `make run` and `make test`. Everything else is for those who build it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000

.PHONY: run demo test lint bench questions pins clean

run: $(VENV)/embedded.done
	$(BIN)/python manage.py serve --port $(PORT)

demo: $(VENV)/embedded.done
	$(BIN)/python manage.py demo

# Two at a time, each with a PostgreSQL and a broker of its own.
test: $(VENV)/dev.done
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/dev.done
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/python manage.py makemigrations --check --dry-run

# ROWS=100000 for the large one.
ROWS ?= 20000
bench: $(VENV)/dev.done
	$(BIN)/python -m tests.benchmarks --rows $(ROWS)

# Questions about Django's own source; about ten minutes.
questions: $(VENV)/dev.done
	$(BIN)/python -m tests.benchmarks.questions

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/%.done: requirements-%.txt | $(BIN)/python
	@echo "Installing what $< names into $(VENV), about a minute…"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# Exact versions with hashes and without addresses, for every supported Python.
pins:
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate pyproject.toml -o requirements.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --extra embedded pyproject.toml -o requirements-embedded.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --extra embedded --extra dev pyproject.toml -o requirements-dev.txt

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache

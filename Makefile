# Two commands on a fresh machine: `make run` and `make test`. `make help` lists the others.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000

.DEFAULT_GOAL := run
.PHONY: help client-code run demo test test-site test-fast test-adapters coverage lint types deploy-check client-code check docs screenshots bench overload growth hybrid lists peers questions client client-wheel backups jobs duplicates pins clean conformance mcp

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/embedded.done  ## start the site: PostgreSQL, broker, web, worker, scheduler
	$(BIN)/python manage.py serve --port $(PORT)

demo: $(VENV)/embedded.done  ## store, ingest and search real text once, then exit
	$(BIN)/python manage.py demo

# Three processes, each with its own PostgreSQL and broker: a third of the time they wait for others, so they fill two cores.
TEST_PROCESSES := -n 3 --dist loadfile --no-loadscope-reorder

test: test-site test-adapters  ## run the test suite

test-site: $(VENV)/dev.done  ## the tests of the product and its client
	@command -v npm >/dev/null && $(MAKE) --silent .cache/node/installed.done || echo "Without npm packages some tests are skipped."
	$(BIN)/python -m pytest $(TEST_PROCESSES)

# Frameworks bring a hundred packages, and pytest plugins that would change every other test: they have an environment
# of their own, which runs against a site that the other one starts.
test-adapters: $(VENV)/dev.done .cache/adapters/installed.done  ## the frameworks' own suites, and ours, against the client's adapters
	.cache/adapters/bin/python -m pytest -c tests/adapters/pytest.ini tests/adapters

.cache/adapters/installed.done: requirements-adapters.txt
	@echo "Installing what $< names into .cache/adapters, about two minutes…"
	@$(PYTHON) -m venv .cache/adapters
	@.cache/adapters/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

test-fast: $(VENV)/dev.done  ## the same without the tests that start, kill and freeze servers
	$(BIN)/python -m pytest $(TEST_PROCESSES) -m "not stack and not browser and not embedded"

# The tests of tests/stack run the product in processes of its own, which are not measured.
coverage: $(VENV)/dev.done  ## run the suite under coverage; fails below 95 % of lines
	$(BIN)/python -m pytest $(TEST_PROCESSES) -m "not stack and not browser" --cov

lint: $(VENV)/dev.done  ## check style, formatting, imports between layers and missing migrations
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run

types: $(VENV)/dev.done  ## check types
	$(BIN)/mypy

# Every operation of the API has a method there: tests/memory_client/test_generated.py fails when it is out of date.
client-code: $(VENV)/dev.done  ## write the client's methods and types from the API
	$(BIN)/python manage.py export_openapi_schema --api memory_site.api.api | $(BIN)/python -m client_generator

# What Django says of the settings that a production site has.
deploy-check: $(VENV)/dev.done
	DATABASE_URL=postgresql://memory@127.0.0.1/memory REDIS_URL=redis://127.0.0.1 \
	SECRET_KEY=$$(head -c 48 /dev/urandom | base64) $(BIN)/python manage.py check --deploy --fail-level WARNING

check: lint types deploy-check docs test  ## everything that continuous integration runs

# Fails on a dead link, on a page that would load anything from another host, and on an outdated generated page.
docs: $(VENV)/docs.done  ## build the documentation site into site/
	$(BIN)/python docs/generate_configuration.py
	$(BIN)/python docs/generate_metrics.py
	rm -rf site
	@mkdir -p .cache && find .cache -maxdepth 1 -type f ! -name .gitignore -delete  # `--clean` deletes the environments there
	$(BIN)/zensical build --strict
	rm -f site/*.py
	$(BIN)/python docs/check_site.py

SHOTS ?= .cache/screenshots
screenshots: $(VENV)/dev.done  ## every page of the console in both themes and on a phone, as pictures in SHOTS
	$(BIN)/python -m tests.browser.screenshots --out $(SHOTS)

ROWS ?= 20000
bench: $(VENV)/dev.done  ## measure against raw SQL; ROWS=100000 for the large run
	$(BIN)/python -m tests.benchmarks --rows $(ROWS)

SIZES ?= 10000,100000,1000000
growth: $(VENV)/dev.done  ## the same at three sizes up to a million, about an hour; SIZES=10000,100000 for a short run
	$(BIN)/python -m tests.benchmarks.growth --rows $(SIZES)

LISTED ?= 1000000
lists: $(VENV)/dev.done  ## the console's lists with a million memories, half an hour to load; LISTED=20000 for a short run
	$(BIN)/python -m tests.benchmarks.lists --rows $(LISTED)

overload: $(VENV)/dev.done  ## a thousand clients at once, and what another namespace notices, about six minutes
	$(BIN)/python -m tests.benchmarks.overload

BACKED_UP ?= 100000
backups: $(VENV)/dev.done  ## searches during a backup, and its cost beside pg_dump and pg_restore; BACKED_UP=20000 for a short run
	$(BIN)/python -m tests.benchmarks.backups --rows $(BACKED_UP)

DELETED ?= 100000
jobs: $(VENV)/dev.done  ## requests while a job deletes 100,000 memories, and the rate of each action; DELETED=10000 for a short run
	$(BIN)/python -m tests.benchmarks.jobs --rows $$((2 * $(DELETED))) --deleted $(DELETED)

CALLS ?= 1000
client: $(VENV)/dev.done  ## calls of the Python client beside the same requests through httpx2, three minutes
	$(BIN)/python -m tests.benchmarks.client --calls $(CALLS)

client-wheel: $(VENV)/dev.done  ## the client's wheel in an empty environment: size, dependencies, import time
	$(BIN)/python -m tests.benchmarks.client_wheel

LOOKED_AT ?= 0
duplicates: $(VENV)/dev.done  ## how well near duplicates are found on labelled pairs; LOOKED_AT=100000 for the time it takes too
	$(BIN)/python -m tests.benchmarks.duplicates --rows $(LOOKED_AT)

# The suite needs Node 22, which comes from npm as well; installing needs any Node with npm.
conformance: $(VENV)/dev.done .cache/node/installed.done  ## the Model Context Protocol's own suite against the MCP server, half a minute
	$(BIN)/python -m tests.mcp_conformance

mcp: $(VENV)/dev.done  ## what a tool call costs beside the same request of the API
	$(BIN)/python -m tests.benchmarks.mcp

.cache/node/installed.done: tests/node/package-lock.json
	@echo "Installing what $< names into .cache/node, about a minute…"
	@mkdir -p .cache/node && cp tests/node/package.json tests/node/package-lock.json .cache/node
	@cd .cache/node && npm ci --silent --no-audit --no-fund
	@touch $@

# Each peer is installed into an environment of its own, which the product never sees.
peers: $(VENV)/dev.done .cache/peers/libraries.done .cache/peers/hindsight.done  ## the same vectors and filters in other products, about ten minutes
	$(BIN)/python -m tests.benchmarks.peers

.cache/peers/%.done: tests/benchmarks/peers/%.txt
	@echo "Installing what $< names into .cache/peers/$*, about a minute…"
	@$(BIN)/python -m venv .cache/peers/$*
	@.cache/peers/$*/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

OPERATIONS ?= 10000
hybrid: $(VENV)/dev.done  ## agents with a local file while everything around them fails, and the time of reads; OPERATIONS=1000 for a short run
	$(BIN)/python -m tests.benchmarks.hybrid --operations $(OPERATIONS)

questions: $(VENV)/dev.done  ## retrieval quality on questions about Django's source, about ten minutes
	$(BIN)/python -m tests.benchmarks.questions

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/%.done: requirements-%.txt | $(BIN)/python
	@echo "Installing what $< names into $(VENV), about a minute…"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# Exact versions with hashes and without addresses, for every supported Python.
PEERS := libraries hindsight
pins:  ## renew requirements*.txt from pyproject.toml (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --extra embedded --extra otel --extra dev pyproject.toml -o requirements-dev.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --constraint requirements-dev.txt pyproject.toml -o requirements.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --constraint requirements-dev.txt --extra embedded pyproject.toml -o requirements-embedded.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --constraint requirements-dev.txt --extra otel pyproject.toml -o requirements-otel.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --constraint requirements-dev.txt --extra docs pyproject.toml -o requirements-docs.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --all-extras memory_client/pyproject.toml -o requirements-adapters.txt
	for peer in $(PEERS); do uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate tests/benchmarks/peers/$$peer.in -o tests/benchmarks/peers/$$peer.txt; done

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .ruff_cache .cache site

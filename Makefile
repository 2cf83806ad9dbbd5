# Each target does its own set-up. Written for GNU Make 3.81 (macOS) and any POSIX shell.
.DEFAULT_GOAL := help
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done || echo python3)
VENV ?= .venv
EDITABLE ?= --editable
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help
help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-13s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: $(VENV)/.creditdesk ## Start everything, with data in it; ARGS="--ready-file PATH" and others are passed on
	@exec $(BIN)/creditdesk demo $(ARGS)

.PHONY: check
check: $(VENV)/.dev ## Everything that must hold before a change goes in; pytest comes last
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests bench
	$(BIN)/lint-imports --no-logo
	$(BIN)/creditdesk schema --check schema.graphql
	$(BIN)/pytest --numprocesses 3 --dist loadfile

.PHONY: test
test: $(VENV)/.dev ## Run the tests; ARGS="tests/credits -k zones" are pytest's
	@exec $(BIN)/pytest $(ARGS)

.PHONY: soak
soak: $(VENV)/.dev ## Run the tests that take minutes: holds while the database is killed, a thousand subscriptions
	@exec $(BIN)/pytest -m soak $(ARGS)

.PHONY: fmt
fmt: $(VENV)/.dev ## Format the code
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format .

.PHONY: schema
schema: $(VENV)/.creditdesk ## Write schema.graphql
	$(BIN)/creditdesk schema > $(VENV)/schema.graphql
	mv $(VENV)/schema.graphql schema.graphql

.PHONY: access
access: $(VENV)/.dev ## Write docs/access.md from docs/access.toml: who sees what, and who may do what
	PYTHONPATH=tests $(BIN)/python -m support.access_page

.PHONY: release-schema
release-schema: $(VENV)/.creditdesk ## Write the schema of a version that is about to be released to docs/releases
	$(BIN)/creditdesk schema > docs/releases/$$($(BIN)/creditdesk --version | cut -d ' ' -f 2).graphql

.PHONY: graphiql
graphiql: ## Bundle the page at /graphiql anew, which needs Node and npm, and write app/graphiql_page
	cd graphiql && npm ci --no-progress && node build.mjs ../app/graphiql_page

.PHONY: bench
bench: bench-import bench-holds bench-reads ## Run every benchmark, and write docs/benchmarks.md

.PHONY: bench-import
bench-import: $(VENV)/.creditdesk ## Measure how fast usage is recorded, and write docs/benchmarks.md
	@exec $(BIN)/python bench/import_speed.py --write docs/benchmarks.md $(ARGS)

.PHONY: bench-holds
bench-holds: $(VENV)/.creditdesk ## Measure how fast holds are placed, and write docs/benchmarks.md
	@exec $(BIN)/python bench/hold_speed.py --write docs/benchmarks.md $(ARGS)

.PHONY: bench-reads
bench-reads: $(VENV)/.dev ## Measure how fast creditdesk is read beside its peers, and write docs/benchmarks.md
	@exec $(BIN)/python bench/read_speed.py --write docs/benchmarks.md $(ARGS)

.PHONY: bench-growth
bench-growth: $(VENV)/.creditdesk ## Measure what 0.2 and 2 million events cost, keeping them; ARGS="--events 20000000"
	@exec $(BIN)/python bench/read_growth.py --events 200000 --events 2000000 --write docs/benchmarks.md $(ARGS)

.PHONY: install
install: $(VENV)/.creditdesk ## Put creditdesk into VENV (.venv); with EDITABLE= as a copy

# Without a host or a URL: where packages come from is pip's and uv's own configuration.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate $(ARGS)

.PHONY: lock
lock: $(VENV)/.dev ## Fit the lock files to pyproject.toml; ARGS=--upgrade renews every version
	$(LOCK) --group build pyproject.toml --output-file requirements.lock
	$(LOCK) --group dev --constraint requirements.lock --output-file requirements-dev.lock

# A stamp is made when its work is done, so what was interrupted is done again. Two `make` at once take turns, by a lock
# on this file, and the second finds the stamp. A virtual environment that cannot run pip was cut short: it is made anew.
ALONE = $(PYTHON) -c 'import fcntl, os, sys; lock = os.open("Makefile", os.O_RDONLY); os.set_inheritable(lock, True); \
	fcntl.flock(lock, fcntl.LOCK_EX); os.execvp("sh", ["sh", "-euc", sys.argv[1]])'

$(VENV)/.runtime: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("creditdesk needs Python 3.11 or later; `make PYTHON=...` names one. This is " \
		+ sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@echo 'Setting up $(VENV)'
	@$(ALONE) 'test $@ -nt $< || { $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV); \
		$(PIP) --require-hashes -r $<; touch $@; }'

$(VENV)/.creditdesk: $(VENV)/.runtime pyproject.toml
	@$(ALONE) 'test $@ -nt $< && test $@ -nt pyproject.toml || { \
		$(PIP) --no-deps --no-build-isolation $(EDITABLE) .; touch $@; }'

$(VENV)/.dev: $(VENV)/.creditdesk requirements-dev.lock
	@$(ALONE) 'test $@ -nt $(VENV)/.creditdesk && test $@ -nt requirements-dev.lock || { \
		$(PIP) --require-hashes -r requirements-dev.lock; touch $@; }'

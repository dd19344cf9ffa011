# PromptOps. `make run` and `make test` are all that a newcomer needs; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps
COMPILE := UV_PYTHON_DOWNLOADS=never uv pip compile --quiet --universal --generate-hashes --no-emit-index-url pyproject.toml \
	--extra server --group model
OXLINT := $(BIN)/oxlint --deny-warnings static tests/js
export HOST PORT SCREENSHOTS
# Without compiled files each of the many processes of the tests would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test bench proof lint fix lock sbom clean

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' Makefile | awk -F ':.*## ' '{printf "  make %-6s %s\n", $$1, $$2}'

run: $(VENV)/.run ## Install, migrate and serve on 127.0.0.1:8000 (HOST= and PORT= change it)
	@$(BIN)/python manage.py serve

test: $(VENV)/.dev ## Run the tests; those that need Chromium, Node, PostgreSQL or Redis are skipped if these are missing
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

bench: $(VENV)/.dev ## Measure, and print the figures as JSON and as a table
	@$(BIN)/python -m benchmarks $(ARGS)

proof: $(VENV)/.dev ## Run the long proofs
	@$(BIN)/python -m pytest -m proof $(ARGS)

lint: $(VENV)/.dev ## Check format, lint and types
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(OXLINT)
	@find templates -name '*.html' -exec $(BIN)/djade --check {} + && $(BIN)/djlint --lint --quiet templates

fix: $(VENV)/.dev ## Format, and fix what the linters can fix
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format . ; $(OXLINT) --fix
	@find templates -name '*.html' -exec $(BIN)/djade {} +

lock: ## Renew the locked dependencies (needs uv)
	@$(COMPILE) --upgrade -o requirements.txt
	@$(COMPILE) --upgrade --extra telemetry --extra sentences --group dev -c requirements.txt -o requirements-dev.txt

sbom: $(VENV)/.dev ## List the locked packages in dist/sbom.cdx.json (CycloneDX)
	@deploy/sbom.sh dist/sbom.cdx.json

clean: ## Remove generated files (never var/)
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis screenshots

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "PromptOps needs Python 3.11, 3.12 or 3.13; %s is %s. Choose another: make run PYTHON=python3.12" % (sys.executable, sys.version.split()[0]))'
	@test -w . || { echo "PromptOps cannot write to this folder; copy it to one that is yours."; exit 1; }
	@rm -rf $(VENV) # one whose Python is gone
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv."; exit 1; }

$(VENV)/.run: requirements.txt $(BIN)/python
	@echo "Installing what PromptOps needs (about a minute, once) ..."
	@$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(BIN)/python
	@echo "Installing what the tests need (about a minute, once) ..."
	@$(PIP) -r requirements-dev.txt
	@touch $(VENV)/.run $@

# Everything sets itself up: each target makes .venv first if it is missing or older than the lock.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench docs lock clean

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-7s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(f"Python 3.11 or later is needed, this is {sys.version.split()[0]}: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv --clear .venv
	@echo "Installing into .venv (once; two to three minutes)..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: $(STAMP) ## Train four memories on two tasks, print the table, write runs/demo/report.html
	$(BIN)/remanence compare recipes/demo.yaml --output runs/demo --overwrite

test: $(STAMP) ## Run the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile -q

lint: $(STAMP) ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(STAMP) ## Measure speed beside what a user would pick instead
	@for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

docs: $(STAMP) ## Build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lock: ## Write requirements.lock anew from pyproject.toml
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet torch==2.13.0
	.venv-lock/bin/pip install --quiet --editable '.[dev]'
	{ echo "# Written by 'make lock'. torch==2.13.0 is the CPU or the CUDA build, whichever pip finds."; \
	  .venv-lock/bin/pip freeze --exclude-editable | sed -e 's/^torch==.*/torch==2.13.0/' \
	  -e 's/^triton==.*/& ; platform_system == "Linux" and platform_machine == "x86_64"/'; } > requirements.lock
	rm -rf .venv-lock

clean: ## Remove what the other targets made
	rm -rf .venv .venv-lock site .pytest_cache .ruff_cache .hypothesis

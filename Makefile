# Each target creates .venv on first use, and again when it is older than the lock.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps
# pip takes the CPU build of torch or the CUDA build, whichever it finds; only the latter needs NVIDIA's libraries.
# It is downloaded first, for where hashes are required pip prefers what an index lists to the newest of what it finds.
IS_CUDA_BUILD := import importlib.metadata as m, sys; sys.exit(not any("nvidia" in r for r in m.requires("torch")))
# Of torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl, which is not on PyPI.
CPU_TORCH := 6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b
IMPORT_RULES := $(addprefix tests/test_import.py::test_,imports_run_downwards no_two_modules_import_each_other)

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint bench bench-gpu docs lock clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml requirements.lock requirements-torch.lock requirements-cuda.lock
	@$(PYTHON) -c 'import sys; sys.exit(f"Python 3.11 or later is needed, this is {sys.version.split()[0]}: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv --clear .venv
	@echo "Installing into .venv (once; two to three minutes)..."
	@$(BIN)/python -m pip download -qq --disable-pip-version-check --no-deps --dest .venv/torch "$$(grep -o '^torch==[^ ]*' requirements-torch.lock)"
	@$(INSTALL) --require-hashes --no-index --find-links .venv/torch -r requirements-torch.lock
	@rm -r .venv/torch
	@$(INSTALL) --require-hashes -r requirements.lock
	@! $(BIN)/python -c '$(IS_CUDA_BUILD)' || $(INSTALL) --require-hashes -r requirements-cuda.lock
	@$(INSTALL) --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## Train four memories on two tasks, print the table, write runs/demo/report.html
	$(BIN)/remanence compare recipes/demo.yaml --output runs/demo --overwrite

test: $(STAMP) ## Run the tests, but for those marked slow, as CI does
	$(BIN)/python -m pytest -n 2 -q -m "not slow"

test-all: $(STAMP) ## Run all tests, half an hour on two cores
	$(BIN)/python -m pytest -n 2 -q

lint: $(STAMP) ## Check style, the direction of imports, and types, also of the Python in the README and the pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q $(IMPORT_RULES)
	$(BIN)/pyright
	$(BIN)/python docs/snippets.py

bench: $(STAMP) ## Measure speed beside what a user would pick instead
	@for file in $(filter-out benchmarks/gpu.py,$(wildcard benchmarks/[a-z]*.py)); do echo "== $$file"; $(BIN)/python $$file || exit 1; done

bench-gpu: $(STAMP) ## Run the tests and benchmarks that need a GPU, in six minutes
	$(BIN)/python benchmarks/gpu.py

docs: $(STAMP) ## Build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lock: ## Regenerate the requirements*.lock from pyproject.toml
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet uv
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11.5 --generate-hashes --no-annotate --no-header \
	  --extra dev --output-file .venv-lock/all pyproject.toml
	sed -i 's/^torch==.*/&\n    --hash=sha256:$(CPU_TORCH) \\/' .venv-lock/all
	for part in "" -torch -cuda; do { echo "# Written by 'make lock'."; awk -v part="$$part" \
	  '/^[^ ]/ { its = /^torch==/ ? "-torch" : /^(cuda|nvidia)-/ ? "-cuda" : "" } its == part' .venv-lock/all; \
	  } > requirements$$part.lock; done
	rm -rf .venv-lock

clean: ## Remove what the other targets made
	rm -rf .venv .venv-lock site .pytest_cache .ruff_cache .hypothesis

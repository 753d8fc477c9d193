# `make run` and `make test` need python3 (3.11 or newer) and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test faults slow lint results docs clean

run: .venv/installed
	$(BIN)/kjko run gaussian-1d

# Most of the suite is compilation: LLVM without optimisation takes half of it. BLAS has small matrices, and its
# threads would wait for each other.
test: .venv/installed
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 XLA_FLAGS="--xla_backend_optimization_level=0 \
	    --xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false" $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Kills, races, damage and sizes; FAULTS=0.25 for a fortieth of them.
FAULTS ?= 10
faults: .venv/installed
	FAULTS=$(FAULTS) OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m faults -n 2 --dist load tests/faults

slow: .venv/installed
	$(BIN)/python -m pytest -m slow

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

# The numbers of docs/results.md, the page and its figures; what is of this source already is not made again.
results: .venv/installed
	$(BIN)/python benchmarks/results.py

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# The site, into docs/_build/html; a warning is an error.
docs: .venv/installed-docs
	$(BIN)/sphinx-build -b html -W --keep-going -n docs docs/_build/html

.venv/installed-docs: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

clean:
	rm -rf .venv docs/_build

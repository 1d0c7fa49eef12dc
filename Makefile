# make demo   set up everything and solve Burgers' equation for one minute
# make test   set up everything and run the tests
# make accuracy  every default run against its target: an hour or so
# make check  what CI runs: format, lint, types, import floors, tests
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# threads that wait without spinning: the same speed on an idle machine, many times faster on a busy one
export OMP_WAIT_POLICY ?= PASSIVE
READY := $(VENV)/.ready

.PHONY: demo test check lint accuracy clean

demo: $(READY)
	$(BIN)/nfsolve run burgers --time-limit 60 --out runs/burgers-demo-$$(date +%Y%m%d-%H%M%S)

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8
	$(BIN)/python -m pytest -p no:cacheprovider tests/compile

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

check: lint test

accuracy: $(READY)
	$(BIN)/python -m pytest -m slow -s

# constraints.txt pins every version, PyTorch above all: a newer one may bring gigabytes
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("nfsolve needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; set PYTHON=") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist

# make demo   set up everything and solve a nonlinear wave equation with what short trials find
# make test   set up everything and run the tests
# make accuracy  every default run against its target: an hour or so
# make fuzz   the property tests again and again on new examples, for an hour (FUZZ_SECONDS)
# make torture  runs that are killed at random moments, resumed, and compared with undisturbed ones (KILLS)
# make docs   the documentation as a site, in site/; links and references are checked
# make notebooks   the tutorials as notebooks, in notebooks/
# make check  what CI runs: format, lint, types, import floors, tests
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# threads that wait without spinning: the same speed on an idle machine, many times faster on a busy one
export OMP_WAIT_POLICY ?= PASSIVE
READY := $(VENV)/.ready

FUZZ_SECONDS ?= 3600
KILLS ?= 200
KERNEL := {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}

.PHONY: demo test docs notebooks check lint accuracy fuzz torture clean

demo: $(READY)
	$(BIN)/nfsolve run klein_gordon --out runs/klein-gordon-demo-$$(date +%Y%m%d-%H%M%S)

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8
	$(BIN)/python -m pytest -p no:cacheprovider tests/compile

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "open site/index.html, or for the search: $(BIN)/python -m http.server --directory site"

notebooks: $(READY)
	mkdir -p notebooks
	for page in docs/tutorials/*.md; do \
		$(BIN)/jupytext --quiet --to ipynb --update-metadata '$(KERNEL)' --output notebooks/$$(basename $$page .md).ipynb $$page || exit 1; done

check: lint test

accuracy: $(READY)
	$(BIN)/python -m pytest -m slow -s

fuzz: $(READY)
	end=$$(( $$(date +%s) + $(FUZZ_SECONDS) )); while [ $$(date +%s) -lt $$end ]; do \
		OMP_NUM_THREADS=1 $(BIN)/python -m pytest -x -m hypothesis --hypothesis-seed=random || exit 1; done

torture: $(READY)
	$(BIN)/python -m scripts.torture --kills $(KILLS)

# constraints.txt pins every version, PyTorch above all: a newer one may bring gigabytes
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("nfsolve needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; set PYTHON=") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist site notebooks

# surrogax: `make test` and `make demo` work on a fresh machine with Python 3.11 and nothing else.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
ENV := $(VENV)/.installed

.PHONY: demo test lint bench notebooks wheel clean

$(ENV): pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: $(ENV)  ## generate data, train an FNO, write the report: runs/demo/report.html
	$(BIN)/surrogax train darcy-fno --folder runs/demo

test: $(ENV)
	$(BIN)/python -m pytest -q -n auto --dist loadfile --durations 15

lint: $(ENV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p build/typing/surrogax
	ln -sfn $(CURDIR)/solvers $(CURDIR)/datasets $(CURDIR)/surrogates $(CURDIR)/surrogax/cli $(CURDIR)/surrogax/__init__.py build/typing/surrogax/
	$(BIN)/pyright

bench: $(ENV)  ## every benchmark, quick; peers are skipped where their environment is missing
	for script in benchmarks/*.py; do $(BIN)/python $$script --quick || exit 1; done

notebooks: $(ENV)  ## run all notebooks in place
	$(BIN)/python -m jupyter execute --inplace notebooks/*.ipynb

wheel: $(ENV)
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) build dist *.egg-info

# surrogax: `make test` and `make demo` work on a fresh machine with Python 3.11 and nothing else.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
ENV := $(VENV)/.installed
# XLA's TPU compiler is large and nothing else needs it.
TPU := .venv-tpu

.PHONY: demo test lint bench smoke tpu-check notebooks wheel clean

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
	$(BIN)/pyright --pythonpath $(BIN)/python

$(TPU)/.installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(TPU)
	$(TPU)/bin/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable ".[tpu]"
	touch $@

bench: $(ENV)  ## every benchmark, quick; peers are skipped where their environment is missing
	for script in $(filter-out benchmarks/tpu_check.py, $(wildcard benchmarks/*.py)); do $(BIN)/python $$script --quick || exit 1; done

smoke: $(ENV)  ## the smallest case of every benchmark, without peers: does each still run?
	$(BIN)/python benchmarks/tools/run_all.py

tpu-check: $(TPU)/.installed  ## compile kernels and training steps for a TPU, without one
	$(TPU)/bin/python benchmarks/tpu_check.py

notebooks: $(ENV)  ## run all notebooks in place
	$(BIN)/python -m jupyter execute --inplace notebooks/*.ipynb

wheel: $(ENV)
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) $(TPU) build dist *.egg-info

# surrogax: `make demo` and `make test` work on a fresh machine with one of Python 3.11 to 3.13 and nothing else.
#
#   make test               the suite with the versions of requirements.lock; TESTS="tests/core" a part of it
#   make test JAX=newest    with the newest packages on the newest of these Pythons, in an environment of its own
#   make ci                 what every change must pass
#   make nightly            what takes longer
#   make docs               the documentation, docs/_build/html/index.html
#   PYTHON=... make ...     with another interpreter

# The first of these versions of Python that runs, on the path or among pyenv's.
find_python = $(firstword $(foreach version,$(1),$(shell \
	for python in python$(version) $(HOME)/.pyenv/versions/$(version).*/bin/python; do \
		"$$python" -c "import ensurepip" 2>/dev/null && echo "$$python" && break; done)))

ifeq ($(JAX),newest)
VENV := .venv-newest
VERSIONS := 3.13 3.12 3.11
PACKAGES := --editable ".[test]"
else
VENV := .venv
VERSIONS := 3.11 3.12 3.13
PACKAGES := --requirement requirements.lock
endif
ifndef PYTHON
PYTHON := $(call find_python,$(VERSIONS))
endif
BIN := $(VENV)/bin
ENV := $(VENV)/.installed
# Files are compiled when they are first imported (few are), and kept: without that every process compiles jax again.
INSTALL := -m pip --disable-pip-version-check install --quiet --no-compile
# Tests marked `nightly`, and the cases that `quick` does not name, show at another size or kind what a quicker one shows.
MARKED := not nightly
PYTEST := $(BIN)/python -m pytest -q -n auto --dist loadfile -m "$(MARKED)"
unexport PYTHONDONTWRITEBYTECODE
# XLA's TPU compiler is large and nothing else needs it.
TPU := .venv-tpu
# The generator of the documentation, beside the packages of $(VENV).
DOCS := .venv-docs

.PHONY: demo test lint types bench smoke smoke-long tpu-check notebooks docs wheel clean
.PHONY: ci nightly test-default-flags test-newest test-wheel test-processors

$(ENV): pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "surrogax: found no Python 3.11, 3.12 or 3.13; give one as PYTHON=..."; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python $(INSTALL) $(PACKAGES)
	$(BIN)/python $(INSTALL) --no-deps --editable .
	touch $@

demo: $(ENV)  ## generate data, train an FNO, write the report: runs/demo/report.html
	$(BIN)/surrogax train darcy-fno --folder runs/demo

test: $(ENV)
	$(PYTEST) --durations 15 $(TESTS)

lint: $(ENV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(ENV)
	$(BIN)/pyright --pythonpath $(BIN)/python

# ---- Every processor, every jax -------------------------------------------------------------------------------------------

# The flags of users: tests/conftest.py has XLA compile faster and optimise less. Eight devices for the tests of meshes.
USERS_FLAGS := --xla_force_host_platform_device_count=8

# Code that only optimised XLA compiles wrongly or slowly: fused kernels, multigrid, whole training steps.
test-default-flags: $(ENV)  ## a selection under XLA's default flags
	XLA_FLAGS="$(USERS_FLAGS)" $(PYTEST) tests/solvers/kernels/test_stencil.py tests/solvers/kernels/test_stencil_matrix.py \
		tests/solvers/kernels/test_fourier.py tests/solvers/kernels/test_spectral_product.py \
		tests/solvers/linear/test_multigrid.py tests/solvers/linear/test_refinement.py \
		tests/surrogates/operators/test_fno.py tests/surrogates/operators/test_layers.py

test-newest:  ## a selection with the newest packages on Python 3.13: solvers, training on meshes and in processes, files
	@if [ -z "$(call find_python,3.13)" ]; then echo "test-newest: skipped, there is no Python 3.13"; else \
		$(MAKE) --no-print-directory test JAX=newest PYTHON="$(call find_python,3.13)" TESTS="tests/core \
			tests/solvers/kernels/test_stencil.py tests/solvers/linear/test_ill_posed.py \
			tests/solvers/linear/test_refinement.py tests/surrogates/operators/test_fno.py \
			tests/surrogates/training/test_devices.py tests/surrogates/training/test_processes.py"; fi

test-wheel: wheel  ## install the wheel into a fresh environment and use it in an empty folder
	rm -rf .venv-wheel
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/python $(INSTALL) --constraint requirements.lock dist/*.whl
	folder=$$(mktemp -d) && python="$(CURDIR)/.venv-wheel/bin/python" && script="$(CURDIR)/.ci/use_wheel.py" && \
		cd "$$folder" && "$$python" "$$script" && rm -r "$$folder"

# An old processor with 4 floats per vector, one with 16, and another LAPACK. What falls here asserts how one of them rounds.
NUMERICAL := tests/core tests/solvers tests/surrogates
test-processors: $(ENV)
	XLA_FLAGS="$(USERS_FLAGS) --xla_cpu_max_isa=SSE4_2" OPENBLAS_CORETYPE=Nehalem $(PYTEST) $(NUMERICAL)
	XLA_FLAGS="$(USERS_FLAGS) --xla_cpu_max_isa=AVX512" $(PYTEST) $(NUMERICAL)
	$(PYTEST) --perturb-rounding 1 $(NUMERICAL)

# ---- Continuous integration -----------------------------------------------------------------------------------------------

# Runs targets one after the other, prints a line with the seconds of each, and fails at the end if one failed.
define in_turn
@failed=0; summary=""; for target in $(1); do \
	echo "== $$target"; start=$$(date +%s); \
	$(MAKE) --no-print-directory $$target && result=passed || { result=FAILED; failed=1; }; \
	summary="$$summary$$(printf '%-20s %6s s  %s' $$target $$(($$(date +%s) - start)) $$result)\n"; \
done; printf "$$summary"; exit $$failed
endef

ci:  ## under 20 minutes on 2 cores
	$(call in_turn,lint types test test-default-flags smoke docs test-newest test-wheel)

nightly:  ## the long tests, the whole suite with the newest packages, other processors, all benchmarks
	$(call in_turn,test-nightly smoke-long test-everything-newest test-processors bench notebooks tpu-check)

test-nightly:
	$(MAKE) --no-print-directory test MARKED=nightly

test-everything-newest:
	$(MAKE) --no-print-directory test JAX=newest

# ---- Benchmarks, notebooks, packaging -------------------------------------------------------------------------------------

smoke: $(ENV)  ## the smallest case of the benchmarks, without peers: does each still run?
	$(BIN)/python benchmarks/tools/run_all.py

smoke-long: $(ENV)  ## of those that compile for half a minute or more
	$(BIN)/python benchmarks/tools/run_all.py --long

bench: $(ENV)  ## every benchmark, quick; peers are skipped where their environment is missing
	for script in $(filter-out benchmarks/tpu_check.py benchmarks/gpu.py, $(wildcard benchmarks/*.py)); do $(BIN)/python $$script --quick || exit 1; done

$(TPU)/.installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(TPU)
	$(TPU)/bin/python $(INSTALL) --constraint requirements.lock --editable ".[tpu]"
	touch $@

tpu-check: $(TPU)/.installed  ## compile kernels and training steps for a TPU, without one
	$(TPU)/bin/python benchmarks/tpu_check.py

notebooks: $(ENV)  ## run all notebooks in place
	$(BIN)/python -m jupyter execute --inplace notebooks/*.ipynb

PURELIB := -c "import sysconfig; print(sysconfig.get_path('purelib'))"
$(DOCS)/.installed: $(ENV) docs/requirements.lock
	$(BIN)/python -m venv --clear $(DOCS)
	echo "import site; site.addsitedir('$$($(BIN)/python $(PURELIB))')" \
		> "$$($(DOCS)/bin/python $(PURELIB))/packages_of_the_library.pth"
	$(DOCS)/bin/python $(INSTALL) --constraint requirements.lock --requirement docs/requirements.lock
	touch $@

docs: $(DOCS)/.installed  ## build the documentation into docs/_build/html, with warnings and dead links as errors
	$(DOCS)/bin/python -m sphinx -b html -E -q -W --keep-going docs docs/_build/html
	$(DOCS)/bin/python docs/check_site.py docs/_build/html

wheel: $(ENV)
	rm -rf build dist
	$(BIN)/python -m build --wheel --no-isolation

clean:
	rm -rf .venv .venv-newest .venv-wheel $(TPU) $(DOCS) docs/_build docs/generated build dist *.egg-info src/*.egg-info

# Everything a developer does. Each target makes the virtual environments that it needs by itself:
#   make demo   fit a jet tagger to a board and show the result
#   make test   the tests, on the three backends and with the quantized layers
#   make docs   the documentation as a site, in site/
PYTHON  ?= python3
TORCH   ?= torch==2.13.0
# To work on fabricfit it is installed from its sources; with EDITABLE= it is the wheel that users have.
EDITABLE ?= --editable
OUTPUT  ?= demo-output
BACKENDS ?= tensorflow jax torch
WORKERS ?= 2
PYTEST  := -m pytest --numprocesses $(WORKERS)

DEMO    := .venv-demo
DEV     := .venv
QKERAS  := .venv-qkeras
HGQ     := .venv-hgq
PQUANT  := .venv-pquant
PRUNING := .venv-pruning
DOCS    := .venv-docs
PIP     := -m pip install --quiet --disable-pip-version-check
QUICK   := not slow

# One thread a process: the models are small, and several processes share the machine.
export OMP_NUM_THREADS ?= 1
export TF_CPP_MIN_LOG_LEVEL ?= 2
export NO_MKDOCS_2_WARNING ?= 1

# XLA compiles longer than the tests' models run.
test-jax test-hgq-jax: export XLA_FLAGS ?= --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true

.PHONY: demo test test-all test-core test-backends test-qkeras test-hgq test-pquant test-install lint types docs docs-check audit bench format clean
.DELETE_ON_ERROR:

demo: $(DEMO)/.ready
	$(DEMO)/bin/python -m fabricfit.demo --output $(OUTPUT)

test: test-core test-backends test-qkeras test-hgq

test-all: QUICK := slow or not slow
test-all: test $(BACKENDS:%=test-hgq-%) test-pquant

test-core: $(DEV)/.ready
	$(DEV)/bin/python $(PYTEST) -m "not keras and not qkeras and not hgq and not pquant and ($(QUICK))"

test-backends: $(BACKENDS:%=test-%)

$(BACKENDS:%=test-%): test-%: $(DEV)/.ready
	KERAS_BACKEND=$* $(DEV)/bin/python $(PYTEST) -m "keras and not qkeras and not hgq and not pquant and ($(QUICK))"

test-qkeras: $(QKERAS)/.ready
	KERAS_BACKEND=tensorflow $(QKERAS)/bin/python $(PYTEST) -m "qkeras and ($(QUICK))"

# HGQ2 has three backends, too: the same tests on all of them, in one environment; `make test` tries the first.
test-hgq: test-hgq-$(firstword $(BACKENDS))

$(BACKENDS:%=test-hgq-%): test-hgq-%: $(HGQ)/.ready
	KERAS_BACKEND=$* $(HGQ)/bin/python $(PYTEST) -m "hgq and ($(QUICK))"

# Its environment takes minutes to install, so that only all tests include these.
test-pquant: $(PQUANT)/.ready
	KERAS_BACKEND=tensorflow $(PQUANT)/bin/python $(PYTEST) -m "pquant and ($(QUICK))"

lint: $(DEV)/.ready
	$(DEV)/bin/python -m ruff check .
	$(DEV)/bin/python -m ruff format --check .
	$(DEV)/bin/lint-imports --no-cache

format: $(DEV)/.ready
	$(DEV)/bin/python -m ruff check --fix .
	$(DEV)/bin/python -m ruff format .

types: $(DEV)/.ready
	$(DEV)/bin/python -m mypy

# Known vulnerabilities of what is installed; needs a network.
audit: $(DEV)/.ready
	$(DEV)/bin/python $(PIP) pip-audit
	$(DEV)/bin/python -m pip_audit --local --skip-editable

# Against named rivals, one after the other: BENCH=--quick for a first look.
# Fronts of trained precision and structured pruning are measured beside rivals in environments of their own.
FRONTIER := $(if $(BENCH),$(if $(findstring frontier,$(BENCH)),$(HGQ)/.ready $(PQUANT)/.ready),$(HGQ)/.ready $(PQUANT)/.ready)
STRUCTURED := $(if $(BENCH),$(if $(findstring structured,$(BENCH)),$(PRUNING)/.ready),$(PRUNING)/.ready)

bench: $(DEV)/.ready $(FRONTIER) $(STRUCTURED)
	env -u OMP_NUM_THREADS $(DEV)/bin/python -m benchmarks $(BENCH)

# The site, from the pages and the docstrings; what is wrong in either is an error.
docs: $(DOCS)/.ready
	$(DOCS)/bin/python -m mkdocs build --strict

# The wheel in an empty environment, as the README says, and what all pages show; minutes, and a gigabyte.
test-install: $(DEV)/.ready
	INSTALL_WITH=$(PYTHON) $(DEV)/bin/python -m pytest -rA -m slow tests/install

docs-check: $(DEV)/.ready
	KERAS_BACKEND=tensorflow $(DEV)/bin/python $(PYTEST) tests/docs

define new_venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "fabricfit needs Python 3.11 or newer; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv --clear $(@D)
endef

$(DEMO)/.ready: pyproject.toml
	$(new_venv)
	$(DEMO)/bin/python $(PIP) $(EDITABLE) '.[tensorflow]'
	touch $@

$(DEV)/.ready: pyproject.toml
	$(new_venv)
	$(DEV)/bin/python $(PIP) $(TORCH)
	$(DEV)/bin/python $(PIP) $(EDITABLE) '.[tensorflow,jax,torch,all,test,lint]'
	touch $@

# Docstrings are read, not imported, so that the site needs no backend.
$(DOCS)/.ready: pyproject.toml
	$(new_venv)
	$(DOCS)/bin/python $(PIP) $(EDITABLE) '.[docs]'
	touch $@

# QKeras and HGQ2 cannot live beside each other, so each has an environment of its own, laid over the first one.
define over_dev_venv
	$(new_venv)
	base=$$($(DEV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
	own=$$($(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
	echo "import site; site.addsitedir('$$base')" > "$$own/base.pth"
endef

# Its metadata ask for the full TensorFlow; the CPU build serves as well, so its dependencies are named here.
$(QKERAS)/.ready: $(DEV)/.ready
	$(over_dev_venv)
	$(QKERAS)/bin/python $(PIP) --no-deps qkeras-v3 networkx pyparsing tqdm
	touch $@

$(HGQ)/.ready: $(DEV)/.ready
	$(over_dev_venv)
	$(HGQ)/bin/python $(PIP) hgq2
	touch $@

# PQuantML names the TensorFlow that it knows.
$(PQUANT)/.ready: $(DEV)/.ready
	$(over_dev_venv)
	$(PQUANT)/bin/python $(PIP) pquant-ml 'tensorflow-cpu<2.21'
	touch $@

# The toolkit's metadata ask for a NumPy of long ago.
$(PRUNING)/.ready: $(DEV)/.ready
	$(over_dev_venv)
	$(PRUNING)/bin/python $(PIP) torch-pruning
	$(PRUNING)/bin/python $(PIP) --no-deps tensorflow-model-optimization tf_keras dm-tree
	touch $@

clean:
	rm -rf $(DEMO) $(DEV) $(QKERAS) $(HGQ) $(PQUANT) $(PRUNING) $(DOCS) build dist site .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis

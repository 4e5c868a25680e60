# `make repro` sets up .venv, runs the pipeline and writes the report; in a clone, `make test` runs the tests.
# EXTRA=gpu installs TensorFlow's CUDA build instead of the CPU one. Other extras of Thaw are added to
# the environment: make setup EXTRA="s3 benchmarks".
PYTHON ?= python3
UV     := uv==0.13.9
VENV   := .venv
BIN    := $(VENV)/bin
# cpu or gpu: as chosen, else as the environment is, else cpu
BASE   := $(firstword $(filter cpu gpu,$(EXTRA) $(patsubst $(VENV)/ready-%,%,$(wildcard $(VENV)/ready-*))) cpu)
READY  := $(VENV)/ready-$(BASE)
# the extras that the environment has stay when a new lock rebuilds it
EXTRAS := $(sort $(wildcard $(VENV)/extra-*) $(patsubst %,$(VENV)/extra-%,$(filter-out cpu gpu,$(EXTRA))))
# a project of `thaw new` has the library as a wheel; in a clone of Thaw it is the clone
WHEEL  := $(addprefix ./,$(wildcard vendor/thaw-*.whl))
COMPILE := --quiet --universal --generate-hashes --python-version 3.11 --no-header
OWN_PATH := $(PATH)
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro verify setup lint audit lock wheel clean

repro: setup
	@started=$$(date -u +%Y-%m-%dT%H:%M:%SZ) && thaw status --durations && dvc repro && \
	  thaw report --since $$started

verify: setup
	thaw verify

lint: setup
	ruff check . && ruff format --check . $(if $(WHEEL),,&& mypy && python -m tests.prose)

# Query a vulnerability database on the network for every pinned package; no answer is a failure.
audit: setup
	@for lock in requirements-*.lock; do echo "$$lock:"; \
	  uv tool run pip-audit==2.9.0 --requirement $$lock --strict --no-deps --disable-pip \
	    --progress-spinner off --timeout 20 || \
	    { echo "$$lock: has known vulnerabilities, or could not be audited (see above)" >&2; exit 1; }; \
	done

setup: $(READY) $(EXTRAS) identity

# uv reads the package index of pip's settings, unless UV_DEFAULT_INDEX is set
WITH_INDEX = index=$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$(python -m pip config get global.index-url 2>/dev/null)}}; \
  $${index:+env UV_DEFAULT_INDEX="$$index"}

# --compile-bytecode: where Python may not write it at run time, TensorFlow would start in 10 s
$(READY): requirements-$(BASE).lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Thaw needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is $$($(PYTHON) -V 2>&1): make PYTHON=python3.11 ..." >&2; exit 1; }
	@echo "setting up $(VENV): 2.5 GB of packages, 2 to 5 minutes with the downloads"
	@PATH="$(OWN_PATH)" $(PYTHON) -m venv --clear $(VENV)
	@python -m pip install --quiet --disable-pip-version-check $(UV)
	@$(WITH_INDEX) uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode $<
	@$(if $(WHEEL),:,uv pip install --quiet --offline --no-deps --python $(BIN)/python --editable .)
	@touch $@

$(VENV)/extra-%: $(READY) requirements-all.lock
	@$(WITH_INDEX) uv pip install --quiet --python $(BIN)/python --compile-bytecode \
	  --constraint requirements-all.lock $(if $(WHEEL),'$(WHEEL)[$*]',--editable '.[$*]')
	@touch $@

# `dvc exp run` makes commits and needs a name for them; a name that the user has set is kept.
.PHONY: identity
identity:
	@git config user.name >/dev/null || git config --local user.name thaw
	@git config user.email >/dev/null || git config --local user.email thaw@localhost

ifeq ($(WHEEL),)
# requirements-all.lock has every extra; the other two have what most users install, in the same versions
lock: setup
	uv pip compile $(COMPILE) --upgrade --extra cpu --extra all --output-file requirements-all.lock pyproject.toml
	for base in cpu gpu; do \
	  uv pip compile $(COMPILE) --extra $$base --extra dev --constraint requirements-all.lock \
	    --output-file requirements-$$base.lock pyproject.toml || exit 1; \
	done

# the library with the templates of a project, for `thaw new` and `thaw upgrade`
wheel: setup
	python -m thaw.cli.wheel dist
else
# after an edit of the dependencies in pyproject.toml
lock: setup
	for base in cpu gpu; do \
	  uv pip compile $(COMPILE) --extra $$base --constraint requirements-all.lock \
	    --output-file requirements-$$base.lock pyproject.toml || exit 1; \
	done
endif

clean:
	rm -rf $(VENV)

-include tests/targets.mk # absent in a project of `thaw new`

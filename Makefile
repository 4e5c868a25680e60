# `make repro` does the main job, `make test` runs the tests; each sets up what it needs.
# EXTRA=gpu installs TensorFlow's CUDA build instead of the CPU one; any other extras of pyproject.toml
# are added to it: make setup EXTRA="s3 benchmarks".
PYTHON ?= python3
UV     := uv==0.13.9
VENV   := .venv
BIN    := $(VENV)/bin
EMPTY  :=
SPACE  := $(EMPTY) $(EMPTY)
COMMA  := ,
# as the environment has it, until another choice is made
HAS    := $(patsubst $(VENV)/ready-%,%,$(wildcard $(VENV)/ready-*))
EXTRA  ?= $(or $(subst -,$(SPACE),$(HAS)),cpu)
BASE   := $(if $(filter gpu,$(EXTRA)),gpu,cpu)
MORE   := $(subst $(SPACE),$(COMMA),$(strip $(filter-out cpu gpu,$(EXTRA))))
READY  := $(VENV)/ready-$(subst $(SPACE),-,$(strip $(EXTRA)))
COMPILE := --quiet --universal --generate-hashes --python-version 3.11 --no-header
OWN_PATH := $(PATH)
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro verify setup lint audit lock clean

repro: setup
	started=$$(date -u +%Y-%m-%dT%H:%M:%SZ) && dvc repro && thaw report --since $$started

verify: setup
	thaw verify

lint: setup
	ruff check . && ruff format --check .

# Asks a service on the network about every pinned package, and fails where it has no answer.
audit: setup
	@for lock in requirements-*.lock; do echo "$$lock:"; \
	  uv tool run pip-audit==2.9.0 --requirement $$lock --strict --no-deps --disable-pip \
	    --progress-spinner off --timeout 20 || \
	    { echo "$$lock: has known vulnerabilities, or could not be audited (see above)" >&2; exit 1; }; \
	done

setup: $(READY) identity

# compiled here, since not every machine lets Python do so, and TensorFlow uncompiled starts in 10 s
$(READY): requirements-$(BASE).lock $(if $(MORE),requirements-all.lock)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Thaw needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is $$($(PYTHON) -V 2>&1): make PYTHON=python3.11 ..." >&2; exit 1; }
	PATH="$(OWN_PATH)" $(PYTHON) -m venv --clear $(VENV)
	python -m pip install --quiet --disable-pip-version-check $(UV)
	@index=$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$(python -m pip config get global.index-url 2>/dev/null)}}; \
	  $${index:+env UV_DEFAULT_INDEX="$$index"} uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode $<
	uv pip install --quiet --offline --no-deps --python $(BIN)/python --editable .
ifneq ($(MORE),)
	@index=$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$(python -m pip config get global.index-url 2>/dev/null)}}; \
	  $${index:+env UV_DEFAULT_INDEX="$$index"} uv pip install --quiet --python $(BIN)/python --compile-bytecode \
	  --constraint requirements-all.lock --editable '.[$(MORE)]'
endif
	@touch $@

# `dvc exp run` commits what it did and needs a name to do so; a user's own name is left alone.
.PHONY: identity
identity:
	@git config user.name >/dev/null || git config --local user.name thaw
	@git config user.email >/dev/null || git config --local user.email thaw@localhost

# One lock has everything, and its hashes hold for whatever extras are installed; the other two are
# what most users install, in the same versions.
lock: setup
	uv pip compile $(COMPILE) --upgrade --extra cpu --extra all --output-file requirements-all.lock pyproject.toml
	for base in cpu gpu; do \
	  uv pip compile $(COMPILE) --extra $$base --extra dev --constraint requirements-all.lock \
	    --output-file requirements-$$base.lock pyproject.toml || exit 1; \
	done

clean:
	rm -rf $(VENV)

-include tests/targets.mk # a project that `thaw new` made has no tests

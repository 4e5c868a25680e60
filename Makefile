# `make repro` does the main job, `make test` runs the tests; each sets up what it needs.
# EXTRA=gpu installs TensorFlow's CUDA build instead of the CPU one, EXTRA=benchmarks also the engines
# that it is measured against.
PYTHON ?= python3
EXTRA  ?= cpu
UV     := uv==0.13.9
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/ready-$(EXTRA)
OWN_PATH := $(PATH)
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro test test-browser setup lint lock clean

repro: setup
	started=$$(date -u +%Y-%m-%dT%H:%M:%SZ) && dvc repro && thaw report --since $$started

test: setup
	python -m pytest

# the report in a real browser: needs Chromium, as Debian's package `chromium` has it
test-browser:
	$(MAKE) setup EXTRA=browser
	python -m pytest -n 0 tests/browser

lint: setup
	ruff check . && ruff format --check .

setup: $(READY) identity

# compiled here, since not every machine lets Python do so, and TensorFlow uncompiled starts in 10 s
$(READY): requirements-$(EXTRA).lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Thaw needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is $$($(PYTHON) -V 2>&1): make PYTHON=python3.11 ..." >&2; exit 1; }
	PATH="$(OWN_PATH)" $(PYTHON) -m venv --clear $(VENV)
	python -m pip install --quiet --disable-pip-version-check $(UV)
	@index=$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$(python -m pip config get global.index-url 2>/dev/null)}}; \
	  $${index:+env UV_DEFAULT_INDEX="$$index"} uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode $<
	uv pip install --quiet --offline --no-deps --python $(BIN)/python --editable .
	@touch $@

# `dvc exp run` commits what it did and needs a name to do so; a user's own name is left alone.
.PHONY: identity
identity:
	@git config user.name >/dev/null || git config --local user.name thaw
	@git config user.email >/dev/null || git config --local user.email thaw@localhost

lock:
	for extra in cpu gpu benchmarks; do \
	  uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header \
	    --extra $$extra --extra dev --output-file requirements-$$extra.lock pyproject.toml || exit 1; \
	done

clean:
	rm -rf $(VENV)

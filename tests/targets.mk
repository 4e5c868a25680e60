.PHONY: docs test test-docs test-faults test-browser test-exports test-packages test-slow load-test

test: setup
	python -m pytest

# what `make test` leaves out for its time
test-slow: setup
	python -m pytest -m slow

# kills, corrupts, starves and shares for real, for half an hour; the servers are packages, and what is
# skipped is said with its reason (apt-get install openssh-server nginx saves it their download)
test-faults:
	@$(MAKE) --no-print-directory setup EXTRA="$(sort $(EXTRA) faults)"
	python -m pytest -n 0 -rs tests/faults

# the report and the page of `thaw serve` in a real browser: needs Chromium, as Debian's package
# `chromium` has it
test-browser:
	@$(MAKE) --no-print-directory setup EXTRA="$(sort $(EXTRA) browser serve)"
	python -m pytest -n 0 tests/browser

# fifty clients of `thaw serve` at once; MODEL=NAME chooses another model than the report's first
load-test:
	@$(MAKE) --no-print-directory setup EXTRA="$(sort $(EXTRA) benchmarks serve)"
	python -m benchmarks.serve $(MODEL)

# every format of `thaw export`, none skipped
test-exports:
	@$(MAKE) --no-print-directory setup EXTRA="$(sort $(EXTRA) export)"
	THAW_EXPORTS=all python -m pytest -n 0 tests/thaw/export

# packages of `thaw package` in older versions of Keras, which uv installs in environments of their own
test-packages: setup
	@$(WITH_INDEX) python -m pytest -n 0 tests/packages

# the documentation site, in site/: needs no network once the environment is there
docs:
	@$(MAKE) --no-print-directory setup EXTRA="$(sort $(EXTRA) docs)"
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet
	python -m website.check site

# the commands of the documentation, in a project with small images: half an hour
test-docs: setup
	@$(WITH_INDEX) python -m pytest -n 0 tests/commands

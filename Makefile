# make run        photographs in, a registered generator out: the toy journey, in minutes
# make test       the tests; make test-slow those that take long
# make lint       ruff and mypy
# make setup      the environment alone; make lock brings requirements.lock up to date
.PHONY: setup run test test-slow lint lock
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
SUPPORTED := import sys; v = sys.version_info; \
	sys.exit(0 if (3, 11) <= v < (3, 14) else "Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12 setup")
INSTALL := .venv/bin/python -m pip --disable-pip-version-check install --quiet

run: .venv/ready
	@dvc repro
	@progan summary

setup: .venv/ready

.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c '$(SUPPORTED)'
	@echo "Installing into .venv (about 5 GB, some minutes) …"
	@$(PYTHON) -m venv .venv
	@$(INSTALL) --require-hashes --requirement requirements.lock
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

test: .venv/ready
	@python -m pytest -m "not slow" -n 2

test-slow: .venv/ready
	@python -m pytest -m slow

lint: .venv/ready
	ruff format --check .
	ruff check .
	mypy

lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --upgrade \
		--group dev pyproject.toml --output-file requirements.lock

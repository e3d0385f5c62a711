# make run    photographs in, a registered generator out (the toy journey, a few minutes)
# make test   the tests              make lint   ruff and mypy
# make setup  the environment alone  make lock   newest versions into requirements.lock
.PHONY: setup run test test-slow lint lock
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else "progan needs Python 3.11 to 3.13; this is " + sys.version.split()[0] + ". Try: make setup PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --progress-bar on --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@

run: $(READY)
	@$(BIN)/progan repro

test: $(READY)
	$(BIN)/python -m pytest -m "not slow" -n 2

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --upgrade \
		--group dev pyproject.toml -o requirements.lock

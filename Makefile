# make install   everything needed to run, into .venv, and the two encoders the bundled model looks through
# make demo      install, index the demo gallery, show three queries, serve the page (SERVE=0: stop before serving)
# make test      the tests (under 8 minutes on 2 cores)
# make test-all  those and the slow ones
# make test-openclip  those of the optional open_clip models, with what these need installed
# make lint      formatting, rules, types, import contracts
PYTHON ?= python3
BIN := .venv/bin
SERVE ?= 1
PORT ?= 8765

.PHONY: install demo test test-all test-openclip lint format clean
.DELETE_ON_ERROR:

install: .venv/installed
	@$(BIN)/anyseek models pull encoders

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; make PYTHON=python3.11 names another")'
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cpu]'
	@touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cpu,dev]'
	@touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cpu,test]'
	@touch $@

demo: .venv/installed
	@$(BIN)/anyseek demo --port $(PORT) $(if $(filter 0,$(SERVE)),--no-serve)

test: install .venv/installed-test
	$(BIN)/python -m pytest -m 'not slow'

test-all: install .venv/installed-test
	$(BIN)/python -m pytest

test-openclip: .venv/installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cpu,test,openclip]'
	$(BIN)/python -m pytest tests/model/openclip tests/model/test_openclip_embedder.py tests/contracts/test_embedder.py

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv

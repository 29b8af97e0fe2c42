# make install   everything needed to run, into .venv, and the two encoders the bundled model looks through
# make demo      install, index the demo galleries, show queries, serve the page (SERVE=0: stop before serving)
# make test      the tests, in two processes (under 8 minutes on 2 cores)
# make test-all  those and the slow ones, in two processes too
# make test-openclip  those of the optional open_clip models, with what these need installed
# make smoke     build a small data set and train a small network on it, in a few minutes
# make services  real PostgreSQL, Redis and RabbitMQ for tests, each in .services/ on a free port of loopback
# make services-stop  end those
# make test-services  the suites that want real servers, on them
# make lint      formatting, rules, types, import contracts
PYTHON ?= python3
BIN := .venv/bin
SERVE ?= 1
PORT ?= 8765

.PHONY: install demo test test-all test-openclip smoke services services-stop test-services lint format clean
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
	$(BIN)/python -m pytest -m 'not slow' -n 2 --dist worksteal

test-all: install .venv/installed-test
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-openclip: .venv/installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cpu,test,openclip]'
	$(BIN)/python -m pytest tests/model/openclip tests/contracts/test_embedder.py

smoke: install
	$(BIN)/anyseek data build configs/data/smoke.yaml --out runs/data/smoke
	OMP_NUM_THREADS=1 $(BIN)/anyseek train model configs/smoke.yaml --out runs/smoke --resume

services: .venv/installed-test
	$(BIN)/python -m tests.services start .services

services-stop:
	$(BIN)/python -m tests.services stop .services

test-services: services
	status=0; env $$(cat .services/environment) ANYSEEK_FAULT_INPUTS=$${ANYSEEK_FAULT_INPUTS:-300} \
	$(BIN)/python -m pytest tests/contracts tests/search/backup tests/workers tests/faults tests/api/test_hostile_values.py tests/api/test_locked_database.py || status=$$?; \
	$(BIN)/python -m tests.services stop .services; exit $$status

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

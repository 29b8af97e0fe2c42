# make install   everything needed to run, into .venv, and the two encoders the bundled model looks through
# make demo      install, index the demo galleries, show queries, serve the page (SERVE=0: stop before serving)
# make test      the tests, in two processes (under 8 minutes on 2 cores)
# make test-all  those and the slow ones, in two processes too
# make test-openclip  those of the optional open_clip models, with what these need installed
# make smoke     build a small data set and train a small network on it, in a few minutes
# make services  real PostgreSQL, Redis and RabbitMQ for tests, each in .services/ on a free port of loopback
# make services-stop  end those
# make test-services  the suites that want real servers, on them
# make fuzz      10,000 requests that nobody should send, in at most 10 minutes (REQUESTS=1000: fewer; SEED=7: others)
# make soak      an hour that stands for a day, with kills and re-embeddings; by hand (MINUTES=15: a share of everything)
# make mutants  changes of single lines that some test must detect, one by one
# make adversary every attack of docs/security.md again, on loopback
# make release   sdist and wheel in dist/, installed and tried in an empty environment (DEMO=0: without the demo; PIPX=1: installed by pipx)
# make lock      renew requirements.lock (UPGRADE=1: the newest versions); make lock-check: find every file of it again
# make docs      the documentation as a site in runs/site; a link that leads nowhere is an error
# make load      honest clients beside one that misbehaves, on 100,000 items (ITEMS=1000: fewer); by hand, minutes
# make lint      formatting, rules, types, import contracts
PYTHON ?= python3
BIN := .venv/bin
SERVE ?= 1
PORT ?= 8765
REQUESTS ?= 10000
SEED ?= 0
ITEMS ?= 100000
MINUTES ?= 60

.PHONY: install demo test test-all test-openclip smoke services services-stop test-services fuzz soak adversary mutants release lock lock-check docs load lint format clean
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
	$(BIN)/python -m pytest $(PYTEST_FLAGS) -m 'not slow' -n 2 --dist worksteal

test-all: install .venv/installed-test
	$(BIN)/python -m pytest $(PYTEST_FLAGS) -n 2 --dist worksteal

test-openclip: .venv/installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cpu,test,openclip]'
	$(BIN)/python -m pytest $(PYTEST_FLAGS) tests/model/openclip tests/contracts/test_embedder.py

smoke: install
	$(BIN)/anyseek data build configs/data/smoke.yaml --out runs/data/smoke
	OMP_NUM_THREADS=1 $(BIN)/anyseek train model configs/smoke.yaml --out runs/smoke --resume

services: .venv/installed-test
	$(BIN)/python -m tests.services start .services

services-stop:
	$(BIN)/python -m tests.services stop .services

test-services: services
	status=0; env $$(cat .services/environment) ANYSEEK_FAULT_INPUTS=$${ANYSEEK_FAULT_INPUTS:-300} \
	$(BIN)/python -m pytest $(PYTEST_FLAGS) tests/contracts tests/search/backup tests/workers tests/faults tests/api/test_hostile_values.py tests/api/test_locked_database.py || status=$$?; \
	$(BIN)/python -m tests.services stop .services; exit $$status

mutants: .venv/installed-test
	$(BIN)/python -m tests.mutants

fuzz: install .venv/installed-dev
	$(BIN)/python -m tests.fuzz --requests $(REQUESTS) --seed $(SEED)

soak: .venv/installed-test
	$(BIN)/python -m tests.soak --minutes $(MINUTES)

adversary: install .venv/installed-test
	$(BIN)/python -m tests.adversary

release: .venv/installed-dev
	$(BIN)/python -m tests.release $(if $(filter 0,$(DEMO)),--no-demo) $(if $(PIPX),--pipx)

lock: .venv/installed-dev
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python deploy/lock.py $(if $(UPGRADE),--upgrade)

lock-check: .venv/installed-dev
	$(BIN)/python deploy/lock.py --check

docs: .venv/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

load: .venv/installed-test
	$(BIN)/python -m benchmarks.load --items $(ITEMS)

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

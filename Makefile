# Everything runs from .venv, which the first target that needs it makes.
# Settings: `make up NAME=value`, listed by `python -m devstack --help`. Other settings of a program that
# runs already count from its next start: `make down up NAME=value`.

bin := .venv/bin
python := $(bin)/python
contract := $(wildcard protos/*.py protos/newsfeed/*/v1/*.proto)

.PHONY: help setup up down status logs reset redrive test test-unit test-long test-mistakes test-content-mistakes fuzz check lint format bench bench-quick explain

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-21s %s\n", $$1, $$2 }' Makefile

setup: .venv/.complete ## make .venv (Python 3.11+ and pip are enough)

.venv/.complete: pyproject.toml protos/pyproject.toml uv.lock devstack/setup.sh $(contract)
	@sh devstack/setup.sh
	@touch $@

up: setup ## start stores and services, wait until they answer
	@$(python) -m devstack up

down: setup ## stop them; the data stays
	@$(python) -m devstack down

status: setup ## what runs where
	@$(python) -m devstack status

logs: setup ## follow the logs (NAME=user_svc: of that alone)
	@$(python) -m devstack logs $(NAME)

reset: setup ## stop them and delete the data (YES=1: without a question)
	@$(python) -m devstack reset $(if $(YES),--yes)

redrive: setup ## put events that were set aside back on the bus
	@$(python) -m devstack run svckit.redrive redrive

test: setup ## every test, with stores of its own (ONLY=path or part of a name: those alone)
	$(python) -m pytest $(if $(ONLY),$(if $(wildcard $(firstword $(subst ::, ,$(ONLY)))),'$(ONLY)',-k '$(ONLY)'))

test-unit: setup ## the tests that need no store, in about 20 s
	$(python) -m pytest tests/unit

test-long: setup ## 40 minutes of looking for a home feed that is not the truth, 40 for a post
	ORACLE_SECONDS=2400 $(python) -m pytest tests/oracle

fuzz: setup ## 10,000 calls made up from the API's document (CASES=number SEED=number)
	FUZZ_CASES=$(or $(CASES),10000) FUZZ_SEED=$(or $(SEED),$(shell date +%s)) $(python) -m pytest tests/fuzz

test-mistakes: setup ## does that look find seeded mistakes? (NAMES=words: those alone; PART=1/3)
	$(python) -m tests.oracle.feeds.mistakes $(if $(PART),--part $(PART)) $(NAMES)

test-content-mistakes: setup ## the same of the look at posts and their events
	$(python) -m tests.oracle.posts.mistakes $(if $(PART),--part $(PART)) $(NAMES)

check: lint test ## what CI runs: format, lint, types, contract, tests

lint: setup
	$(bin)/ruff format --check .
	$(bin)/ruff check .
	$(bin)/mypy .
	$(python) protos/check.py

format: setup ## write the format
	cd protos && ../$(bin)/buf format -w
	$(bin)/ruff format .
	$(bin)/ruff check --fix .

bench: setup ## the measures, as a table and as bench/results.json (NAMES=words: those alone)
	$(python) -m bench $(NAMES)

bench-quick: setup ## the same with less data, for a shorter time
	$(python) -m bench --quick

explain: setup ## the plans and times of the hot queries
	$(python) -m tests.plans.explain

# Everything here needs Python 3.11 or later, pip and make; `.ci/environment` makes .venv with the rest.
#
#   make demo              the whole pipeline against a simulated Discord, until Ctrl-C
#   make demo SECONDS=30   the same for 30 seconds, then a check that not an event is missing
#   make test              all tests, on real servers (PYTEST_ARGS=… to choose)
#   make check             linters and type checkers
#   make lock              resolve requirements.lock anew (needs uv)
#   make clean             delete .venv and caches
#
# PYTHON=… chooses the interpreter that .venv is made with.

SHELL := /bin/sh
PYTHON ?=
PYTEST_ARGS ?=
BIN := .venv/bin

# The shell counts in a variable of that name: only what is said on make's command line counts.
ifeq ($(origin SECONDS),command line)
DEMO_ARGS := --seconds '$(SECONDS)'
endif

.PHONY: demo test check lock clean environment
.NOTPARALLEL:
.DEFAULT_GOAL := demo

environment:
	@PYTHON='$(PYTHON)' .ci/environment

demo: environment
	@$(BIN)/guildstream demo $(DEMO_ARGS)

test: environment
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

check: environment
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright

lock:
	@.ci/lock

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

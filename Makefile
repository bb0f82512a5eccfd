# `make demo` and `make test` do all their own set-up; see README.md.
SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo tour test check install browser iproute2 constraints stages clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

install: $(INSTALLED)  ## install into .venv

$(INSTALLED): pyproject.toml constraints.txt scripts/setup.sh
	bash scripts/setup.sh $(VENV)
	touch $@

demo: $(INSTALLED)  ## a Ray Tune + Optuna sweep on two embedded categories, then the leaderboard and an HTML report
	bash scripts/demo.sh $(VENV)

tour: $(INSTALLED)  ## a study, a promotion, a server, a request and the dashboard, on the embedded sample
	$(PY) scripts/tour.py

test: $(INSTALLED) browser iproute2  ## the test suite (under 20 minutes on 2 cores)
	bash scripts/test.sh $(VENV)

check: $(INSTALLED)  ## lint, format, types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

browser:  # a page is tested in Debian's chromium; without it and without root, those tests skip and say so
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; } \
	  || echo "chromium is not installed: the browser tests will skip (apt-get install chromium)"

iproute2:  # the tests of a cluster of real hosts need it and root; without them those tests skip and say so
	@command -v ip >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends iproute2 >/dev/null; } \
	  || echo "iproute2 is not installed: the tests of several hosts will skip (apt-get install iproute2)"

constraints: $(INSTALLED)  ## remake constraints.txt from what .venv holds
	bash scripts/constraints.sh $(VENV) > constraints.txt.partial && mv constraints.txt.partial constraints.txt

stages: $(INSTALLED)  ## record the digests of the stages' code after a version was raised
	$(PY) tests/golden/record_stages.py

clean:  ## remove the venv and build output (not the home folder)
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache

# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Names for the sessions of noxfile.py. Each works on a fresh clone: nox and uv are installed into .cache/nox first.

SESSIONS := environment test test-all matrix demo lint format docs build sanity units integration fuzz mutation \
    changelog lock
PYENV := $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions
# pyenv puts a stand-in for each Python on PATH, and most of them fail, so look for the Pythons themselves too.
PYTHONS := $(PYTHON) $(foreach v,3.13 3.12,python$v $(wildcard $(PYENV)/$v.*/bin/python$v)) python3 python3.14 \
    python3.11 $(wildcard $(PYENV)/3.11.*/bin/python3.11)
PROBE := import sys; v = "%d.%d.%d" % sys.version_info[:3]; sys.version_info < (3, 11) and sys.exit(v + " is too old"); \
    import importlib.util as u; u.find_spec("ensurepip") or sys.exit(v + " lacks ensurepip (install its venv package)")
NOX := .cache/nox/bin

.PHONY: help words community bench clean $(SESSIONS)

help:
	@echo "make COMMAND [ARGS='...'] [CORE=2.16] [PYTHON=/path/to/python]. Commands:"
	@sed -n '/^@command/,/"""$$/{/^def/{s/^def \(.*\)(session.*/  \1/;y/_/-/;s/linters/lint/;p;};s/^    """\(.*\)"""$$/      \1/p;}' noxfile.py
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\n      \2/p' Makefile

$(SESSIONS): $(NOX)/ready
	@$(NOX)/nox --session "$(patsubst lint,linters,$(subst -,_,$@))$(if $(filter matrix sanity,$@),$(CORE:%=(%)))" -- $(ARGS)

words:  ## Find words that documentation, messages, and comments avoid; developers alone read the names of tests
	@! git grep -nPiI -f tests/lint/words.txt -- . ':!COPYING' ':!LICENSES' ':!tests/[flu]*'

lint: words

community: $(NOX)/ready  ## Run what the Ansible community checks beyond `make lint`, with antsibull-nox
	@$(NOX)/nox --session yamllint antsibull-nox-config docs-check license-check extra-checks

bench: environment  ## Measure speed beside `uri` and a bare script; ARGS=--quick leaves out what takes long
	@.venv/bin/python -m tests.bench $(ARGS)

clean:  ## Delete everything that these commands created
	rm -rf .venv .cache dist docs/build tests/output .hypothesis .ruff_cache

$(NOX)/ready: tests/requirements/nox.txt tests/requirements/uv.txt
	@for python in $(PYTHONS); do \
	    if ! command -v "$$python" >/dev/null; then continue; fi; \
	    if ! why=$$("$$python" -c '$(PROBE)' 2>&1 </dev/null); then \
	        found="$$found\n  $$python: $$(echo "$$why" | head -n 1)"; continue; \
	    fi; \
	    echo "Creating .cache/nox with $$python"; \
	    rm -rf .cache/nox; \
	    "$$python" -m venv .cache/nox || exit; \
	    pip="$(NOX)/python -m pip --disable-pip-version-check install -qq"; \
	    if $$pip --only-binary :all: -r tests/requirements/uv.txt; then \
	        pip="env UV_SYSTEM_CERTS=true $(NOX)/uv pip install --quiet --python $(NOX)/python"; \
	    else \
	        echo "uv cannot be installed here. pip does the same, more slowly." >&2; \
	    fi; \
	    $$pip -r tests/requirements/nox.txt && touch $@; exit; \
	done; \
	printf '%b\n' "No usable Python. Install Python 3.11 or later with its venv module, for example:" \
	    "  apt install python3-venv, dnf install python3.12, or brew install python@3.13" \
	    "or select one: PYTHON=/path/to/python make $(MAKECMDGOALS)" "Found:$${found:- no Python}" >&2; exit 1

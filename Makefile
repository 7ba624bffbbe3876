# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Names for what tests/tools/dev.py does. Each works alone on a fresh clone: it makes what it needs.

COMMANDS := demo demo-stop test summary matrix lint format sanity units integration bench docs tables build importer nox changelog release-check environment lock clean

.DEFAULT_GOAL := help
.PHONY: help $(COMMANDS)

help $(COMMANDS):
	@sh tests/tools/dev.sh $@ $(ARGS)

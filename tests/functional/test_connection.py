# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One connection for a whole play: modules, roles, and the lookup, as the guides describe it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.functional.support import Played
from tests.simulator.client import SimulatorProcess

pytestmark = pytest.mark.full

MODULE = "- {name: Read, capacityops.bmc_helix.etl_info: }"
LOOKUP = """- name: Log in
  ansible.builtin.debug:
    msg: "{{ lookup('capacityops.bmc_helix.jwt_token') | length }}"
"""
ROLES = """- name: Enter maintenance
  ansible.builtin.include_role: {name: capacityops.bmc_helix.etl_maintenance}
  vars: {etl_maintenance_state: entered, etl_maintenance_etl_name: [Import]}
- name: Run the chain
  ansible.builtin.include_role: {name: capacityops.bmc_helix.etl_chain}
  vars: {etl_chain_steps: [{etl_name: [Import]}]}
- name: Leave maintenance
  ansible.builtin.include_role: {name: capacityops.bmc_helix.etl_maintenance}
  vars: {etl_maintenance_state: left}
- name: Check the health
  ansible.builtin.include_role: {name: capacityops.bmc_helix.etl_health}
"""
Run = Callable[..., Played]


@pytest.fixture
def run(play: Callable[..., Played], simulator: SimulatorProcess, tmp_path: Any) -> Run:
    """Play tasks with the connection in variables or module_defaults, and with nothing in the environment."""
    simulator.control.put_etl(1, name="Import", state="ENDED", duration=0.3)
    settings = simulator.environment()
    connection = {name[6:].lower(): value for name, value in settings.items() if name.startswith("HELIX_")}

    def run(tasks: str, form: str) -> Played:
        lines = [f"  {name}: {json.dumps(value)}" for name, value in variables(form, connection, tmp_path).items()]
        text = "\n".join(["- hosts: localhost", "  gather_facts: false", *lines, "  tasks:"])
        body = "\n".join(f"  {line}" for line in tasks.splitlines())
        return play(f"{text}\n{body}\n", env=dict.fromkeys(settings))

    return run


def variables(form: str, connection: dict[str, str], folder: Any) -> dict[str, Any]:
    record = {"etl_maintenance_record_file": f"{folder}/record.json"}
    if form == "variables":
        return {"vars": {**record, **{f"helix_{name}": value for name, value in connection.items()}}}
    return {"vars": record, "module_defaults": {"group/capacityops.bmc_helix.helix": connection}}


@pytest.mark.parametrize("form", ["variables", "module_defaults"])
def test_modules_and_roles_share_one_connection(run: Run, form: str, simulator: SimulatorProcess) -> None:
    done = run(f"{MODULE}\n{ROLES}", form)
    assert done.rc == 0, done.output
    assert simulator.control.counters()["launches_by_etl"] == {1: 1}


def test_the_lookup_shares_the_variables(run: Run) -> None:
    done = run(LOOKUP, "variables")
    assert done.rc == 0, done.output


def test_the_lookup_says_what_it_does_not_read(run: Run) -> None:
    done = run(LOOKUP, "module_defaults")
    assert done.rc != 0
    for way in ("option url", "variable helix_url", "environment variable HELIX_URL", "module_defaults"):
        assert way in done.output, done.output

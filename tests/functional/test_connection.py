# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One connection for a whole play: modules, roles, and the lookup, as the guides describe it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.functional.support import Played
from tests.simulator.client import SimulatorProcess

pytestmark = pytest.mark.full

TASKS = """
- name: Read
  capacityops.bmc_helix.etl_info:
- name: Enter maintenance
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
- name: Log in
  ansible.builtin.debug:
    msg: "{{ lookup('capacityops.bmc_helix.jwt_token') | length }}"
"""


def test_modules_and_roles_share_one_connection(
    play: Callable[..., Played], simulator: SimulatorProcess, tmp_path: Path
) -> None:
    """In variables, which the lookup reads, too, and in module_defaults; nothing is in the environment."""
    simulator.control.put_etl(1, name="Import", state="ENDED", duration=0.3)
    settings = simulator.environment()
    connection = {name[6:].lower(): value for name, value in settings.items() if name.startswith("HELIX_")}
    record = {"etl_maintenance_record_file": f"{tmp_path}/record.json"}
    variables = {**record, **{f"helix_{name}": value for name, value in connection.items()}}
    group = {"group/capacityops.bmc_helix.helix": connection}
    tasks = yaml.safe_load(TASKS)
    common = {"hosts": "localhost", "gather_facts": False, "tasks": tasks}
    plays = [{**common, "vars": variables}, {**common, "vars": record, "module_defaults": group}]
    done = play(yaml.safe_dump(plays, sort_keys=False), env=dict.fromkeys(settings))
    assert simulator.control.counters()["launches_by_etl"] == {1: 2}, done.output
    assert done.rc == 2, done.output
    assert done.tasks[-1].task == "Log in", "only the lookup does not read module_defaults"
    for way in ("option url", "variable helix_url", "environment variable HELIX_URL", "module_defaults"):
        assert way in done.tasks[-1]["msg"]

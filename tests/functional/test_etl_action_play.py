# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules as users run them: in a play with loops, async, delegation, defaults, rescue; and ad hoc."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.functional.support import Played
from tests.simulator.client import SimulatorProcess

PLAY = """
- hosts: localhost
  gather_facts: false
  module_defaults:
    group/capacityops.bmc_helix.helix: "{{ helix }}"
  tasks:
    - name: Refresh
      block:
        - name: Run one after the other
          capacityops.bmc_helix.etl_action: {action: run, etl_name: "{{ item }}"}
          loop: [First, Second]
          register: refresh
      rescue:
        - name: Tell
          ansible.builtin.debug:
            msg: >-
              {{ refresh.results | map(attribute='etl') | map(attribute='outcome') | join(', ') }}:
              {{ (refresh.results | last).error.kind }}
    - name: In check mode
      capacityops.bmc_helix.etl_action: {action: run, etl_id: 2}
      check_mode: true
      register: look
      failed_when: look is not changed or look.etl.outcome != 'would_run'
    - name: In the background
      capacityops.bmc_helix.etl_action: {action: run, etl_id: 1, wait: false}
      async: 60
      poll: 0
      register: started
    - name: Collect
      ansible.builtin.async_status: {jid: "{{ started.ansible_job_id }}"}
      register: job
      until: job is finished
      retries: 60
      delay: 1
    - name: List
      capacityops.bmc_helix.etl_info:
      register: found
    - name: Wait
      capacityops.bmc_helix.etl_wait: {etl_id: "{{ found.etls | map(attribute='etl_id') }}", baseline: "{{ job.etls }}"}
      ignore_errors: true
- hosts: far
  gather_facts: false
  tasks:
    - name: From the control node
      capacityops.bmc_helix.etl_action: {action: stop, etl_id: 1}
      module_defaults:
        group/capacityops.bmc_helix.helix: "{{ helix }}"
      delegate_to: localhost
"""


@pytest.mark.every_core
def test_a_play(play: Callable[..., Played], simulator: SimulatorProcess, tmp_path: Path) -> None:
    """A play as users write it: the connection once, no environment."""
    simulator.control.speed(20)
    simulator.control.put_etl(1, name="First", state="ENDED", duration=10)
    simulator.control.put_etl(2, name="Second", state="ENDED", duration=10, exit="ERROR")
    interpreter = {
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "ansible_async_dir": f"{tmp_path}/async",
    }
    hosts = {"localhost": {"ansible_connection": "local"}, "far": {"ansible_host": "unreachable.invalid"}}
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(json.dumps({"all": {"vars": interpreter, "hosts": hosts}}), encoding="utf-8")
    keys = {"access_key": simulator.access_key, "access_secret_key": simulator.access_secret_key}
    played = play(
        PLAY,
        env={"HELIX_URL": None, "HELIX_ACCESS_KEY": None, "HELIX_ACCESS_SECRET_KEY": None, "HELIX_CA_PATH": None},
        extra={"helix": {"url": simulator.url, "ca_path": str(simulator.ca_file), **keys}},
        inventory=inventory,
    )
    assert played.rc == 0, played.output
    assert played.task("Tell")["msg"] == "succeeded, failed: exit_error"
    assert played.task("Collect")["etl"]["outcome"] == "accepted"
    assert [entry["name"] for entry in played.task("List")["etls"]] == ["First", "Second"]
    # The first run is that of the baseline; the second ETL has none, and its last run failed.
    assert [entry["outcome"] for entry in played.task("Wait")["etls"]] == ["succeeded", "failed"]
    assert "ETL 2 (Second) ended with exit ERROR" in played.stdout
    assert simulator.control.counters()["launches_by_etl"] == {1: 2, 2: 1}
    delegated = played.task("From the control node")
    assert (delegated.host, delegated["etl"]["outcome"]) == ("far", "nothing_to_do")


@pytest.mark.every_core
def test_adhoc(adhoc: Callable[..., Played], simulator: SimulatorProcess) -> None:
    """What the user sees on the screen."""
    simulator.control.put_etl(1, name="Nightly import", state="ENDED", duration=1, exit="ERROR")
    options = {"action": "run", "etl_id": 1}
    looked = adhoc("etl_action", options, check=True, diff=True)
    assert "localhost | CHANGED" in looked.stdout
    assert '-    "status": "ENDED"' in looked.stdout
    assert '+    "status": "RUNNING"' in looked.stdout
    assert simulator.control.counters()["writes"] == 0
    failed = adhoc("etl_action", options)
    assert failed.rc != 0
    assert "ETL 1 (Nightly import) ended with exit ERROR. See the ETL's log" in failed.stdout
    assert "Traceback" not in failed.output

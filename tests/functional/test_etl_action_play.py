# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules in real plays: loops, async, delegation, defaults of the group, rescue."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.functional.support import Played
from tests.simulator.client import SimulatorProcess


@pytest.fixture
def fast(simulator: SimulatorProcess) -> SimulatorProcess:
    simulator.control.speed(20)
    return simulator


@pytest.mark.full
def test_group_defaults_loop_rescue_and_delegation(play: Callable[..., Played], fast: SimulatorProcess) -> None:
    """A play as users write it: the connection once, no environment."""
    fast.control.put_etl(1, name="First", duration=10)
    fast.control.put_etl(2, name="Second", duration=10, exit="ERROR")
    played = play(
        """
        - hosts: localhost
          gather_facts: false
          module_defaults:
            group/capacityops.bmc_helix.helix:
              url: "{{ at }}"
              ca_path: "{{ ca }}"
              access_key: "{{ key }}"
              access_secret_key: "{{ secret }}"
          tasks:
            - name: Refresh
              block:
                - name: Run one after the other
                  capacityops.bmc_helix.etl_action:
                    action: run
                    etl_name: "{{ item }}"
                  loop: [First, Second]
                  register: refresh
              rescue:
                - name: Tell
                  ansible.builtin.debug:
                    msg: >-
                      {{ refresh.results | map(attribute='etl') | map(attribute='outcome') | join(', ') }}:
                      {{ (refresh.results | last).error.remedy }}
            - name: List
              capacityops.bmc_helix.etl_info:
              register: found
            - name: Wait for both
              capacityops.bmc_helix.etl_wait:
                etl_id: "{{ found.etls | map(attribute='etl_id') }}"
                until: idle
        - hosts: far
          gather_facts: false
          tasks:
            - name: From the control node
              capacityops.bmc_helix.etl_action:
                action: stop
                etl_id: 1
                url: "{{ at }}"
                ca_path: "{{ ca }}"
                access_key: "{{ key }}"
                access_secret_key: "{{ secret }}"
              delegate_to: localhost
        """,
        env={"HELIX_URL": None, "HELIX_ACCESS_KEY": None, "HELIX_ACCESS_SECRET_KEY": None, "HELIX_CA_PATH": None},
        extra={"at": fast.url, "ca": fast.ca_file, "key": fast.access_key, "secret": fast.access_secret_key},
        inventory=_inventory(fast),
    )
    assert played.rc == 0, played.output
    assert played.task("Tell")["msg"].startswith("succeeded, failed: See the ETL's log")
    assert [entry["name"] for entry in played.task("List")["etls"]] == ["First", "Second"]
    assert [entry["outcome"] for entry in played.task("Wait for both")["etls"]] == ["idle", "idle"]
    delegated = played.task("From the control node")
    assert (delegated.host, delegated["etl"]["outcome"]) == ("far", "nothing_to_do")


@pytest.mark.full
def test_async(play: Callable[..., Played], fast: SimulatorProcess, tmp_path: Path) -> None:
    fast.control.put_etl(1, duration=30)
    played = play(
        """
        - name: Start
          capacityops.bmc_helix.etl_action:
            action: run
            etl_id: 1
          async: 60
          poll: 0
          register: started
        - name: Collect
          ansible.builtin.async_status:
            jid: "{{ started.ansible_job_id }}"
          register: job
          until: job is finished
          retries: 60
          delay: 1
        """,
        # Core finds ~ once with HOME and once without it, and the tests have a HOME of their own.
        variables={"ansible_async_dir": str(tmp_path / "async")},
    )
    assert played.rc == 0, played.output
    assert played.task("Collect")["etl"]["outcome"] == "succeeded"
    assert fast.control.counters()["launches_by_etl"] == {1: 1}


def test_start_and_wait_later(play: Callable[..., Played], fast: SimulatorProcess) -> None:
    fast.control.put_etl(1, duration=20, exit="ERROR", state="ENDED")
    played = play(
        """
        - name: Start
          capacityops.bmc_helix.etl_action:
            action: run
            etl_id: 1
            wait: false
          register: started
        - name: Wait
          capacityops.bmc_helix.etl_wait:
            etl_id: 1
            baseline: "{{ started.etls }}"
        """
    )
    assert played.rc != 0
    assert played.task("Start")["etl"]["outcome"] == "accepted"
    assert played.task("Wait")["etl"]["outcome"] == "failed"
    assert "ETL 1 (ETL 1) ended with exit ERROR" in played.stdout


def test_adhoc_in_check_mode_with_diff(adhoc: Callable[..., Played], fast: SimulatorProcess) -> None:
    fast.control.put_etl(1, state="ENDED")
    played = adhoc("etl_action", {"action": "run", "etl_id": 1}, check=True, diff=True)
    assert played.rc == 0, played.output
    assert played.task()["etl"]["outcome"] == "would_run"
    assert '-    "status": "ENDED"' in played.stdout
    assert '+    "status": "RUNNING"' in played.stdout
    assert fast.control.counters()["writes"] == 0


@pytest.mark.one_core
@pytest.mark.parametrize(
    ("etl", "options", "words"),
    [
        ({}, {"access_secret_key": "wrongWrongWrongSecretKey0123456789"}, ("refused (HTTP 401)", "rotated")),
        (None, {}, ("There is no ETL 1 on",)),
        ({"engine": "inactive"}, {"start_timeout": 1}, ("did not start within 1 s", "engine is inactive")),
        ({"exit": "ERROR"}, {}, ("ETL 1 (ETL 1) ended with exit ERROR", "See the ETL's log")),
    ],
)
def test_failures_on_the_screen(
    adhoc: Callable[..., Played],
    fast: SimulatorProcess,
    etl: dict[str, Any],
    options: dict[str, Any],
    words: tuple[str, ...],
) -> None:
    if etl is not None:
        fast.control.put_etl(1, **etl)
    played = adhoc("etl_action", {"action": "run", "etl_id": 1, **options}, verbosity=0)
    assert played.rc != 0
    for word in words:
        assert word in played.stdout
    assert "Traceback" not in played.output
    assert "wrongWrong" not in played.output


def _inventory(simulator: SimulatorProcess) -> Any:
    """Two hosts: this one, and one that nobody can reach."""
    path = simulator.state_dir / "hosts.yml"
    path.write_text(
        "all:\n  vars:\n    ansible_python_interpreter: '{{ ansible_playbook_python }}'\n"
        "  hosts:\n    localhost:\n      ansible_connection: local\n"
        "    far:\n      ansible_host: unreachable.invalid\n",
        encoding="utf-8",
    )
    return path


@pytest.mark.every_core
def test_as_the_user_sees_it(
    simulator: SimulatorProcess, play: Callable[..., Played], adhoc: Callable[..., Played]
) -> None:
    """Through the real commands, with a private CA: green, nothing to do, a failure that can be rescued."""
    simulator.control.put_etl(321, name="Nightly import", state="ENDED", duration=1)
    simulator.control.put_etl(666, name="Broken", state="ENDED", duration=1, exit="ERROR")
    first = adhoc("etl_action", {"action": "run", "etl_id": 321, "max_age": 600})
    assert "ETL 321 ran and ended with exit OK" in first.stdout
    second = adhoc("etl_action", {"action": "run", "etl_id": 321, "max_age": 600})
    assert "localhost | SUCCESS" in second.stdout
    assert "was not run" in second.stdout
    assert simulator.control.counters()["launches_by_etl"] == {321: 1}
    rescued = play(
        """
        - block:
            - name: Run it
              capacityops.bmc_helix.etl_action: {action: run, etl_id: 666}
              register: run
          rescue:
            - name: Tell
              ansible.builtin.debug:
                msg: "{{ run.etl.outcome }} {{ run.error.kind }}: {{ run.error.remedy }}"
        - name: In check mode
          capacityops.bmc_helix.etl_action: {action: run, etl_id: 666}
          check_mode: true
          register: look
        - ansible.builtin.assert:
            that: look is changed and look.etl.outcome == 'would_run'
        """
    )
    assert rescued.rc == 0, rescued.output
    assert rescued.task("Tell")["msg"].startswith("failed exit_error: See the ETL's log")
    assert "Traceback" not in rescued.output

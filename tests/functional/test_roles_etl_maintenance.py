# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role etl_maintenance, played with the real ansible-playbook."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.functional.support import Played
from tests.simulator.client import Control, SimulatorProcess

# Each state taken is about ten modules, and a test takes several.
pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]
Maintenance = Callable[..., Played]
ROLE = "capacityops.bmc_helix.etl_maintenance"
RESULT = f"{ROLE} : Publish the result"
ALL = {"etl_maintenance_name_pattern": "*"}


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record.json"


@pytest.fixture
def maintenance(play: Callable[..., Played], simulator: SimulatorProcess, record: Path) -> Maintenance:
    """Take these states one after the other in one play: `maintenance("entered", "left")`."""
    scene(simulator.control)

    def run(*states: str, check: bool = False, **variables: Any) -> Played:
        tasks = [
            {
                "name": f"Go to {state}",
                "ansible.builtin.include_role": {"name": ROLE},
                "vars": {"etl_maintenance_state": state},
            }
            for state in states
        ]
        common = {
            "etl_maintenance_record_file": str(record),
            "etl_maintenance_poll_interval": 1,
            "etl_maintenance_secure_logging": False,
            "etl_maintenance_wait_timeout": 20,
            "etl_maintenance_kill_after": 5,
        }
        return play(tasks, check=check, timeout=250, variables={**common, **ALL, **variables})

    return run


def scene(control: Control) -> None:
    control.put_etl(1, name="Service on", kind="service", state="SERVICE_ON")
    control.put_etl(2, name="Service off", kind="service", state="SERVICE_OFF")
    control.put_etl(3, name="Scheduled", kind="periodic", state="WAITING")
    control.put_etl(4, name="Running, periodic", kind="periodic", state="RUNNING", duration=None)
    control.put_etl(5, name="Running once", state="RUNNING", duration=None)
    control.put_etl(6, name="Ended", state="ENDED")
    control.put_etl(7, name="Never ran")


def states(control: Control) -> dict[int, Any]:
    return {etl["id"]: etl["state"] for etl in control.etls()}


def results(played: Played) -> list[dict[str, Any]]:
    return [
        task["ansible_facts"]["etl_maintenance_result"]
        for task in played.tasks
        if task.task == RESULT and task.status == "ok"
    ]


IDLE = {1: "SERVICE_OFF", 2: "SERVICE_OFF", 3: "ENDED", 4: "ENDED", 5: "ENDED", 6: "ENDED", 7: None}
BACK = {**IDLE, 1: "SERVICE_ON", 3: "WAITING", 4: "WAITING"}


@pytest.mark.smoke
def test_entering_stops_everything_and_leaving_puts_it_back(
    maintenance: Maintenance, simulator: SimulatorProcess, record: Path
) -> None:
    control = simulator.control
    # A text of the server is never a template.
    control.patch_etl(1, name="Service {{ 6 * 7 }} on")
    done = maintenance("entered")
    assert done.rc == 0, done.output
    assert states(control) == IDLE
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    kept = {etl["etl_id"]: etl for etl in json.loads(record.read_text())["etls"]}
    assert {i: etl["was"] for i, etl in kept.items()} == {
        1: "SERVICE_ON", 2: "SERVICE_OFF", 3: "WAITING", 4: "RUNNING", 5: "RUNNING", 6: "ENDED", 7: None,
    }  # fmt: skip
    assert [i for i, etl in kept.items() if etl["scheduled"]] == [3, 4]
    assert [i for i, etl in kept.items() if etl["interrupted"]] == [4, 5]
    assert [i for i, etl in kept.items() if etl["service"]] == [1]
    assert simulator.access_key not in record.read_text()
    (result,) = results(done)
    assert result["changed"] is True
    assert result["record"] == json.loads(record.read_text())
    assert result["notes"] == []
    assert "Service {{ 6 * 7 }} on: The service ETL 1 is off." in done.task(f"{ROLE} : Show the result")["msg"]

    done = maintenance("left", "left", etl_maintenance_name_pattern="")
    assert done.rc == 0, done.output
    assert states(control) == BACK
    first, second = results(done)
    assert (first["failed"], first["changed"], second["changed"]) == (False, True, False)
    assert len(first["notes"]) == 2
    assert "not repeated" in first["notes"][0]
    assert second["msg"].startswith("Maintenance was left before")
    assert json.loads(record.read_text())["state"] == "left"
    assert control.counters()["launches_by_etl"] == {1: 1}, "only the service was started again"


def test_what_does_not_stop_is_red_and_the_rest_is_idle(
    maintenance: Maintenance, simulator: SimulatorProcess, record: Path
) -> None:
    simulator.control.patch_etl(5, stop_effect="ignored", kill_effect="ignored", state="RUNNING")
    done = maintenance("entered", etl_maintenance_wait_timeout=6, etl_maintenance_kill_after=2)
    assert done.rc == 2
    assert states(simulator.control) == {**IDLE, 5: "RUNNING"}
    message = done.task()["msg"]
    assert "Maintenance is not entered" in message
    assert "ETL 5 (Running once) is not idle: RUNNING." in message
    assert json.loads(record.read_text())["state"] == "entered"
    # What was recorded can be put back, whatever is still running.
    assert maintenance("left").rc == 0
    assert states(simulator.control) == {**BACK, 5: "RUNNING"}


def test_leaving_reports_what_it_cannot_restore_and_keeps_it(
    maintenance: Maintenance, simulator: SimulatorProcess, record: Path
) -> None:
    control = simulator.control
    assert maintenance("entered").rc == 0
    control.delete_etl(3)
    control.patch_etl(4, name="Somebody else's")
    control.patch_etl(1, engine="refuses")
    done = maintenance("left")
    assert done.rc == 2
    assert "Not everything could be restored" in done.task()["msg"]
    result = results(done)[0]
    assert sorted(etl["etl_id"] for etl in result["not_restored"]) == [1, 3, 4]
    assert states(control)[4] == "ENDED"
    control.patch_etl(1, engine="active")
    done = maintenance("left")
    assert done.rc == 2
    assert states(control)[1] == "SERVICE_ON"
    assert sorted(etl["etl_id"] for etl in results(done)[0]["not_restored"]) == [3, 4]
    control.put_etl(3, name="Scheduled", state="ENDED", kind="periodic")
    control.patch_etl(4, name="Running, periodic")
    assert maintenance("left").rc == 0
    assert states(control) == BACK
    assert json.loads(record.read_text())["state"] == "left"


def test_a_canceled_workflow_that_is_launched_again_restores_the_first_state(
    maintenance: Maintenance, simulator: SimulatorProcess, record: Path
) -> None:
    """The file is in a folder that outlives the job, such as one that AWX mounts into its containers."""
    assert maintenance("entered").rc == 0
    # Canceled here, so nobody has left. A second launch finds every ETL idle; meanwhile somebody turned a service on.
    simulator.control.patch_etl(2, state="SERVICE_ON")
    done = maintenance("entered", "left")
    assert done.rc == 0, done.output
    assert states(simulator.control) == {**BACK, 2: "SERVICE_ON"}
    assert json.loads(record.read_text())["state"] == "left"


def test_check_mode_changes_nothing(maintenance: Maintenance, simulator: SimulatorProcess, record: Path) -> None:
    before = states(simulator.control)
    done = maintenance("entered", check=True)
    assert done.rc == 0, done.output
    assert states(simulator.control) == before
    assert not record.exists()
    assert results(done)[0]["msg"].startswith("Maintenance would be entered")
    assert maintenance("entered").rc == 0
    kept = record.read_text()
    done = maintenance("left", check=True)
    assert done.rc == 0, done.output
    assert states(simulator.control) == IDLE
    assert record.read_text() == kept
    assert {entry["outcome"] for entry in results(done)[0]["etls"]} == {"would_run", "would_schedule"}


def test_a_record_can_be_handed_on_without_a_file(
    maintenance: Maintenance, simulator: SimulatorProcess, record: Path
) -> None:
    """In AWX a later job has no file of this one, but the stats, as an extra variable."""
    done = maintenance("entered", etl_maintenance_set_stats=True)
    stats = done.task(f"{ROLE} : Publish the record for a workflow")["ansible_stats"]["data"]
    assert list(stats) == ["etl_maintenance_record"]
    assert isinstance(stats["etl_maintenance_record"], str), "AWX would change the types of a structure"
    record.unlink()
    done = maintenance("left", **stats)
    assert done.rc == 0, done.output
    assert states(simulator.control) == BACK


@pytest.mark.parametrize("content", ["not JSON", '{"format": 2, "etls": []}'])
def test_a_strange_record_is_never_overwritten(
    maintenance: Maintenance, simulator: SimulatorProcess, record: Path, content: str
) -> None:
    record.write_text(content)
    done = maintenance("entered")
    assert done.rc == 2
    assert "is not a record of this role" in done.task()["msg"]
    assert record.read_text() == content
    assert simulator.control.counters()["writes"] == 0


def test_the_choice_must_be_clear_and_fit_something(maintenance: Maintenance, simulator: SimulatorProcess) -> None:
    done = maintenance("entered", etl_maintenance_etl_id=[1])
    assert "exactly one of" in done.task()["msg"]
    done = maintenance("entered", etl_maintenance_name_pattern="nothing*")
    assert "No ETL has a name like nothing*" in done.task()["msg"]
    assert simulator.control.counters()["writes"] == 0


def test_a_folder_that_is_not_there_stops_nothing(
    maintenance: Maintenance, simulator: SimulatorProcess, tmp_path: Path
) -> None:
    done = maintenance("entered", etl_maintenance_record_file=str(tmp_path / "nowhere" / "record.json"))
    assert done.rc == 2
    assert done.task()["msg"].startswith("Maintenance is not entered. Destination directory")
    published = done.task(f"{ROLE} : Publish the reason of the failure")["ansible_facts"]["etl_maintenance_result"]
    assert published["failed"] is True
    assert len(published["record"]["etls"]) == 7
    assert simulator.control.counters()["writes"] == 0


def test_a_host_with_the_record_that_cannot_be_reached_is_a_failure_that_can_be_rescued(
    maintenance: Maintenance, simulator: SimulatorProcess, record: Path
) -> None:
    gone = {"etl_maintenance_record_host": "gone.invalid"}
    done = maintenance("entered", **gone)
    assert done.rc == 2, done.output
    assert "on gone.invalid, which cannot be reached, so nothing was stopped or restored" in done.task()["msg"]
    assert simulator.control.counters()["writes"] == 0
    # With the record at hand, the ETLs are put back all the same.
    assert maintenance("entered").rc == 0
    done = maintenance("left", etl_maintenance_record=json.loads(record.read_text()), **gone)
    assert done.rc == 2, done.output
    assert "The ETLs were restored as far as possible" in done.task()["msg"]
    assert states(simulator.control) == BACK

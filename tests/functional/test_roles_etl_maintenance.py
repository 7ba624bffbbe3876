# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role etl_maintenance, played with the real ansible-playbook. In check mode: test_playbooks.py."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.functional.support import Played, rescued
from tests.simulator.client import SimulatorProcess

# Each state taken is about ten modules, and a test takes several.
pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]
Maintenance = Callable[..., Played]
ROLE = "capacityops.bmc_helix.etl_maintenance"
ENTERED, LEFT = {"state": "entered"}, {"state": "left"}
IDLE = {1: "SERVICE_OFF", 2: "SERVICE_OFF", 3: "ENDED", 4: "ENDED", 5: "ABORTED", 6: "ENDED", 7: None}
BACK = {**IDLE, 1: "SERVICE_ON", 3: "WAITING", 4: "WAITING"}


@pytest.fixture
def maintenance(play: Callable[..., Played], simulator: SimulatorProcess, tmp_path: Path) -> Maintenance:
    """Take these states in one play, whatever becomes of the others. `Told N` has the message of a failure."""
    control = simulator.control
    # A text of the server is never a template.
    control.put_etl(1, name="Service {{ 6 * 7 }} on", kind="service", state="SERVICE_ON")
    control.put_etl(2, name="Service off", kind="service", state="SERVICE_OFF")
    control.put_etl(3, name="Scheduled", kind="periodic", state="WAITING")
    control.put_etl(4, name="Running, periodic", kind="periodic", state="RUNNING", duration=None)
    control.put_etl(5, name="Must be killed", state="RUNNING", duration=None, stop_effect="ignored")
    control.put_etl(6, name="Ended", state="ENDED")
    control.put_etl(7, name="Never ran")
    common = {"name_pattern": "*", "poll_interval": 1, "secure_logging": False, "wait_timeout": 6, "kill_after": 1}
    common["record_file"] = str(tmp_path / "record.json")

    def run(*states: dict[str, Any]) -> Played:
        tasks = [
            rescued(number, ROLE, {f"etl_maintenance_{name}": value for name, value in {**common, **given}.items()})
            for number, given in enumerate(states)
        ]
        done = play(tasks, timeout=250)
        assert done.rc == 0, done.output
        return done

    return run


def states(simulator: SimulatorProcess) -> dict[int, Any]:
    return {etl["id"]: etl["state"] for etl in simulator.control.etls()}


def results(played: Played) -> list[dict[str, Any]]:
    facts = [task.result.get("ansible_facts", {}) for task in played.tasks]
    return [fact["etl_maintenance_result"] for fact in facts if "etl_maintenance_result" in fact]


@pytest.mark.smoke
@pytest.mark.one_core
def test_entering_stops_everything_and_leaving_puts_it_back(
    maintenance: Maintenance, simulator: SimulatorProcess, tmp_path: Path
) -> None:
    done = maintenance({**ENTERED, "set_stats": True}, {**LEFT, "name_pattern": ""}, LEFT)
    entered, first, second = results(done)
    assert (entered["failed"], entered["changed"], entered["notes"]) == (False, True, [])
    kept = {etl["etl_id"]: etl for etl in entered["record"]["etls"]}
    was = ["SERVICE_ON", "SERVICE_OFF", "WAITING", "RUNNING", "RUNNING", "ENDED", None]
    assert [etl["was"] for etl in kept.values()] == was
    assert [i for i, etl in kept.items() if etl["scheduled"]] == [3, 4]
    assert [i for i, etl in kept.items() if etl["interrupted"]] == [4, 5]
    assert [i for i, etl in kept.items() if etl["service"]] == [1]
    assert "Service {{ 6 * 7 }} on: The service ETL 1 is off." in done.output
    # As text: AWX would change the types of a structure.
    [stats] = [task["ansible_stats"]["data"] for task in done.tasks if "ansible_stats" in task]
    assert {name: json.loads(text) for name, text in stats.items()} == {"etl_maintenance_record": entered["record"]}
    sent = [(entry["exchange"], entry["etl_id"]) for entry in simulator.control.requests() if entry["write"]]
    assert sorted(sent[:6]) == [("kill", 3), ("kill", 4), ("kill", 5), ("stop", 1), ("stop", 4), ("stop", 5)]

    assert states(simulator) == BACK
    assert (first["failed"], first["changed"], second["changed"]) == (False, True, False)
    assert len(first["notes"]) == 3
    assert "not repeated" in first["notes"][0]
    assert second["msg"].startswith("Maintenance was left before")
    assert simulator.control.counters()["launches_by_etl"] == {1: 1}, "only the service was started again"
    record = tmp_path / "record.json"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert json.loads(record.read_text()) == {**second["record"], "state": "left"}
    assert simulator.access_key not in record.read_text()


def test_what_does_not_stop_or_cannot_be_restored_is_reported_and_kept(
    maintenance: Maintenance, simulator: SimulatorProcess
) -> None:
    """Also: a canceled workflow that is launched again finds ETLs idle, and restores the first state."""
    for exchange, etl_id in (("stop", 4), ("run", 1)):
        simulator.control.fault({"exchange": exchange, "etl_id": etl_id}, {"kind": "status", "code": 400})
    done = maintenance(ENTERED, ENTERED, LEFT, LEFT)
    failed, entered, partly, left = results(done)
    assert "Maintenance is not entered" in done.task("Told 0")["msg"]
    assert "ETL 4 (Running, periodic) is not idle: RUNNING." in done.task("Told 0")["msg"]
    assert [failed["record"]["state"], entered["failed"]] == ["entered", False]
    assert [etl["etl_id"] for etl in partly["not_restored"]] == [1]
    assert "Not everything could be restored" in done.task("Told 2")["msg"]
    assert (left["failed"], left["record"]["state"]) == (False, "left")
    assert states(simulator) == BACK


def test_what_cannot_be_entered_or_left_stops_nothing(
    maintenance: Maintenance, simulator: SimulatorProcess, tmp_path: Path
) -> None:
    """A host that cannot be reached is a failure that can be rescued; with the record at hand, ETLs are restored."""
    before = {**states(simulator), 1: "SERVICE_OFF"}
    simulator.control.patch_etl(1, name="Service", state="SERVICE_OFF")
    strange = tmp_path / "strange.json"
    strange.write_text("not JSON")
    etls = [{"etl_id": 1, "etl_name": "Service", "was": "SERVICE_ON", "service": True}]
    given = {"format": 1, "state": "entered", "entered_at": "now", "etls": etls}
    gone = {"record_host": "gone.invalid"}
    cases: list[tuple[dict[str, Any], str]] = [
        ({**ENTERED, "record_file": str(strange)}, "is not a record of this role"),
        ({**ENTERED, "name_pattern": "nothing*"}, "No ETL has a name like nothing*"),
        ({**ENTERED, "record_file": f"{tmp_path}/nowhere/x"}, "Maintenance is not entered. Destination directory"),
        ({**ENTERED, **gone}, "on gone.invalid, which cannot be reached, so nothing was stopped"),
        ({**LEFT, **gone, "record": given}, "The ETLs were restored as far as possible"),
    ]
    done = maintenance(*(variables for variables, _message in cases))
    for number, (_variables, message) in enumerate(cases):
        assert message in done.task(f"Told {number}")["msg"]
    assert strange.read_text() == "not JSON"
    unwritten = results(done)[2]
    assert (unwritten["failed"], len(unwritten["record"]["etls"])) == (True, 7)
    assert states(simulator) == {**before, 1: "SERVICE_ON"}
    assert simulator.control.counters()["writes"] == 1

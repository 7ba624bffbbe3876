# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role etl_maintenance, played with the real ansible-playbook."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Union

import pytest

from tests.functional.support import Played, rescued
from tests.simulator.client import Control, SimulatorProcess

# Each state taken is about ten modules, and a test takes several.
pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]
Maintenance = Callable[..., Played]
ROLE = "capacityops.bmc_helix.etl_maintenance"


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record.json"


@pytest.fixture
def maintenance(play: Callable[..., Played], simulator: SimulatorProcess, record: Path) -> Maintenance:
    """Take these states in one play, whatever becomes of the others: `maintenance("entered", {…}, at(…), "left")`.

    A dictionary with `state` has variables of its own; any other is a task. `Told N` has the message of a failure.
    """
    scene(simulator.control)

    def run(*steps: Union[str, dict[str, Any]], check: bool = False) -> Played:
        tasks: list[dict[str, Any]] = []
        for number, step in enumerate(steps):
            given = {"state": step} if isinstance(step, str) else step
            if "state" not in given:
                tasks.append(given)
                continue
            variables = {f"etl_maintenance_{name}": value for name, value in given.items()}
            tasks.append(rescued(number, ROLE, variables))
        common = {
            "etl_maintenance_record_file": str(record),
            "etl_maintenance_name_pattern": "*",
            "etl_maintenance_poll_interval": 1,
            "etl_maintenance_secure_logging": False,
            "etl_maintenance_wait_timeout": 6,
            "etl_maintenance_kill_after": 2,
        }
        done = play(tasks, check=check, timeout=250, variables=common)
        assert done.rc == 0, done.output
        return done

    return run


def at(etl_id: int, method: str = "PATCH", **facts: Any) -> dict[str, Any]:
    """A task that changes an ETL of the simulator."""
    address = f"{{{{ lookup('ansible.builtin.env', 'HELIX_URL') }}}}/_simulator/etls/{etl_id}"
    trust = "{{ lookup('ansible.builtin.env', 'HELIX_CA_PATH') }}"
    uri = {"url": address, "ca_path": trust, "method": method, "body_format": "json", "body": facts}
    return {"name": f"{method} {etl_id}", "ansible.builtin.uri": {**uri, "status_code": [200, 201, 204]}}


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
    facts = [task.result.get("ansible_facts", {}) for task in played.tasks]
    return [fact["etl_maintenance_result"] for fact in facts if "etl_maintenance_result" in fact]


IDLE = {1: "SERVICE_OFF", 2: "SERVICE_OFF", 3: "ENDED", 4: "ENDED", 5: "ENDED", 6: "ENDED", 7: None}
BACK = {**IDLE, 1: "SERVICE_ON", 3: "WAITING", 4: "WAITING"}


@pytest.mark.smoke
@pytest.mark.one_core
def test_entering_stops_everything_and_leaving_puts_it_back(
    maintenance: Maintenance, simulator: SimulatorProcess, record: Path
) -> None:
    control = simulator.control
    # A text of the server is never a template.
    control.patch_etl(1, name="Service {{ 6 * 7 }} on")
    left = {"state": "left", "name_pattern": ""}
    done = maintenance("entered", left, left)
    entered, first, second = results(done)
    assert (entered["failed"], entered["changed"], entered["notes"]) == (False, True, [])
    kept = {etl["etl_id"]: etl for etl in entered["record"]["etls"]}
    was = ["SERVICE_ON", "SERVICE_OFF", "WAITING", "RUNNING", "RUNNING", "ENDED", None]
    assert [etl["was"] for etl in kept.values()] == was
    assert [i for i, etl in kept.items() if etl["scheduled"]] == [3, 4]
    assert [i for i, etl in kept.items() if etl["interrupted"]] == [4, 5]
    assert [i for i, etl in kept.items() if etl["service"]] == [1]
    assert "Service {{ 6 * 7 }} on: The service ETL 1 is off." in done.output
    sent = [(entry["exchange"], entry["etl_id"]) for entry in control.requests() if entry["write"]]
    assert sorted(sent[:5]) == [("kill", 3), ("kill", 4), ("stop", 1), ("stop", 4), ("stop", 5)]

    assert states(control) == BACK
    assert (first["failed"], first["changed"], second["changed"]) == (False, True, False)
    assert len(first["notes"]) == 2
    assert "not repeated" in first["notes"][0]
    assert second["msg"].startswith("Maintenance was left before")
    assert control.counters()["launches_by_etl"] == {1: 1}, "only the service was started again"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert json.loads(record.read_text()) == {**second["record"], "state": "left"}
    assert simulator.access_key not in record.read_text()


def test_what_does_not_stop_or_cannot_be_restored_is_reported_and_kept(
    maintenance: Maintenance, simulator: SimulatorProcess, record: Path
) -> None:
    """Also: a canceled workflow that is launched again finds ETLs idle, and restores the first state."""
    control = simulator.control
    control.patch_etl(5, stop_effect="ignored", kill_effect="ignored", state="RUNNING")
    done = maintenance(
        "entered",
        at(5, stop_effect="stops"),
        at(2, state="SERVICE_ON"),
        "entered",
        at(3, "DELETE"),
        at(4, name="Somebody else's"),
        at(1, engine="refuses"),
        "left",
        at(1, engine="active"),
        at(3, "PUT", name="Scheduled", state="ENDED", kind="periodic"),
        "left",
    )
    failed, entered, partly, left = results(done)
    assert "Maintenance is not entered" in done.task("Told 0")["msg"]
    assert "ETL 5 (Running once) is not idle: RUNNING." in done.task("Told 0")["msg"]
    assert [failed["record"]["state"], entered["failed"]] == ["entered", False]
    assert sorted(etl["etl_id"] for etl in partly["not_restored"]) == [1, 3, 4]
    assert "Not everything could be restored" in done.task("Told 7")["msg"]
    assert [etl["etl_id"] for etl in left["not_restored"]] == [4]
    assert states(control) == {**BACK, 2: "SERVICE_ON", 4: "ENDED"}
    assert json.loads(record.read_text())["state"] == "entered"


def test_check_mode_changes_nothing_and_a_record_is_handed_on_without_a_file(
    maintenance: Maintenance, simulator: SimulatorProcess, record: Path
) -> None:
    """In AWX a later job has no file of this one, but the stats, as an extra variable."""
    before = states(simulator.control)
    done = maintenance("entered", check=True)
    assert states(simulator.control) == before
    assert not record.exists()
    assert results(done)[0]["msg"].startswith("Maintenance would be entered")
    done = maintenance({"state": "entered", "set_stats": True})
    stats = done.task(f"{ROLE} : Publish the record for a workflow")["ansible_stats"]["data"]
    assert list(stats) == ["etl_maintenance_record"]
    assert isinstance(stats["etl_maintenance_record"], str), "AWX would change the types of a structure"
    assert states(simulator.control) == IDLE
    record.unlink()
    done = maintenance({"state": "left", "record": stats["etl_maintenance_record"]}, check=True)
    assert states(simulator.control) == IDLE
    assert not record.exists()
    assert {entry["outcome"] for entry in results(done)[0]["etls"]} == {"would_run", "would_schedule"}


def test_what_cannot_be_entered_or_left_sends_nothing(
    maintenance: Maintenance, simulator: SimulatorProcess, tmp_path: Path, record: Path
) -> None:
    """A host that cannot be reached is a failure that can be rescued; with the record at hand, ETLs are restored."""
    strange = tmp_path / "strange.json"
    strange.write_text("not JSON")
    service = {"etl_id": 1, "etl_name": "Service on", "was": "SERVICE_ON", "service": True}
    service |= dict.fromkeys(("scheduled", "interrupted", "schedule_unknown", "restored"), False)
    given = {"format": 1, "state": "entered", "entered_at": "now", "etls": [service]}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"record_file": str(strange)}, "is not a record of this role"),
        ({"etl_id": [1]}, "exactly one of"),
        ({"name_pattern": "nothing*"}, "No ETL has a name like nothing*"),
        ({"record_file": f"{tmp_path}/nowhere/x"}, "Maintenance is not entered. Destination directory"),
        (
            {"record_host": "gone.invalid"},
            "on gone.invalid, which cannot be reached, so nothing was stopped",
        ),
    ]
    done = maintenance(*({"state": "entered", **variables} for variables, _message in cases))
    for number, (_variables, message) in enumerate(cases):
        assert message in done.task(f"Told {number}")["msg"]
    assert simulator.control.counters()["writes"] == 0
    assert strange.read_text() == "not JSON"
    assert results(done)[3]["failed"] is True
    assert len(results(done)[3]["record"]["etls"]) == 7

    simulator.control.patch_etl(1, state="SERVICE_OFF")
    done = maintenance({"state": "left", "record": given, "record_host": "gone.invalid"})
    assert "The ETLs were restored as far as possible" in done.task("Told 0")["msg"]
    assert states(simulator.control)[1] == "SERVICE_ON"

# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filters of the role etl_maintenance."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.filter import maintenance

NOW, FILE = "2026-01-02T03:04:05Z", "/var/r.json"
EXISTS = {"stat": {"exists": True}}
MISSING: dict[str, Any] = {"stat": {"exists": False}}
UNREACHABLE = {"unreachable": True, "msg": "Gone."}
GOOD = {"format": 1, "state": "entered", "entered_at": "then", "etls": [{"etl_id": 1, "etl_name": "Yes"}]}


def etl(etl_id: int, status: Any, name: str = "") -> dict[str, Any]:
    return {"etl_id": etl_id, "name": name or f"N{etl_id}", "status": status}


def acted(etl_id: int, before: Any, after: Any = None, **facts: Any) -> dict[str, Any]:
    states = {"before": {"status": before}, "after": {"status": after} if after else None}
    entry = {"etl_id": etl_id, "changed": True, "failed": False, "msg": f"ETL {etl_id} done.", **states, **facts}
    return {"etls": [entry], "failed": entry["failed"], "msg": "All."}


def merged(old: dict[str, Any], looked: list[Any], done: Any = ()) -> dict[str, Any]:
    return maintenance.maintenance_merge(old, looked, done, NOW)


def flags(record: dict[str, Any], etl_id: int) -> set[str]:
    (found,) = [item for item in record["etls"] if item["etl_id"] == etl_id]
    return {name for name, value in found.items() if value is True}


def coded(text: bytes) -> dict[str, str]:
    return {"content": base64.b64encode(text).decode()}


@pytest.mark.parametrize(
    ("stat", "content", "given", "record"),
    [
        (EXISTS, coded(json.dumps(GOOD).encode()), {"format": 1, "etls": []}, GOOD),
        (MISSING, {"skipped": True}, json.dumps(GOOD), GOOD),
        (MISSING, None, GOOD, GOOD),
        (MISSING, None, "", {}),
        (MISSING, None, None, {}),
        (UNREACHABLE, None, {}, {}),
        (MISSING, None, "not JSON", None),
        (EXISTS, {"failed": True}, GOOD, None),
        *((EXISTS, coded(text), None, None) for text in (b"", b"not JSON", b"\xff", b"[]", b"3")),
        (EXISTS, coded(b'{"format": 2, "etls": []}'), None, None),
        *((EXISTS, coded(b'{"format": 1%s}' % etls), None, None) for etls in (b"", b', "etls": 5', b', "etls": [{}]')),
    ],
)
def test_reading_a_record(stat: Any, content: Any, given: Any, record: Any) -> None:
    found = maintenance.maintenance_record(stat, content, given)
    assert found["record"] == (record or {})
    assert ("is not a record of this role" in found["problem"]) is (record is None)


@pytest.mark.parametrize(
    ("stat", "given", "state", "missing", "selection", "problem"),
    [
        (MISSING, "", "entered", "fail", ["", "", "all"], ""),
        (MISSING, "", "entered", "fail", ["", "", ""], "set exactly one of"),
        (MISSING, "", "entered", "fail", [[1], None, "all"], "set exactly one of"),
        (MISSING, "", "left", "fail", [[1], "x"], f"no record in {FILE} on host1"),
        (MISSING, "", "left", "ok", [], ""),
        (MISSING, GOOD, "left", "fail", [], ""),
        (UNREACHABLE, "", "entered", "fail", [[1]], "on host1, which cannot be reached"),
        (UNREACHABLE, GOOD, "entered", "fail", [[1]], "on host1, which cannot be reached"),
        (UNREACHABLE, "", "left", "ok", [], "nothing was stopped or restored. Gone."),
        (UNREACHABLE, GOOD, "left", "fail", [], ""),
    ],
)
def test_what_prevents_a_maintenance(
    stat: Any, given: Any, state: str, missing: str, selection: Any, problem: str
) -> None:
    found = maintenance.maintenance_record(stat, {}, given, state, FILE, "host1", missing, selection)
    assert problem in found["problem"]
    assert bool(problem) is bool(found["problem"])


def test_what_each_state_means() -> None:
    states = ["SERVICE_ON", "WAITING", "RUNNING", "ENDED", None]
    record = merged({}, [etl(number, state) for number, state in enumerate(states)])
    found = [flags(record, number) for number in range(5)]
    assert found == [{"service"}, {"scheduled"}, {"interrupted"}, set(), set()]
    assert [item["was"] for item in record["etls"]] == states
    assert (record["format"], record["state"], record["entered_at"]) == (1, "entered", NOW)


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        (acted(3, "RUNNING", "WAITING"), {"interrupted", "scheduled"}),
        (acted(3, "RUNNING", "ENDED"), {"interrupted"}),
        (acted(3, "RUNNING", "ABORTED"), {"interrupted", "schedule_unknown"}),
        # It had ended before the stop arrived.
        (acted(3, "ENDED", "ENDED", changed=False), set()),
        (acted(3, "WAITING", "WAITING", changed=False), {"scheduled"}),
        (acted(3, "RUNNING", changed=False, failed=True), set()),
    ],
)
def test_what_is_known_only_after_the_stop(done: dict[str, Any], expected: set[str]) -> None:
    assert flags(merged({}, [etl(3, "RUNNING")], [done]), 3) == expected


def test_a_second_entered_never_forgets_the_first_record() -> None:
    first = merged({}, [etl(1, "SERVICE_ON"), etl(2, "WAITING"), etl(9, "SERVICE_ON")])
    looked = [etl(1, "SERVICE_OFF"), etl(2, "ENDED"), etl(3, "SERVICE_ON")]
    second = maintenance.maintenance_merge(first, looked, (), "later")
    was = {1: "SERVICE_ON", 2: "WAITING", 3: "SERVICE_ON", 9: "SERVICE_ON"}
    assert {item["etl_id"]: item["was"] for item in second["etls"]} == was
    assert (flags(second, 1), flags(second, 2), flags(second, 9)) == ({"service"}, {"scheduled"}, {"service"})
    assert second["entered_at"] == NOW
    # A finished window is forgotten.
    left = {**first, "state": "left"}
    assert flags(merged(left, [etl(1, "SERVICE_OFF")]), 1) == set()
    assert merged(left, []) == left


def plan(record: dict[str, Any], listed: list[Any], interrupted: str = "leave") -> list[tuple[str, list[int], bool]]:
    steps = maintenance.maintenance_plan(record, listed, interrupted)
    return [(step["action"], step["etl_id"], step["repeats"]) for step in steps]


def test_the_plan() -> None:
    looked = [etl(1, "SERVICE_ON"), etl(2, "WAITING"), etl(3, "RUNNING"), etl(4, "ENDED")]
    record = merged({}, looked, [acted(3, "RUNNING", "WAITING")])
    assert plan(record, looked) == [("run", [1], False), ("schedule", [2, 3], False)]
    again = [("run", [1], False), ("schedule", [2], False), ("run", [3], True), ("schedule", [3], False)]
    assert plan(record, looked, "run") == again
    # An id that was given to another ETL.
    assert plan(record, [etl(1, None, "Other"), etl(2, None)]) == [("schedule", [2], False)]
    assert plan({**record, "state": "left"}, looked) == []


def entered(looked: list[Any], done: Any = (), proof: Any = None, old: Any = None, **keywords: Any) -> dict[str, Any]:
    record = merged(old or {}, looked)
    return maintenance.maintenance_entered(record, old or {}, looked, done, proof or {}, FILE, **keywords)


def test_maintenance_is_entered() -> None:
    result = entered([etl(1, "SERVICE_ON")], [acted(1, "SERVICE_ON")], {"etls": [etl(1, "SERVICE_OFF")]})
    assert result["msg"] == f"Maintenance is entered: 1 ETL is idle, nothing is scheduled. The record is in {FILE}."
    assert (result["failed"], result["changed"], result["lines"]) == (False, True, ["N1: ETL 1 done."])
    always = {"state", "failed", "changed", "check_mode", "record_file", "record", "etls"}
    assert set(result) == always | {"not_restored", "notes", "lines", "msg"}
    planned = entered([etl(1, "RUNNING"), etl(2, "WAITING")], check_mode=True)
    assert planned["msg"] == "Maintenance would be entered: 2 ETLs would be idle."
    # An earlier window, with other ETLs.
    (note,) = entered([etl(1, "ENDED")], old=merged({}, [etl(9, "SERVICE_ON")]))["notes"]
    assert "that was not left: N9." in note


FAILED = {"failed": True, "msg": "No permission."}


@pytest.mark.parametrize(
    ("done", "proof", "reason"),
    [
        *(([], {"etls": [etl(1, s)]}, f"ETL 1 (N1) is not idle: {s}.") for s in ("RUNNING", "WAITING", "HELD")),
        ([FAILED], {}, "No permission."),
        ([], FAILED, "No permission."),
    ],
)
def test_why_maintenance_is_not_entered(done: list[Any], proof: Any, reason: str) -> None:
    result = entered([etl(1, "RUNNING")], done, proof)
    assert result["failed"] is True
    assert reason in result["msg"]


def left(record: dict[str, Any], listed: list[Any], done: Any = (), **keywords: Any) -> dict[str, Any]:
    return maintenance.maintenance_left(record, listed, done, NOW, FILE, **keywords)


def test_maintenance_is_left() -> None:
    record = merged({}, [etl(1, "SERVICE_ON")])
    result = left(record, [etl(1, "SERVICE_OFF")], [acted(1, "SERVICE_OFF")])
    assert result["msg"] == "Maintenance is left: 1 ETL is as it was."
    assert (result["record"]["state"], result["record"]["left_at"]) == ("left", NOW)
    assert flags(result["record"], 1) == {"service", "restored"}
    again = left(result["record"], [])
    assert again["msg"].startswith("Maintenance was left before")
    assert left({}, [])["record"] == {}


@pytest.mark.parametrize(
    ("listed", "done", "reason"),
    [
        ([etl(1, None)], [acted(1, None, failed=True, msg="Refused.")], "Refused."),
        ([etl(1, None)], [{"failed": True, "msg": "No connection."}], "could not be handled. | No connection."),
        ([], [], "no longer exists"),
        ([etl(1, None, "Other")], [], "has another name"),
    ],
)
def test_what_cannot_be_restored_stays_in_the_record(listed: list[Any], done: list[Any], reason: str) -> None:
    result = left(merged({}, [etl(1, "SERVICE_ON"), etl(2, "ENDED")]), [*listed, etl(2, None)], done)
    assert result["failed"] is True
    assert reason in result["msg"]
    assert [item["etl_id"] for item in result["not_restored"]] == [1]
    record = result["record"]
    assert (record["state"], flags(record, 1), flags(record, 2)) == ("entered", {"service"}, {"restored"})
    # The next try handles only what is left.
    assert plan(record, [etl(1, None), etl(2, None)]) == [("run", [1], False)]


def test_what_is_not_restored_on_purpose_is_noted() -> None:
    record = merged({}, [etl(1, "RUNNING")], [acted(1, "RUNNING", "ABORTED")])
    first, second = left(record, [etl(1, None)])["notes"]
    assert "was not repeated" in first
    assert "unknown whether it also had a schedule" in second
    assert left(record, [etl(1, None)], [acted(1, None)], interrupted="run")["notes"] == [second]


def test_a_broken_role_publishes_what_it_knows() -> None:
    result = maintenance.maintenance_broken("Gone.", "entered", GOOD, [], [acted(1, "RUNNING")], FILE)
    assert (result["failed"], result["record"], result["changed"]) == (True, GOOD, True)
    assert result["msg"] == "Maintenance is not entered. Gone."


def test_names_are_shown_once() -> None:
    told = {1: "ETL 1 was stopped.", 2: "N2 was stopped.", 3: "ETL 3."}
    entries = [{"etl_id": etl_id, "msg": message} for etl_id, message in told.items()]
    lines = maintenance.etl_lines(entries, [etl(1, None), etl(2, None)])
    assert lines == ["N1: ETL 1 was stopped.", "N2 was stopped.", "ETL 3."]

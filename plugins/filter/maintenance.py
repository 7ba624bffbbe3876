# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role etl_maintenance. Each is documented in a file of its name beside this one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..plugin_utils._plain import plain

Etl = Mapping[str, Any]
#: The registered result of a module.
Result = Mapping[str, Any]

#: States in which nothing executes and nothing is scheduled.
IDLE = (None, "ENDED", "ABORTED", "SERVICE_OFF")


def maintenance_record(
    stat: Result,
    content: Result | None = None,
    given: Any = None,
    state: str = "left",
    record_file: str = "",
    host: str = "",
    missing: str = "ok",
    selection: Sequence[Any] = (),
) -> dict[str, Any]:
    """See maintenance_record.yml."""
    record = _read(stat, content or {}, given)
    problem = ""
    if stat.get("unreachable") and (state == "entered" or not record):
        why = stat.get("msg", "")
        problem = f"The record is on {host}, which cannot be reached, so nothing was stopped or restored. {why}"
    elif record is None:
        problem = (
            f"{record_file} is not a record of this role, or cannot be read, so nothing was stopped and the file was "
            "not changed. Move it away, or set etl_maintenance_record_file to another file."
        )
    elif state == "left" and not record and missing == "fail":
        problem = (
            f"There is no record in {record_file} on {host}, so it is unknown what to restore. Check "
            "etl_maintenance_record_file and etl_maintenance_record_host. In AWX, the files of a job are deleted with "
            "the job: keep the record in a mounted folder, or hand it on with etl_maintenance_set_stats. If "
            "maintenance was not entered, set etl_maintenance_missing_record to ok."
        )
    elif state == "entered" and len([choice for choice in selection if choice]) != 1:
        problem = (
            "To enter maintenance, set exactly one of etl_maintenance_etl_id, etl_maintenance_etl_name, and "
            "etl_maintenance_name_pattern."
        )
    return {"record": record or {}, "problem": problem}


def _read(stat: Result, content: Result, given: Any) -> dict[str, Any] | None:
    """The record, or None if it is not one."""
    exists = bool((stat.get("stat") or {}).get("exists"))
    try:
        if exists:
            given = base64.b64decode(content["content"]).decode()
        record = json.loads(given) if isinstance(given, str) and (exists or given.strip()) else plain(given or {})
    except (KeyError, ValueError):
        return None
    return record if _usable(record) else None


def _usable(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    etls = record.get("etls")
    return record == {} or (
        str(record.get("format")) == "1"
        and isinstance(etls, list)
        and all(isinstance(etl, dict) and {"etl_id", "etl_name"} <= set(etl) for etl in etls)
    )


def maintenance_merge(
    record: Mapping[str, Any], looked: Sequence[Etl], done: Sequence[Result], now: str
) -> dict[str, Any]:
    """See maintenance_merge.yml."""
    if not looked:
        return dict(record)
    old = {etl["etl_id"]: etl for etl in _pending(record)}
    entries = _entries(done)
    etls = [
        _recorded(etl, old.pop(etl["etl_id"], {}), [e for e in entries if e["etl_id"] == etl["etl_id"]])
        for etl in looked
    ]
    return {
        "format": 1,
        "state": "entered",
        "entered_at": record.get("entered_at", now) if _pending(record) else now,
        "etls": [*etls, *old.values()],
    }


def _recorded(etl: Etl, old: Etl, entries: Sequence[Etl]) -> dict[str, Any]:
    """The record of one ETL. The record of an unfinished maintenance is only extended."""
    status = etl["status"]
    ended = [_status(entry, "before") for entry in entries if entry["changed"]]
    # The state after a stop shows whether the run belongs to a schedule.
    seen = [status, *(_status(entry, when) for entry in entries for when in ("before", "after"))]
    interrupted = "RUNNING" in ended if entries else status == "RUNNING"
    return {
        "etl_id": etl["etl_id"],
        "etl_name": etl["name"],
        "was": old["was"] if old.get("was") not in IDLE else status,
        "service": bool(old.get("service") or status == "SERVICE_ON" or "SERVICE_ON" in ended),
        "scheduled": bool(old.get("scheduled") or "WAITING" in seen),
        "interrupted": bool(old.get("interrupted") or interrupted),
        "schedule_unknown": bool(old.get("schedule_unknown") or (interrupted and "ABORTED" in seen)),
        "restored": False,
    }


def _status(entry: Etl, when: str) -> Any:
    return (entry.get(when) or {}).get("status")


def maintenance_plan(
    record: Mapping[str, Any], listed: Sequence[Etl], interrupted: str = "leave"
) -> list[dict[str, Any]]:
    """See maintenance_plan.yml."""
    gone = _gone(record, listed)
    there = [etl for etl in _pending(record) if etl["etl_id"] not in gone]
    batch = [etl for etl in there if not etl.get("service")]
    again = [etl["etl_id"] for etl in batch if etl.get("interrupted") and interrupted == "run"]
    scheduled = [etl["etl_id"] for etl in batch if etl.get("scheduled")]
    steps = [
        ("Turn services on", "run", [etl["etl_id"] for etl in there if etl.get("service")]),
        ("Schedule", "schedule", [etl_id for etl_id in scheduled if etl_id not in again]),
        ("Repeat interrupted runs", "run", again),
        ("Schedule after the repeated run", "schedule", [etl_id for etl_id in scheduled if etl_id in again]),
    ]
    return [
        {"name": name, "action": action, "etl_id": ids, "repeats": ids is again} for name, action, ids in steps if ids
    ]


def maintenance_entered(
    record: Mapping[str, Any],
    old: Mapping[str, Any],
    looked: Sequence[Etl],
    done: Sequence[Result],
    proof: Result,
    record_file: str,
    check_mode: bool = False,
) -> dict[str, Any]:
    """See maintenance_entered.yml."""
    problems = _failures([*done, proof])
    problems += [
        f"{_label(etl['etl_id'], etl['name'])} is not idle: {etl['status']}."
        for etl in proof.get("etls") or []
        if etl.get("status") not in IDLE
    ]
    ids = [etl["etl_id"] for etl in looked]
    others = [etl["etl_name"] for etl in _pending(old) if etl["etl_id"] not in ids]
    note = (
        f"The record also contains ETLs of an earlier maintenance that was not left: {', '.join(others)}. "
        "Leaving restores them, too. If that maintenance is still active, use a separate "
        "etl_maintenance_record_file for each."
    )
    one = len(ids) == 1
    idle = "would be idle." if check_mode else f"{'is' if one else 'are'} idle, nothing is scheduled."
    return _result(
        "entered",
        looked,
        done,
        failed=bool(problems),
        check_mode=check_mode,
        record_file=record_file,
        record=record,
        notes=[note] if others else [],
        msg=f"Maintenance is not entered: {' | '.join(dict.fromkeys(problems))} The previous states are recorded in "
        f"{record_file}. Run this again, or restore them with etl_maintenance_state: left."
        if problems
        else f"Maintenance {'would be' if check_mode else 'is'} entered: {len(ids)} {'ETL' if one else 'ETLs'} {idle}"
        + ("" if check_mode else f" The record is in {record_file}."),
    )


def maintenance_left(
    record: Mapping[str, Any],
    listed: Sequence[Etl],
    done: Sequence[Result],
    now: str,
    record_file: str,
    interrupted: str = "leave",
    check_mode: bool = False,
) -> dict[str, Any]:
    """See maintenance_left.yml."""
    pending = [etl["etl_id"] for etl in _pending(record)]
    reasons = _reasons(record, listed, done, interrupted)
    etls = [{**etl, "restored": etl["etl_id"] not in reasons} for etl in record.get("etls") or []]
    not_restored = [
        {"etl_id": etl["etl_id"], "etl_name": etl["etl_name"], "reason": reasons[etl["etl_id"]]}
        for etl in etls
        if etl["etl_id"] in reasons
    ]
    left = {**record, "state": "entered" if reasons else "left", "etls": etls}
    if pending and not reasons:
        left["left_at"] = now
    problems = [*reasons.values(), *(text for text in _failures(done) if text not in reasons.values())]
    return _result(
        "left",
        listed,
        done,
        failed=bool(reasons),
        check_mode=check_mode,
        record_file=record_file,
        record=left if record else {},
        not_restored=not_restored,
        notes=[note for etl in _pending(record) for note in _notes(etl, interrupted)],
        msg=f"Not everything could be restored. {' | '.join(dict.fromkeys(problems))} Correct the cause and run this "
        f"again. If the ETLs are as they should be, delete {record_file}."
        if reasons
        else _msg_left(record, len(pending), check_mode),
    )


def _msg_left(record: Mapping[str, Any], count: int, check_mode: bool) -> str:
    if not record:
        return "There is no record, so there is nothing to restore."
    if not count:
        return "Maintenance was left before; there is nothing to restore."
    one = count == 1
    are = "would be" if check_mode else "is" if one else "are"
    return (
        f"Maintenance {'would be' if check_mode else 'is'} left: {count} {'ETL' if one else 'ETLs'} {are} "
        f"{'as it was' if one else 'as they were'}."
    )


def _reasons(
    record: Mapping[str, Any], listed: Sequence[Etl], done: Sequence[Result], interrupted: str
) -> dict[int, str]:
    """Why an ETL could not be restored."""
    entries, gone = _entries(done), _gone(record, listed)
    wanted = [etl_id for step in maintenance_plan(record, listed, interrupted) for etl_id in step["etl_id"]]
    reasons = {}
    for etl in _pending(record):
        etl_id, label = etl["etl_id"], _label(etl["etl_id"], etl["etl_name"])
        mine = [entry for entry in entries if entry["etl_id"] == etl_id]
        failed = [entry["msg"] for entry in mine if entry["failed"]]
        if etl_id in gone:
            reasons[etl_id] = f"{label} no longer exists, has another name, or is not visible to the key."
        elif failed:
            reasons[etl_id] = failed[0]
        elif etl_id in wanted and not mine:
            reasons[etl_id] = f"{label} could not be handled."
    return reasons


def _notes(etl: Etl, interrupted: str) -> Iterable[str]:
    label = _label(etl["etl_id"], etl["etl_name"])
    if etl.get("interrupted") and interrupted == "leave":
        yield f"The interrupted run of {label} was not repeated (etl_maintenance_interrupted: leave)."
    if etl.get("schedule_unknown") and not etl.get("scheduled"):
        yield f"{label} was aborted while it ran, so it is unknown whether it also had a schedule. Check it."


def maintenance_broken(
    reason: str,
    state: str,
    record: Mapping[str, Any],
    looked: Sequence[Etl],
    done: Sequence[Result],
    record_file: str,
    check_mode: bool = False,
) -> dict[str, Any]:
    """See maintenance_broken.yml."""
    return _result(
        state,
        looked,
        done,
        failed=True,
        check_mode=check_mode,
        record_file=record_file,
        record=record,
        msg=f"Maintenance is not {state}. {reason}",
    )


def etl_lines(entries: Sequence[Etl], etls: Sequence[Etl]) -> list[str]:
    """See etl_lines.yml."""
    names = {etl["etl_id"]: str(etl["name"]) for etl in etls}
    return [
        f"{names[entry['etl_id']]}: {entry['msg']}"
        if entry["etl_id"] in names and names[entry["etl_id"]] not in entry["msg"]
        else str(entry["msg"])
        for entry in entries
    ]


def _result(state: str, etls: Sequence[Etl], done: Sequence[Result], **facts: Any) -> dict[str, Any]:
    """The fact etl_maintenance_result."""
    entries = _entries(done)
    notes = facts.get("notes", [])
    return {
        "state": state,
        "changed": any(entry["changed"] for entry in entries),
        "etls": entries,
        "not_restored": [],
        "notes": [],
        "lines": [*etl_lines(entries, etls), *notes],
        **facts,
    }


def _pending(record: Mapping[str, Any]) -> list[Etl]:
    """What an unfinished maintenance still has to restore."""
    etls = record.get("etls") or [] if record.get("state", "left") != "left" else []
    return [etl for etl in etls if not etl.get("restored")]


def _gone(record: Mapping[str, Any], listed: Sequence[Etl]) -> set[int]:
    """Recorded ETLs that no longer exist. An id can be given to another ETL, so the name must match too."""
    names = {(etl["etl_id"], str(etl["name"])) for etl in listed}
    return {etl["etl_id"] for etl in _pending(record) if (etl["etl_id"], str(etl["etl_name"])) not in names}


def _entries(done: Sequence[Result]) -> list[Etl]:
    return [entry for result in done for entry in result.get("etls") or []]


def _failures(results: Sequence[Result]) -> list[str]:
    return [str(result.get("msg", "See the task above.")) for result in results if result.get("failed")]


def _label(etl_id: int, name: object) -> str:
    return f"ETL {etl_id} ({name})"


class FilterModule:
    """The filters, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "maintenance_record": maintenance_record,
            "maintenance_merge": maintenance_merge,
            "maintenance_plan": maintenance_plan,
            "maintenance_entered": maintenance_entered,
            "maintenance_left": maintenance_left,
            "maintenance_broken": maintenance_broken,
            "etl_lines": etl_lines,
        }

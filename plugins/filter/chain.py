# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role etl_chain. Each is documented in a file of its name beside this one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..module_utils._status import rfc3339
from ..plugin_utils._plain import items, plain

Record = Mapping[str, Any]

#: Options that are invalid or have no meaning for some steps. As defaults, they are left out there.
ONLY_RUN = ("max_age", "if_running", "on_timeout")
ONLY_WAITING = ("if_running", "on_timeout", "fail_on_warning")
PROPERTIES = ("run_execution_properties", "secret_run_execution_properties")
OWN = ("name", "when", "on_failure", "action", "etl_id", "etl_name")
#: Outcomes after which a run that the chain started might still be executing.
UNFINISHED = ("accepted", "not_started", "service_on", "timed_out", "unconfirmed")
MESSAGES = {"skipped": "Skipped, because its condition (when) is false.", "not_reached": "Not reached."}


def chain_steps(steps: Any, defaults: Any = None, on_failure: str = "abort") -> dict[str, Any]:
    """See chain_steps.yml."""
    given = plain(steps) or []
    found = [_step(number, step, plain(defaults) or {}, on_failure) for number, step in enumerate(given, 1)]
    for step in found:
        step["heading"] = f"Step {step['number']} of {len(found)}, {step['name']}"
    names = [name for step in found if step["wanted"] for name in step["etl_name"]]
    return {"steps": found, "etl_names": list(dict.fromkeys(names)), "problems": list(_problems(found))}


def _step(number: int, step: Mapping[str, Any], defaults: Mapping[str, Any], on_failure: str) -> dict[str, Any]:
    action = step.get("action") or "run"
    ids, names = items(step.get("etl_id")), items(step.get("etl_name"))
    return {
        "number": number,
        "name": str(step.get("name") or f"{action} {', '.join(map(str, names + ids))}"),
        "wanted": _truth(step.get("when", True)),
        "on_failure": step.get("on_failure") or on_failure,
        "action": action,
        "etl_id": ids,
        "etl_name": [name if isinstance(name, bool) else str(name) for name in names],
        "options": _options(action, step, defaults),
    }


def _options(action: str, step: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    unsuitable = [] if action == "run" else [*ONLY_RUN]
    if action not in ("run", "schedule"):
        unsuitable += PROPERTIES
    if not _truth(step.get("wait", defaults.get("wait", True))):
        unsuitable += ONLY_WAITING
    merged = {**{name: value for name, value in defaults.items() if name not in unsuitable}, **step}
    return {name: value for name, value in merged.items() if name not in OWN and value is not None}


def _truth(value: object) -> bool:
    """As the filter bool of Ansible."""
    return value.lower() in ("true", "yes", "on", "1") if isinstance(value, str) else value in (True, 1)


def _problems(steps: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    if not steps:
        yield "etl_chain_steps is empty. Add at least one step."
    unclear = [f"step {step['number']}" for step in steps if bool(step["etl_id"]) == bool(step["etl_name"])]
    if unclear:
        yield f"A step needs exactly one of etl_id and etl_name, and not an empty one. Correct {', '.join(unclear)}."
    for step in steps:
        if any(isinstance(name, bool) for name in step["etl_name"]):
            yield f"An etl_name of step {step['number']} is a boolean. Put the name in quotes, or use etl_id."
    labels = [step["name"] for step in steps]
    if len(set(labels)) < len(labels):
        yield f"Each step needs a unique name, to tell them apart in the result. The names are: {', '.join(labels)}."


def chain_record(
    done: Mapping[str, Any], step: Mapping[str, Any], turn: str, began: float, ended: float, check_mode: bool = False
) -> dict[str, Any]:
    """See chain_record.yml."""
    taken, failed = turn == "go", turn == "go" and bool(done.get("failed"))
    etls = (done.get("etls") or []) if taken else []
    planned = check_mode or any(str(etl["outcome"]).startswith("would_") for etl in etls)
    return {
        "number": step["number"],
        "name": step["name"],
        "action": step["action"],
        "outcome": turn if not taken else "failed" if failed else "planned" if planned else "succeeded",
        "changed": taken and bool(done.get("changed")),
        "failed": failed,
        "msg": done.get("msg", "") if taken else MESSAGES[turn],
        "started_at": rfc3339(float(began)) if taken else None,
        "ended_at": rfc3339(float(ended)) if taken else None,
        "elapsed_seconds": round(float(ended) - float(began), 1) if taken else 0.0,
        "etls": etls,
        "error": done.get("error") if taken else None,
    }


def chain_cleanup(records: Sequence[Record], info: Mapping[str, Any] | None = None, method: str = "stop") -> list[int]:
    """See chain_cleanup.yml."""
    started = [
        etl["etl_id"]
        for etl in _etls(records)
        if etl["action"] in ("run", "schedule") and etl["changed"] and not etl["attached"]
        if etl["outcome"] in UNFINISHED
    ]
    candidates = list(dict.fromkeys(started))
    if info is None:
        return candidates
    executing = {etl["etl_id"]: etl["executing"] for etl in info.get("etls") or [] if "executing" in etl}
    # A stop has no effect on an idle ETL, so it is also used if the state could not be read.
    return [etl_id for etl_id in candidates if executing.get(etl_id, method == "stop")]


def chain_result(
    records: Sequence[Record],
    began: float,
    ended: float,
    names: Mapping[str, Any] | None = None,
    info: Mapping[str, Any] | None = None,
    cleanup: Mapping[str, Any] | None = None,
    check_mode: bool = False,
) -> dict[str, Any]:
    """See chain_result.yml."""
    names, cleanup = names or {}, cleanup or {}
    if "etls" not in cleanup and (info or {}).get("failed"):
        # The states could not be read, and nothing was ended.
        cleanup = {"failed": True, "msg": (info or {}).get("msg", "")}
    ended_early = cleanup.get("etls") or []
    failed = bool(names.get("failed")) or any(record["failed"] for record in records)
    planned = check_mode or any(record["outcome"] == "planned" for record in records)
    counts = Counter(str(record["outcome"]).replace("_", " ") for record in records)
    summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    told = " ".join(_told(records, names, cleanup))
    return {
        "outcome": "failed" if failed else "planned" if planned else "succeeded",
        "failed": failed,
        "changed": any(item["changed"] for item in [*records, *ended_early]),
        "check_mode": planned,
        "msg": f"The chain failed ({summary}). {told}"
        if failed
        else f"The chain {'would do this' if planned else 'succeeded'} ({summary}).",
        "started_at": rfc3339(float(began)),
        "ended_at": rfc3339(float(ended)),
        "elapsed_seconds": round(float(ended) - float(began), 1),
        "failed_steps": [record["name"] for record in records if record["failed"]],
        "steps": list(records),
        "ended_early": ended_early,
    }


def _told(records: Sequence[Record], names: Mapping[str, Any], cleanup: Mapping[str, Any]) -> Iterable[str]:
    """Failures first, with their remedies."""
    failures = []
    for record in records:
        if record["failed"]:
            remedy = (record["error"] or {}).get("remedy") or ""
            more = "" if remedy in record["msg"] else f" {remedy}"
            failures.append(f"Step {record['number']} ({record['name']}): {record['msg']}{more}")
    if failures:
        yield " | ".join(failures)
    if names.get("failed"):
        yield str(names.get("msg", "The names of the ETLs could not be resolved."))
    left = [record["name"] for record in records if record["outcome"] == "not_reached"]
    if left:
        yield f"Not reached: {', '.join(left)}."
    if cleanup.get("etls"):
        yield "Ended by the cleanup: " + " ".join(etl["msg"] for etl in cleanup["etls"])
    if cleanup.get("failed"):
        yield f"The cleanup failed, too: {cleanup.get('msg', '')}"


def chain_lines(result: Mapping[str, Any]) -> list[str]:
    """See chain_lines.yml."""
    lines = []
    for record in result["steps"]:
        etls = [
            f"{etl.get('etl_name') or 'ETL ' + str(etl['etl_id'])} {_words(etl['outcome'])}" for etl in record["etls"]
        ]
        took = f", {record['elapsed_seconds']} s" if record["started_at"] else ""
        who = f" ({', '.join(etls)})" if etls else ""
        lines.append(f"{record['number']}. {record['name']}: {_words(record['outcome'])}{took}{who}")
    return lines if result["failed"] else [*lines, result["msg"]]


def chain_summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """See chain_summary.yml."""
    kept = ("etl_id", "outcome", "changed", "task_execution_request_id")
    return {
        **{key: result[key] for key in ("outcome", "started_at", "ended_at", "failed_steps")},
        "steps": [
            {
                "name": record["name"],
                "outcome": record["outcome"],
                "etls": [{key: etl.get(key) for key in kept} for etl in record["etls"]],
            }
            for record in result["steps"]
        ],
    }


def _etls(records: Sequence[Record]) -> list[Mapping[str, Any]]:
    return [etl for record in records for etl in record["etls"]]


def _words(outcome: object) -> str:
    return str(outcome).replace("_", " ")


class FilterModule:
    """The filters, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "chain_steps": chain_steps,
            "chain_record": chain_record,
            "chain_cleanup": chain_cleanup,
            "chain_result": chain_result,
            "chain_lines": chain_lines,
            "chain_summary": chain_summary,
        }

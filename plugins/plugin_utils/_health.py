# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Expectations of ETLs, and the verdict on each ETL.

Private to this collection; shared by the filters and the event source. Without input, output, and clock.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from ansible.module_utils.parsing.convert_bool import boolean

from ..module_utils._status import EXECUTING, NEVER, SERVICE, STATES, fold, matches, parse_rfc3339

#: Worst first. An ETL with several findings gets the worst of them as its verdict.
VERDICTS = ("failed", "unexpected_state", "stale", "unknown", "never_ran", "warning", "healthy")
#: A gate can also fail on these: ETLs without an expectation, and expectations without an ETL.
GATES = (*VERDICTS[:-1], "unmatched", "missing")
KEYS = ("name_pattern", "etl_id", "max_age", "warn_age", "allow_warning", "states", "severity", "labels")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhd]?)")
#: A time that is further in the future than this, in seconds, makes the age unknown.
_SKEW = 300


class HealthError(ValueError):
    """Bad input, in one or two sentences for the user."""


class Expectation(NamedTuple):
    """What the user expects of some ETLs."""

    patterns: tuple[str, ...] = ()
    etl_ids: tuple[int, ...] = ()
    max_age: float | None = None
    warn_age: float | None = None
    allow_warning: bool = False
    states: tuple[str, ...] = ()
    severity: str | None = None
    labels: dict[str, str] = {}

    def covers(self, etl_id: int, name: str) -> bool:
        return etl_id in self.etl_ids or any(matches(text, name) for text in self.patterns)

    def selector(self) -> str:
        ids = ", ".join(map(str, self.etl_ids))
        return f"etl_id {ids}" if ids else f"name_pattern {', '.join(map(repr, self.patterns))}"


def clean(value: Any) -> str:
    """One line of text: control characters, line breaks and lone surrogates become blanks."""
    text = "" if value is None else str(value)
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text).strip()


def span(seconds: float) -> str:
    """A duration as text."""
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds // 86400)} days"


def sort_of(value: Any) -> str:
    """The type of a value, as the documentation names it. Values of Ansible have special types."""
    kinds: tuple[tuple[Any, str], ...] = ((Mapping, "a dictionary"), (str, "text"), (Sequence, "a list"))
    return next((word for kind, word in kinds if isinstance(value, kind)), "a number" if value is not None else "null")


def blank(value: Any) -> bool:
    """Whether a value is not set. Surveys send an empty text for each question without an answer."""
    return value is None or (isinstance(value, str) and not value.strip())


def words(value: Any) -> list[Any]:
    """A list; a scalar is a list of one, and a text can contain several words, separated by commas."""
    if blank(value):
        return []
    if isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    return list(value) if isinstance(value, Sequence) else [value]


def duration(value: Any, what: str) -> float | None:
    """Seconds of C(90), C(90m), C(26h), C(2d); None if not set.

    :raises HealthError: not a duration, or not above zero.
    """
    if blank(value):
        return None
    seconds = 0.0
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
    else:
        found = _DURATION.fullmatch(str(value).strip().lower())
        if isinstance(value, bool) or not found:
            raise HealthError(
                f"{what} is {value!r}, which is not a duration. Use seconds, or a number with s, m, h, or d,"
                " for example, 90m, 26h, or 2d."
            )
        seconds = float(found[1]) * _UNITS[found[2] or "s"]
    if not 0 < seconds <= 1e9:
        raise HealthError(f"{what} is {value!r}. It must be longer than 0 seconds and at most 1000000000 seconds.")
    return seconds


def moment(value: Any) -> float | None:
    """Seconds since 1970 of a number, a time as text, or a datetime; None if not set.

    :raises HealthError: it is none of these.
    """
    if blank(value):
        return None
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).timestamp()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    found = parse_rfc3339(value) if isinstance(value, str) else None
    if found is None:
        raise HealthError(f"now is {value!r}, which is not a time. Use a time such as 2026-01-31T23:59:59Z.")
    return found


# -- expectations -----------------------------------------------------------------------------------------------------


def parse_expectations(given: Any) -> list[Expectation]:
    """The user's list, checked.

    :raises HealthError: with the first expectation that is not valid, and the reason.
    """
    if given is not None and (isinstance(given, (str, Mapping)) or not isinstance(given, Sequence)):
        raise HealthError(f"The expectations must be a list, not {sort_of(given)}.")
    rules = [_expectation(f"Expectation {number}", item) for number, item in enumerate(given or (), 1)]
    _check_contradictions(rules)
    return rules


def _expectation(label: str, item: Any) -> Expectation:
    if not isinstance(item, Mapping):
        raise HealthError(f"{label} must be a dictionary, not {sort_of(item)}.")
    strange = sorted(str(key) for key in item if key not in KEYS)
    if strange:
        raise HealthError(f"{label} has unknown keys: {', '.join(strange)}. Valid keys: {', '.join(KEYS)}.")
    patterns = item.get("name_pattern")
    # A comma can be part of a name, so a text is one pattern.
    patterns = [] if blank(patterns) else [patterns] if isinstance(patterns, str) else words(patterns)
    ids = tuple(etl_id_of(value, f"{label}: etl_id") for value in words(item.get("etl_id")))
    if bool(patterns) == bool(ids):
        raise HealthError(f"{label} needs exactly one of name_pattern and etl_id.")
    if any(blank(text) or isinstance(text, (Mapping, list)) for text in patterns):
        raise HealthError(f"{label}: name_pattern must hold texts.")
    label = f"{label} ({Expectation(tuple(map(str, patterns)), ids).selector()})"
    max_age, warn_age = (duration(item.get(key), f"{label}: {key}") for key in ("max_age", "warn_age"))
    if max_age is not None and warn_age is not None and warn_age > max_age:
        raise HealthError(f"{label}: warn_age ({span(warn_age)}) is longer than max_age ({span(max_age)}).")
    return Expectation(
        tuple(map(str, patterns)),
        ids,
        max_age,
        warn_age,
        _yes_or_no(item.get("allow_warning"), f"{label}: allow_warning"),
        tuple(str(state).strip().upper() for state in words(item.get("states"))),
        None if blank(item.get("severity")) else _scalar(item["severity"], f"{label}: severity"),
        _labels(item.get("labels"), label),
    )


def _yes_or_no(value: Any, what: str) -> bool:
    try:
        return False if blank(value) else bool(boolean(value))
    except TypeError:
        raise HealthError(f"{what} is {value!r}; it must be true or false.") from None


def _labels(given: Any, label: str) -> dict[str, str]:
    if blank(given):
        return {}
    if not isinstance(given, Mapping):
        raise HealthError(f"{label}: labels must be a dictionary.")
    return {clean(key): _scalar(value, f"{label}: label {key}") for key, value in given.items()}


def _scalar(value: Any, what: str) -> str:
    if isinstance(value, (Mapping, list, tuple)):
        raise HealthError(f"{what} must be a text or a number.")
    return str(value).lower() if isinstance(value, bool) else clean(value)


def etl_id_of(value: Any, what: str) -> int:
    """An id of an ETL, given as a number or as digits.

    :raises HealthError: it is neither.
    """
    digits = str(value).strip()
    if isinstance(value, (bool, float)) or not (digits.isascii() and digits.isdecimal()) or int(digits) < 1:
        raise HealthError(f"{what} is {value!r}, which is not the id of an ETL.")
    return int(digits)


def _check_contradictions(rules: Sequence[Expectation]) -> None:
    seen: dict[str | int, tuple[int, Expectation]] = {}
    for number, rule in enumerate(rules, 1):
        keys: list[str | int] = [*map(fold, rule.patterns), *rule.etl_ids]
        for key in keys:
            first, other = seen.setdefault(key, (number, rule))
            differing = [name for name in KEYS[2:] if getattr(other, name) != getattr(rule, name)]
            if differing:
                raise HealthError(
                    f"Expectations {first} and {number} are both for {key!r} and differ in {', '.join(differing)}."
                    " Only the first would apply: remove one of them."
                )


# -- verdicts ---------------------------------------------------------------------------------------------------------


def judge(etls: Any, expectations: Any, *, now: Any = None, fail_on: Any = None) -> dict[str, Any]:
    """The verdicts on the C(etls) of C(etl_info), in their order, with counts, warnings, and what fails a gate.

    :param now: the time from which ages are counted; by default, the C(age_seconds) of C(etl_info).
    :raises HealthError: an argument is not valid.
    """
    rules, gates, at = parse_expectations(expectations), _gates(fail_on), moment(now)
    if isinstance(etls, (str, Mapping)) or not isinstance(etls, Sequence):
        raise HealthError("etl_health needs a list: the etls in a result of etl_info.")
    verdicts = [judge_one(etl, rules, at) for etl in etls]
    warnings, missing = _without_etl(rules, verdicts)
    failures = [v for v in verdicts if ("unmatched" if not v["matched"] else v["verdict"]) in gates]
    reasons = [sentence(v) for v in worst_first(failures)] + (missing if "missing" in gates else [])
    counts = {word: sum(v["verdict"] == word for v in verdicts) for word in VERDICTS}
    told = ", ".join(f"{number} {word.replace('_', ' ')}" for word, number in counts.items() if number)
    return {
        "etls": verdicts,
        "counts": counts,
        "etl_ids": {word: [v["etl_id"] for v in verdicts if v["verdict"] == word] for word in VERDICTS},
        "warnings": warnings,
        "failures": reasons,
        "msg": f"{len(verdicts)} ETL{'s' * (len(verdicts) != 1)}{': ' * bool(told)}{told}.",
    }


def _gates(given: Any) -> list[str]:
    gates = [str(word).strip().lower() for word in words(given)]
    strange = [word for word in gates if word not in GATES]
    if strange:
        raise HealthError(f"fail_on has unknown words: {', '.join(strange)}. Valid words: {', '.join(GATES)}.")
    return gates


def _without_etl(rules: Sequence[Expectation], verdicts: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """Warnings about expectations that apply to no ETL, and those of them that match none at all."""
    warnings, missing = [], []
    applied = {v["expectation"] for v in verdicts}
    for number, rule in enumerate(rules, 1):
        if number in applied:
            continue
        text = f"Expectation {number} ({rule.selector()})"
        if any(rule.covers(v["etl_id"], v["name"]) for v in verdicts):
            warnings.append(f"{text} never applies, because earlier expectations match the same ETLs.")
        else:
            missing.append(f"{text} matches no ETL.")
    absent = [
        f"Expectation {number} matches no ETL with the id {etl_id}."
        for number, rule in enumerate(rules, 1)
        if number in applied
        for etl_id in rule.etl_ids
        if all(v["etl_id"] != etl_id for v in verdicts)
    ]
    missing += absent
    return [*missing, *warnings], missing


def judge_one(etl: Any, rules: Sequence[Expectation], now: float | None = None) -> dict[str, Any]:
    """The verdict on one ETL by the first expectation that matches it; without one, its state alone counts."""
    if not isinstance(etl, Mapping) or "etl_id" not in etl:
        raise HealthError("An item of etls is not an ETL of etl_info: it has no etl_id.")
    etl_id, name = etl_id_of(etl["etl_id"], "etl_id"), clean(etl.get("name")) or f"ETL {etl['etl_id']}"
    number, rule = next(((n, r) for n, r in enumerate(rules, 1) if r.covers(etl_id, name)), (None, Expectation()))
    age = _age(etl, now)
    findings, remarks = assess(etl, rule, age)
    state, exit_code = _word(etl.get("status")), _word(etl.get("exit_code"))
    return {
        "etl_id": etl_id,
        "name": name,
        "verdict": min((word for word, _reason in findings), key=VERDICTS.index, default="healthy"),
        "reasons": [*(reason for _word, reason in findings), *remarks],
        "findings": sorted({word for word, _reason in findings}, key=VERDICTS.index),
        "matched": number is not None,
        "expectation": number,
        "severity": rule.severity,
        "labels": dict(rule.labels),
        "status": state or None,
        "exit_code": exit_code or None,
        "last_exec_ts": clean(etl.get("last_exec_ts")) or None,
        "age_seconds": age,
        "kind": "service" if state in SERVICE else "batch" if state in STATES else "unknown",
        "executing": state in EXECUTING,
    }


def _word(value: Any) -> str:
    word = clean(value).upper()
    return "" if word == NEVER.upper() else word


def _age(etl: Mapping[str, Any], now: float | None) -> int | None:
    if now is None:
        age = etl.get("age_seconds")
        return int(age) if isinstance(age, (int, float)) and not isinstance(age, bool) else None
    then = parse_rfc3339(clean(etl.get("last_exec_ts")))
    return None if then is None or then - now > _SKEW else max(0, int(now - then))


Findings = list[tuple[str, str]]


def assess(etl: Mapping[str, Any], rule: Expectation, age: int | None) -> tuple[Findings, list[str]]:
    """Everything that is wrong with an ETL as (verdict, reason), and remarks that do not affect the verdict."""
    if "status" not in etl:
        return [("unknown", f"The state was not read. {clean(etl.get('msg'))}".strip())], []
    state, exit_code, time = _word(etl["status"]), _word(etl.get("exit_code")), clean(etl.get("last_exec_ts"))
    if not state or (state == "WAITING" and not exit_code and not time):
        return [("never_ran", "scheduled, never ran" if state else "never ran")], []
    findings: Findings = []
    # A scheduled ETL alternates between the two.
    accepted = {*rule.states, *(["RUNNING"] if "WAITING" in rule.states else [])}
    if rule.states and state not in accepted:
        findings.append(("unexpected_state", f"state is {state}, expected {' or '.join(rule.states)}"))
    elif state not in STATES and not rule.states:
        findings.append(("unknown", f"state {state} is not documented"))
    if state in SERVICE:
        return findings, [] if findings else [f"service is {'on' if state == 'SERVICE_ON' else 'off'}"]
    if state != "RUNNING" and (exit_code or state in STATES):
        findings += _of_exit(state, exit_code, rule)
    # If the server shows the end of a run, the first run has no time yet.
    if state != "RUNNING" or time:
        findings += _of_age(rule, age, time)
    return findings, ["run in progress"] if state == "RUNNING" else []


def _of_exit(state: str, exit_code: str, rule: Expectation) -> Findings:
    if state == "ABORTED":
        return [("failed", "last run was aborted")]
    if exit_code == "WARNING":
        return [] if rule.allow_warning else [("warning", "last run ended with exit code WARNING")]
    if not exit_code:
        return [("unknown", "last run has no exit code")]
    return [] if exit_code == "OK" else [("failed", f"last run ended with exit code {exit_code}")]


def _of_age(rule: Expectation, age: int | None, time: str) -> Findings:
    if rule.max_age is None and rule.warn_age is None:
        return []
    if age is None:
        return [("unknown", f"cannot use the time of the last run: {time[:40]!r}" if time else "last run has no time")]
    if rule.max_age is not None and age > rule.max_age:
        return [("stale", f"last run is older than {span(rule.max_age)}")]
    if rule.warn_age is not None and age > rule.warn_age:
        return [("warning", f"last run is older than {span(rule.warn_age)} (warn_age)")]
    return []


# -- words ------------------------------------------------------------------------------------------------------------


def group(verdict: Mapping[str, Any]) -> str:
    """The heading under which an ETL is shown: C(failed), C(attention), C(running), C(healthy), C(off)."""
    if verdict["verdict"] == "failed":
        return "failed"
    if verdict["verdict"] == "never_ran" or (verdict["verdict"] == "healthy" and verdict["status"] == "SERVICE_OFF"):
        return "off"
    if verdict["verdict"] != "healthy":
        return "attention"
    return "running" if verdict["executing"] else "healthy"


#: The headings, worst first.
GROUPS = {
    "failed": "Failed",
    "attention": "Needs attention",
    "running": "Running",
    "healthy": "Healthy",
    "off": "Off or never ran",
}


def worst_first(verdicts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    def rank(v: Mapping[str, Any]) -> tuple[int, int, str, int]:
        return list(GROUPS).index(group(v)), VERDICTS.index(v["verdict"]), fold(v["name"]), v["etl_id"]

    return sorted(verdicts, key=rank)


def sentence(verdict: Mapping[str, Any]) -> str:
    """One ETL in a message."""
    about = f"ETL {verdict['etl_id']} {verdict['name']!r}"
    if not verdict["matched"]:
        return f"{about} has no expectation"
    return f"{about}: {verdict['verdict'].replace('_', ' ')} ({'; '.join(verdict['reasons'])})"

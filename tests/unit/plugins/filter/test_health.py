# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verdicts on ETLs and their reports."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any, Optional

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.capacityops.bmc_helix.plugins.filter.health import (
    etl_health,
    etl_health_page,
    etl_health_report,
)
from ansible_collections.capacityops.bmc_helix.plugins.plugin_utils._health import HealthError, duration

TIME = "2026-01-01T00:00:00Z"
ALL: dict[str, Any] = {"name_pattern": "*"}


class Tagged(dict):  # type: ignore[type-arg]
    """ansible-core 2.19 and later pass types of their own, whose names say nothing to a user."""


def etl(status: Optional[str] = "ENDED", exit_code: Optional[str] = "OK", age: Optional[int] = 60, **more: Any) -> Any:
    """An ETL as etl_info returns it."""
    time = None if age is None else TIME
    facts = {"status": status, "exit_code": exit_code, "last_exec_ts": time, "age_seconds": age}
    return {"etl_id": 1, "name": "Import", **facts, **more}


@pytest.mark.parametrize(
    ("found", "rule", "expected", "reason"),
    [
        (etl(), {}, "healthy", ""),
        (etl("WAITING"), {}, "healthy", ""),
        (etl(exit_code="WARNING"), {}, "warning", "exit code WARNING"),
        (etl(exit_code="WARNING"), {"allow_warning": "yes"}, "healthy", ""),
        (etl(exit_code="ERROR"), {}, "failed", "exit code ERROR"),
        (etl("ABORTED", None), {}, "failed", "aborted"),
        (etl(exit_code=None), {}, "unknown", "no exit code"),
        (etl(exit_code="ERROR", age=99), {"max_age": 60}, "failed", "exit code ERROR; last run is older than 60 s"),
        # Age: the limit itself is still fine.
        (etl(age=3600), {"max_age": "60m"}, "healthy", ""),
        (etl(age=3601), {"max_age": "60m"}, "stale", "older than 60 min"),
        (etl(age=3600), {"warn_age": "1h", "max_age": "2h"}, "healthy", ""),
        (etl(age=3601), {"warn_age": "1h", "max_age": "2h"}, "warning", "older than 60 min (warn_age)"),
        (etl(age=7201), {"warn_age": "1h", "max_age": "2h"}, "stale", "older than 2 h"),
        (etl("WAITING", age=3601), {"max_age": 3600}, "stale", "older than"),
        (etl(age=None), {}, "healthy", ""),
        (etl(age=None), {"max_age": 60}, "unknown", "last run has no time"),
        (etl(age=None, last_exec_ts="yesterday"), {"max_age": 60}, "unknown", "'yesterday'"),
        # The exit code beside RUNNING is the previous run's. A run that hangs becomes stale.
        (etl("RUNNING", "ERROR"), {"max_age": 60}, "healthy", "run in progress"),
        (etl("RUNNING", "OK", 61), {"max_age": 60}, "stale", "run in progress"),
        (etl("RUNNING", None, None), {"max_age": 60}, "healthy", "run in progress"),
        # Services have no exit code, and their age tells nothing.
        (etl("SERVICE_ON", None, 10**7), {"max_age": 60}, "healthy", "service is on"),
        (etl("SERVICE_OFF", None, None), {"max_age": 60}, "healthy", "service is off"),
        (etl("SERVICE_OFF", None), {"states": "service_on"}, "unexpected_state", "state is SERVICE_OFF"),
        # A scheduled ETL alternates between WAITING and RUNNING.
        (etl("RUNNING"), {"states": ["SERVICE_ON", "WAITING"]}, "healthy", "run in progress"),
        (etl("RUNNING"), {"states": ["ENDED"]}, "unexpected_state", "expected ENDED"),
        (etl(), {"states": ["SERVICE_ON", "WAITING"]}, "unexpected_state", "expected SERVICE_ON or WAITING"),
        (etl(None, None, None), {"max_age": 60}, "never_ran", "never ran"),
        (etl("WAITING", None, None), {}, "never_ran", "scheduled, never ran"),
        (etl("HELD", None), {}, "unknown", "HELD is not documented"),
        (etl("HELD"), {"states": ["held"]}, "healthy", ""),
        ({"etl_id": 1, "name": "Import", "msg": "HTTP 403.", "error": {}}, {}, "unknown", "not read. HTTP 403."),
    ],
)
def test_verdicts(found: Any, rule: dict[str, Any], expected: str, reason: str) -> None:
    (judged,) = etl_health([found], [{**ALL, **rule}])["etls"]
    assert judged["verdict"] == expected
    assert reason in "; ".join(judged["reasons"])
    assert bool(reason) == bool(judged["reasons"])


@pytest.mark.parametrize(
    ("time", "now", "expected"),
    [
        ("2026-01-01T00:00:00", "2026-01-01T02:00:00+0100", 3600),
        ("2026-01-01T00:00:00.5Z", 1767229200, 3600),
        (TIME, datetime(2026, 1, 1, 1, tzinfo=timezone.utc), 3600),
        # Clocks differ a little. A time far in the future is no time.
        ("2026-01-01T01:05:00Z", "2026-01-01T01:00:00Z", 0),
        ("2026-01-01T01:05:01Z", "2026-01-01T01:00:00Z", None),
        ("soon", "2026-01-01T01:00:00Z", None),
        (None, "2026-01-01T01:00:00Z", None),
    ],
)
def test_age_by_a_given_moment(time: Any, now: Any, expected: Optional[int]) -> None:
    (judged,) = etl_health([etl(last_exec_ts=time, age=5)], [ALL], now=now)["etls"]
    assert judged["age_seconds"] == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *((90, 90), ("90", 90), ("90s", 90), ("90m", 5400), ("26h", 93600), (" 2D ", 172800), ("1.5 h", 5400)),
        *((0.5, 0.5), (None, None), ("  ", None)),
    ],
)
def test_durations(text: Any, seconds: Optional[float]) -> None:
    assert duration(text, "max_age") == seconds


@pytest.mark.parametrize(
    "text", [0, -1, "0h", "2w", "1h30m", "soon", True, [1], float("nan"), float("inf"), "1e3", 10**10, "٣h"]
)
def test_bad_durations(text: Any) -> None:
    with pytest.raises(HealthError, match="max_age is "):
        duration(text, "max_age")


def test_the_first_match_applies() -> None:
    etls = [etl(etl_id=number, name=name) for number, name in ((1, "A one"), (2, "A two"), (3, "B"), (4, "C"))]
    rules = [
        {"etl_id": "2", "max_age": 30, "severity": "high", "labels": {"team": "x", "page": True}},
        {"name_pattern": ["a *", "zzz"], "max_age": "1h"},
        {"name_pattern": "b"},
        {"name_pattern": "a tw?"},
        {"name_pattern": "nobody*"},
    ]
    judged = etl_health(etls, rules)
    assert [(v["verdict"], v["expectation"], v["matched"]) for v in judged["etls"]] == [
        ("healthy", 2, True),
        ("stale", 1, True),
        ("healthy", 3, True),
        ("healthy", None, False),
    ]
    assert judged["etls"][1]["severity"] == "high"
    assert judged["etls"][1]["labels"] == {"team": "x", "page": "true"}
    assert judged["warnings"] == [
        "Expectation 5 (name_pattern 'nobody*') matches no ETL.",
        "Expectation 4 (name_pattern 'a tw?') never applies, because earlier expectations match the same ETLs.",
    ]
    assert judged["counts"]["stale"] == 1
    assert judged["etl_ids"]["stale"] == [2]
    assert judged["msg"] == "4 ETLs: 1 stale, 3 healthy."
    # The same expectation twice is no contradiction.
    assert "Expectation 2 (name_pattern '*') never applies" in etl_health([etl()], [ALL, ALL])["warnings"][0]


def test_a_gate() -> None:
    etls = [etl(exit_code="ERROR"), etl(etl_id=2, name="Other", exit_code="ERROR"), etl(age=9, etl_id=3, name="Fine")]
    rules = [{"etl_id": [1, 3]}, {"etl_id": 9}]
    failed = "ETL 1 'Import': failed (last run ended with exit code ERROR)"
    told = {
        "": [],
        "failed": [failed],
        "stale": [],
        "failed, unmatched": [failed, "ETL 2 'Other' has no expectation"],
        "missing": ["Expectation 2 (etl_id 9) matches no ETL."],
    }
    assert {gate: etl_health(etls, rules, fail_on=gate)["failures"] for gate in told} == told


@pytest.mark.parametrize(
    ("expectations", "message"),
    [
        (Tagged(ALL), "must be a list, not a dictionary"),
        (["x"], "Expectation 1 must be a dictionary, not text"),
        ([None], "Expectation 1 must be a dictionary, not null"),
        ([[1]], "Expectation 1 must be a dictionary, not a list"),
        ([{"name_pattern": "*", "max_agee": 1}], "Expectation 1 has unknown keys: max_agee. Valid keys: name_pattern"),
        ([{"max_age": 1}], "Expectation 1 needs exactly one of name_pattern and etl_id"),
        ([{"name_pattern": "*", "etl_id": 1}], "exactly one of"),
        ([{"name_pattern": ["a", ""]}], "name_pattern must hold texts"),
        ([{"etl_id": "x"}], "etl_id is 'x', which is not the id of an ETL"),
        ([{"etl_id": True}], "etl_id is True"),
        ([{"etl_id": 0}], "etl_id is 0"),
        ([{**ALL, "warn_age": "2h", "max_age": "1h"}], "warn_age (2 h) is longer than max_age (60 min)"),
        ([{**ALL, "allow_warning": "perhaps"}], "allow_warning is 'perhaps'; it must be true or false"),
        ([{**ALL, "labels": "x"}], "labels must be a dictionary"),
        ([{**ALL, "labels": {"a": [1]}}], "label a must be a text or a number"),
        ([{**ALL, "severity": {}}], "severity must be a text or a number"),
        ([ALL, {"name_pattern": "B"}, {"name_pattern": "b", "max_age": 1}], "Expectations 2 and 3 are both for 'b'"),
        ([{"etl_id": [1, 2]}, {"etl_id": 2, "max_age": 1}], "both for 2 and differ in max_age"),
        ("{", "neither a list nor YAML"),
    ],
)
def test_bad_expectations(expectations: Any, message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=re.escape(message)):
        etl_health([], expectations)


@pytest.mark.parametrize(
    ("etls", "options", "message"),
    [
        ({"etls": []}, {}, "needs a list"),
        ([1], {}, "it has no etl_id"),
        ([], {"fail_on": ["late"]}, "unknown words: late. Valid words: failed"),
        ([], {"now": True}, "now is True"),
        ([], {"now": "soon"}, "now is 'soon'"),
    ],
)
def test_bad_input(etls: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        etl_health(etls, [], **options)


def many(number: int) -> list[Any]:
    return [etl(etl_id=i, name=f"ETL {i}", exit_code="ERROR" if i % 50 == 7 else "OK") for i in range(1, number + 1)]


def test_a_long_table_counts_what_needs_no_attention() -> None:
    lines = etl_health_report(etl_health(many(150), [ALL]), "table").splitlines()
    assert len(lines) == 6
    assert lines[-2:] == ["Not shown: 147 ETLs that need no attention.", "150 ETLs: 3 failed, 147 healthy."]
    idle = [etl(None, None, None, etl_id=i, name=f"ETL {i}") for i in range(1, 31)]
    shown = [etl_health_report(etl_health(idle, expectations), "table") for expectations in ([], [ALL])]
    assert [table.count("never ran\n") for table in shown] == [0, 30]
    assert len(etl_health_report(etl_health(many(150), [ALL]), "text").splitlines()) == 152
    assert len(etl_health_report(etl_health(many(25), [ALL]), "table").splitlines()) == 27
    nothing = ["0 ETLs.", "Warning: Expectation 1 (name_pattern '*') matches no ETL."]
    assert etl_health_report(etl_health([], [ALL]), "table").splitlines() == nothing


def test_columns_of_the_table_stand_below_each_other() -> None:
    names = ["Import", "日本語 データ", "e\u0301te\u0301", "長" * 30]
    lines = etl_health_report(etl_health([etl(name=name) for name in names], [ALL]), "table").splitlines()
    shown = {line.split("  ")[1]: line for line in lines[1:5]}
    assert {name: line.index("healthy") for name, line in shown.items()} == {
        "Import": 45,
        "日本語 データ": 45 - 6,  # two columns each
        "e\u0301te\u0301": 45 + 2,
        "長" * 19 + "…": 45 - 19,
    }


def test_names_cannot_break_a_report() -> None:
    judged = etl_health([etl(name="a\nb\x1b[31m\ud800", exit_code="ERROR")], [{**ALL, "labels": {"a b": "\n=x"}}])
    assert judged["etls"][0]["name"] == "a b [31m"
    for form in ("table", "text", "csv", "junit", "prometheus"):
        text = etl_health_report(judged, form)
        assert text.encode("utf-8")
        assert "\x1b" not in text
    assert 'label_a_b="=x"' in etl_health_report(judged, "prometheus")


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", "  =x", "|x"])
def test_no_formula_in_a_spreadsheet(name: str) -> None:
    line = etl_health_report(etl_health([etl(name=name)], [ALL]), "csv").splitlines()[1]
    assert line.startswith(f"1,'{name.strip()},")


def test_an_unknown_format() -> None:
    with pytest.raises(AnsibleFilterError, match="is not a format"):
        etl_health_report(etl_health([], []), "pdf")
    with pytest.raises(AnsibleFilterError, match="needs a result of the filter"):
        etl_health_report([], "csv")


def test_headings_of_the_page() -> None:
    states = ("ENDED", "SERVICE_OFF", "SERVICE_ON", "HELD", "ABORTED", None)
    exits = {"ENDED": "OK"}
    etls = [etl(state, exits.get(str(state)), 60 if state else None, etl_id=i) for i, state in enumerate(states, 1)]
    page = etl_health_page(etl_health(etls, [ALL]))
    counts = {"Failed": 1, "Needs attention": 1, "Running": 1, "Healthy": 1, "Off or never ran": 2}
    assert {group["title"]: group["count"] for group in page["groups"]} == counts
    assert [row["etl_id"] for row in page["rows"]] == [5, 4, 3, 1, 6, 2]
    assert page["chain"] == {}


def test_the_time_line_of_a_chain() -> None:
    def point(second: int, status: str) -> dict[str, str]:
        return {"at": f"2026-01-01T00:00:{second:02}Z", "status": status}

    one = [point(0, "ENDED"), point(10, "RUNNING"), point(20, "ENDED")]
    two = [point(20, "RUNNING"), point(40, "ENDED")]
    first = {"etl_id": 1, "etl_name": "One", "failed": False, "started_at": TIME, "timeline": one}
    second = {"etl_id": 2, "etl_name": None, "failed": True, "started_at": None, "timeline": two}
    etls = [{**first, "outcome": "succeeded"}, {**second, "outcome": "failed"}]
    steps = [
        {"number": 1, "name": "a", "failed": True, "outcome": "failed", "etls": etls},
        {"number": 2, "name": "b", "failed": False, "outcome": "not_reached", "etls": []},
    ]
    chain = {"steps": steps, "failed": True, "outcome": "failed", "elapsed_seconds": 200}
    told = etl_health_page(etl_health([etl(etl_id=2, name="Two")], [ALL]), chain)["chain"]
    assert [(line["name"], line["step"], line["group"]) for line in told["lines"]] == [
        ("One", "1. a", "healthy"),
        ("Two", "1. a", "failed"),
        ("2. b", "", "off"),
    ]
    drawn = told["lines"][0]["bar"]
    assert drawn == {"took": "20 s", "wait_left": 0, "wait_width": 25, "left": 25, "width": 25}
    assert told["lines"][1]["bar"]["left"] == 50
    assert (told["scale"], told["took"]) == (["00:00:00", "+20 s", "00:00:40"], "3 min 20 s")


@pytest.mark.parametrize("chain", ["{", "[1]", '{"steps": [{}]}', [1], {"steps": [1]}])
def test_a_chain_that_is_none(chain: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="etl_health_page"):
        etl_health_page(etl_health([], []), chain)

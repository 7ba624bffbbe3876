# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filters of the role etl_chain."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.filter import chain


def entry(etl_id: int = 1, outcome: str = "succeeded", **facts: Any) -> dict[str, Any]:
    default = {"action": "run", "changed": True, "attached": False, "msg": f"ETL {etl_id}."}
    return {"etl_id": etl_id, "outcome": outcome, "task_execution_request_id": 7, **default, **facts}


def done(*etls: dict[str, Any], failed: bool = False, **facts: Any) -> dict[str, Any]:
    changed = any(etl["changed"] for etl in etls)
    return {"changed": changed, "failed": failed, "msg": "Done.", "etls": list(etls), **facts}


def step(defaults: Any = None, **facts: Any) -> dict[str, Any]:
    return dict(chain.chain_steps([{"etl_id": 1, **facts}], defaults)["steps"][0])


def record(result: dict[str, Any], turn: str = "go", check_mode: bool = False, **facts: Any) -> dict[str, Any]:
    return chain.chain_record(result, step(**facts), turn, 0, 1.26, check_mode)


@pytest.mark.parametrize(
    ("given", "ids", "names"),
    [
        ({"etl_id": 1}, [1], []),
        ({"etl_id": "1, 2", "etl_name": ""}, ["1", "2"], []),
        ({"etl_name": ["a, b", 2024, datetime.date(2024, 1, 1)]}, [], ["a, b", "2024", "2024-01-01"]),
        ({"etl_name": "a, b"}, [], ["a", "b"]),
    ],
)
def test_etls_of_a_step(given: dict[str, Any], ids: list[Any], names: list[str]) -> None:
    plan = chain.chain_steps([given])
    assert (plan["steps"][0]["etl_id"], plan["steps"][0]["etl_name"]) == (ids, names)
    assert (plan["etl_names"], plan["problems"]) == (names, [])


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([], "is empty"),
        ([{"etl_id": 1}, {"etl_id": 1, "etl_name": "a", "name": "x"}], "Correct step 2."),
        ([{"etl_id": []}], "exactly one of etl_id and etl_name"),
        ([{"etl_id": 1}, {"etl_id": 1}], "The names are: run 1, run 1."),
        ([{"etl_name": [True]}], "is a boolean"),
    ],
)
def test_wrong_steps(steps: list[Any], problem: str) -> None:
    (found,) = chain.chain_steps(steps)["problems"]
    assert problem in found


def test_names_titles_and_policies() -> None:
    steps = [{"etl_id": [1, 2]}, {"name": "b", "etl_name": "x", "action": "stop", "on_failure": "abort"}]
    first, second = chain.chain_steps(steps, on_failure="continue")["steps"]
    assert (first["name"], second["name"], second["heading"]) == ("run 1, 2", "b", "Step 2 of 2, b")
    assert (first["on_failure"], second["on_failure"]) == ("continue", "abort")


@pytest.mark.parametrize(
    ("when", "wanted"), [(True, True), (False, False), ("yes", True), ("False", False), (None, False), ("1", True)]
)
def test_conditions(when: Any, wanted: bool) -> None:
    plan = chain.chain_steps([{"etl_name": "a", "when": when}])
    assert plan["steps"][0]["wanted"] is wanted
    # A step that is skipped needs no name.
    assert plan["etl_names"] == (["a"] if wanted else [])


ONLY_RUN = {"max_age": 60, "if_running": "queue", "on_timeout": "stop"}
DEFAULTS = {**ONLY_RUN, "fail_on_warning": True, "poll_interval": 1, "run_execution_properties": {"a": "b"}}


@pytest.mark.parametrize(
    ("given", "left_out"),
    [
        ({"poll_interval": 2}, set()),
        ({"action": "schedule"}, {*ONLY_RUN}),
        ({"action": "stop"}, {*ONLY_RUN, "run_execution_properties"}),
        # What a step sets itself is never dropped.
        ({"action": "stop", "max_age": 5}, {"if_running", "on_timeout", "run_execution_properties"}),
        ({"wait": False}, {"if_running", "on_timeout", "fail_on_warning"}),
        ({"max_age": None}, {"max_age"}),
    ],
)
def test_defaults_that_do_not_suit_a_step_are_left_out(given: dict[str, Any], left_out: set[str]) -> None:
    own = {name: value for name, value in given.items() if name != "action" and value is not None}
    kept = {name: value for name, value in DEFAULTS.items() if name not in left_out}
    assert step(DEFAULTS, **given)["options"] == {**kept, **own}


def test_values_become_plain_types() -> None:
    properties = {"day": datetime.date(2024, 1, 1), 1: (True, None, 1.5)}
    options = step(run_execution_properties=properties)["options"]
    assert options["run_execution_properties"] == {"day": "2024-01-01", "1": [True, None, 1.5]}


SKIPPED = {"skipped": True, "changed": False}


@pytest.mark.parametrize(
    ("result", "turn", "check_mode", "outcome"),
    [
        (done(entry()), "go", False, "succeeded"),
        (done(entry(), failed=True), "go", False, "failed"),
        (done(entry(outcome="would_run")), "go", False, "planned"),
        (done(entry(outcome="fresh")), "go", True, "planned"),
        (SKIPPED, "skipped", False, "skipped"),
        (SKIPPED, "not_reached", False, "not_reached"),
        # Ansible itself failed: the result has no ETLs.
        ({"failed": True, "msg": "undefined"}, "go", False, "failed"),
    ],
)
def test_outcome_of_a_step(result: dict[str, Any], turn: str, check_mode: bool, outcome: str) -> None:
    found = record(result, turn, check_mode)
    assert (found["outcome"], found["failed"]) == (outcome, outcome == "failed")
    assert (found["etls"], found["changed"]) == (result.get("etls", []), result.get("changed", False))
    assert result.get("msg", "") in found["msg"]
    times: Any = ("1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z", 1.3) if turn == "go" else (None, None, 0.0)
    assert (found["started_at"], found["ended_at"], found["elapsed_seconds"]) == times


@pytest.mark.parametrize(
    ("facts", "candidate"),
    [
        *(({"outcome": outcome}, True) for outcome in ("accepted", "timed_out", "unconfirmed")),
        ({"outcome": "timed_out", "attached": True}, False),
        ({"outcome": "accepted", "changed": False}, False),
        ({"outcome": "accepted", "action": "stop"}, False),
        ({"outcome": "succeeded"}, False),
    ],
)
def test_only_what_the_chain_started_is_cleaned_up(facts: dict[str, Any], candidate: bool) -> None:
    assert chain.chain_cleanup([record(done(entry(5, **facts)))]) == ([5] if candidate else [])


@pytest.mark.parametrize(
    ("info", "method", "ids"),
    [
        ({"etls": [{"etl_id": 5, "executing": True}]}, "kill", [5]),
        ({"etls": [{"etl_id": 5, "executing": False}]}, "stop", []),
        ({"etls": [{"etl_id": 5, "error": {}}], "failed": True}, "stop", [5]),
        ({"etls": [{"etl_id": 5, "error": {}}], "failed": True}, "kill", []),
        ({"failed": True}, "stop", [5]),
    ],
)
def test_only_what_executes_is_ended(info: dict[str, Any], method: str, ids: list[int]) -> None:
    assert chain.chain_cleanup([record(done(entry(5, "accepted")))], info, method) == ids


GOOD = record(done(entry(1)), name="good")
BAD = record(done(entry(2, "failed"), failed=True, msg="It failed.", error={"remedy": "Fix it."}), name="bad")
LEFT = record({}, "not_reached", name="left")


def test_a_chain_that_succeeds() -> None:
    result = chain.chain_result([GOOD], 0, 2.5)
    expected = {"outcome": "succeeded", "failed": False, "changed": True, "check_mode": False, "elapsed_seconds": 2.5}
    assert {key: result[key] for key in expected} == expected
    assert chain.chain_lines(result) == ["1. good: succeeded, 1.3 s (ETL 1 succeeded)", result["msg"]]
    planned = chain.chain_result([GOOD], 0, 1, check_mode=True)
    assert (planned["outcome"], planned["msg"]) == ("planned", "The chain would do this (1 succeeded).")
    # The summary has no message and no property.
    assert chain.chain_summary(result) == {
        "outcome": "succeeded",
        "started_at": "1970-01-01T00:00:00Z",
        "ended_at": "1970-01-01T00:00:02Z",
        "failed_steps": [],
        "steps": [
            {
                "name": "good",
                "outcome": "succeeded",
                "etls": [{"etl_id": 1, "outcome": "succeeded", "changed": True, "task_execution_request_id": 7}],
            }
        ],
    }


def test_a_failed_chain_names_the_cause_first_and_everything_else_after_it() -> None:
    cleanup = {"failed": True, "msg": "No permission.", "etls": [entry(3, msg="ETL 3 was stopped.")]}
    result = chain.chain_result([GOOD, BAD, LEFT], 0, 1, cleanup=cleanup)
    assert result["msg"] == (
        "The chain failed (1 succeeded, 1 failed, 1 not reached). Step 1 (bad): It failed. Fix it. Not reached: left. "
        "Ended by the cleanup: ETL 3 was stopped. The cleanup failed, too: No permission."
    )
    assert (result["outcome"], result["failed_steps"]) == ("failed", ["bad"])
    assert [etl["etl_id"] for etl in result["ended_early"]] == [3]
    assert result["msg"] not in chain.chain_lines(result)


def test_names_that_cannot_be_resolved_fail_the_chain() -> None:
    result = chain.chain_result([LEFT], 0, 1, names={"failed": True, "msg": "there is no ETL named 'x'."})
    assert result["failed"] is True
    assert "there is no ETL named 'x'. Not reached: left." in result["msg"]


def test_states_that_cannot_be_read_before_the_cleanup_are_reported() -> None:
    info = {"failed": True, "msg": "Unreachable."}
    assert "The cleanup failed, too: Unreachable." in chain.chain_result([BAD], 0, 1, info=info)["msg"]
    assert "cleanup failed" not in chain.chain_result([BAD], 0, 1, info=info, cleanup=done(entry()))["msg"]

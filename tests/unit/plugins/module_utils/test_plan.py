# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decisions: every cell of the table, every combination that is refused, every verdict."""

from __future__ import annotations

import contextlib

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import OptionError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._plan import (
    IF_RUNNING,
    Policy,
    describe_seconds,
    judge_idle,
    judge_run,
    judge_schedule,
    judge_wait,
    last_success_age,
    next_poll,
    plan,
)
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._status import NEVER, EtlStatus
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.support import ACT

T1, T2 = "2026-11-22T01:00:00Z", "2026-11-22T02:00:00Z"
#: 02:00:00Z on that day.
T2_SECONDS = 1795312800.0
STATES = (NEVER, "ENDED", "ABORTED", "WAITING", "RUNNING", "SERVICE_ON", "SERVICE_OFF", "HIBERNATING")
TABLE = {
    "run": ("send", "send", "send", "send", "attach", "nothing", "send", "send"),
    "schedule": ("send", "send", "send", "nothing", "nothing", "nothing", "send", "send"),
    "stop": ("nothing", "nothing", "nothing", "nothing", "send", "send", "nothing", "send"),
    "kill": ("nothing", "nothing", "nothing", "send", "send", "send", "nothing", "send"),
}
CELLS = [(action, state, do) for action, row in TABLE.items() for state, do in zip(STATES, row)]


def status(state, exit_code="OK", moment=T1):
    return EtlStatus(state, exit_code, moment)


@pytest.mark.parametrize(("action", "state", "do"), CELLS)
def test_every_cell_of_the_table(action, state, do):
    decision = plan(Policy(action), status(state))
    assert (decision.do, decision.outcome) == (do, "nothing_to_do")
    assert decision.reason
    assert bool(decision.warning) == (state == "HIBERNATING")
    assert not decision.warning or (state in decision.warning and action in decision.warning)
    for if_running in IF_RUNNING if action == "run" else ():
        expected = if_running if state == "RUNNING" else do
        assert plan(Policy(action, if_running=if_running), status(state)).do == expected


@pytest.mark.parametrize(
    ("action", "state", "reason"),
    [
        ("run", NEVER, "it has never run"),
        ("run", "ENDED", "nothing is executing"),
        ("stop", "WAITING", "kill would cancel the schedule"),
    ],
)
def test_why(action, state, reason):
    assert reason in plan(Policy(action), status(state)).reason


def test_the_defaults_are_those_of_the_module():
    defaults = {name: value for name, value in Policy("run")._asdict().items() if name in ACT}
    assert defaults == {name: ACT[name] for name in defaults}
    assert "wait_timeout" in defaults


@pytest.mark.parametrize(
    ("state", "exit_code", "moment", "now", "fresh"),
    [
        ("ENDED", "OK", T1, T2_SECONDS, True),
        ("WAITING", "OK", T1, T2_SECONDS, True),
        ("ENDED", "OK", T1, T2_SECONDS + 1, False),
        ("ENDED", "OK", T1, None, False),
        ("ENDED", "OK", None, T2_SECONDS, False),
        ("ENDED", "OK", "yesterday", T2_SECONDS, False),
        ("ENDED", "ERROR", T1, T2_SECONDS, False),
        ("ENDED", "WARNING", T1, T2_SECONDS, True),
        ("ENDED", None, T1, T2_SECONDS, False),
        ("ABORTED", "OK", T1, T2_SECONDS, False),
        (NEVER, None, None, T2_SECONDS, False),
        ("SERVICE_OFF", "OK", T1, T2_SECONDS, False),
        # a little in the future: two clocks; far in the future: nobody knows
        ("ENDED", "OK", T2, T2_SECONDS - 300, True),
        ("ENDED", "OK", T2, T2_SECONDS - 301, False),
    ],
)
def test_max_age(state, exit_code, moment, now, fresh):
    decision = plan(Policy("run", max_age=3600), status(state, exit_code, moment), now)
    assert (decision.do, decision.outcome) == (("nothing", "fresh") if fresh else ("send", "nothing_to_do"))
    if fresh:
        assert str(moment) in decision.reason


def test_what_else_decides_about_max_age():
    assert plan(Policy("run", max_age=1e8), status("RUNNING"), T2_SECONDS).do == "attach"
    strict = Policy("run", max_age=3600, fail_on_warning=True)
    assert plan(strict, status("ENDED", "WARNING"), T2_SECONDS).do == "send"
    assert last_success_age(status("ENDED", "OK", T2), False, T2_SECONDS - 5) == 0.0


@pytest.mark.parametrize(
    ("action", "options", "words"),
    [
        ("stop", {"if_running": "queue"}, "if_running cannot be used with action: stop"),
        ("schedule", {"max_age": 5}, "max_age cannot be used with action: schedule"),
        ("kill", {"on_timeout": "stop"}, "on_timeout cannot be used with action: kill"),
        ("stop", {"properties": {"a": "b"}}, "run_execution_properties cannot be used with action: stop"),
        ("run", {"kill_after": 5}, "kill_after cannot be used with action: run"),
        ("kill", {"kill_after": 5}, "kill_after cannot be used with action: kill"),
        ("stop", {"kill_after": 60, "wait_timeout": 60}, "must be less than wait_timeout"),
        ("run", {"wait": False, "if_running": "queue"}, "if_running: queue cannot be used with wait: false"),
        ("run", {"wait": False, "if_running": "restart"}, "if_running: restart cannot be used with"),
        ("run", {"wait": False, "on_timeout": "kill"}, "on_timeout: kill cannot be used with wait: false"),
        ("stop", {"wait": False, "kill_after": 5}, "kill_after cannot be used with wait: false"),
        ("run", {"wait": False, "fail_on_warning": True}, "fail_on_warning: true cannot be used with"),
        ("run", {"if_running": "restart", "kill_after": 5}, None),
        ("run", {"on_timeout": "stop", "kill_after": 5}, None),
        ("stop", {"kill_after": 5}, None),
        ("run", {"wait": False, "if_running": "fail", "max_age": 60, "properties": {"a": "b"}}, None),
        ("schedule", {"properties": {"a": "b"}}, None),
        ("kill", {"wait": False}, None),
    ],
)
def test_combinations(action, options, words):
    """The refused ones have words."""
    with pytest.raises(OptionError, match=words) if words else contextlib.nullcontext() as caught:
        Policy(action, **options).check()
    assert not words or caught.value.remedy


BEFORE = status("ENDED", "OK", T1)


@pytest.mark.parametrize(
    ("before", "now", "seen", "outcome", "evidence", "failed"),
    [
        # nothing has happened yet
        (BEFORE, BEFORE, False, None, None, None),
        (BEFORE, status("WAITING"), False, None, None, None),
        (BEFORE, status("RUNNING"), True, None, None, None),
        (BEFORE, status("RUNNING", "OK", T2), True, None, None, None),
        (BEFORE, status(NEVER, None, None), True, None, None, None),
        (BEFORE, status("SERVICE_OFF", None, None), False, None, None, None),
        (BEFORE, status("HIBERNATING", "OK", T2), True, None, None, None),
        # a time that vanished is no sign
        (BEFORE, status("ENDED", "OK", None), False, None, None, None),
        # the same moment in another spelling is no sign either
        (BEFORE, status("ENDED", "OK", "2026-11-22T01:00:00.000+00:00"), False, None, None, None),
        # over: the time moved, or it was seen to run
        (BEFORE, status("ENDED", "OK", T2), False, "succeeded", "timestamp_changed", False),
        (BEFORE, status("WAITING", "OK", T2), False, "succeeded", "timestamp_changed", False),
        (BEFORE, status("ENDED", "OK", T1), True, "succeeded", "seen_running", False),
        (BEFORE, status("WAITING", "OK", T1), True, "succeeded", "seen_running", False),
        (status(NEVER, None, None), status("ENDED", "OK", T1), False, "succeeded", "timestamp_changed", False),
        (BEFORE, status("ENDED", "WARNING", T2), False, "warning", "timestamp_changed", False),
        (BEFORE, status("ENDED", "ERROR", T2), False, "failed", "timestamp_changed", True),
        (BEFORE, status("ENDED", "FAILED", T2), False, "failed", "timestamp_changed", True),
        (BEFORE, status("ENDED", "SPLENDID", T2), False, "failed", "timestamp_changed", True),
        (BEFORE, status("ENDED", None, T2), False, "failed", "timestamp_changed", True),
        (BEFORE, status("ABORTED", "OK", T2), False, "aborted", "timestamp_changed", True),
        (BEFORE, status("ABORTED", "OK", T1), False, "aborted", "state_reached", True),
        (status("ABORTED"), status("ABORTED"), False, None, None, None),
        (status("SERVICE_OFF"), status("SERVICE_ON"), True, "service_on", "state_reached", False),
    ],
)
def test_when_a_run_is_over(before, now, seen, outcome, evidence, failed):
    verdict = judge_run(before, now, seen_executing=seen)
    assert verdict == (None if outcome is None else (outcome, evidence, failed))
    strict = judge_run(before, now, seen_executing=seen, fail_on_warning=True)
    assert strict == (verdict if outcome != "warning" else (outcome, evidence, True))


@pytest.mark.parametrize(
    ("now", "outcome", "evidence"),
    [
        (BEFORE, None, None),
        (status("WAITING"), "scheduled", "state_reached"),
        (status("RUNNING"), "scheduled", "state_reached"),
        (status("SERVICE_ON"), "service_on", "state_reached"),
        (status("ENDED", "OK", T2), "scheduled", "timestamp_changed"),
        (status("SERVICE_OFF"), None, None),
        (status("HIBERNATING"), None, None),
        (status(NEVER, None, None), None, None),
    ],
)
def test_when_a_schedule_is_armed(now, outcome, evidence):
    verdict = judge_schedule(BEFORE, now)
    assert (verdict and verdict[:2]) == (None if outcome is None else (outcome, evidence))


@pytest.mark.parametrize(
    ("action", "before", "now", "nones", "outcome"),
    [
        ("stop", "RUNNING", "RUNNING", 0, None),
        ("stop", "RUNNING", "ENDED", 0, "stopped"),
        ("stop", "RUNNING", "ABORTED", 0, "stopped"),
        ("stop", "RUNNING", "WAITING", 0, "stopped"),
        ("stop", "SERVICE_ON", "SERVICE_OFF", 0, "service_off"),
        ("stop", "SERVICE_ON", "SERVICE_ON", 0, None),
        ("stop", "RUNNING", "HIBERNATING", 0, None),
        ("kill", "WAITING", "WAITING", 0, None),
        ("kill", "WAITING", "ENDED", 0, "stopped"),
        ("kill", "RUNNING", "WAITING", 0, "stopped"),
        # one "no value" alone is not believed
        ("stop", "RUNNING", NEVER, 1, None),
        ("stop", "RUNNING", NEVER, 2, "stopped"),
    ],
)
def test_when_nothing_executes_any_more(action, before, now, nones, outcome):
    verdict = judge_idle(status(before), status(now), action, nones)
    assert (verdict and verdict.outcome) == outcome


@pytest.mark.parametrize(
    ("until", "now", "seen", "outcome"),
    [
        ("executing", BEFORE, False, None),
        ("executing", status("RUNNING"), True, "executing"),
        ("executing", status("SERVICE_ON"), True, "executing"),
        ("executing", status("ENDED", "ERROR", T2), False, "executing"),
        ("idle", status("RUNNING"), True, None),
        ("idle", status("ENDED", "ERROR"), True, "idle"),
        ("idle", status("WAITING"), True, "idle"),
        ("idle", status("SERVICE_OFF"), True, "idle"),
        ("idle", status("HIBERNATING"), True, None),
        ("finished", status("RUNNING"), True, None),
        ("finished", BEFORE, False, None),
        ("finished", BEFORE, True, "succeeded"),
        ("finished", status("ENDED", "ERROR", T2), False, "failed"),
        ("finished", status("SERVICE_ON"), True, None),
        ("finished", status("SERVICE_OFF"), True, "service_off"),
        ("finished", status("SERVICE_OFF"), False, None),
    ],
)
def test_what_a_wait_waits_for(until, now, seen, outcome):
    verdict = judge_wait(until, BEFORE, now, seen_executing=seen, fail_on_warning=False, times_none=0)
    assert (verdict and verdict.outcome) == outcome


@pytest.mark.parametrize(
    ("since", "interval", "active", "expected"),
    [
        (0, 10, 1, 0.3),
        (10, 10, 1, 0.5),
        (100, 10, 1, 5),
        (1e6, 10, 1, 10),
        (1e6, 1, 1, 1),
        (0, 10, 8, 0.3),
        # a hundred ETLs share the requests, the more so the longer nothing changes, however short the interval
        (0, 1, 100, 0.5),
        (4, 1, 100, 1.0),
        (8, 1, 100, 2.0),
        (1e6, 1, 100, 4.0),
        (1e6, 30, 100, 30),
    ],
)
def test_polls_grow_sparse(since, interval, active, expected):
    assert next_poll(since, interval, active) == pytest.approx(expected)


def test_lengths_of_time_in_words():
    seconds = (0, 119, 120, 7199, 7200, 172799, 172800)
    words = ["0 s", "119 s", "2 min", "120 min", "2.0 h", "48.0 h", "2.0 days"]
    assert [describe_seconds(number) for number in seconds] == words

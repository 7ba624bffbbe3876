# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decisions: every cell of the table, every combination that is refused, every verdict."""

from __future__ import annotations

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import OptionError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._plan import (
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
    assert decision.do == do
    assert decision.outcome == "nothing_to_do"
    assert decision.reason
    assert bool(decision.warning) == (state == "HIBERNATING")


def test_the_defaults_are_those_of_the_module():
    defaults = Policy("run")._asdict()
    assert {name: value for name, value in defaults.items() if name in ACT} == {
        name: ACT[name] for name in defaults if name in ACT
    }
    assert not defaults["check_mode"]


@pytest.mark.parametrize(("state", "reason"), [(NEVER, "it has never run"), ("ENDED", "nothing is executing")])
def test_why_a_run_is_needed(state, reason):
    assert plan(Policy("run"), status(state)).reason == reason


def test_an_unknown_word_is_named_in_the_warning():
    warning = plan(Policy("kill"), status("HIBERNATING")).warning
    assert "HIBERNATING" in warning
    assert "kill" in warning


def test_stop_of_a_scheduled_etl_points_to_kill():
    assert "kill" in plan(Policy("stop"), status("WAITING")).reason


@pytest.mark.parametrize("if_running", ["attach", "fail", "queue", "restart"])
@pytest.mark.parametrize("state", STATES)
def test_if_running_decides_only_about_running(if_running, state):
    expected = if_running if state == "RUNNING" else TABLE["run"][STATES.index(state)]
    assert plan(Policy("run", if_running=if_running), status(state)).do == expected


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


def test_max_age_does_not_spare_a_run_that_is_to_be_followed():
    assert plan(Policy("run", max_age=1e8), status("RUNNING"), T2_SECONDS).do == "attach"


def test_a_warning_is_no_success_where_it_fails_the_task():
    policy = Policy("run", max_age=3600, fail_on_warning=True)
    assert plan(policy, status("ENDED", "WARNING"), T2_SECONDS).do == "send"


def test_age_is_never_negative():
    assert last_success_age(status("ENDED", "OK", T2), False, T2_SECONDS - 5) == 0.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"action": "stop", "if_running": "queue"}, "if_running cannot be used with action: stop"),
        ({"action": "schedule", "max_age": 5}, "max_age cannot be used with action: schedule"),
        ({"action": "kill", "on_timeout": "stop"}, "on_timeout cannot be used with action: kill"),
        ({"action": "stop", "properties": {"a": "b"}}, "run_execution_properties cannot be used with action: stop"),
        ({"action": "run", "kill_after": 5}, "kill_after cannot be used with action: run"),
        ({"action": "kill", "kill_after": 5}, "kill_after cannot be used with action: kill"),
        ({"action": "stop", "kill_after": 60, "wait_timeout": 60}, "must be less than wait_timeout"),
        ({"action": "run", "wait": False, "if_running": "queue"}, "if_running: queue cannot be used with wait: false"),
        ({"action": "run", "wait": False, "if_running": "restart"}, "if_running: restart cannot be used with"),
        ({"action": "run", "wait": False, "on_timeout": "kill"}, "on_timeout: kill cannot be used with wait: false"),
        ({"action": "stop", "wait": False, "kill_after": 5}, "kill_after cannot be used with wait: false"),
        ({"action": "run", "wait": False, "fail_on_warning": True}, "fail_on_warning: true cannot be used with"),
    ],
)
def test_refused_combinations(options, words):
    with pytest.raises(OptionError) as caught:
        Policy(**options).check()
    assert words in caught.value.message
    assert caught.value.remedy
    assert caught.value.kind == "invalid_option"


@pytest.mark.parametrize(
    "options",
    [
        {"action": "run", "if_running": "restart", "kill_after": 5},
        {"action": "run", "on_timeout": "stop", "kill_after": 5},
        {"action": "stop", "kill_after": 5},
        {"action": "run", "wait": False, "if_running": "fail", "max_age": 60, "properties": {"a": "b"}},
        {"action": "schedule", "properties": {"a": "b"}},
        {"action": "kill", "wait": False},
    ],
)
def test_accepted_combinations(options):
    Policy(**options).check()


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


def test_a_warning_fails_where_it_is_asked_to():
    verdict = judge_run(BEFORE, status("ENDED", "WARNING", T2), seen_executing=True, fail_on_warning=True)
    assert verdict == ("warning", "timestamp_changed", True)


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


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (7200, "2.0 h"),
        (172799, "48.0 h"),
        (172800, "2.0 days"),
        (8640000, "100.0 days"),
    ],
)
def test_lengths_of_time_in_words(seconds, words):
    assert describe_seconds(seconds) == words

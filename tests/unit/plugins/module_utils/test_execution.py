# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One ETL brought to its end, on a fake clock, against a model of the service."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _observer
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._status import parse_rfc3339
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.model import Behaviour, Model
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.support import (
    SECRET,
    WALL,
    FakeClock,
    Task,
    answer,
    login_answer,
)


class World:
    """A model with one ETL, and a task for it."""

    def __init__(self, behaviour: Behaviour, **options: Any) -> None:
        self.clock = FakeClock()
        self.model = Model(self.clock, {321: behaviour}, **options)
        self.etl = self.model.etls[321]
        self.task = Task(self.model.handle, self.clock)

    def act(self, action: str = "run", **options: Any) -> dict[str, Any]:
        entry: dict[str, Any] = self.task.act(action=action, **options)["etl"]
        return entry


def world(*, faults: Any = None, **behaviour: Any) -> World:
    return World(Behaviour(**behaviour), **(faults or {}))


# -- runs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stamp", ["start", "end"])
@pytest.mark.parametrize("kind", ["batch", "periodic"])
@pytest.mark.parametrize("initial", [None, "ENDED", "ABORTED", "WAITING"])
def test_a_run_is_followed_to_its_end(initial, kind, stamp):
    w = world(initial=initial, kind=kind, stamp=stamp, start_lag=45, duration=600)
    entry = w.act()
    assert entry["outcome"] == "succeeded"
    assert (entry["changed"], entry["failed"], entry["attached"]) == (True, False, False)
    assert w.task.posts == ["run"]
    assert entry["task_execution_request_id"] == 20001
    assert entry["request_status"] == "OK"
    assert entry["before"]["status"] == initial
    assert entry["after"]["status"] == ("WAITING" if kind == "periodic" else "ENDED")
    assert [step["status"] for step in entry["timeline"]][-2:] == ["RUNNING", entry["after"]["status"]]
    assert 645 <= entry["elapsed_seconds"] <= 660
    assert entry["error"] if entry["failed"] else "error" not in entry
    assert "ran and ended with exit OK" in entry["msg"]


def test_the_old_state_may_show_for_minutes():
    w = world(start_lag=290, duration=1, stamp="end")
    assert w.act()["outcome"] == "succeeded"


def test_a_run_too_short_to_be_seen_is_known_by_its_time():
    entry = world(start_lag=0.01, duration=0.01).act()
    assert (entry["outcome"], entry["evidence"]) == ("succeeded", "timestamp_changed")


def test_a_run_whose_time_does_not_move_is_known_because_it_was_seen():
    entry = world(stamp="never").act()
    assert (entry["outcome"], entry["evidence"]) == ("succeeded", "seen_running")


@pytest.mark.parametrize(
    ("exit_code", "options", "outcome", "failed", "kind"),
    [
        ("WARNING", {}, "warning", False, None),
        ("WARNING", {"fail_on_warning": True}, "warning", True, "exit_warning"),
        ("ERROR", {}, "failed", True, "exit_error"),
        ("FAILED", {}, "failed", True, "exit_error"),
        ("SPLENDID", {}, "failed", True, "exit_error"),
        (None, {}, "failed", True, "exit_error"),
    ],
)
def test_exit_codes(exit_code, options, outcome, failed, kind):
    entry = world(exit_code=exit_code).act(**options)
    assert (entry["outcome"], entry["failed"]) == (outcome, failed)
    assert entry.get("error", {}).get("kind") == kind
    assert "ETL 321" in entry["msg"]
    assert "None" not in entry["msg"]
    if failed:
        assert "log in the Helix console" in entry["msg"]


def test_an_exit_code_that_comes_a_moment_later_is_waited_for():
    assert world(exit_lag=2.0).act()["outcome"] == "succeeded"


def test_an_exit_code_that_never_comes_is_not_waited_for_long():
    entry = world(exit_code=None, duration=5).act()
    assert entry["elapsed_seconds"] < 15
    assert "without an exit code" in entry["msg"]


@pytest.mark.parametrize("stamp", ["same", None])
def test_a_server_that_lags_behind_does_not_end_a_run(stamp):
    """Two servers behind one address, and one of them still shows the state before the run."""
    w = world(start_lag=1, duration=600)
    handle = w.model.handle
    looks = []

    def handler(exchange):
        if exchange.method == "GET" and w.etl.state == "RUNNING":
            looks.append(exchange)
            if len(looks) % 2 == 0:
                old = {"status": "ENDED", "exit_code": "OK", "last_exec_ts": stamp and w.etl.stamp}
                return answer(200, {**old, "task_id": 321})
        return handle(exchange)

    w.task = Task(handler, w.clock)
    entry = w.act()
    assert (entry["outcome"], entry["evidence"]) == ("succeeded", "timestamp_changed")
    assert not w.etl.executing


def test_somebody_kills_the_run():
    w = world(duration=100)
    handle = w.model.handle

    def handler(exchange):
        if w.clock.elapsed > 30 and not w.etl.launches("kill"):
            w.etl.carry_out("kill")
        return handle(exchange)

    w.task = Task(handler, w.clock)
    entry = w.act()
    assert (entry["outcome"], entry["failed"]) == ("aborted", True)


def test_a_run_that_never_starts_names_the_likely_causes():
    entry = world(starts=False).act()
    assert (entry["outcome"], entry["changed"], entry["failed"]) == ("not_started", True, True)
    assert 300 <= entry["elapsed_seconds"] <= 301
    assert "remote ETL engine is inactive" in entry["msg"]
    assert "request 20001" in entry["msg"]


@pytest.mark.parametrize(
    ("action", "words"),
    [("run", "did not start"), ("schedule", "to be scheduled"), ("kill", "is still there"), ("wait", "")],
)
def test_a_run_that_has_not_started_when_wait_timeout_is_over_names_that(action, words):
    w = world(starts=False, initial="WAITING" if action == "kill" else "ENDED", kill_lag=1e6)
    if action == "wait":
        started = w.task.act(wait=False)
        entry = w.task.wait_for(baseline=started["etls"], wait_timeout=60)["etl"]
    else:
        entry = w.act(action, wait_timeout=60)
    assert f"{words} before wait_timeout (60 s) expired" in entry["msg"]
    assert "start_timeout" not in entry["msg"]


def test_wait_timeout_is_kept_to_the_second():
    w = world(duration=1e6)
    entry = w.act(wait_timeout=100, start_timeout=50)
    assert (entry["outcome"], entry["failed"]) == ("timed_out", True)
    assert 100 <= entry["elapsed_seconds"] <= 100.2
    assert "It is still running" in entry["msg"]
    assert w.task.posts == ["run"]


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_a_run_that_takes_too_long_is_ended_if_asked(way):
    w = world(duration=1e6)
    entry = w.act(wait_timeout=100, on_timeout=way)
    assert entry["outcome"] == "timed_out"
    assert w.task.posts == ["run", way]
    assert not w.etl.executing
    assert {"stop": "It was then stopped", "kill": "It was then killed"}[way] in entry["msg"]
    # the result speaks of the run's request
    assert entry["task_execution_request_id"] == 20001
    assert "had not ended after 100 s (wait_timeout; request 20001)" in entry["msg"]
    assert "attaches" not in entry["msg"], "there is no run any more that another task could attach to"


def test_on_timeout_stop_that_does_not_work_is_escalated_or_told():
    w = world(duration=1e6, stop_lag=None)
    entry = w.act(wait_timeout=100, start_timeout=40, on_timeout="stop")
    assert "it had not ended" in entry["msg"]
    assert entry["elapsed_seconds"] <= 141
    w = world(duration=1e6, stop_lag=None)
    w.act(wait_timeout=100, on_timeout="stop", kill_after=20)
    assert w.task.posts == ["run", "stop", "kill"]
    assert not w.etl.executing


def test_on_timeout_stop_that_is_refused_is_told():
    w = world(duration=1e6, faults={"refuse": ("stop",)})
    entry = w.act(wait_timeout=100, on_timeout="stop")
    assert entry["outcome"] == "timed_out"
    assert "The stop request failed" in entry["msg"]


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_a_run_that_ended_before_it_could_be_ended_was_not_ended_by_us(way):
    w = world(start_lag=1, duration=99.5)
    handle = w.model.handle

    def handler(exchange):
        if exchange.path.endswith(way):
            w.clock.pass_by(2)
            handle(exchange)
            return answer(200, {"task_execution_request_id": 7, "request_status": "ERROR"})
        return handle(exchange)

    w.task = Task(handler, w.clock)
    entry = w.act(wait_timeout=100, on_timeout=way)
    assert entry["outcome"] == "timed_out"
    assert "It had just ended: ENDED" in entry["msg"]


# -- an execution that is under way -----------------------------------------------------------------------------------


def test_attach_follows_without_a_request():
    w = world(initial="RUNNING", initial_exit="ERROR", left=120)
    entry = w.act()
    assert (entry["outcome"], entry["changed"], entry["attached"]) == ("succeeded", False, True)
    assert w.task.posts == []
    assert "was already running" in entry["msg"]


def test_the_exit_code_beside_running_is_not_believed():
    entry = world(initial="RUNNING", initial_exit="OK", left=20, exit_code="ERROR").act()
    assert (entry["outcome"], entry["changed"], entry["attached"]) == ("failed", False, True)


def test_if_running_fail():
    w = world(initial="RUNNING")
    entry = w.act(if_running="fail")
    assert (entry["outcome"], entry["changed"], entry["failed"]) == ("failed", False, True)
    assert entry["error"]["kind"] == "already_running"
    assert w.task.posts == []


def test_if_running_queue():
    w = world(initial="RUNNING", left=90)
    entry = w.act(if_running="queue")
    assert (entry["outcome"], entry["changed"]) == ("succeeded", True)
    assert [run.ours for run in w.etl.runs] == [False, True]
    assert w.task.posts == ["run"]


def test_if_running_queue_and_the_other_run_was_fresh_enough():
    w = world(initial="RUNNING", left=90)
    entry = w.act(if_running="queue", max_age=3600)
    assert (entry["outcome"], entry["changed"]) == ("fresh", False)
    assert w.task.posts == []


def test_if_running_queue_runs_out_of_time():
    w = world(initial="RUNNING", left=1e6)
    entry = w.act(if_running="queue", wait_timeout=60)
    assert (entry["outcome"], entry["changed"]) == ("timed_out", False)
    assert "was not started" in entry["msg"]
    assert w.task.posts == []


def test_if_running_restart():
    w = world(initial="RUNNING", left=1e6)
    entry = w.act(if_running="restart")
    assert (entry["outcome"], entry["changed"], entry["attached"]) == ("succeeded", True, False)
    assert w.task.posts == ["stop", "run"]
    assert entry["task_execution_request_id"] == 20002


def test_if_running_restart_with_a_run_that_does_not_stop():
    w = world(initial="RUNNING", left=1e6, stop_lag=None)
    entry = w.act(if_running="restart", kill_after=30)
    assert entry["outcome"] == "succeeded"
    assert w.task.posts == ["stop", "kill", "run"]
    w = world(initial="RUNNING", left=1e6, stop_lag=None)
    entry = w.act(if_running="restart", wait_timeout=60)
    assert (entry["outcome"], entry["failed"]) == ("timed_out", True)
    assert "kill_after" in entry["msg"]
    assert w.task.posts == ["stop"]


def test_a_stop_that_was_put_off_is_not_taken_for_the_run():
    # The run that was to be stopped ends by itself while the server says 429: ours has still to be started.
    w = world(initial="RUNNING", left=5, faults={"writes": (("429_wait", False),)})
    entry = w.act(if_running="restart")
    assert (entry["outcome"], entry["evidence"]) == ("succeeded", "timestamp_changed")
    assert w.etl.launches("run") == 1


# -- services ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "initial", "outcome", "changed", "posts"),
    [
        ("run", "SERVICE_OFF", "service_on", True, ["run"]),
        ("run", None, "service_on", True, ["run"]),
        ("run", "SERVICE_ON", "nothing_to_do", False, []),
        ("schedule", "SERVICE_OFF", "service_on", True, ["schedule"]),
        ("schedule", "SERVICE_ON", "nothing_to_do", False, []),
        ("stop", "SERVICE_ON", "service_off", True, ["stop"]),
        ("stop", "SERVICE_OFF", "nothing_to_do", False, []),
        ("kill", "SERVICE_ON", "service_off", True, ["kill"]),
        ("kill", "SERVICE_OFF", "nothing_to_do", False, []),
    ],
)
def test_services(action, initial, outcome, changed, posts):
    w = world(kind="service", initial=initial)
    entry = w.act(action)
    assert (entry["outcome"], entry["changed"], entry["failed"]) == (outcome, changed, False)
    assert w.task.posts == posts
    assert entry["task_execution_request_id"] == (-1 if posts else None)


# -- schedule, stop, kill ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "initial", "outcome", "changed"),
    [
        ("schedule", None, "scheduled", True),
        ("schedule", "ENDED", "scheduled", True),
        ("schedule", "ABORTED", "scheduled", True),
        ("schedule", "WAITING", "nothing_to_do", False),
        ("schedule", "RUNNING", "nothing_to_do", False),
        ("stop", None, "nothing_to_do", False),
        ("stop", "ENDED", "nothing_to_do", False),
        ("stop", "WAITING", "nothing_to_do", False),
        ("stop", "RUNNING", "stopped", True),
        ("kill", None, "nothing_to_do", False),
        ("kill", "ENDED", "nothing_to_do", False),
        ("kill", "WAITING", "stopped", True),
        ("kill", "RUNNING", "stopped", True),
    ],
)
def test_doing_it_twice_changes_nothing(action, initial, outcome, changed):
    w = world(kind="periodic", initial=initial, left=1e6)
    entry = w.act(action)
    assert (entry["outcome"], entry["changed"], entry["failed"]) == (outcome, changed, False)
    assert w.task.posts == [action] * changed
    again = w.act(action)
    assert (again["outcome"], again["changed"]) == ("nothing_to_do", False)
    assert w.task.posts == [action] * changed


def test_stop_is_escalated():
    w = world(initial="RUNNING", left=1e6, stop_lag=None)
    entry = w.act("stop", kill_after=30)
    assert (entry["outcome"], entry["changed"]) == ("stopped", True)
    assert w.task.posts == ["stop", "kill"]
    assert "was killed" in entry["msg"]


def test_a_stop_that_does_not_work_times_out():
    entry = world(initial="RUNNING", left=1e6, stop_lag=None).act("stop", wait_timeout=60)
    assert (entry["outcome"], entry["failed"], entry["changed"]) == ("timed_out", True, True)
    assert "had not stopped" in entry["msg"]


def test_a_stop_refused_because_the_run_had_just_ended_is_no_failure():
    w = world(initial="RUNNING", left=0.12, faults={"refuse": ("stop",)})
    entry = w.act("stop")
    assert (entry["outcome"], entry["failed"], entry["changed"]) == ("stopped", False, False)
    assert "just ended" in w.task.warnings[0]


def test_a_schedule_that_is_never_armed():
    entry = world(starts=False).act("schedule")
    assert (entry["outcome"], entry["failed"]) == ("timed_out", True)
    assert "has a schedule" in entry["msg"]


@pytest.mark.parametrize(
    ("action", "initial"), [("run", "ENDED"), ("schedule", "ENDED"), ("stop", "RUNNING"), ("kill", "WAITING")]
)
class TestEveryAction:
    def test_without_waiting(self, action, initial):
        w = world(initial=initial, left=1e6)
        entry = w.act(action, wait=False)
        assert (entry["outcome"], entry["changed"], entry["failed"]) == ("accepted", True, False)
        assert entry["polls"] == 0
        assert w.clock.elapsed < 1

    def test_in_check_mode(self, action, initial):
        w = world(initial=initial, left=1e6)
        result = w.task.act(action=action, check_mode=True)
        entry = result["etl"]
        assert (entry["outcome"], entry["changed"], entry["failed"]) == (f"would_{action}", True, False)
        assert w.task.posts == []
        assert entry["task_execution_request_id"] is None
        assert result["diff"]["before"] != result["diff"]["after"]
        assert w.clock.elapsed < 1

    def test_refused(self, action, initial):
        w = world(initial=initial, left=1e6, faults={"refuse": (action,)})
        entry = w.act(action)
        assert (entry["outcome"], entry["changed"], entry["failed"]) == ("failed", False, True)
        assert entry["error"]["kind"] == "request_refused"
        assert entry["request_status"] == "ERROR"
        assert w.task.posts == [action]

    @pytest.mark.parametrize("fault", ["reset", "500", "502", "503", "504", "html", "shape", "slow"])
    def test_an_answer_lost_after_it_was_carried_out(self, action, initial, fault):
        w = world(initial=initial, left=1e6, kind="periodic", faults={"writes": ((fault, True),)})
        entry = w.act(action)
        assert (entry["changed"], entry["failed"]) == (True, False)
        assert w.task.posts == [action]
        if action in ("run", "schedule"):
            assert entry["evidence"] == "adopted"
            assert entry["outcome"] == {"run": "succeeded", "schedule": "scheduled"}[action]

    @pytest.mark.parametrize("fault", ["reset", "500", "503", "html", "slow"])
    def test_an_answer_lost_and_not_carried_out(self, action, initial, fault):
        w = world(initial=initial, left=1e6, faults={"writes": ((fault, False),)})
        entry = w.act(action)
        if action in ("run", "schedule"):
            # never repeated
            assert (entry["outcome"], entry["changed"], entry["failed"]) == ("unconfirmed", False, True)
            assert w.task.posts == [action]
            assert "not sent again" in entry["msg"]
            assert 300 <= entry["elapsed_seconds"] <= 331
        else:
            # repeating a stop or kill does no harm
            assert (entry["outcome"], entry["changed"], entry["failed"]) == ("stopped", True, False)
            assert w.task.posts == [action, action]

    @pytest.mark.parametrize("fault", ["429", "429_wait", "no_connection"])
    def test_put_off_and_then_sent_once(self, action, initial, fault):
        w = world(initial=initial, left=1e6, faults={"writes": ((fault, False), (fault, False))})
        entry = w.act(action, wait=False)
        assert (entry["outcome"], entry["changed"], entry["failed"]) == ("accepted", True, False)
        assert w.etl.launches(action) == 1
        assert w.task.posts == [action] * 3
        if fault == "429_wait":
            assert w.clock.elapsed >= 40

    def test_put_off_for_ever(self, action, initial):
        w = world(initial=initial, left=1e6, faults={"writes": (("429", False),) * 99})
        entry = w.act(action)
        assert (entry["outcome"], entry["changed"], entry["failed"]) == ("failed", False, True)
        assert entry["error"]["kind"] == "rate_limited"
        assert w.task.posts == [action] * 4

    def test_a_token_that_ends_just_before_the_request(self, action, initial):
        w = world(initial=initial, left=1e6, faults={"writes": (("401", False),)})
        entry = w.act(action, wait=False)
        assert (entry["outcome"], entry["changed"]) == ("accepted", True)
        assert w.etl.launches(action) == 1
        assert entry["token_renewals"] == 1

    def test_no_permission(self, action, initial):
        w = world(initial=initial, left=1e6, faults={"writes": (("403", False),)})
        entry = w.act(action)
        assert (entry["outcome"], entry["changed"], entry["failed"]) == ("failed", False, True)
        assert entry["error"]["kind"] == "permission"
        assert "custom_etl.edit" in entry["msg"]
        assert "ETL 321" in entry["msg"]


def test_lost_without_waiting_is_still_made_certain():
    w = world(start_lag=20, faults={"writes": (("reset", True),)})
    entry = w.act(wait=False)
    assert (entry["outcome"], entry["evidence"], entry["changed"]) == ("accepted", "adopted", True)
    w = world(faults={"writes": (("reset", False),)})
    entry = w.act(wait=False)
    assert (entry["outcome"], entry["failed"]) == ("unconfirmed", True)


def test_what_runs_after_a_put_off_request_was_started_by_somebody_else():
    # 429 means that nothing was carried out, so the run is attached to and nothing changed.
    w = world(start_lag=1, duration=200, faults={"writes": (("429_wait", False),)})
    handle = w.model.handle

    def handler(exchange):
        if exchange.path.endswith("/run") and not w.etl.executed:
            w.etl.carry_out("run")
        return handle(exchange)

    w.task = Task(handler, w.clock)
    entry = w.act()
    assert (entry["outcome"], entry["attached"], entry["changed"]) == ("succeeded", True, False)
    assert "lost" not in entry["msg"]
    assert len(w.etl.runs) == 1
    assert w.task.posts == ["run"]


# -- polls that are lost or refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["reset", "no_connection", "429", "429_wait", "500", "502", "503", "html", "slow"])
def test_lost_polls_are_forgiven_until_the_deadline(fault):
    w = world(duration=900, faults={"outage": (60, 800, fault)})
    entry = w.act()
    assert entry["outcome"] == "succeeded"
    assert entry["lost_polls"] > 5
    assert w.task.posts == ["run"]


@pytest.mark.parametrize("fault", ["403", "404", "400"])
def test_refused_polls_are_forgiven_for_a_while(fault):
    w = world(duration=300, faults={"outage": (60, 60 + _observer.REFUSAL_PATIENCE - 20, fault)})
    assert w.act()["outcome"] == "succeeded"
    w = world(duration=300, faults={"outage": (60, 1e9, fault)})
    entry = w.act()
    assert (entry["outcome"], entry["failed"], entry["changed"]) == ("unconfirmed", True, True)
    assert entry["elapsed_seconds"] < 60 + _observer.REFUSAL_PATIENCE + 30
    assert "request 20001" in entry["msg"]
    assert "use etl_wait with this result's etls as baseline" in entry["msg"]


def test_nothing_to_be_seen_until_the_deadline():
    entry = world(duration=300, faults={"outage": (60, 1e9, "502")}).act(wait_timeout=500)
    # It ended at 300, so "had not ended" would be untrue.
    assert (entry["outcome"], entry["failed"]) == ("unconfirmed", True)
    assert 500 <= entry["elapsed_seconds"] < 502
    assert "HTTP 502" in entry["msg"]


def test_nothing_to_be_seen_since_the_request():
    w = world(faults={"outage": (0.21, 1e9, "502")})
    entry = w.act(wait_timeout=500)
    assert w.etl.launches("run") == 1
    assert (entry["outcome"], entry["failed"], entry["changed"]) == ("unconfirmed", True, True)
    assert "accepted the run request" in entry["msg"]


def test_a_wait_outlives_many_tokens():
    w = world(duration=3000, faults={"token_life": 120.0})
    entry = w.act()
    assert entry["outcome"] == "succeeded"
    assert entry["token_renewals"] > 20
    assert entry["lost_polls"] == 0


def test_the_first_look_is_tried_again():
    assert world(faults={"reads": ("502", "reset")}).act()["outcome"] == "succeeded"
    entry = world(faults={"reads": ("502",) * 4}).act()
    assert (entry["outcome"], entry["changed"], entry["before"]) == ("failed", False, None)
    assert entry["error"]["http_status"] == 502


def test_one_none_in_the_middle_is_not_believed():
    # 204 without a body is "no value", which a proxy in trouble may send just as well
    w = world(duration=60)
    handle = w.model.handle
    w.task = Task(
        lambda exchange: answer(204) if exchange.method == "GET" and 10 < w.clock.elapsed < 30 else handle(exchange),
        w.clock,
    )
    assert w.act()["outcome"] == "succeeded"


def test_an_unknown_word_is_followed_with_a_warning():
    w = world(duration=60)
    handle = w.model.handle

    def handler(exchange):
        result = handle(exchange)
        if exchange.path.endswith("/status") and w.etl.executing:
            return answer(200, {"status": "STARTING_UP", "exit_code": "OK", "last_exec_ts": w.etl.stamp})
        return result

    w.task = Task(handler, w.clock)
    assert w.act(start_timeout=30)["outcome"] == "succeeded"
    assert any("STARTING_UP" in text for text in w.task.warnings)


def test_keys_refused_from_the_start_send_nothing_but_one_login():
    clock = FakeClock()
    task = Task(lambda exchange: answer(401), clock)
    result = task.act(etl_id=[1, 2, 3, 4])
    assert result["failed"]
    assert {entry["error"]["kind"] for entry in result["etls"]} == {"authentication"}
    assert len(task.lines) == 1


def test_an_etl_that_is_not_there():
    w = world()
    result = w.task.act(etl_id=[999])
    assert result["error"]["kind"] == "etl_not_found"
    assert "There is no ETL 999" in result["msg"]


def test_times_are_the_servers():
    w = world(faults={"skew": 86400.0})
    entry = w.act()
    assert parse_rfc3339(entry["started_at"]) == pytest.approx(WALL + 86400, abs=2)
    assert parse_rfc3339(entry["timeline"][0]["at"]) == pytest.approx(WALL + 86400, abs=2)


def test_max_age_counts_on_the_servers_clock():
    # The stamp is the server's too: an hour old by its clock, whatever ours says.
    w = world(initial_age=3600, faults={"skew": 7200.0})
    assert w.act(max_age=3700)["outcome"] == "fresh"
    assert w.act(max_age=3500)["outcome"] == "succeeded"


def test_properties_are_sent_and_secret_ones_are_not_shown():
    w = world()
    result = w.task.act(
        run_execution_properties={"level": 10, "dry": True}, secret_run_execution_properties={"password": SECRET}
    )
    sent = next(e.payload for t in w.task.transports for e in t.exchanges if e.path.endswith("/run"))
    assert sent == {"run_execution_properties": {"level": "10", "dry": "true", "password": SECRET}}
    assert SECRET not in str(result)


def test_the_transport_is_closed_whatever_happens():
    w = world()
    w.act()
    clock = FakeClock()
    task = Task(lambda exchange: login_answer(), clock)
    task.act()
    assert all(transport.closed for transport in w.task.transports + task.transports)


# -- etl_wait ---------------------------------------------------------------------------------------------------------


def test_a_run_started_without_waiting_is_waited_for():
    w = world(start_lag=30, duration=200)
    started = w.task.act(wait=False)
    entry = w.task.wait_for(baseline=started["etls"])["etl"]
    assert (entry["outcome"], entry["changed"], entry["failed"]) == ("succeeded", False, False)
    assert w.clock.elapsed == pytest.approx(230, abs=15)
    assert w.task.posts == ["run"]


def test_a_run_that_has_ended_meanwhile_needs_no_wait():
    w = world(duration=5)
    started = w.task.act(wait=False)
    w.clock.pass_by(1000)
    entry = w.task.wait_for(baseline=started["etls"])["etl"]
    assert (entry["outcome"], entry["polls"]) == ("succeeded", 0)


def test_a_run_that_was_not_needed_is_not_waited_for():
    w = world(initial_age=60)
    spared = w.task.act(wait=False, max_age=3600)
    assert spared["etl"]["outcome"] == "fresh"
    entry = w.task.wait_for(baseline=spared["etls"])["etl"]
    assert (entry["outcome"], entry["failed"]) == ("nothing_to_do", False)


def test_an_etl_that_was_not_there_does_not_spoil_the_baseline_of_the_others():
    w = world(start_lag=30, duration=200)
    started = w.task.act(wait=False, etl_id=[9, 321])
    assert [entry["outcome"] for entry in started["etls"]] == ["failed", "accepted"]
    entry = w.task.wait_for(baseline=started["etls"])["etl"]
    assert (entry["outcome"], entry["failed"]) == ("succeeded", False)


@pytest.mark.parametrize("stamp", ["start", "end"])
def test_a_run_that_was_under_way_at_the_baseline_has_ended_meanwhile(stamp):
    w = world(initial="RUNNING", left=60, stamp=stamp)
    seen = w.task.act(wait=False)
    assert seen["etl"]["attached"]
    w.clock.pass_by(1000)
    entry = w.task.wait_for(baseline=seen["etls"])["etl"]
    assert (entry["outcome"], entry["failed"]) == ("succeeded", False)


def test_the_first_look_may_come_before_the_exit_code():
    w = world(initial="RUNNING", left=60, exit_lag=2.0, stamp="start")
    seen = w.task.act(wait=False)
    w.clock.pass_by(60)
    entry = w.task.wait_for(baseline=seen["etls"])["etl"]
    assert (entry["outcome"], entry["failed"]) == ("succeeded", False)


def test_waiting_for_a_run_that_never_starts():
    w = world(starts=False)
    started = w.task.act(wait=False)
    entry = w.task.wait_for(baseline=started["etls"])["etl"]
    assert (entry["outcome"], entry["failed"]) == ("not_started", True)
    assert "start_timeout" in entry["msg"]


def test_waiting_without_a_baseline():
    w = world()
    entry = w.task.wait_for()["etl"]
    assert (entry["outcome"], entry["failed"]) == ("nothing_to_do", False)
    w = world(initial="RUNNING", left=100, exit_code="ERROR")
    entry = w.task.wait_for()["etl"]
    assert (entry["outcome"], entry["failed"], entry["changed"]) == ("failed", True, False)


@pytest.mark.parametrize(
    ("until", "outcome"), [("executing", "executing"), ("idle", "idle"), ("finished", "timed_out")]
)
def test_until(until, outcome):
    w = world(kind="service", initial="SERVICE_ON")
    if until == "idle":
        w.etl.carry_out("stop")
    assert w.task.wait_for(until=until, wait_timeout=60)["etl"]["outcome"] == outcome


def test_in_check_mode_nobody_waits():
    w = world(initial="RUNNING", left=1e6)
    entry = w.task.wait_for(check_mode=True)["etl"]
    assert (entry["outcome"], entry["failed"]) == ("nothing_to_do", False)
    assert w.clock.elapsed < 1

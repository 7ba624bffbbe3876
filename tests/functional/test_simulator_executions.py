# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulator's ETLs behave as the documentation says, and as it leaves open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.simulator.client import Control, SimulatorError, SimulatorProcess
from tests.simulator.probe import Probe

OK = "OK"


@pytest.fixture(scope="module")
def sim() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(https=False) as process:
        yield process


@pytest.fixture
def control(sim: SimulatorProcess) -> Control:
    sim.control.reset()
    sim.control.speed(0)
    sim.control.configure(token_life=10**9)
    return sim.control


@pytest.fixture
def api(sim: SimulatorProcess, control: Control) -> Iterator[Probe]:
    probe = Probe(sim)
    probe.login()
    yield probe
    probe.close()


def shown(api: Probe, etl_id: int = 321) -> tuple[Any, Any]:
    answer = api.status(etl_id).json
    return answer["status"], answer["exit_code"]


def test_a_run_from_request_to_end(api: Probe, control: Control) -> None:
    control.put_etl(321, state="ENDED", exit_code="WARNING", start_lag=2, duration=8, exit="ERROR")
    before = api.status(321).json
    answer = api.run(321, colour="blue").json
    assert answer == {"task_execution_request_id": 21359, "request_status": "OK"}
    control.advance(1)
    assert api.status(321).json == before, "the engine has not asked for work yet"
    control.advance(1)
    assert api.status(321).json == {**before, "status": "RUNNING"}, "exit and time are the previous run's"
    control.advance(7)
    assert shown(api) == ("RUNNING", "WARNING")
    control.advance(1)
    after = api.status(321).json
    assert (after["status"], after["exit_code"]) == ("ENDED", "ERROR")
    assert after["last_exec_ts"] == control.clock()["shown"]
    (execution,) = control.executions(321)
    assert execution["properties"] == {"colour": "blue"}
    assert execution["exit"] == "ERROR"
    assert execution["ended_at"] - execution["started_at"] == pytest.approx(8)
    assert execution["started_at"] - execution["accepted_at"] == pytest.approx(2)
    assert execution["cause"] == control.requests(exchange="run")[0]["n"]
    assert control.counters()["launches_by_etl"] == {321: 1}


def test_a_jump_over_the_whole_run(api: Probe, control: Control) -> None:
    control.put_etl(321, start_lag=2, duration=8)
    api.run(321)
    control.advance(100)
    assert shown(api) == ("ENDED", "OK")
    (execution,) = control.executions()
    assert execution["ended_at"] == pytest.approx(execution["accepted_at"] + 10)


def test_time_stamp_of_the_start(api: Probe, control: Control) -> None:
    control.put_etl(321, state="ENDED", ts_semantics="start", start_lag=2, duration=8)
    before = api.status(321).json["last_exec_ts"]
    api.run(321)
    assert api.status(321).json["last_exec_ts"] == before
    control.advance(2)
    begun = api.status(321).json["last_exec_ts"]
    assert begun == control.clock()["shown"]
    control.advance(8)
    assert api.status(321).json["last_exec_ts"] == begun


def test_periodic_goes_back_to_waiting(api: Probe, control: Control) -> None:
    control.put_etl(321, kind="periodic", duration=8)
    assert shown(api) == ("WAITING", "OK")
    api.run(321)
    assert shown(api) == ("RUNNING", "OK")
    control.advance(8)
    assert shown(api) == ("WAITING", "OK")
    control.advance(10 * 86400)
    assert len(control.executions()) == 1, "no period, so it does not start by itself"


def test_period(api: Probe, control: Control) -> None:
    control.put_etl(321, kind="periodic", duration=8, period=60)
    control.advance(59)
    assert shown(api)[0] == "WAITING"
    control.advance(1)
    assert shown(api)[0] == "RUNNING"
    control.advance(120)
    starts = [execution["started_at"] for execution in control.executions()]
    assert [round(later - earlier) for earlier, later in zip(starts, starts[1:])] == [60, 60]
    assert {execution["cause"] for execution in control.executions()} == {"period"}
    assert control.counters()["launches_by_etl"] == {}
    control.advance(8)
    api.kill(321)
    control.advance(600)
    assert shown(api)[0] == "ENDED"
    assert len(control.executions()) == 3


def test_scheduled_execution_carries_its_properties(api: Probe, control: Control) -> None:
    control.put_etl(321, state="ENDED", period=60)
    api.schedule(321, colour="blue")
    control.advance(61)
    assert control.executions()[0]["properties"] == {"colour": "blue"}
    assert control.counters()["launches_by_etl"] == {321: 1}


@pytest.mark.parametrize("state", [None, "ENDED", "ABORTED"])
def test_schedule_arms(api: Probe, control: Control, state: str | None) -> None:
    control.put_etl(321, state=state, schedule_lag=3, duration=1)
    assert api.schedule(321).json["request_status"] == OK
    assert shown(api)[0] == state
    control.advance(3)
    assert shown(api)[0] == "WAITING"
    assert control.executions() == []
    api.run(321)
    control.advance(2)
    assert shown(api)[0] == "WAITING", "it keeps its schedule"


def test_schedule_while_running(api: Probe, control: Control) -> None:
    control.put_etl(321, duration=5)
    api.run(321)
    assert api.schedule(321).json["request_status"] == OK
    assert shown(api)[0] == "RUNNING"
    control.advance(5)
    assert shown(api)[0] == "WAITING"


def test_state_after_an_execution_can_be_chosen(api: Probe, control: Control) -> None:
    control.put_etl(321, kind="periodic", end_state="ENDED", duration=1)
    api.run(321)
    control.advance(1)
    assert shown(api)[0] == "ENDED"


@pytest.mark.parametrize("word", ["OK", "WARNING", "ERROR", "FAILED", "KILLED", None])
def test_exit_words(api: Probe, control: Control, word: str | None) -> None:
    control.put_etl(321, exit=word, duration=1)
    api.run(321)
    control.advance(1)
    assert shown(api) == ("ENDED", word)


def test_list_of_exits(api: Probe, control: Control) -> None:
    control.put_etl(321, exits=["ERROR", None], exit="WARNING", duration=1)
    seen = []
    for _number in range(3):
        api.run(321)
        control.advance(1)
        seen.append(shown(api)[1])
    assert seen == ["ERROR", None, "WARNING"]


# --- stop and kill ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ("ENDED", "OK")),
        ({"kind": "periodic"}, ("WAITING", "OK")),
        ({"stop_exit": "WARNING", "stop_state": "ABORTED"}, ("ABORTED", "WARNING")),
    ],
)
def test_stop(api: Probe, control: Control, fields: dict[str, Any], expected: tuple[str, str]) -> None:
    control.put_etl(321, duration=60, stop_lag=2, **fields)
    api.run(321)
    assert api.stop(321).json["request_status"] == OK
    assert shown(api)[0] == "RUNNING"
    control.advance(2)
    assert shown(api) == expected
    control.advance(100)
    assert shown(api) == expected


def test_stop_may_do_nothing(api: Probe, control: Control) -> None:
    control.put_etl(321, duration=60, stop_effect="ignored", kill_effect="ignored")
    api.run(321)
    assert api.stop(321).json["request_status"] == OK
    assert api.kill(321).json["request_status"] == OK
    assert shown(api)[0] == "RUNNING"
    control.patch_etl(321, kill_effect="kills")
    api.kill(321)
    assert shown(api)[0] == "ABORTED"


def test_stop_does_not_end_a_later_run(api: Probe, control: Control) -> None:
    control.put_etl(321, duration=1, stop_lag=5)
    api.run(321)
    api.stop(321)
    control.advance(2)
    api.run(321)
    control.patch_etl(321, duration=60)
    control.advance(1)
    api.run(321)
    control.advance(4)
    assert shown(api)[0] == "RUNNING"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ("ABORTED", None)),
        ({"kind": "periodic"}, ("ABORTED", None)),
        ({"kill_state": "ENDED", "kill_exit": "ERROR"}, ("ENDED", "ERROR")),
    ],
)
def test_kill_of_a_running_one(api: Probe, control: Control, fields: dict[str, Any], expected: Any) -> None:
    control.put_etl(321, duration=60, kill_lag=2, **fields)
    api.run(321)
    api.kill(321)
    assert shown(api)[0] == "RUNNING"
    control.advance(2)
    assert shown(api) == expected
    assert api.status(321).json["last_exec_ts"] == control.clock()["shown"]


def test_kill_may_leave_the_time_stamp(api: Probe, control: Control) -> None:
    control.put_etl(321, state="ENDED", duration=60, kill_stamps=False)
    before = api.status(321).json["last_exec_ts"]
    api.run(321)
    control.advance(5)
    api.kill(321)
    assert api.status(321).json["last_exec_ts"] == before


@pytest.mark.parametrize(("fields", "expected"), [({}, "ENDED"), ({"kill_waiting_state": "ABORTED"}, "ABORTED")])
def test_kill_of_a_waiting_one(api: Probe, control: Control, fields: dict[str, Any], expected: str) -> None:
    control.put_etl(321, kind="periodic", **fields)
    api.kill(321)
    assert shown(api)[0] == expected
    assert control.executions() == []


def test_kill_cancels_what_has_not_begun(api: Probe, control: Control) -> None:
    control.put_etl(321, start_lag=10)
    api.run(321)
    assert control.status(321)["not_begun"] == 1
    api.stop(321)
    assert control.status(321)["not_begun"] == 1, "stop speaks of executions"
    api.kill(321)
    control.advance(60)
    assert control.executions() == []
    assert control.status(321)["not_begun"] == 0


@pytest.mark.parametrize("action", ["stop", "kill"])
def test_nothing_to_end(api: Probe, control: Control, action: str) -> None:
    control.put_etl(321, state="ENDED")
    assert getattr(api, action)(321).json["request_status"] == OK
    control.patch_etl(321, when_idle="error")
    assert getattr(api, action)(321).json["request_status"] == "ERROR"
    assert shown(api) == ("ENDED", "OK")


# --- run while running --------------------------------------------------------------------------------------------


def test_run_while_running_is_an_error(api: Probe, control: Control) -> None:
    control.put_etl(321, duration=10)
    api.run(321)
    reply = api.run(321)
    assert (reply.status, reply.json["request_status"], reply.json["task_execution_request_id"]) == (200, "ERROR", -1)
    control.advance(100)
    assert len(control.executions()) == 1
    assert [entry["accepted"] for entry in control.requests(exchange="run")] == [True, False]


def test_run_while_running_is_500(api: Probe, control: Control) -> None:
    control.put_etl(321, duration=10, run_when_running="http_500")
    api.run(321)
    reply = api.run(321)
    assert (reply.status, reply.json) == (500, {"error": "Error"})
    assert control.counters()["accepted_by_etl"] == {321: 1}


def test_run_while_running_queues(api: Probe, control: Control) -> None:
    control.put_etl(321, duration=10, start_lag=2, run_when_running="queue", exits=["ERROR", "OK"])
    api.run(321)
    control.advance(4)
    assert api.run(321).json["request_status"] == OK
    control.advance(8)
    assert shown(api) == ("ENDED", "ERROR")
    control.advance(2)
    assert shown(api) == ("RUNNING", "ERROR")
    control.advance(10)
    assert shown(api) == ("ENDED", "OK")
    first, second = control.executions()
    assert second["started_at"] >= first["ended_at"]


def test_run_while_running_overlaps(api: Probe, control: Control) -> None:
    control.put_etl(321, duration=10, run_when_running="parallel", exits=["ERROR", "OK"])
    api.run(321)
    control.advance(4)
    api.run(321)
    assert control.status(321)["executing"] == 2
    control.advance(6)
    assert shown(api) == ("RUNNING", "ERROR")
    control.advance(4)
    assert shown(api) == ("ENDED", "OK")
    first, second = control.executions()
    assert second["started_at"] < first["ended_at"]


def test_two_requests_before_it_begins_run_twice(api: Probe, control: Control) -> None:
    """What a client that repeats itself brings about: the server cannot see RUNNING yet and takes both."""
    control.put_etl(321, start_lag=5, duration=10)
    assert [api.run(321).json["request_status"] for _number in range(2)] == [OK, OK]
    control.advance(100)
    assert control.counters()["launches_by_etl"] == {321: 2}


# --- services -----------------------------------------------------------------------------------------------------


def test_service(api: Probe, control: Control) -> None:
    control.put_etl(53, kind="service", start_lag=2, stop_lag=3)
    assert shown(api, 53) == ("SERVICE_OFF", None)
    assert api.run(53).json == {"task_execution_request_id": -1, "request_status": "OK"}
    assert shown(api, 53)[0] == "SERVICE_OFF"
    control.advance(2)
    assert shown(api, 53) == ("SERVICE_ON", None)
    control.advance(10_000)
    assert shown(api, 53) == ("SERVICE_ON", None), "a service does not end"
    assert api.run(53).json["request_status"] == "ERROR"
    assert api.stop(53).json == {"task_execution_request_id": -1, "request_status": "OK"}
    control.advance(3)
    assert shown(api, 53) == ("SERVICE_OFF", None)
    assert len(control.executions()) == 1


def test_service_that_is_on_may_take_a_run(api: Probe, control: Control) -> None:
    control.put_etl(53, kind="service", state="SERVICE_ON", run_when_service_on="ok")
    assert api.run(53).json["request_status"] == OK
    assert api.schedule(53).json["request_status"] == OK
    assert control.status(53)["executing"] == 1


@pytest.mark.parametrize(("fields", "expected"), [({}, "SERVICE_OFF"), ({"kill_state": "ABORTED"}, "ABORTED")])
def test_service_is_killed(api: Probe, control: Control, fields: dict[str, Any], expected: str) -> None:
    control.put_etl(53, kind="service", state="SERVICE_ON", **fields)
    assert api.kill(53).json["task_execution_request_id"] == -1
    assert shown(api, 53)[0] == expected


def test_schedule_starts_a_service_and_two_requests_start_it_once(api: Probe, control: Control) -> None:
    control.put_etl(53, kind="service", start_lag=5)
    api.schedule(53)
    api.run(53)
    control.advance(5)
    assert shown(api, 53)[0] == "SERVICE_ON"
    assert len(control.executions()) == 1
    assert control.status(53)["not_begun"] == 0


# --- engines and words --------------------------------------------------------------------------------------------


def test_inactive_engine(api: Probe, control: Control) -> None:
    control.put_etl(321, state="ENDED", engine="inactive", start_lag=2)
    before = api.status(321).json
    assert api.run(321).json["request_status"] == OK
    assert api.schedule(321).json["request_status"] == OK
    control.advance(86400)
    assert api.status(321).json == before
    control.patch_etl(321, engine="active")
    control.advance(2)
    assert shown(api)[0] == "RUNNING"


def test_request_held_by_an_inactive_engine_can_be_killed(api: Probe, control: Control) -> None:
    control.put_etl(321, state="ENDED", engine="inactive")
    api.run(321)
    api.kill(321)
    control.patch_etl(321, engine="active")
    control.advance(60)
    assert control.executions() == []


def test_engine_goes_inactive_while_running(api: Probe, control: Control) -> None:
    control.put_etl(321, duration=None)
    api.run(321)
    control.patch_etl(321, engine="inactive")
    api.stop(321)
    api.kill(321)
    control.advance(60)
    assert shown(api)[0] == "RUNNING"


def test_engine_refuses(api: Probe, control: Control) -> None:
    control.put_etl(321, engine="refuses")
    for action in ("run", "schedule", "stop", "kill"):
        assert getattr(api, action)(321).json["request_status"] == "ERROR"
    assert control.counters()["accepted_by_etl"] == {}


@pytest.mark.parametrize(
    ("word", "work", "runs"),
    [("ERROR", None, 0), ("WARNING", None, 1), ("ok", None, 1), (None, None, 1), ("ERROR", True, 1), ("OK", False, 0)],
)
def test_word_of_the_answer(api: Probe, control: Control, word: str | None, work: bool | None, runs: int) -> None:
    control.put_etl(321, answers={"run": word}, answer_work=work)
    reply = api.run(321)
    assert (reply.status, reply.json["request_status"]) == (200, word)
    assert len(control.executions()) == runs
    assert api.schedule(321).json["request_status"] == OK


# --- others at work -----------------------------------------------------------------------------------------------


def test_somebody_else_starts_it(api: Probe, control: Control) -> None:
    control.put_etl(321, start_lag=60, duration=60)
    control.start(321, duration=5, exit="WARNING")
    assert shown(api)[0] == "RUNNING"
    control.advance(5)
    assert shown(api) == ("ENDED", "WARNING")
    assert control.executions()[0]["cause"] == "external"
    assert control.counters()["launches_by_etl"] == {}


def test_finish(api: Probe, control: Control) -> None:
    control.put_etl(321, duration=None)
    api.run(321)
    control.advance(10**6)
    assert shown(api)[0] == "RUNNING"
    control.finish(321, exit="FAILED", state="ABORTED")
    assert shown(api) == ("ABORTED", "FAILED")
    with pytest.raises(SimulatorError, match="not executing"):
        control.finish(321)


def test_finish_takes_the_exit_of_the_run(api: Probe, control: Control) -> None:
    control.put_etl(321, duration=None, exit="WARNING")
    api.run(321)
    control.finish(321)
    assert shown(api) == ("ENDED", "WARNING")


def test_service_is_not_started_twice(control: Control) -> None:
    control.put_etl(53, kind="service")
    control.start(53)
    with pytest.raises(SimulatorError, match="already on"):
        control.start(53)


@pytest.mark.parametrize(
    ("fields", "state", "exit_code", "has_run"),
    [
        ({}, None, None, False),
        ({"kind": "periodic"}, "WAITING", "OK", True),
        ({"kind": "service"}, "SERVICE_OFF", None, False),
        ({"state": "ENDED"}, "ENDED", "OK", True),
        ({"state": "ABORTED"}, "ABORTED", None, True),
        ({"state": "RUNNING"}, "RUNNING", "OK", True),
        ({"state": "RUNNING", "ts_semantics": "start"}, "RUNNING", "OK", True),
        ({"state": "WAITING", "exit_code": None, "last_exec_age": None}, "WAITING", None, False),
        ({"state": "ENDED", "last_exec_ts": None}, "ENDED", "OK", False),
    ],
)
def test_first_state(control: Control, fields: dict[str, Any], state: str, exit_code: str, has_run: bool) -> None:
    etl = control.put_etl(321, **fields)
    assert (etl["state"], etl["exit_code"], etl["last_exec_ts"] is not None) == (state, exit_code, has_run)


def test_put_running_ends_by_itself(api: Probe, control: Control) -> None:
    control.put_etl(321, state="RUNNING", duration=10)
    control.advance(10)
    assert shown(api)[0] == "ENDED"
    assert control.executions()[0]["cause"] == "external"


def test_patch_of_the_state_drops_what_was_under_way(api: Probe, control: Control) -> None:
    control.put_etl(321, duration=10, start_lag=0, run_when_running="queue")
    api.run(321)
    api.run(321)
    control.patch_etl(321, state="ENDED", exit_code="ERROR", last_exec_ts="2026-01-01T00:00:00Z")
    control.advance(100)
    assert api.status(321).json == {
        "status": "ENDED",
        "task_id": 321,
        "exit_code": "ERROR",
        "last_exec_ts": "2026-01-01T00:00:00Z",
    }
    assert len(control.executions()) == 1


def test_time_runs_at_the_chosen_speed(sim: SimulatorProcess, control: Control) -> None:
    control.put_etl(321, duration=1000)
    control.start(321)
    control.speed(20_000)
    control.wait_until(lambda c: c.status(321)["state"] == "ENDED", timeout=5)

# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Odd servers: what proves a run, what proves nothing, and what an end may claim."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from typing import Any
from unittest import mock

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _run_files
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import OptionError
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.model import FORMS, World
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.support import answer


def shown(state: Any, exit_code: Any = "OK", time: Any = "2027-01-14T08:00:00Z") -> Any:
    return answer(200, {"status": state, "exit_code": exit_code, "last_exec_ts": time, "task_id": 321})


# -- a time that is no news -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("time", ["2027-01-14T08:00:00Z", None, "a while ago", "2027-01-14T08:00:00.000+00:00"])
@pytest.mark.parametrize("fault", [None, ("reset", False)])
def test_an_older_answer_or_one_without_a_time_is_no_run(time, fault):
    w = World({"writes": (fault,)}, starts=False, initial_age=3600)
    w.look = lambda look: shown("ENDED", time=time) if look > 1 else None
    entry = w.act(start_timeout=60)
    assert entry["failed"]
    assert entry["outcome"] in ("not_started", "unconfirmed")


@pytest.mark.parametrize("form", ["no time", "a time that is none"])
@pytest.mark.parametrize("first", [True, False])
def test_a_baseline_or_an_answer_without_a_time_proves_nothing(form, first):
    w = World(starts=False)

    w.look = lambda look: answer(200, FORMS[form](dict(w.etl.status().json()))) if (look == 1) is first else None
    entry = w.act(start_timeout=60)
    assert (entry["outcome"], entry["failed"]) == ("not_started", True)


@pytest.mark.parametrize(
    ("time", "outcome"), [("2028-01-01T00:00:00Z", "not_started"), ("2027-01-15T10:00:00Z", "succeeded")]
)
def test_a_time_in_the_far_future_is_no_run_and_a_mislabeled_zone_is_one(time, outcome):
    w = World(starts=False, initial_age=3600)
    w.look = lambda look: shown("ENDED", time=time) if look > 1 else None
    entry = w.act(start_timeout=60)
    assert entry["outcome"] == outcome
    assert any("in the future" in text for text in w.task.warnings) == (outcome == "not_started")


def test_an_engine_that_is_late_is_not_outrun_by_a_replica():
    w = World({"lags": (0.0, 30.0, 600.0)}, start_lag=45, duration=20, exit_code="ERROR", initial_age=100)
    entry = w.act()
    assert (entry["outcome"], entry["failed"]) == ("failed", True)


def test_a_foreign_run_before_the_request_is_not_taken_for_ours():
    # The baseline comes from a replica that lags behind; the run that it hides ended before the request.
    w = World(start_lag=200, duration=20, exit_code="ERROR", initial_age=5)
    w.look = lambda look: shown("ENDED", time="2027-01-14T08:00:00Z") if look == 1 else None
    entry = w.act()
    assert (entry["outcome"], entry["changed"]) == ("failed", True)


@pytest.mark.parametrize("action", ["stop", "kill"])
def test_stop_and_kill_do_not_believe_an_old_answer(action):
    w = World(initial="RUNNING", left=1e6, stop_lag=None, kill_lag=1e6, stamp="start")
    w.look = lambda look: shown("ENDED") if look in (2, 4) else None
    entry = w.act(action, wait_timeout=60)
    assert (entry["outcome"], entry["failed"]) == ("timed_out", True)


def test_an_old_aborted_does_not_end_a_run():
    w = World(duration=100, initial_age=60)
    w.look = lambda look: shown("ABORTED", "ERROR") if look in (3, 5) else None
    assert w.act()["outcome"] == "succeeded"


def test_a_wait_does_not_believe_an_old_answer():
    w = World(start_lag=30, duration=100)
    started = w.task.act(wait=False)
    w.look = lambda look: shown("ENDED", time="2027-01-13T08:00:00Z") if look in (2, 3) else None
    assert w.wait_for(started)["outcome"] == "succeeded"


@pytest.mark.parametrize("action", ["run", "schedule"])
def test_a_time_in_the_future_proves_nothing(action):
    w = World(starts=False)
    w.look = lambda look: shown("ENDED", time="2099-01-01T00:00:00Z") if look > 1 else None
    entry = w.act(action, start_timeout=60, wait_timeout=90)
    assert (entry["failed"], entry["evidence"]) == (True, None)
    assert "future" in w.task.warnings[0]


def test_a_baseline_without_a_time_and_the_end_of_the_very_second():
    # The other run ended just before the request, in the same second of the server's clock.
    w = World(starts=False, initial_age=0)
    w.look = lambda look: shown("ENDED", time="a while ago") if look == 1 else None
    assert w.act(start_timeout=60)["outcome"] == "not_started"


def test_a_gap_in_the_polls_does_not_prove_an_end():
    # RUNNING is real; a replica that lags behind answers before and after polls that fail.
    w = World(start_lag=5, duration=900, exit_code="ERROR", initial_age=60)
    old = shown("ENDED", time=w.etl.stamp)
    w.look = lambda look: (
        None if w.etl.state != "RUNNING" or look % 20 < 2 else old if look % 20 in (2, 15) else answer(502)
    )
    entry = w.act(start_timeout=30)
    assert (entry["outcome"], entry["failed"]) == ("failed", True)


def test_replicas_that_show_an_earlier_run_late_prove_nothing():
    w = World(starts=False, stamp="start", initial_age=60)
    old = shown("RUNNING", time=w.etl.stamp)
    w.look = lambda look: old if look in (3, 5, 7) else None
    entry = w.act(start_timeout=60)
    assert (entry["outcome"], entry["failed"]) == ("unconfirmed", True)
    assert "time of its last run is the same as before" in entry["msg"]


def test_a_baseline_without_a_time_keeps_the_time_that_was_seen_before():
    """And a late replica that leaves the time out does not make the run before the queue's end ours."""
    w = World(
        {"lags": (7.0, 0.0, 0.0), "forms": (None, None, "no time", None)}, initial="RUNNING", left=2, starts=False
    )
    entry = w.act(if_running="queue", wait_timeout=900, start_timeout=10)
    assert (entry["before"]["last_exec_ts"], entry["outcome"]) == ("2027-01-15T08:00:02Z", "unconfirmed")
    entry = w.act(wait_timeout=30)
    assert (entry["failed"], "still running" in entry["msg"]) == (True, False)


def test_replicas_that_disagree_on_the_end_are_heard_until_they_agree():
    odd = {"lags": (0.0, 0.0, 0.0, 1.0, 12.0), "forms": ("no time",)}
    w = World(odd, start_lag=0, duration=1, exit_code="WARNING", initial_age=7200)
    assert w.act(wait_timeout=60, poll_interval=1)["outcome"] == "warning"


def test_a_lost_kill_of_a_schedule_that_is_still_there_changed_nothing():
    w = World({"writes": (("reset", False),)}, initial="WAITING")
    entry = w.act(action="kill", retries=0, start_timeout=10)
    assert (entry["outcome"], entry["changed"]) == ("unconfirmed", False)
    assert "Its schedule was not seen to end within 10 s" in entry["msg"]
    assert entry["error"]["remedy"] == "Run the task again; a second kill does no harm."


def test_a_stop_does_not_believe_for_seconds_what_was_shown_before():
    w = World(initial="RUNNING", left=1e6, stop_lag=None, stamp="end")
    old = shown("ENDED", time=w.etl.stamp)
    w.look = lambda look: None if look == 1 or look % 7 == 0 else old
    assert w.act("stop", wait_timeout=100)["outcome"] == "timed_out"


def test_the_end_of_a_schedule_is_confirmed_sooner_than_that_of_a_run():
    # Exit code and time do not change then, on any server.
    w = World(initial="WAITING")
    entry = w.act("kill", details="full", wait_timeout=60)
    assert (entry["outcome"], entry["elapsed_seconds"] < 6) == ("stopped", True)


def test_an_unknown_state_that_decides_is_named_in_a_warning():
    w = World(initial="HIBERNATING")
    assert w.task.act(check_mode=True)["etl"]["outcome"] == "would_run"
    assert "HIBERNATING" in w.task.warnings[0]


def test_after_a_queue_the_state_before_is_that_of_the_new_request():
    w = World(initial="RUNNING", left=90, duration=30)
    entry = w.act(if_running="queue")
    assert (entry["outcome"], entry["before"]["status"]) == ("succeeded", "ENDED")


# -- no value ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "posts"), [("run", []), ("stop", ["stop"]), ("kill", ["kill"])])
def test_two_empty_answers_in_a_row_are_not_believed(action, posts):
    w = World(initial="RUNNING", left=100, stop_lag=1)
    w.look = lambda look: answer(200 if look == 1 else 204) if look <= 2 else None
    w.act(action)
    assert w.task.posts == posts


def test_an_etl_that_never_ran_is_looked_at_again_for_seconds():
    w = World(initial=None, starts=True, start_lag=1, duration=1)
    assert w.act()["outcome"] == "succeeded"
    assert w.etl.executed[0][0] >= 5


# -- every end draws the conclusion -----------------------------------------------------------------------------------


def test_a_lost_response_and_a_run_that_is_seen_is_a_change():
    w = World({"writes": (("502", True),)}, duration=1e6)
    entry = w.act(wait_timeout=60)
    assert (entry["outcome"], entry["changed"], entry["evidence"]) == ("timed_out", True, "adopted")
    assert "response to the run request was lost" in entry["msg"]


def test_a_lost_response_to_the_stop_at_the_timeout_is_a_change():
    w = World({"writes": (("502", True),)}, initial="RUNNING", left=1e6)
    entry = w.act(wait_timeout=60, on_timeout="stop")
    assert (entry["outcome"], entry["changed"], entry["attached"]) == ("timed_out", True, True)
    assert "then stopped" in entry["msg"]
    assert "response to the stop request was lost" in entry["msg"]


def test_a_refused_escalation_does_not_end_the_wait():
    w = World({"refuse": ("kill",)}, initial="RUNNING", left=1e6, stop_lag=60)
    entry = w.act("stop", kill_after=20)
    assert (entry["outcome"], entry["failed"]) == ("stopped", False)
    assert any("Another request to end" in text for text in w.task.warnings)
    assert w.task.posts == ["stop", "kill"]


def test_a_foreign_abort_is_no_accepted_request():
    w = World({"writes": (("reset", False),)})
    w.look = lambda look: shown("ABORTED", "ERROR", w.etl.stamp) if look > 1 else None
    entry = w.act(wait=False, start_timeout=30)
    assert (entry["outcome"], entry["failed"]) == ("unconfirmed", True)


def test_a_service_answer_beside_running_is_a_batch_run():
    w = World(duration=60)
    receipt = answer(200, {"task_execution_request_id": -1, "request_status": "OK"})
    w.before = lambda exchange: w.model.handle(exchange) and receipt if exchange.path.endswith("/run") else None
    assert w.act()["outcome"] == "succeeded"


@pytest.mark.parametrize("executed", [True, False])
def test_a_third_request_status_is_followed(executed):
    w = World(duration=30)

    def odd(exchange):
        if exchange.path.endswith("/run"):
            if executed:
                w.model.handle(exchange)
            return answer(200, {"task_execution_request_id": 5, "request_status": "WARNING"})
        return None

    w.before = odd
    entry = w.act()
    expected = ("succeeded", True) if executed else ("unconfirmed", False)
    assert (entry["outcome"], entry["changed"]) == expected
    assert w.task.posts == ["run"]


def test_an_undocumented_end_claims_nothing():
    w = World(duration=20)
    w.look = lambda look: (
        answer(200, {"status": "FINISHED_OK", "exit_code": "OK", "last_exec_ts": w.etl.stamp})
        if w.etl.runs and w.etl.current is None
        else None
    )
    entry = w.act(wait_timeout=120)
    assert entry["outcome"] == "timed_out"
    assert "cannot tell whether the run is over" in entry["msg"]
    assert "still running" not in entry["msg"]
    assert any("FINISHED_OK" in text for text in w.task.warnings)


# -- etl_wait without a baseline --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "outcome", "failed"),
    [
        ({"initial_exit": "ERROR"}, "failed", True),
        ({"initial": "ABORTED"}, "aborted", True),
        ({"initial_exit": "OK"}, "nothing_to_do", False),
        ({"initial": None}, "nothing_to_do", False),
    ],
)
def test_without_a_baseline_a_failure_fails_and_the_rest_warns(behaviour, outcome, failed):
    w = World(**behaviour)
    entry = w.wait_for()
    assert (entry["outcome"], entry["failed"]) == (outcome, failed)
    assert failed or "Set baseline" in w.task.warnings[0]


# -- deadlines --------------------------------------------------------------------------------------------------------


def test_nothing_is_sent_after_the_deadline():
    w = World({"outage": (0.0, 120.0, "429_wait")})
    entry = w.act(wait_timeout=60, retries=20)
    assert entry["failed"]
    assert w.task.posts == []
    assert w.clock.elapsed <= 61


# -- notes of requests ------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "notes").mkdir(mode=0o700)
    return str(tmp_path / "notes")


def test_a_pending_request_is_followed_by_a_later_task(folder):
    w = World(start_lag=500, duration=20)
    first = w.act(start_timeout=30, request_notes=folder)
    assert first["outcome"] == "not_started"
    checked = w.act(check_mode=True, request_notes=folder)
    assert (checked["outcome"], checked["attached"], checked["changed"]) == ("nothing_to_do", True, False)
    again = w.act(start_timeout=900, request_notes=folder)
    assert (again["outcome"], again["attached"], again["changed"]) == ("succeeded", True, False)
    assert "followed instead of sent again" in again["msg"]
    assert w.etl.launches("run") == 1
    # It has run, so the next task means another run.
    assert w.act(start_timeout=900, request_notes=folder)["changed"]
    assert w.etl.launches("run") == 2


def test_a_pending_request_is_forgotten_after_a_kill_and_after_its_time(folder):
    w = World(starts=False)
    w.act(start_timeout=30, request_notes=folder)
    assert w.act(wait=False, request_notes=folder)["outcome"] == "nothing_to_do"
    w.clock.pass_by(_run_files.NOTE_LIFE)
    assert w.act(wait=False, request_notes=folder)["outcome"] == "accepted"
    assert w.etl.launches("run") == 2


def test_if_running_fail_counts_a_pending_request(folder):
    w = World(starts=False)
    w.act(start_timeout=30, request_notes=folder)
    entry = w.act(if_running="fail", request_notes=folder)
    assert entry["error"]["kind"] == "already_running"
    assert w.etl.launches("run") == 1


def test_hosts_of_one_task_share_a_launch(folder):
    w = World(start_lag=1, duration=10)
    results = []
    for host in ("a", "b", "c", "a"):
        about = {"notes": folder, "run": "run-1", "task": "play.yml:5", "host": host}
        with mock.patch.object(_run_files.Channel, "about", about, create=True):
            channel = _run_files.Channel(None)
            channel.about = about
            with mock.patch.object(_run_files, "Channel", return_value=channel):
                results.append(w.act())
    assert [r["changed"] for r in results] == [True, False, False, True], "the same host again means another run"
    assert {r["outcome"] for r in results} == {"succeeded"}
    assert w.etl.launches("run") == 2


def test_a_folder_for_notes_that_others_can_read_is_refused(tmp_path):
    (tmp_path / "open").mkdir(mode=0o755)
    w = World()
    with pytest.raises(OptionError, match="request_notes"):
        w.act(request_notes=str(tmp_path / "open"))
    assert w.task.lines == []


def test_a_task_is_over_as_soon_as_its_ansible_playbook_is_gone(tmp_path):
    gone = subprocess.run(["/bin/sh", "-c", "echo $$"], check=True, capture_output=True, text=True)
    channels = []
    for player in (os.getpid(), int(gone.stdout)):
        path = tmp_path / str(player)
        path.touch(0o600)
        path.write_text(json.dumps({"player": player}) + "\n")
        with path.open() as worker:  # which still holds its lock
            fcntl.flock(worker, fcntl.LOCK_EX)
            channels.append(_run_files.Channel(str(path)).over())
    assert channels == [False, True]

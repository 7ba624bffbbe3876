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
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.model import (
    FORMS,
    World,
    check,
    given,
    story,
)
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.support import answer


def shown(state: Any, exit_code: Any = "OK", time: Any = "2027-01-14T08:00:00Z") -> Any:
    return answer(200, {"status": state, "exit_code": exit_code, "last_exec_ts": time, "task_id": 321})


def looks(*numbers: int, **facts: Any) -> Any:
    """A hook: the looks with these numbers show this end."""
    return lambda w, number: shown("ENDED", **facts) if number in numbers else None


def later(**facts: Any) -> Any:
    """A hook: all looks but the first, the baseline, show this end."""
    return lambda w, number: shown("ENDED", **facts) if number > 1 else None


def in_form(form: str, is_first: bool) -> Any:
    """A hook: the first look, or each other one, has this form."""
    return lambda w, n: answer(200, FORMS[form](dict(w.etl.status().json()))) if (n == 1) is is_first else None


def receipt(request_id: int, word: str, *, executed: bool = True, passes: float = 0) -> Any:
    """A hook: the first request of an action, whether it is carried out, has this receipt."""

    def hook(w: World, exchange: Any) -> Any:
        if not exchange.path.endswith(word.partition(":")[0]):
            return None
        w.clock.pass_by(passes)
        if executed:
            w.model.handle(exchange)
        return answer(200, {"task_execution_request_id": request_id, "request_status": word.partition(":")[2]})

    return hook


def somebody_else_runs_it(w: World, exchange: Any) -> None:
    if exchange.path.endswith("/run") and not w.etl.executed:
        w.etl.carry_out("run")


RUNNING = {"initial": "RUNNING", "left": 1e6}
NO_START = {"starts": False, "start_timeout": 60}

STORIES = {
    # A time that is no news.
    **{
        f"{time}, {end}": story(end, given(**NO_START, initial_age=3600, writes=(lost,)), look=later(time=time))
        for time, lost, end in (
            ("2027-01-14T08:00:00Z", None, "unconfirmed changed failed: run"),
            ("2027-01-14T08:00:00Z", ("reset", False), "unconfirmed failed: run"),
            (None, None, "not_started changed failed: run"),
            ("a while ago", None, "not_started changed failed: run"),
            ("a while ago", ("reset", False), "unconfirmed failed: run"),
        )
    },
    **{
        f"{form}, first: {is_first}": story(
            "not_started changed failed: run", given(**NO_START), look=in_form(form, is_first)
        )
        for form in ("no time", "a time that is none")
        for is_first in (True, False)
    },
    "a time in the far future": story(
        "not_started changed failed: run",
        given(**NO_START),
        evidence=None,
        warning="in the future",
        look=later(time="2028-01-01T00:00:00Z"),
    ),
    "a time in the far future is no schedule": story(
        "timed_out changed failed: schedule",
        given(**NO_START, action="schedule"),
        evidence=None,
        warning="in the future",
        look=later(time="2099-01-01T00:00:00Z"),
    ),
    "local time that is labeled as UTC": story(
        "succeeded changed: run", given(**NO_START), look=later(time="2027-01-15T10:00:00Z")
    ),
    "an engine that is late is not outrun by a replica": story(
        "failed changed failed: run",
        given(lags=(0.0, 30.0, 600.0), start_lag=45, duration=20, exit_code="ERROR", initial_age=100),
    ),
    # The baseline comes from a replica that lags behind; the run that it hides ended before the request.
    "a foreign run before the request": story(
        "failed changed failed: run", given(start_lag=200, duration=20, exit_code="ERROR", initial_age=5), look=looks(1)
    ),
    "RUNNING of a foreign run that ended before the request": story(
        "not_started changed failed: run",
        given(**NO_START, initial_age=5),
        look=lambda w, number: shown("ENDED" if number == 1 else "RUNNING") if number < 3 else None,
    ),
    **{
        f"an old end is no {action}": story(
            f"timed_out changed failed: {action}",
            given(**RUNNING, stop_lag=None, kill_lag=1e6, stamp="start", action=action, wait_timeout=60),
            look=looks(2, 4),
        )
        for action in ("stop", "kill")
    },
    "an old ABORTED does not end a run": story(
        "succeeded changed: run",
        given(duration=100, initial_age=60),
        look=lambda w, number: shown("ABORTED", "ERROR") if number in (3, 5) else None,
    ),
    # The other run ended just before the request, in the same second of the server's clock.
    "a baseline without a time, and the end of the very second": story(
        "not_started changed failed: run", given(**NO_START, initial_age=0), look=looks(1, time="a while ago")
    ),
    # RUNNING is real; a replica that lags behind answers before and after polls that fail.
    "a gap in the polls does not prove an end": story(
        "failed changed failed: run",
        given(start_lag=5, duration=900, exit_code="ERROR", initial_age=60, start_timeout=30),
        look=lambda w, number: (
            None
            if w.etl.state != "RUNNING" or number % 20 < 2
            else shown("ENDED", time=w.etl.stamp)
            if number % 20 in (2, 15)
            else answer(502)
        ),
    ),
    **{
        f"every other server still shows the state before, with its time: {with_time}": story(
            "succeeded changed: run",
            given(start_lag=1, duration=600),
            evidence="timestamp_changed",
            above=600,
            look=lambda w, number, with_time=with_time: (
                shown("ENDED", time=w.etl.stamp if with_time else None)
                if w.etl.state == "RUNNING" and number % 2 == 0
                else None
            ),
        )
        for with_time in (True, False)
    },
    "replicas that show an earlier run late prove nothing": story(
        "unconfirmed changed failed: run",
        given(**NO_START, stamp="start", initial_age=60),
        "time of its last run is the same as before",
        look=lambda w, number: shown("RUNNING", time=w.etl.stamp) if number in (3, 5, 7) else None,
    ),
    "replicas that disagree on the end are heard until they agree": story(
        "warning changed: run",
        given(
            lags=(0.0, 0.0, 0.0, 1.0, 12.0),
            forms=("no time",),
            start_lag=0,
            duration=1,
            exit_code="WARNING",
            initial_age=7200,
            wait_timeout=60,
            poll_interval=1,
        ),
        warning="exit WARNING",
    ),
    "a stop does not believe for seconds what was shown before": story(
        "timed_out changed failed: stop",
        given(**RUNNING, stop_lag=None, action="stop", wait_timeout=100),
        look=lambda w, number: None if number == 1 or number % 7 == 0 else shown("ENDED", time=w.etl.stamp),
    ),
    # Exit code and time do not change then, on any server.
    "the end of a schedule is confirmed sooner than that of a run": story(
        "stopped changed: kill",
        given(initial="WAITING", action="kill"),
        "The schedule of ETL 321 was canceled",
        below=6,
    ),
    # No value.
    **{
        f"two empty answers in a row do not change what {action} does": story(
            f"{claimed}: {posts}",
            given(**RUNNING | {"left": 100}, stop_lag=1, action=action),
            look=lambda w, number: answer(200 if number == 1 else 204) if number <= 2 else None,
        )
        for action, posts, claimed in (
            ("run", "", "succeeded attached"),
            ("stop", "stop", "stopped changed"),
            ("kill", "kill", "stopped changed"),
        )
    },
    "no value for a while is no stop": story(
        "timed_out changed failed: stop",
        given(**RUNNING, stop_lag=None, action="stop", wait_timeout=200),
        look=lambda w, number: answer(204) if 2 <= number <= 21 else None,
    ),
    "no value for half a minute is an end": story(
        "stopped changed: stop",
        given(**RUNNING, stop_lag=None, action="stop"),
        above=30,
        look=lambda w, number: answer(204) if number >= 2 else None,
    ),
    "one look without a value does not end a run": story(
        "succeeded changed: run",
        given(duration=60),
        look=lambda w, number: answer(204) if 10 < w.clock.elapsed < 30 else None,
    ),
    "an ETL that never ran is looked at again for seconds": story(
        "succeeded changed: run", given(initial=None, start_lag=1, duration=1), above=7
    ),
    # Unknown states.
    "an unknown state that decides": story(
        "would_run changed", given(initial="HIBERNATING", check_mode=True), warning="HIBERNATING"
    ),
    "an unknown state that is followed": story(
        "succeeded changed: run",
        given(duration=60, start_timeout=30),
        warning="STARTING_UP",
        look=lambda w, number: shown("STARTING_UP", time=w.etl.stamp) if w.etl.executing else None,
    ),
    "an undocumented end claims nothing": story(
        "timed_out changed failed: run",
        given(duration=20, wait_timeout=120),
        "cannot tell whether the run is over",
        warning="FINISHED_OK",
        without="still running",
        look=lambda w, number: shown("FINISHED_OK", time=w.etl.stamp) if w.etl.runs and w.etl.current is None else None,
    ),
    # Responses that are lost or odd, and every end draws the conclusion.
    "a lost response and a run that is seen": story(
        "timed_out changed failed: run",
        given(writes=(("502", True),), duration=1e6, wait_timeout=60),
        "response to the run request was lost",
        evidence="adopted",
    ),
    "a lost response to the stop at the timeout": story(
        "timed_out changed failed attached: stop",
        given(**RUNNING, writes=(("502", True),), wait_timeout=60, on_timeout="stop"),
        "then stopped",
        "response to the stop request was lost",
    ),
    "a lost kill of a schedule that is still there changed nothing": story(
        "unconfirmed failed: kill",
        given(writes=(("reset", False),), initial="WAITING", action="kill", retries=0, start_timeout=10),
        "Its schedule was not seen to end within 10 s",
        remedy="Run the task again; a second kill does no harm.",
    ),
    "a rejected escalation does not end the wait": story(
        "stopped changed: stop kill",
        given(**RUNNING, refuse=("kill",), stop_lag=60, action="stop", kill_after=20),
        warning="Another request to end",
    ),
    **{
        f"a run that ended before it could be ended was not ended by us: {way}": story(
            f"timed_out changed failed: run {way}",
            given(start_lag=1, duration=99.5, wait_timeout=100, on_timeout=way),
            "It had just ended: ENDED",
            warning="just ended",
            before=receipt(7, f"{way}:ERROR", passes=2),
        )
        for way in ("stop", "kill")
    },
    # 429 means that nothing was carried out, so the run is attached to and nothing changed.
    "what runs after a request that was put off was started by somebody else": story(
        "succeeded attached: run",
        given(start_lag=1, duration=200, writes=(("429_wait", False),)),
        without="lost",
        before=somebody_else_runs_it,
    ),
    # A key that is rejected ends the wait at once; the ETL goes on.
    "the key is rejected in the middle": story(
        "unconfirmed changed failed: run",
        given(duration=1e5, token_life=120.0, wait_timeout=90000),
        "request 20001",
        "use etl_wait with this result's etls as baseline",
        below=520,
        error="authentication",
        before=lambda w, exchange: answer(401) if w.clock.elapsed > 500 and "/login" in exchange.path else None,
    ),
    "a foreign abort is no accepted request": story(
        "unconfirmed failed: run",
        given(writes=(("reset", False),), wait=False, start_timeout=30),
        look=lambda w, number: shown("ABORTED", "ERROR", w.etl.stamp) if number > 1 else None,
    ),
    "a service's receipt and RUNNING: a batch run": story(
        "succeeded changed: run", given(), before=receipt(-1, "run:OK")
    ),
    "a third request status, and it runs": story("succeeded changed: run", given(), before=receipt(5, "run:WARNING")),
    "a third request status, and it does not run": story(
        "unconfirmed failed: run", given(), before=receipt(5, "run:WARNING", executed=False)
    ),
}


@pytest.mark.parametrize("told", STORIES.values(), ids=STORIES)
def test_a_story(told):
    check(told)


def test_a_wait_does_not_believe_an_old_answer():
    w = World(start_lag=30, duration=100)
    started = w.task.act(wait=False)
    w.look = lambda look: shown("ENDED", time="2027-01-13T08:00:00Z") if look in (2, 3) else None
    assert w.wait_for(started)["outcome"] == "succeeded"


def test_a_baseline_without_a_time_keeps_the_time_that_was_seen_before():
    """And a late replica that leaves the time out does not make the run before the queue's end ours."""
    w = World(lags=(7.0, 0.0, 0.0), forms=(None, None, "no time", None), initial="RUNNING", left=2, starts=False)
    entry = w.act(if_running="queue", wait_timeout=900, start_timeout=10)
    assert (entry["before"]["last_exec_ts"], entry["outcome"]) == ("2027-01-15T08:00:02Z", "unconfirmed")
    entry = w.act(wait_timeout=30)
    assert (entry["failed"], "still running" in entry["msg"]) == (True, False)


# -- notes of requests ------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "notes").mkdir(mode=0o700)
    return str(tmp_path / "notes")


def test_a_pending_request_is_followed_by_a_later_task(folder):
    w = World(start_lag=500, duration=20)
    assert w.act(start_timeout=30, request_notes=folder)["outcome"] == "not_started"
    checked = w.act(check_mode=True, request_notes=folder)
    assert (checked["outcome"], checked["attached"], checked["changed"]) == ("nothing_to_do", True, False)
    assert w.act(if_running="fail", request_notes=folder)["error"]["kind"] == "already_running"
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
    w.etl.state = "WAITING"
    assert w.act("kill", request_notes=folder)["outcome"] == "stopped"
    assert w.act(wait=False, request_notes=folder)["outcome"] == "accepted"
    assert w.etl.launches("run") == 3


def test_hosts_of_one_task_share_a_launch(folder):
    w = World(start_lag=1, duration=10)
    results = []
    for host in ("a", "b", "c", "a"):
        channel = _run_files.Channel(None)
        channel.about = {"notes": folder, "run": "run-1", "task": "play.yml:5", "host": host}
        with mock.patch.object(_run_files, "Channel", return_value=channel):
            results.append(w.act(run_execution_properties={"month": "10"}))
            assert w.task.warnings == []
    assert [r["changed"] for r in results] == [True, False, False, True], "the same host again means another run"
    assert {r["outcome"] for r in results} == {"succeeded"}
    assert "The same task has already requested this run for host a (request 20001)." in results[1]["msg"]
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

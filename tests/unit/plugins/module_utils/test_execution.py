# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One ETL from the first poll to the verdict, on a fake clock, against a model of the service."""

from __future__ import annotations

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._observer import REFUSAL_PATIENCE
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._status import parse_rfc3339
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.model import (
    World,
    check,
    claim,
    given,
    story,
)
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.support import (
    SECRET,
    WALL,
    FakeClock,
    Task,
    answer,
    login_answer,
    readable,
)

RUNNING = {"initial": "RUNNING", "left": 1e6}
#: Stops have no effect.
DEAF = {**RUNNING, "stop_lag": None}
LONG = {"duration": 1e6, "wait_timeout": 100}
JUST_ENDED = {"initial": "RUNNING", "left": 0.12, "refuse": ("stop",), "action": "stop"}
MOVED = "timestamp_changed"

# -- each story in a row ----------------------------------------------------------------------------------------------

STORIES = [
    # The end of a run, and how it is known.
    # The old state shows for minutes.
    story("succeeded changed: run", given(start_lag=290, duration=1), evidence=MOVED),
    # Too short to be seen.
    story("succeeded changed: run", given(start_lag=0.01, duration=0.01), evidence=MOVED),
    story("succeeded changed: run", given(stamp="never"), evidence="seen_running"),
    story("warning changed: run", given(exit_code="WARNING"), warning="ended with exit WARNING"),
    story("warning changed failed: run", given(exit_code="WARNING", fail_on_warning=True), "log", error="exit_warning"),
    story("failed changed failed: run", given(exit_code="ERROR"), "ETL 321 (etl-321)", error="exit_error"),
    story("succeeded changed: run", given(exit_lag=2.0)),
    story("failed changed failed: run", given(exit_code=None, duration=5), "without an exit code", below=15),
    story("aborted changed failed: run", given(duration=100, foreign=((30, "kill"),))),
    # Limits of time.
    story("not_started changed failed: run", given(starts=False), "engine is inactive", lasts=(300, 301)),
    story(
        "timed_out changed failed: run",
        given(**LONG, start_timeout=50),
        "still running. Run the task again",
        lasts=(100, 101),
    ),
    story("not_started changed failed: run", given(starts=False, wait_timeout=60), "before wait_timeout (60 s)"),
    story(
        "timed_out changed failed: schedule",
        given(action="schedule", starts=False, wait_timeout=60),
        "be scheduled before wait_timeout",
    ),
    story(
        "timed_out changed failed: kill",
        given(action="kill", initial="WAITING", kill_lag=1e6, wait_timeout=60),
        "end before",
    ),
    *(
        story(
            f"timed_out changed failed: run {way}",
            given(**LONG, on_timeout=way),
            f"had not ended after 100 s (wait_timeout; request 20001). It was then {past}: ",
            without="attaches",
            task_execution_request_id=20001,
        )
        for way, past in (("stop", "stopped"), ("kill", "killed"))
    ),
    # It ends before the deadline, and its exit code comes just in time.
    story("succeeded changed: run", given(duration=95, exit_lag=2.0, on_timeout="kill", wait_timeout=100)),
    story(
        "timed_out changed failed: run stop",
        given(**LONG, stop_lag=None, start_timeout=40, on_timeout="stop"),
        "it had not ended 40 s later. Run the task again to continue waiting (it attaches",
        below=141,
    ),
    story(
        "timed_out changed failed: run stop kill",
        given(**LONG, stop_lag=None, on_timeout="stop", kill_after=20),
        "then killed",
    ),
    story(
        "timed_out changed failed: run stop",
        given(**LONG, refuse=("stop",), on_timeout="stop"),
        "The stop request failed",
        without="It was then",
    ),
    story(
        "timed_out changed failed: run stop stop stop",
        given(**LONG, writes=(None, ("429_wait", False), ("429_wait", False)), on_timeout="stop"),
        "It was then stopped",
        above=140,
    ),
    # A run that is under way.
    story("succeeded attached", given(**RUNNING | {"left": 120}, initial_exit="ERROR"), "was already running"),
    story("nothing_to_do attached", given(**RUNNING, wait=False), below=1),
    story(
        "succeeded attached",
        given(**RUNNING | {"left": 120}, run_execution_properties={"month": "10"}),
        warning="ETL 321 (etl-321): this task follows another run",
    ),
    story("nothing_to_do attached", given(**RUNNING, check_mode=True), below=1),
    # The exit code beside RUNNING is an old one.
    story("failed failed attached", given(initial="RUNNING", left=20, exit_code="ERROR")),
    story("failed failed", given(**RUNNING, if_running="fail"), error="already_running"),
    story("succeeded changed: run", given(initial="RUNNING", left=90, if_running="queue"), was="ENDED"),
    story("fresh", given(initial="RUNNING", left=90, if_running="queue", max_age=3600)),
    story("timed_out failed", given(**RUNNING, if_running="queue", wait_timeout=60), "was not started"),
    story("succeeded changed: stop run", given(**RUNNING, if_running="restart"), task_execution_request_id=20002),
    story("would_run changed", given(**RUNNING, if_running="restart", check_mode=True), below=1),
    story("succeeded changed: stop kill run", given(**DEAF, if_running="restart", kill_after=30), above=50),
    story("timed_out changed failed: stop", given(**DEAF, if_running="restart", wait_timeout=60), "kill_after"),
    # The run that made room succeeded, but it is not the one that was requested.
    story("succeeded changed: stop run", given(**DEAF | {"left": 3}, if_running="restart", max_age=3600)),
    *(
        story(f"succeeded changed: {posts}", given(**RUNNING, if_running="restart", writes=(("reset", executed),)))
        for executed, posts in ((True, "stop run"), (False, "stop stop run"))
    ),
    *(
        story(
            "failed changed failed: stop run",
            given(**RUNNING, if_running="restart", writes=(stop, ("403", False))),
            "had already been stopped",
        )
        for stop in (None, ("reset", True))
    ),
    # The run that was to be stopped ends by itself before the stop is accepted. The new one must still be started.
    story(
        "succeeded changed: stop run",
        given(initial="RUNNING", left=5, writes=(("429_wait", False),), if_running="restart"),
        evidence=MOVED,
    ),
    # Stop, kill, and schedule.
    story(
        "stopped changed: stop kill",
        given(**DEAF, action="stop", kill_after=30),
        "(kill_after) and was killed",
        lasts=(30, 33),
    ),
    story("timed_out changed failed: stop", given(**DEAF, action="stop", wait_timeout=60), "had not stopped"),
    story("stopped: stop", given(**JUST_ENDED), warning="just ended"),
    story("nothing_to_do: stop", given(**JUST_ENDED, wait=False), "had just ended", warning="just ended"),
    *(
        story(
            f"timed_out failed: {'stop ' * (1 + retries)}",
            given(**RUNNING, writes=(("reset", False),) * 99, action="stop", wait_timeout=120, retries=retries),
            "The response to the stop request was lost",
        )
        for retries in (1, 3)
    ),
    story("timed_out changed failed: schedule", given(action="schedule", starts=False), "has a schedule"),
    # Responses and polls that are lost.
    story(
        "timed_out failed: run run run",
        given(writes=(("429_wait", False),) * 99, wait_timeout=50),
        "not accepted within 50 s",
        "429",
    ),
    story("accepted changed: run", given(start_lag=20, writes=(("reset", True),), wait=False), "its effect was seen"),
    story("unconfirmed failed: run", given(writes=(("reset", False),), wait=False)),
    *(
        story("succeeded changed: run", given(duration=900, outage=(60, 800, fault)), lost=5)
        for fault in ("reset", "no_connection", "429", "429_wait", "500", "html", "slow")
    ),
    story("succeeded changed: run", given(duration=300, outage=(60, 40 + REFUSAL_PATIENCE, "403"))),
    story(
        "unconfirmed changed failed: run",
        given(duration=300, outage=(60, 1e9, "403")),
        "accepted as request 20001. Last seen: RUNNING",
        below=60 + REFUSAL_PATIENCE + 30,
    ),
    # It ended after 300 s, so "had not ended" would be untrue.
    story(
        "unconfirmed changed failed: run",
        given(duration=300, outage=(60, 1e9, "502"), wait_timeout=500),
        "HTTP 502",
        lasts=(500, 502),
    ),
    story(
        "unconfirmed changed failed: run",
        given(outage=(0.21, 1e9, "502"), wait_timeout=500),
        "accepted the run request",
        above=500,
    ),
    story("failed failed", given(outage=(0.0, 120.0, "429_wait"), wait_timeout=60, retries=20), below=61),
    story("succeeded changed: run", given(duration=3000, token_life=120.0), renewed=20, lost_polls=0),
    story("succeeded changed: run", given(reads=("502", "reset"))),
    story("failed failed", given(reads=("502",) * 4), was=None, http_status=502),
    # The last run is 3600 s old by the clock of the server, whatever the local one shows.
    story("fresh", given(initial_age=3600, skew=7200.0, max_age=3700)),
    story("succeeded changed: run", given(initial_age=3600, skew=7200.0, max_age=3500)),
]

# -- every action -----------------------------------------------------------------------------------------------------

for action, initial in (("run", "ENDED"), ("schedule", "ENDED"), ("stop", "RUNNING"), ("kill", "WAITING")):
    world = {"action": action, "initial": initial, "left": 1e6}
    starts = action in ("run", "schedule")
    end = {"run": "succeeded changed", "schedule": "scheduled changed"}.get(action, "stopped changed")
    STORIES += [
        story(f"accepted changed: {action}", given(**world, wait=False), below=1, polls=0),
        story(f"would_{action} changed: ", given(**world, check_mode=True), below=1, task_execution_request_id=None),
        story(
            f"accepted changed: {action} {action}",
            given(**world, writes=(("401", False),), wait=False),
            token_renewals=1,
        ),
        story(
            f"failed failed: {action}",
            given(**world, refuse=(action,)),
            error="request_refused",
            request_status="ERROR",
        ),
        story(
            f"failed failed: {action}", given(**world, writes=(("403", False),)), "custom_etl.edit", error="permission"
        ),
        story(
            f"failed failed: {f'{action} ' * 4}",
            given(**world, writes=(("429", False),) * 4),
            "ETL 321",
            error="rate_limited",
        ),
        *(
            story(
                f"accepted changed: {f'{action} ' * 3}",
                given(**world, writes=((fault, False),) * 2, wait=False),
                above=above,
            )
            for fault, above in (("429", 0), ("429_wait", 40), ("no_connection", 0))
        ),
        *(
            story(
                f"{end}: {action}",
                given(**world, kind="periodic", writes=((fault, True),)),
                evidence="adopted" if starts else "state_reached",
            )
            for fault in ("reset", "500", "502", "503", "504", "html", "shape", "slow")
        ),
        *(
            # A run or schedule is never repeated. Repeating a stop or kill does no harm.
            story(
                f"unconfirmed failed: {action}",
                given(**world, writes=((fault, False),)),
                "not sent again",
                lasts=(300, 332),
            )
            if starts
            else story(f"{end}: {action} {action}", given(**world, writes=((fault, False),)))
            for fault in ("reset", "500", "503", "html", "slow")
        ),
    ]


@pytest.mark.parametrize("told", STORIES, ids=lambda told: told.end)
def test_a_story(told):
    check(told)


@pytest.mark.parametrize("stamp", ["start", "end"])
@pytest.mark.parametrize("kind", ["batch", "periodic"])
@pytest.mark.parametrize("initial", [None, "ENDED", "ABORTED", "WAITING"])
def test_a_run_is_followed_to_its_end(initial, kind, stamp):
    w = World(initial=initial, kind=kind, stamp=stamp, start_lag=45, duration=600)
    entry = w.act()
    assert (claim(entry), w.task.posts) == ("succeeded changed", ["run"])
    assert (entry["task_execution_request_id"], entry["request_status"]) == (20001, "OK")
    assert entry["before"]["status"] == initial
    assert entry["after"]["status"] == ("WAITING" if kind == "periodic" else "ENDED")
    assert [step["status"] for step in entry["timeline"]][-2:] == ["RUNNING", entry["after"]["status"]]
    assert 645 <= entry["elapsed_seconds"] <= 660
    assert entry["polls"] < 200
    assert "ran and ended with exit OK" in entry["msg"]


@pytest.mark.parametrize(
    ("kind", "action", "initial", "claimed"),
    [
        ("service", "run", "SERVICE_OFF", "service_on changed"),
        ("service", "run", None, "service_on changed"),
        ("service", "schedule", "SERVICE_OFF", "service_on changed"),
        ("service", "stop", "SERVICE_ON", "service_off changed"),
        ("service", "kill", "SERVICE_ON", "service_off changed"),
        ("periodic", "schedule", None, "scheduled changed"),
        ("periodic", "schedule", "ABORTED", "scheduled changed"),
        ("periodic", "stop", "RUNNING", "stopped changed"),
        ("periodic", "kill", "WAITING", "stopped changed"),
        ("periodic", "kill", "RUNNING", "stopped changed"),
    ],
)
def test_an_action_is_needed_once(kind, action, initial, claimed):
    w = World(kind=kind, initial=initial, left=1e6)
    entry = w.act(action)
    assert (claim(entry), w.task.posts) == (claimed, [action])
    assert (entry["task_execution_request_id"] == -1) == (kind == "service")
    assert (claim(w.act(action)), w.task.posts) == ("nothing_to_do", [action])


@pytest.mark.parametrize(
    ("action", "age", "above", "below"),
    [("run", 0, 1, 1.5), ("run", 1, 0, 0.5), ("run", 5, 0, 0.5), ("schedule", 0, 0, 0.5)],
)
def test_two_runs_of_one_second_could_not_be_told_apart(action, age, above, below):
    w = World(initial_age=age)
    w.act(action)
    (moment, _action), *_more = w.etl.executed
    assert above <= moment <= below


def test_keys_refused_from_the_start_send_nothing_but_one_login():
    task = Task(lambda exchange: answer(401), FakeClock())
    result = task.act(etl_id=[1, 2, 3, 4])
    assert result["failed"]
    assert {entry["error"]["kind"] for entry in result["etls"]} == {"authentication"}
    assert len(task.lines) == 1


def test_times_are_the_servers():
    entry = World(skew=86400.0).act()
    for shown in (entry["started_at"], entry["timeline"][0]["at"]):
        assert parse_rfc3339(shown) == pytest.approx(WALL + 86400, abs=2)


def test_properties_are_sent_and_secret_ones_are_not_shown():
    w = World()
    result = w.task.act(
        run_execution_properties={"level": 10, "dry": True}, secret_run_execution_properties={"password": SECRET}
    )
    sent = next(e.payload for t in w.task.transports for e in t.exchanges if e.path.endswith("/run"))
    assert sent == {"run_execution_properties": {"level": "10", "dry": "true", "password": SECRET}}
    assert SECRET not in str(result)


def test_the_transport_is_closed_whatever_happens():
    good, bad = World().task, Task(lambda exchange: login_answer(), FakeClock())
    for task in (good, bad):
        task.act()
        assert all(transport.closed for transport in task.transports)


# -- etl_wait ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("world", "first", "passes", "claimed", "above", "below"),
    [
        ({"start_lag": 30, "duration": 200}, {}, 0, "succeeded", 215, 245),
        # An ETL that does not exist does not spoil the baseline of the others.
        ({"start_lag": 30, "duration": 200}, {"etl_id": [9, 321]}, 0, "succeeded", 215, 245),
        # It has ended meanwhile, so no wait is needed.
        ({"duration": 5}, {}, 1000, "succeeded", 0, 0.2),
        ({"initial": "RUNNING", "left": 60, "stamp": "start"}, {}, 1000, "succeeded", 0, 9),
        ({"initial": "RUNNING", "left": 60, "stamp": "end"}, {}, 1000, "succeeded", 0, 0.2),
        # The first poll comes before the exit code.
        ({"initial": "RUNNING", "left": 60, "exit_lag": 2.0, "stamp": "start"}, {}, 60, "succeeded", 0, 9),
        # The run was not needed.
        ({"initial_age": 60}, {"max_age": 3600}, 0, "nothing_to_do", 0, 0.2),
        ({"starts": False}, {}, 0, "not_started failed", 295, 301),
    ],
)
def test_waiting_for_what_an_earlier_task_requested(world, first, passes, claimed, above, below):
    w = World(**world)
    started = w.task.act(wait=False, **first)
    w.clock.pass_by(passes)
    began = w.clock.elapsed
    entry = w.wait_for(started)
    readable(entry["msg"])
    assert claim(entry).replace(" attached", "") == claimed
    assert above <= w.clock.elapsed - began <= below
    assert "failed" not in claimed or "start_timeout" in entry["msg"]
    assert len(w.task.posts) == w.etl.launches("run")


def test_waiting_ends_with_wait_timeout():
    w = World(starts=False)
    entry = w.wait_for(w.task.act(wait=False), wait_timeout=60)
    assert "before wait_timeout (60 s) expired" in entry["msg"]
    assert "start_timeout" not in entry["msg"]


RUNNING_ERROR = {"initial": "RUNNING", "left": 100, "exit_code": "ERROR"}
SERVICE = {"kind": "service", "initial": "SERVICE_ON"}


@pytest.mark.parametrize(
    ("world", "options", "claimed", "above", "below"),
    [
        ({}, {}, "nothing_to_do", 0, 1),
        ({"initial": None}, {}, "nothing_to_do", 5, 6),
        ({"initial_exit": "ERROR"}, {}, "failed failed", 0, 1),
        ({"initial": "ABORTED", "initial_exit": None}, {}, "aborted failed", 0, 1),
        (RUNNING_ERROR, {}, "failed failed attached", 100, 120),
        (RUNNING_ERROR | {"exit_code": "WARNING"}, {"fail_on_warning": True}, "warning failed attached", 100, 120),
        (RUNNING, {"check_mode": True}, "nothing_to_do attached", 0, 1),
        (SERVICE, {"until": "executing"}, "executing attached", 0, 1),
        (SERVICE | {"foreign": ((30, "kill"),)}, {}, "service_off attached", 30, 40),
        (SERVICE, {"until": "finished"}, "timed_out failed attached", 600, 601),
        (RUNNING_ERROR, {"until": "idle"}, "idle attached", 100, 120),
        ({"initial": "WAITING"}, {"until": "idle"}, "idle", 0, 1),
    ],
)
def test_waiting_without_a_baseline(world, options, claimed, above, below):
    w = World(**world)
    entry = w.wait_for(wait_timeout=600, **options)
    readable(entry["msg"])
    assert claim(entry) == claimed
    assert above <= w.clock.elapsed <= below
    proves_nothing = claimed == "nothing_to_do"
    assert any("Set baseline" in text for text in w.task.warnings) == proves_nothing
    assert w.task.posts == []

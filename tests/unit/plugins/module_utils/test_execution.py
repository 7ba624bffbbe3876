# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One ETL from the first poll to the verdict, on a fake clock, against a model of the service."""

from __future__ import annotations

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _observer
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._status import parse_rfc3339
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.model import World
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.support import (
    SECRET,
    WALL,
    FakeClock,
    Task,
    answer,
    login_answer,
)

RUNNING = {"initial": "RUNNING", "left": 1e6}
#: A stop that has no effect.
DEAF = {"stop_lag": None}
LONG = {"duration": 1e6}


def claim(entry):
    """What an entry claims: the outcome, and which of these are true."""
    return " ".join([entry["outcome"], *(flag for flag in ("changed", "failed", "attached") if entry[flag])])


def case(behaviour, options, claimed, posts, *words, **facts):
    """A row: the ETL, the options, the claim, the requests, words of msg, and keys of the entry."""
    return behaviour, options, claimed, posts.split(), words, facts


# -- each story in a row ----------------------------------------------------------------------------------------------

STORIES = {
    # The end of a run, and how it is known.
    "the old state shows for minutes": case(
        {"start_lag": 290, "duration": 1}, {}, "succeeded changed", "run", evidence="timestamp_changed"
    ),
    "too short to be seen": case(
        {"start_lag": 0.01, "duration": 0.01}, {}, "succeeded changed", "run", evidence="timestamp_changed"
    ),
    "the time does not move": case({"stamp": "never"}, {}, "succeeded changed", "run", evidence="seen_running"),
    "WARNING": case({"exit_code": "WARNING"}, {}, "warning changed", "run", warning="ended with exit WARNING"),
    "WARNING fails": case(
        {"exit_code": "WARNING"}, {"fail_on_warning": True}, "warning changed failed", "run", "log", kind="exit_warning"
    ),
    **{
        f"exit {code}": case(
            {"exit_code": code},
            {},
            "failed changed failed",
            "run",
            "ETL 321 (etl-321)",
            "log in the Helix console",
            kind="exit_error",
        )
        for code in ("ERROR", "FAILED", "SPLENDID", None)
    },
    "the exit code comes later": case({"exit_lag": 2.0}, {}, "succeeded changed", "run"),
    "the exit code never comes": case(
        {"exit_code": None, "duration": 5}, {}, "failed changed failed", "run", "without an exit code", below=15
    ),
    "somebody kills the run": case(
        {"duration": 100, "faults": {"foreign": ((30, "kill"),)}}, {}, "aborted changed failed", "run"
    ),
    # Limits of time.
    "it never starts": case(
        {"starts": False},
        {},
        "not_started changed failed",
        "run",
        "remote ETL engine is inactive",
        "request 20001",
        above=300,
        below=301,
    ),
    "wait_timeout to the second": case(
        LONG,
        {"wait_timeout": 100, "start_timeout": 50},
        "timed_out changed failed",
        "run",
        "It is still running",
        "it attaches to a running ETL",
        above=100,
        below=100.2,
    ),
    "run before start_timeout": case(
        {"starts": False},
        {"wait_timeout": 60},
        "not_started changed failed",
        "run",
        "did not start before wait_timeout (60 s) expired",
    ),
    "schedule before start_timeout": case(
        {"starts": False},
        {"action": "schedule", "wait_timeout": 60},
        "timed_out changed failed",
        "schedule",
        "to be scheduled before wait_timeout (60 s) expired",
    ),
    "kill before start_timeout": case(
        {"initial": "WAITING", "kill_lag": 1e6},
        {"action": "kill", "wait_timeout": 60},
        "timed_out changed failed",
        "kill",
        "was not seen to end before wait_timeout (60 s) expired",
    ),
    **{
        f"on_timeout: {way}": case(
            LONG,
            {"wait_timeout": 100, "on_timeout": way},
            "timed_out changed failed",
            f"run {way}",
            f"It was then {past}",
            # the request of the run, and no run that another task could attach to
            "had not ended after 100 s (wait_timeout; request 20001)",
            without="attaches",
            task_execution_request_id=20001,
        )
        for way, past in (("stop", "stopped"), ("kill", "killed"))
    },
    "on_timeout: stop has no effect": case(
        {**LONG, **DEAF},
        {"wait_timeout": 100, "start_timeout": 40, "on_timeout": "stop"},
        "timed_out changed failed",
        "run stop",
        "it had not ended 40 s later",
        "it attaches to a running ETL",
        below=141,
    ),
    "on_timeout: stop is escalated": case(
        {**LONG, **DEAF},
        {"wait_timeout": 100, "on_timeout": "stop", "kill_after": 20},
        "timed_out changed failed",
        "run stop kill",
        "It was then killed",
    ),
    "on_timeout: stop is rejected": case(
        {**LONG, "faults": {"refuse": ("stop",)}},
        {"wait_timeout": 100, "on_timeout": "stop"},
        "timed_out changed failed",
        "run stop",
        "The stop request failed",
        "it attaches to a running ETL",
    ),
    "on_timeout: stop is put off": case(
        {**LONG, "faults": {"writes": (None, *[("429_wait", False)] * 2)}},
        {"wait_timeout": 100, "on_timeout": "stop"},
        "timed_out changed failed",
        "run stop stop stop",
        "It was then stopped",
        above=140,
    ),
    # A run that is under way.
    "attach": case(
        {"initial": "RUNNING", "initial_exit": "ERROR", "left": 120},
        {},
        "succeeded attached",
        "",
        "was already running",
    ),
    "attach without waiting": case(RUNNING, {"wait": False}, "nothing_to_do attached", "", below=1),
    "the exit code beside RUNNING is an old one": case(
        {"initial": "RUNNING", "left": 20, "exit_code": "ERROR"}, {}, "failed failed attached", ""
    ),
    "if_running: fail": case(RUNNING, {"if_running": "fail"}, "failed failed", "", kind="already_running"),
    "if_running: queue": case({"initial": "RUNNING", "left": 90}, {"if_running": "queue"}, "succeeded changed", "run"),
    "if_running: queue, and the other run is fresh": case(
        {"initial": "RUNNING", "left": 90}, {"if_running": "queue", "max_age": 3600}, "fresh", ""
    ),
    "if_running: queue expires": case(
        RUNNING, {"if_running": "queue", "wait_timeout": 60}, "timed_out failed", "", "was not started"
    ),
    "if_running: restart": case(
        RUNNING, {"if_running": "restart"}, "succeeded changed", "stop run", task_execution_request_id=20002
    ),
    "if_running: restart kills": case(
        {**RUNNING, **DEAF}, {"if_running": "restart", "kill_after": 30}, "succeeded changed", "stop kill run"
    ),
    "if_running: restart cannot stop": case(
        {**RUNNING, **DEAF},
        {"if_running": "restart", "wait_timeout": 60},
        "timed_out changed failed",
        "stop",
        "kill_after",
    ),
    # The run that made room succeeded, but it is not the one that was requested.
    "if_running: restart in spite of max_age": case(
        {"initial": "RUNNING", "left": 3, **DEAF},
        {"if_running": "restart", "max_age": 3600},
        "succeeded changed",
        "stop run",
    ),
    **{
        f"if_running: restart stops, and may not run: {name}": case(
            {**RUNNING, "faults": {"writes": (stop, ("403", False))}},
            {"if_running": "restart"},
            "failed changed failed",
            "stop run",
            "had already been stopped",
        )
        for name, stop in (("accepted", None), ("lost", ("reset", True)))
    },
    # The run that was to be stopped ends by itself before the stop is accepted. The new one must still be started.
    "a stop that was put off is not the run": case(
        {"initial": "RUNNING", "left": 5, "faults": {"writes": (("429_wait", False),)}},
        {"if_running": "restart"},
        "succeeded changed",
        "stop run",
        evidence="timestamp_changed",
    ),
    # Stop, kill, and schedule.
    "stop is escalated": case(
        {**RUNNING, **DEAF},
        {"action": "stop", "kill_after": 30},
        "stopped changed",
        "stop kill",
        "was killed",
        above=30,
        below=33,
    ),
    "stop has no effect": case(
        {**RUNNING, **DEAF},
        {"action": "stop", "wait_timeout": 60},
        "timed_out changed failed",
        "stop",
        "had not stopped",
    ),
    "stop is rejected because the run has ended": case(
        {"initial": "RUNNING", "left": 0.12, "faults": {"refuse": ("stop",)}},
        {"action": "stop"},
        "stopped",
        "stop",
        warning="just ended",
    ),
    "stop is rejected, without waiting": case(
        {"initial": "RUNNING", "left": 0.12, "faults": {"refuse": ("stop",)}},
        {"action": "stop", "wait": False},
        "nothing_to_do",
        "stop",
        "its run had just ended",
        warning="just ended",
    ),
    **{
        f"stop is lost again and again, retries: {retries}": case(
            {**RUNNING, "faults": {"writes": (("reset", False),) * 99}},
            {"action": "stop", "wait_timeout": 120, "retries": retries},
            "timed_out failed",
            "stop " * (1 + retries),
            "The response to the stop request was lost",
        )
        for retries in (1, 3)
    },
    "a schedule without effect": case(
        {"starts": False}, {"action": "schedule"}, "timed_out changed failed", "schedule", "has a schedule"
    ),
    # Responses and polls that are lost.
    "lost without waiting": case(
        {"start_lag": 20, "faults": {"writes": (("reset", True),)}},
        {"wait": False},
        "accepted changed",
        "run",
        evidence="adopted",
    ),
    "lost without waiting, and not carried out": case(
        {"faults": {"writes": (("reset", False),)}}, {"wait": False}, "unconfirmed failed", "run"
    ),
    **{
        f"polls are lost: {fault}": case(
            {"duration": 900, "faults": {"outage": (60, 800, fault)}}, {}, "succeeded changed", "run", lost=5
        )
        for fault in ("reset", "no_connection", "429", "429_wait", "500", "502", "503", "html", "slow")
    },
    **{
        f"polls are rejected for a while: {fault}": case(
            {"duration": 300, "faults": {"outage": (60, 60 + _observer.REFUSAL_PATIENCE - 20, fault)}},
            {},
            "succeeded changed",
            "run",
        )
        for fault in ("403", "404", "400")
    },
    **{
        f"polls are rejected: {fault}": case(
            {"duration": 300, "faults": {"outage": (60, 1e9, fault)}},
            {},
            "unconfirmed changed failed",
            "run",
            "request 20001",
            "use etl_wait with this result's etls as baseline",
            below=60 + _observer.REFUSAL_PATIENCE + 30,
        )
        for fault in ("403", "404", "400")
    },
    # It ended after 300 s, so "had not ended" would be untrue.
    "no poll until the deadline": case(
        {"duration": 300, "faults": {"outage": (60, 1e9, "502")}},
        {"wait_timeout": 500},
        "unconfirmed changed failed",
        "run",
        "HTTP 502",
        above=500,
        below=502,
    ),
    "no poll since the request": case(
        {"faults": {"outage": (0.21, 1e9, "502")}},
        {"wait_timeout": 500},
        "unconfirmed changed failed",
        "run",
        "accepted the run request",
    ),
    "many tokens": case(
        {"duration": 3000, "faults": {"token_life": 120.0}}, {}, "succeeded changed", "run", renewed=20, lost_polls=0
    ),
    "the first poll is retried": case({"faults": {"reads": ("502", "reset")}}, {}, "succeeded changed", "run"),
    "the first poll fails": case(
        {"faults": {"reads": ("502",) * 4}}, {}, "failed failed", "", before=None, http_status=502
    ),
    # The last run is 3600 s old by the clock of the server, whatever the local one shows.
    "max_age by the server's clock": case(
        {"initial_age": 3600, "faults": {"skew": 7200.0}}, {"max_age": 3700}, "fresh", ""
    ),
    "max_age is over by the server's clock": case(
        {"initial_age": 3600, "faults": {"skew": 7200.0}}, {"max_age": 3500}, "succeeded changed", "run"
    ),
}


@pytest.mark.parametrize(("behaviour", "options", "claimed", "posts", "words", "facts"), STORIES.values(), ids=STORIES)
def test_a_story(behaviour, options, claimed, posts, words, facts):
    w = World(**behaviour)
    entry, facts = w.act(**options), dict(facts)
    assert (claim(entry), w.task.posts) == (claimed, posts)
    for word in words:
        assert word in entry["msg"]
    assert [text for text in w.task.warnings if facts.get("warning", "nothing to warn of") not in text] == []
    assert bool(w.task.warnings) == bool(facts.pop("warning", None))
    assert facts.pop("without", "None") not in entry["msg"]
    assert facts.pop("above", 0) <= entry["elapsed_seconds"] <= facts.pop("below", 1e9)
    assert entry["lost_polls"] > facts.pop("lost", -1)
    assert entry["token_renewals"] > facts.pop("renewed", -1)
    shown = {**(entry.get("error") or {"kind": None}), **entry}
    assert {key: shown[key] for key in facts} == facts
    assert ("error" in entry) == entry["failed"]


# -- every state and action -------------------------------------------------------------------------------------------


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
    assert "ran and ended with exit OK" in entry["msg"]


@pytest.mark.parametrize(
    ("kind", "action", "initial", "claimed"),
    [
        ("service", "run", "SERVICE_OFF", "service_on changed"),
        ("service", "run", None, "service_on changed"),
        ("service", "run", "SERVICE_ON", "nothing_to_do"),
        ("service", "schedule", "SERVICE_OFF", "service_on changed"),
        ("service", "schedule", "SERVICE_ON", "nothing_to_do"),
        ("service", "stop", "SERVICE_ON", "service_off changed"),
        ("service", "stop", "SERVICE_OFF", "nothing_to_do"),
        ("service", "kill", "SERVICE_ON", "service_off changed"),
        ("service", "kill", "SERVICE_OFF", "nothing_to_do"),
        ("periodic", "schedule", None, "scheduled changed"),
        ("periodic", "schedule", "ENDED", "scheduled changed"),
        ("periodic", "schedule", "ABORTED", "scheduled changed"),
        ("periodic", "schedule", "WAITING", "nothing_to_do"),
        ("periodic", "schedule", "RUNNING", "nothing_to_do"),
        ("periodic", "stop", None, "nothing_to_do"),
        ("periodic", "stop", "ENDED", "nothing_to_do"),
        ("periodic", "stop", "WAITING", "nothing_to_do"),
        ("periodic", "stop", "RUNNING", "stopped changed"),
        ("periodic", "kill", None, "nothing_to_do"),
        ("periodic", "kill", "ENDED", "nothing_to_do"),
        ("periodic", "kill", "WAITING", "stopped changed"),
        ("periodic", "kill", "RUNNING", "stopped changed"),
    ],
)
def test_an_action_is_needed_once(kind, action, initial, claimed):
    w = World(kind=kind, initial=initial, left=1e6)
    entry = w.act(action)
    posts = [action] * entry["changed"]
    assert (claim(entry), w.task.posts) == (claimed, posts)
    if kind == "service":
        assert entry["task_execution_request_id"] == (-1 if posts else None)
    assert (claim(w.act(action)), w.task.posts) == ("nothing_to_do", posts)


@pytest.mark.parametrize(
    ("action", "initial"), [("run", "ENDED"), ("schedule", "ENDED"), ("stop", "RUNNING"), ("kill", "WAITING")]
)
class TestEveryAction:
    @pytest.fixture
    def act(self, action, initial):
        """Act where the requests meet these faults. Returns the world and the entry."""

        def act(*writes, kind="batch", refuse=(), **options):
            w = World({"writes": writes, "refuse": refuse}, initial=initial, left=1e6, kind=kind)
            return w, w.act(action, **options)

        return act

    def test_without_waiting(self, act, action):
        w, entry = act(wait=False)
        assert (claim(entry), entry["polls"], w.task.posts) == ("accepted changed", 0, [action])
        assert w.clock.elapsed < 1

    def test_in_check_mode(self, action, initial):
        w = World(initial=initial, left=1e6)
        result = w.task.act(action=action, check_mode=True)
        assert (claim(result["etl"]), w.task.posts) == (f"would_{action} changed", [])
        assert result["etl"]["task_execution_request_id"] is None
        assert result["diff"]["before"] != result["diff"]["after"]
        assert w.clock.elapsed < 1

    @pytest.mark.parametrize("fault", ["reset", "500", "502", "503", "504", "html", "shape", "slow"])
    def test_an_answer_lost_after_it_was_carried_out(self, act, action, fault):
        w, entry = act((fault, True), kind="periodic")
        outcome, evidence = {"run": ("succeeded", "adopted"), "schedule": ("scheduled", "adopted")}.get(
            action, ("stopped", "state_reached")
        )
        assert (claim(entry), entry["evidence"]) == (f"{outcome} changed", evidence)
        assert w.task.posts == [action]

    @pytest.mark.parametrize("fault", ["reset", "500", "503", "html", "slow"])
    def test_an_answer_lost_and_not_carried_out(self, act, action, fault):
        w, entry = act((fault, False))
        if action in ("run", "schedule"):
            # never repeated
            assert (claim(entry), w.task.posts) == ("unconfirmed failed", [action])
            assert "not sent again" in entry["msg"]
            assert 300 <= entry["elapsed_seconds"] <= 331
        else:
            # repeating a stop or kill does no harm
            assert (claim(entry), w.task.posts) == ("stopped changed", [action, action])

    @pytest.mark.parametrize("fault", ["429", "429_wait", "no_connection"])
    def test_put_off_and_then_sent_once(self, act, action, fault):
        w, entry = act((fault, False), (fault, False), wait=False)
        assert (claim(entry), w.task.posts) == ("accepted changed", [action] * 3)
        assert w.etl.launches(action) == 1
        assert w.clock.elapsed >= (40 if fault == "429_wait" else 0)

    def test_a_token_that_ends_just_before_the_request(self, act, action):
        w, entry = act(("401", False), wait=False)
        assert (claim(entry), entry["token_renewals"]) == ("accepted changed", 1)
        assert w.etl.launches(action) == 1

    def test_rejected(self, act, action):
        w, entry = act(refuse=(action,))
        assert (claim(entry), w.task.posts) == ("failed failed", [action])
        assert (entry["error"]["kind"], entry["request_status"]) == ("request_refused", "ERROR")

    @pytest.mark.parametrize(
        ("fault", "kind", "times", "words"),
        [("429", "rate_limited", 4, "ETL 321"), ("403", "permission", 1, "custom_etl.edit")],
    )
    def test_impossible(self, act, action, fault, kind, times, words):
        w, entry = act(*[(fault, False)] * 99)
        assert (claim(entry), w.task.posts) == ("failed failed", [action] * times)
        assert entry["error"]["kind"] == kind
        assert words in entry["msg"]
        assert "ETL 321" in entry["msg"]


@pytest.mark.parametrize(
    ("action", "age", "above", "below"),
    [("run", 0, 1, 1.5), ("run", 1, 0, 0.5), ("run", 5, 0, 0.5), ("schedule", 0, 0, 0.5)],
)
def test_two_runs_of_one_second_could_not_be_told_apart(action, age, above, below):
    w = World(initial_age=age)
    w.act(action)
    (moment, _action), *_more = w.etl.executed
    assert above <= moment <= below


# -- a server that surprises ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stamp", ["same", None])
def test_a_server_that_lags_behind_does_not_end_a_run(stamp):
    """Two servers behind one address, and one of them still shows the state before the run."""
    w = World(start_lag=1, duration=600)

    def every_second_one(look):
        if w.etl.state == "RUNNING" and look % 2 == 0:
            return answer(200, {"status": "ENDED", "exit_code": "OK", "last_exec_ts": stamp and w.etl.stamp})
        return None

    w.look = every_second_one
    entry = w.act()
    assert (claim(entry), entry["evidence"]) == ("succeeded changed", "timestamp_changed")
    assert not w.etl.executing


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_a_run_that_ended_before_it_could_be_ended_was_not_ended_by_us(way):
    w = World(start_lag=1, duration=99.5)

    def too_late(exchange):
        if exchange.path.endswith(way):
            w.clock.pass_by(2)
            w.model.handle(exchange)
            return answer(200, {"task_execution_request_id": 7, "request_status": "ERROR"})
        return None

    w.before = too_late
    entry = w.act(wait_timeout=100, on_timeout=way)
    assert entry["outcome"] == "timed_out"
    assert "It had just ended: ENDED" in entry["msg"]


def test_what_runs_after_a_put_off_request_was_started_by_somebody_else():
    # 429 means that nothing was carried out, so the run is attached to and nothing changed.
    w = World({"writes": (("429_wait", False),)}, start_lag=1, duration=200)
    w.before = lambda exchange: (
        w.etl.carry_out("run") and None if exchange.path.endswith("/run") and not w.etl.executed else None
    )
    entry = w.act()
    assert (claim(entry), w.task.posts) == ("succeeded attached", ["run"])
    assert "lost" not in entry["msg"]
    assert len(w.etl.runs) == 1


def test_one_none_in_the_middle_is_not_believed():
    # 204 without a body is "no value", which a proxy in trouble may send just as well
    w = World(duration=60)
    w.look = lambda look: answer(204) if 10 < w.clock.elapsed < 30 else None
    assert w.act()["outcome"] == "succeeded"


def test_an_unknown_state_is_followed_with_a_warning():
    w = World(duration=60)
    odd = {"status": "STARTING_UP", "exit_code": "OK", "last_exec_ts": w.etl.stamp}
    w.look = lambda look: answer(200, odd) if w.etl.executing else None
    assert w.act(start_timeout=30)["outcome"] == "succeeded"
    assert any("STARTING_UP" in text for text in w.task.warnings)


def test_keys_refused_from_the_start_send_nothing_but_one_login():
    task = Task(lambda exchange: answer(401), FakeClock())
    result = task.act(etl_id=[1, 2, 3, 4])
    assert result["failed"]
    assert {entry["error"]["kind"] for entry in result["etls"]} == {"authentication"}
    assert len(task.lines) == 1


def test_an_etl_that_is_not_there():
    result = World().task.act(etl_id=[999])
    assert result["error"]["kind"] == "etl_not_found"
    assert "There is no ETL 999" in result["msg"]


def test_times_are_the_servers():
    entry = World({"skew": 86400.0}).act()
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
    ("behaviour", "first", "passes", "claimed", "above", "below"),
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
def test_waiting_for_what_an_earlier_task_requested(behaviour, first, passes, claimed, above, below):
    w = World(**behaviour)
    started = w.task.act(wait=False, **first)
    w.clock.pass_by(passes)
    began = w.clock.elapsed
    entry = w.wait_for(started)
    assert claim(entry).replace(" attached", "") == claimed
    assert above <= w.clock.elapsed - began <= below
    assert "failed" not in claimed or "start_timeout" in entry["msg"]
    assert len(w.task.posts) == w.etl.launches("run")


def test_waiting_ends_with_wait_timeout():
    w = World(starts=False)
    entry = w.wait_for(w.task.act(wait=False), wait_timeout=60)
    assert "before wait_timeout (60 s) expired" in entry["msg"]
    assert "start_timeout" not in entry["msg"]


@pytest.mark.parametrize(
    ("behaviour", "options", "claimed"),
    [
        ({}, {}, "nothing_to_do"),
        ({"initial": "RUNNING", "left": 100, "exit_code": "ERROR"}, {}, "failed failed attached"),
        (
            {"initial": "RUNNING", "left": 100, "exit_code": "WARNING"},
            {"fail_on_warning": True},
            "warning failed attached",
        ),
        (RUNNING, {"check_mode": True}, "nothing_to_do attached"),
        ({"kind": "service", "initial": "SERVICE_ON"}, {"until": "executing"}, "executing attached"),
        ({"kind": "service", "initial": "SERVICE_ON"}, {"until": "finished"}, "timed_out failed attached"),
        ({"initial": "RUNNING", "left": 30}, {"until": "idle"}, "idle attached"),
    ],
)
def test_waiting_without_a_baseline(behaviour, options, claimed):
    w = World(**behaviour)
    entry = w.wait_for(**{"wait_timeout": 600, **options})
    assert claim(entry) == claimed
    assert w.clock.elapsed < 1 or not options.get("check_mode")

# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The five promises, against thousands of worlds: any ETL, any faults, any policy, on a fake clock.

A world is drawn, the real engine (operations, batch, execution, API, tokens) acts in it, and what it claims is compared
with what the model knows to be true. HYPOTHESIS_PROFILE=thorough draws many more worlds.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from typing import Any

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _plan
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import OptionError
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.model import (
    AMBIGUOUS,
    FAULTS,
    FORMS,
    Behaviour,
    Model,
)
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.support import (
    ACT,
    FakeClock,
    Task,
    readable,
)

pytest.importorskip("hypothesis", reason="hypothesis is not installed")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

settings.register_profile(
    "fast", max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
settings.register_profile("thorough", settings.get_profile("fast"), max_examples=3000, derandomize=False)
PROFILE = settings.get_profile("thorough" if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else "fast")

#: Seconds that the first look (tries, Retry-After) and a request that is put off may cost beyond every deadline.
SLACK = 400.0
#: The exit codes of these ends.
GREEN_END = {"succeeded": "OK", "warning": "WARNING"}


@dataclass
class World:
    """Everything that is drawn. C(faults) are keywords of Model."""

    etl: Behaviour
    options: dict[str, Any]
    faults: dict[str, Any]

    def model(self, *ids: int) -> tuple[Model, Task]:
        clock = FakeClock()
        model = Model(clock, dict.fromkeys(ids or (321,), self.etl), **self.faults)
        return model, Task(model.handle, clock)


def seconds(low: float, high: float) -> Any:
    return st.floats(low, high).map(lambda value: round(value, 2))


#: Which kinds and first states make an action worth drawing; the likelier ones stand there twice.
BEGINNINGS = {
    "run": "ENDED ENDED periodic:WAITING periodic:WAITING RUNNING periodic:RUNNING none ABORTED service:SERVICE_OFF"
    " service:SERVICE_ON",
    "schedule": "periodic:ENDED periodic:none periodic:WAITING RUNNING service:SERVICE_OFF",
    "stop": "RUNNING periodic:RUNNING service:SERVICE_ON periodic:WAITING",
    "kill": "RUNNING periodic:RUNNING periodic:WAITING service:SERVICE_ON ENDED",
}


# Strategies stand here and are not made anew for every world: that would take most of the time.
BEHAVIOURS = st.builds(
    Behaviour,
    initial_exit=st.sampled_from(("OK", "ERROR", None)),
    left=seconds(0.1, 400),
    start_lag=st.one_of(seconds(0, 20), seconds(0, 400)),
    duration=st.one_of(seconds(0.01, 5), seconds(0.01, 600)),
    exit_code=st.sampled_from(("OK", "OK", "WARNING", "ERROR", "FAILED", "SPLENDID", None)),
    exit_lag=st.sampled_from((0.0, 0.0, 1.5)),
    stamp=st.sampled_from(("end", "start", "never")),
    starts=st.sampled_from((True, True, True, True, True, False)),
    stop_lag=st.one_of(st.none(), seconds(0, 60)),
    kill_lag=seconds(0, 10),
    stopped_as=st.sampled_from(("ABORTED", "ENDED", "WAITING")),
    self_start=st.one_of(st.none(), seconds(0.1, 100)),
    none_shape=st.sampled_from(("204", "null", "empty", "absent")),
)
FAULT = st.sampled_from(FAULTS)
READS = st.lists(st.one_of(st.none(), st.none(), FAULT), max_size=25)
WRITES = st.lists(
    st.one_of(st.none(), st.tuples(st.sampled_from(AMBIGUOUS), st.booleans()), st.tuples(FAULT, st.booleans())),
    max_size=5,
)
OUTAGES = st.tuples(seconds(0, 120), st.one_of(seconds(0, 30), seconds(0, 900)), FAULT)
REFUSALS = st.sampled_from(((), (), (), (), ("run", "kill"), ("stop", "schedule")))
POLICY = {
    "wait": st.sampled_from((True, True, True, False)),
    "wait_timeout": st.sampled_from((30, 120, 700, 3600)),
    "start_timeout": st.sampled_from((10, 60, 300)),
    "poll_interval": st.sampled_from((1, 10, 60)),
    "retries": st.sampled_from((0, 1, 3)),
    "kill_after": st.sampled_from((None, 5, 20)),
}
FOR_RUN = {
    "if_running": st.sampled_from(_plan.IF_RUNNING),
    "max_age": st.sampled_from((None, None, 60, 10000)),
    "fail_on_warning": st.booleans(),
    "on_timeout": st.sampled_from(_plan.ON_TIMEOUT),
}


def sensible(options: dict[str, Any]) -> dict[str, Any]:
    """With the defaults of options that cannot be combined with the others."""
    for option in ("kill_after", "fail_on_warning", "on_timeout", "if_running"):
        with contextlib.suppress(OptionError):
            _plan.Policy(**options).check()
            return options
        options[option] = ACT[option]
    _plan.Policy(**options).check()
    return options


POLICIES = {
    action: st.fixed_dictionaries({"action": st.just(action), **POLICY, **(FOR_RUN if action == "run" else {})}).map(
        sensible
    )
    for action in _plan.ACTIONS
}
STARTS = {action: st.sampled_from(words.split()) for action, words in BEGINNINGS.items()}
NOISE = st.integers(0, 4)
TOKEN_LIVES = st.sampled_from((900.0, 900.0, 70.0, 5.0))
SKEWS = st.sampled_from((0.0, 3600.0, -3600.0))
LAGS = st.lists(st.one_of(st.just(0.0), seconds(0, 30), seconds(0, 600)), max_size=5).map(tuple)
ODD_FORMS = st.lists(st.one_of(st.none(), st.sampled_from(tuple(FORMS))), max_size=5).map(tuple)
FOREIGN = st.lists(st.tuples(seconds(0, 120), st.sampled_from(("run", "run", "kill"))), max_size=3).map(tuple)


@st.composite
def worlds(draw: Any, actions: tuple[str, ...] = ("run", "run", "run", "schedule", "stop", "kill")) -> World:
    action = draw(st.sampled_from(actions))
    kind, _colon, initial = draw(STARTS[action]).rpartition(":")
    # Some of the worlds are calm: where everything goes wrong, only failures are seen.
    noise = draw(NOISE)
    begins, lasts, fault = draw(OUTAGES) if noise == 4 else (0.0, 0.0, "")
    return World(
        etl=replace(draw(BEHAVIOURS), kind=kind or "batch", initial=None if initial == "none" else initial),
        faults={
            "reads": tuple(draw(READS)) if noise in (2, 4) else (),
            "writes": tuple(draw(WRITES)) if noise >= 2 else (),
            "outage": (begins, begins + lasts, fault) if fault else None,
            "refuse": draw(REFUSALS) if noise else (),
            "token_life": draw(TOKEN_LIVES),
            "skew": draw(SKEWS),
        },
        options=draw(POLICIES[action]),
    )


@st.composite
def odd_worlds(draw: Any) -> World:
    """Replicas that lag behind, answers with holes, and somebody else who starts and kills."""
    world = draw(worlds())
    # A time that never moves cannot be told from that of a replica that lags behind.
    stamp = draw(st.sampled_from(("end", "start")))
    odd = {"lags": draw(LAGS), "forms": draw(ODD_FORMS), "foreign": draw(FOREIGN)}
    return replace(world, etl=replace(world.etl, stamp=stamp), faults={**world.faults, **odd})


WORLDS = worlds()
ODD_WORLDS = odd_worlds()
RUNS = worlds(("run",))


def play(world: World) -> tuple[dict[str, Any], Model, Task]:
    """Act in a world."""
    model, task = world.model()
    return task.act(**world.options), model, task


def never_twice(options: dict[str, Any], etl: Any) -> None:
    launches = etl.launches("run", "schedule")
    assert launches <= (1 if options["action"] in ("run", "schedule") else 0), "started twice"
    allowed = {options["action"]}
    allowed |= {"stop", "kill"} if options["if_running"] == "restart" else set()
    allowed |= {options["on_timeout"], "kill"} if options["on_timeout"] != "leave" else set()
    allowed |= {"kill"} if options["kill_after"] else set()
    assert {action for _moment, action in etl.executed} <= allowed


def green_is_true(entry: dict[str, Any], options: dict[str, Any], etl: Any) -> None:
    outcome = entry["outcome"]
    if entry["failed"]:
        assert entry["error"]["kind"]
    elif outcome in GREEN_END:
        it_really_ended_well(entry, options, etl)
    elif outcome in ("service_on", "service_off"):
        assert etl.state == {"service_on": "SERVICE_ON", "service_off": "SERVICE_OFF"}[outcome]
    elif outcome == "scheduled":
        assert etl.state in ("WAITING", "RUNNING") or etl.runs
    elif outcome == "stopped":
        assert not etl.executing
        if options["action"] == "kill" and entry["before"]["status"] == "WAITING":
            assert etl.state != "WAITING" or etl.runs
    elif outcome == "accepted":
        assert etl.launches(options["action"]) >= 1 or entry["evidence"] == "adopted"
    elif outcome == "fresh":
        assert options["max_age"]
        assert entry["before"]["exit_code"] in ("OK", "WARNING")
    else:
        assert outcome == "nothing_to_do"
        assert not etl.executed


def it_really_ended_well(entry: dict[str, Any], options: dict[str, Any], etl: Any) -> None:
    last = [run for run in etl.runs if run.ended is not None][-1]
    assert (last.exit_code, last.aborted) == (GREEN_END[entry["outcome"]], False), "green, and it did not end well"
    assert entry["outcome"] != "warning" or not options["fail_on_warning"]
    if options["if_running"] in ("queue", "restart", "fail"):
        assert not entry["attached"]
    if not entry["attached"] and entry["evidence"] != "adopted":
        assert etl.launches("run") == 1, "green, and nobody ran it"


def changed_is_true(entry: dict[str, Any], etl: Any, world: World) -> None:
    if entry["changed"] and entry["evidence"] != "adopted":
        # a stop whose answer was lost, and the end that it asked for came by itself: nobody can tell
        may_have_stopped = entry["outcome"] in ("stopped", "service_off") or (
            world.options.get("if_running") == "restart"
            and any(fault is not None and fault[0] in AMBIGUOUS for fault in world.faults["writes"])
        )
        assert etl.executed or may_have_stopped, "changed, and nothing was done"
    if etl.executed and not entry["failed"] and entry["outcome"] != "nothing_to_do":
        assert entry["changed"], "something was done, and it says that nothing changed"


def check_words(result: dict[str, Any], entry: dict[str, Any]) -> None:
    readable(entry["msg"])
    readable(result["msg"])
    if entry["failed"]:
        remedy = entry["error"]["remedy"]
        assert remedy
        assert entry["msg"].endswith(remedy)
    assert "eyJ" not in str(result)
    assert "secret" not in str(result).replace("access_secret_key", "")


def test_what_it_says_is_true() -> None:
    seen: set[str] = set()

    @settings(PROFILE, max_examples=2 * PROFILE.max_examples)
    @given(WORLDS)
    def look(world: World) -> None:
        result, model, task = play(world)
        options, entry, etl = {**ACT, **world.options}, result["etl"], model.etls[321]
        never_twice(options, etl)
        green_is_true(entry, options, etl)
        changed_is_true(entry, etl, world)
        check_words(result, entry)
        limit = options["wait_timeout"] + options["start_timeout"] + SLACK
        assert entry["elapsed_seconds"] <= limit, "it hangs"
        assert task.clock.elapsed <= limit + SLACK
        seen.update((entry["outcome"], str(entry["evidence"])))

    look()
    # A property that only ever sees failures proves nothing.
    assert seen >= {"succeeded", "failed", "timed_out", "nothing_to_do", "accepted", "stopped", "timestamp_changed"}


@PROFILE
@given(ODD_WORLDS)
def test_success_is_true_on_odd_servers(world: World) -> None:
    """What the API cannot tell (somebody else's run after our request) may be taken for ours; nothing older may."""
    result, model, _task = play(world)
    options, entry, etl = {**ACT, **world.options}, result["etl"], model.etls[321]
    never_twice(options, etl)
    check_words(result, entry)
    if entry["outcome"] not in GREEN_END or entry["failed"]:
        return
    asked = next((moment for moment, action in etl.executed if action == "run"), 0.0)
    after = 0.0 if entry["attached"] else asked - 1.0
    ended = [run for run in etl.runs if run.ended is not None and run.ended >= after]
    wanted = (GREEN_END[entry["outcome"]], False)
    assert any((run.exit_code, run.aborted) == wanted for run in ended), "no run ended like this"


@PROFILE
@given(WORLDS)
def test_check_mode_sends_nothing_and_tells_the_truth(world: World) -> None:
    model, task = world.model()
    entry = task.act(**world.options, check_mode=True)["etl"]
    assert task.posts == []
    assert not model.etls[321].executed
    assert entry["task_execution_request_id"] is None
    assert task.clock.elapsed <= SLACK
    if entry["failed"]:
        return
    # A quiet world keeps what check mode promised, unless it hangs on what the run under way will come to.
    foreseeable = world.etl.initial != "RUNNING" or (world.etl.left > 5 and world.options.get("if_running") != "queue")
    if world.faults["reads"] or world.faults["outage"] or world.etl.self_start or not foreseeable:
        return
    quiet = replace(world, faults={**world.faults, "reads": (), "writes": (), "outage": None, "refuse": ()})
    real = play(quiet)[0]["etl"]
    if real["outcome"] == "timed_out" and world.options.get("on_timeout", "leave") != "leave":
        # How long it takes is known to nobody beforehand; the stop after the deadline is the change.
        return
    assert real["changed"] == entry["changed"]


@PROFILE
@given(RUNS, st.sampled_from((0.0, 5.0, 500.0)))
def test_waiting_elsewhere_comes_to_the_same_truth(world: World, pause: float) -> None:
    model, task = world.model()
    started = task.act(**sensible({**world.options, "wait": False}))
    etl = model.etls[321]
    if started["etl"]["outcome"] not in ("accepted", "nothing_to_do") or started["etl"]["before"] is None:
        return
    sent = list(etl.executed)
    task.clock.pass_by(pause)
    begun = task.clock.elapsed
    entry = task.wait_for(baseline=started["etls"], wait_timeout=600)["etl"]
    assert etl.executed == sent, "etl_wait sends nothing"
    assert not entry["changed"]
    assert task.clock.elapsed - begun <= 600 + 300 + SLACK
    check_words(entry, entry)
    if entry["outcome"] == "succeeded":
        last = [run for run in etl.runs if run.ended is not None][-1]
        assert (last.exit_code, last.aborted) == ("OK", False)


@PROFILE
@given(WORLDS, st.integers(1, 4), st.integers(2, 6))
def test_several_at_once(world: World, max_parallel: int, count: int) -> None:
    """In threads: which ETL meets which fault is open, the promises are not."""
    ids = list(range(101, 101 + count))
    model, task = world.model(*ids)
    options = {**ACT, **world.options, "etl_id": ids, "max_parallel": max_parallel}
    result = task.act(**options)
    assert [entry["etl_id"] for entry in result["etls"]] == ids
    assert result["failed"] == any(entry["failed"] for entry in result["etls"])
    assert result["changed"] == any(entry["changed"] for entry in result["etls"])
    for entry in result["etls"]:
        etl = model.etls[entry["etl_id"]]
        never_twice(options, etl)
        if world.etl.self_start is None:  # otherwise, it may have begun after its turn
            green_is_true(entry, options, etl)
        assert str(entry["etl_id"]) in entry["msg"]
    assert not any("internal_error" in str(entry.get("error")) for entry in result["etls"])

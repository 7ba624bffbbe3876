# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several ETLs at once."""

from __future__ import annotations

import threading
from unittest import mock

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _batch, _watching
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import HelixError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._plan import Policy
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._progress import Progress
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.model import Behaviour, Model
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.support import (
    FakeClock,
    FakeTransport,
    Task,
    make_api,
)

IDS = (11, 12, 13, 14, 15, 16)


def make(behaviour=None, slice_seconds=None, **options):
    clock = FakeClock()
    behaviours = {etl_id: Behaviour(**(behaviour or {})) for etl_id in IDS}
    model = Model(clock, behaviours, **options)
    return model, Task(model.handle, clock, slice_seconds)


def test_entries_in_the_order_given_whatever_ends_first():
    model, task = make()
    for number, etl_id in enumerate(IDS):
        model.etls[etl_id].behaviour.duration = 600 - 100 * number
    result = task.act(etl_id=list(IDS))
    assert [entry["etl_id"] for entry in result["etls"]] == list(IDS)
    assert {entry["outcome"] for entry in result["etls"]} == {"succeeded"}
    assert result["msg"] == "6 ETLs: 6 succeeded."
    assert "etl" not in result
    assert task.clock.elapsed < 700, "side by side"


@pytest.mark.parametrize("width", [1, 2, 4])
def test_no_more_than_max_parallel_execute(width):
    model, task = make({"start_lag": 1, "duration": 50})
    result = task.act(etl_id=list(IDS), max_parallel=width)
    assert not result["failed"]
    assert model.widest == width
    assert task.clock.elapsed >= 50 * len(IDS) / width


def test_no_more_than_max_parallel_requests_are_under_way():
    model, task = make()
    lock = threading.Lock()
    under_way = [0, 0]
    handle = model.handle

    def handler(exchange):
        with lock:
            under_way[0] += 1
            under_way[1] = max(under_way)
        try:
            with lock:
                return handle(exchange)
        finally:
            with lock:
                under_way[0] -= 1

    task._handler = handler
    task.act(etl_id=list(IDS), max_parallel=3)
    assert under_way[1] <= 3


def test_one_failure_hides_no_other_result():
    model, task = make()
    model.etls[12].behaviour.exit_code = "ERROR"
    model.etls[14].behaviour.starts = False
    result = task.act(etl_id=[*IDS, 99])
    outcomes = {entry["etl_id"]: entry["outcome"] for entry in result["etls"]}
    assert outcomes == {
        11: "succeeded",
        12: "failed",
        13: "succeeded",
        14: "not_started",
        15: "succeeded",
        16: "succeeded",
        99: "failed",
    }
    assert result["failed"]
    assert result["changed"]
    assert result["msg"].startswith("3 of 7 ETLs failed (4 succeeded, 2 failed, 1 not_started). ETL 12 ")
    assert result["error"] == result["etls"][1]["error"]
    assert result["etls"][6]["error"]["kind"] == "etl_not_found"


@pytest.mark.parametrize("width", [1, 4])
def test_a_fault_of_ours_in_one_hides_no_other_result(width):
    _model, task = make({"duration": 30})
    real = _watching.Watcher.poll
    calls = []

    def poll(self):
        if self.progress.etl_id == 13:
            calls.append(1)
            if len(calls) == 3:
                raise RuntimeError("a fault with the-secret-key-that-nobody-may-see-0123456789 in it")
        return real(self)

    with mock.patch.object(_watching.Watcher, "poll", poll):
        result = task.act(etl_id=list(IDS), max_parallel=width)
    entries = {entry["etl_id"]: entry for entry in result["etls"]}
    assert [e["outcome"] for e in result["etls"] if e["etl_id"] != 13] == ["succeeded"] * 5
    bad = entries[13]
    assert (bad["outcome"], bad["failed"], bad["changed"]) == ("unconfirmed", True, True)
    assert bad["error"]["kind"] == "internal_error"
    assert "RuntimeError" in bad["msg"]
    assert "nobody-may-see" not in str(result)


def test_each_etl_has_its_own_wait_timeout():
    _model, task = make({"duration": 1e6})
    result = task.act(etl_id=list(IDS[:4]), max_parallel=2, wait_timeout=100)
    assert [entry["outcome"] for entry in result["etls"]] == ["timed_out"] * 4
    assert all(entry["elapsed_seconds"] == pytest.approx(100, abs=2) for entry in result["etls"])
    assert task.clock.elapsed == pytest.approx(200, abs=5)


@pytest.mark.parametrize("width", [1, 3, 8])
@pytest.mark.parametrize("slice_seconds", [2.0, 30.0])
def test_slices_end_as_one_piece_does(width, slice_seconds):
    def outcome(seconds):
        model, task = make({"duration": 45, "kind": "periodic"}, seconds)
        model.etls[12].behaviour.exit_code = "ERROR"
        result = task.act(etl_id=list(IDS), max_parallel=width)
        launches = [model.etls[etl_id].launches("run") for etl_id in IDS]
        return [(e["etl_id"], e["outcome"], e["evidence"], e["changed"]) for e in result["etls"]], launches, model, task

    whole, launches, _model, _task = outcome(None)
    parts, sliced_launches, model, task = outcome(slice_seconds)
    assert parts == whole
    assert launches == sliced_launches == [1] * len(IDS)
    assert task.slices > 1
    assert model.widest <= width
    assert model.logins == 1, "the token is carried from slice to slice"


def test_many_at_once_poll_gently():
    _model, task = make({"duration": 300})
    task.act(etl_id=list(IDS), poll_interval=1)
    looks = len([line for line in task.lines if line.endswith("/status")])
    assert looks / task.clock.elapsed < 25


def test_an_error_for_all():
    clock = FakeClock()
    model = Model(clock, {1: Behaviour()})
    api = make_api(FakeTransport(model.handle, clock))
    progress = [Progress(1), Progress(2, phase="done", outcome="fresh")]
    batch = _batch.Batch(api, Policy("run"), progress, clock)
    batch.give_up(HelixError("Everything is lost.", remedy="Go home."))
    assert (progress[0].outcome, progress[0].failed) == ("failed", True)
    assert (progress[1].outcome, progress[1].failed) == ("fresh", False)
    assert batch.run()
    assert clock.slept == []


@pytest.mark.parametrize(("longer_by", "complete"), [(0.9, True), (60, False)])
def test_a_break_waits_for_those_who_are_about_to_end(longer_by, complete):
    clock = FakeClock()
    model = Model(clock, {1: Behaviour(duration=10), 2: Behaviour(duration=10 + longer_by)})
    progress = [Progress(1), Progress(2)]
    batch = _batch.Batch(make_api(FakeTransport(model.handle, clock)), Policy("run"), progress, clock, 2)
    assert batch.run(pause=lambda: progress[0].done) is complete
    assert [p.done for p in progress] == [True, complete]
    # What is left is done in the next part.
    assert batch.run()
    assert {p.outcome for p in progress} == {"succeeded"}


def test_a_break_lets_nobody_begin_whose_turn_is_later():
    clock = FakeClock()
    model = Model(clock, {1: Behaviour(duration=10), 2: Behaviour(duration=10), 3: Behaviour(duration=10)})
    progress = [Progress(number) for number in (1, 2, 3)]
    batch = _batch.Batch(make_api(FakeTransport(model.handle, clock)), Policy("run"), progress, clock, 2)
    breaks = 0
    while not batch.run(pause=lambda: clock.elapsed > 3):
        breaks += 1
        assert clock.elapsed < 100
    assert breaks
    assert model.widest == 2
    assert {p.outcome for p in progress} == {"succeeded"}


def test_names_are_resolved_and_shown():
    model, task = make()
    result = task.act(etl_id=None, etl_name=["etl-12", "etl-11"])
    assert [(e["etl_id"], e["etl_name"]) for e in result["etls"]] == [(12, "etl-12"), (11, "etl-11")]
    assert "ETL 12 (etl-12)" in result["etls"][0]["msg"]
    assert model.etls[13].executed == []


def test_info_shows_what_is_there():
    model, task = make({"initial": "RUNNING", "left": 1e6})
    model.etls[12].state = None
    result = task.inform()
    assert result["msg"] == "6 ETLs."
    assert [entry["etl_id"] for entry in result["etls"]] == list(IDS)
    assert [entry["status"] for entry in result["etls"]] == ["RUNNING", None] + ["RUNNING"] * 4
    assert result["etls"][0]["age_seconds"] == pytest.approx(7200, abs=2)
    assert result["etls"][0]["kind"] == "batch"
    assert not task.posts
    assert [e["etl_id"] for e in task.inform(name_pattern="ETL-1[23]", gather_status=False)["etls"]] == [12, 13]
    assert [e["etl_id"] for e in task.inform(etl_id=[14])["etls"]] == [14]
    with pytest.raises(HelixError, match="no ETL with the id 99"):
        task.inform(etl_id=[14, 99])


def test_info_tells_which_could_not_be_read():
    _model, task = make(reads=("403",))
    result = task.inform(max_parallel=1)
    assert result["failed"]
    assert result["etls"][0]["error"]["kind"] == "permission"
    assert "ids 11" in result["msg"]
    assert [entry.get("status") for entry in result["etls"]] == [None] + ["ENDED"] * 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"etl_id": []}, "empty list"),
        ({"etl_id": None}, "No ETL is named"),
        ({"etl_id": None, "etl_name": [""]}, "etl_name is empty"),
        ({"wait_timeout": 0}, "wait_timeout"),
        ({"poll_interval": 0}, "poll_interval"),
        ({"max_parallel": 0}, "max_parallel"),
        ({"max_parallel": 101}, "max_parallel"),
        ({"run_execution_properties": {"a": []}}, "a in run_execution_properties"),
        ({"action": "stop", "max_age": 5}, "max_age makes no sense"),
    ],
)
def test_bad_options_are_found_before_any_request(options, words):
    _model, task = make()
    with pytest.raises(HelixError, match=words):
        task.act(**options)
    assert task.lines == []


@pytest.mark.parametrize(
    "baseline", [[{}], ["x"], [{"etl_id": 5}], [{"etl_id": 0, "before": {"status": None}}], [None]]
)
def test_baselines_that_are_none(baseline):
    _model, task = make()
    with pytest.raises(HelixError, match="baseline"):
        task.wait_for(baseline=baseline)

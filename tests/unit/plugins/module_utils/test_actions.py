# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which ETLs are meant, and several ETLs at once."""

from __future__ import annotations

import contextlib
from unittest import mock

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _observer, _run_files
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._actions import (
    Target,
    _once,
    by_name,
    check_selection,
    select,
)
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._api import Etl
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import (
    EtlNotFoundError,
    HelixError,
    OptionError,
)
from ansible_collections.capacityops.bmc_helix.plugins.modules.etl_info import table
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.model import Behaviour, Model
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.support import FakeClock, Task

# -- which ETLs -------------------------------------------------------------------------------------------------------

ETLS = [
    Etl(53, "VMware - vCenter Extractor Service", []),
    Etl(321, "Nightly import", []),
    Etl(322, "nightly export", []),
    Etl(400, "Twin", []),
    Etl(401, "Twin", []),
    Etl(500, "Padded ", []),
    Etl(9, "Load, all", []),
]
NOTHING = {"etl_id": None, "etl_name": None, "confirm_all": False}


def test_each_once_in_the_order_given():
    warnings = []
    assert _once([7, 3, 7], "etl_id", warnings.append) == [7, 3]
    assert warnings == ["etl_id contains 7 more than once; each ETL is addressed once."]


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        ({}, "No ETL is named"),
        ({"etl_id": []}, "etl_id is empty"),
        ({"etl_id": [5, 0]}, "etl_id is 0"),
        ({"etl_name": ["good", " "]}, "etl_name is empty or contains an empty text"),
        ({"name_pattern": ["a*"], "exclude": [" "]}, "exclude is empty"),
        ({"name_pattern": ["a*", "**?"], "action": "stop"}, "selects every ETL"),
        ({"name_pattern": ["*"], "action": "kill"}, "selects every ETL"),
        ({"name_pattern": ["*"], "action": "run"}, None),
        ({"name_pattern": ["*"], "action": "stop", "confirm_all": True}, None),
        ({"name_pattern": ["a*"], "action": "stop"}, None),
    ],
)
def test_selections_that_can_be_and_that_cannot(selection, words):
    with pytest.raises(OptionError, match=words) if words else contextlib.nullcontext():
        check_selection({**NOTHING, **selection})


def test_names():
    """In their order, each ETL once, and the same letters may be composed or decomposed."""
    names = ["nightly export", ETLS[0].name, "Bu\u0308ro"]
    expected = [Target(322, "nightly export"), Target(53, ETLS[0].name), Target(7, "B\u00fcro")]
    assert by_name(names, [*ETLS, ETLS[0], Etl(7, "B\u00fcro", [])]) == expected


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["Nightly imports"], ["'Nightly imports'", "Nearest: 'Nightly import' (id 321)"]),
        (["NIGHTLY IMPORT"], ["'Nightly import' (id 321)"]),
        (["vcenter"], ["'VMware - vCenter Extractor Service' (id 53)"]),
        (["Twin"], ["several ETLs (ids 400, 401)"]),
        (["zzzzzzzz"], ["None of the 7 visible ETLs"]),
        (["Twin", "Nightly import", "zzzzzzzz"], ["2 of 3 names", "'Twin'", "'zzzzzzzz'"]),
        (["Padded"], ["ETL 500 differs in white space only: 'Padded '"]),
        (["Load", " all"], ["'Load, all' contains a comma: put it into a YAML list"]),
        (["a"], ["No ETLs are visible to this key"]),
    ],
)
def test_names_that_match_none_or_several(names, words):
    with pytest.raises(EtlNotFoundError) as caught:
        by_name(names, [] if names == ["a"] else ETLS)
    assert caught.value.kind == "etl_name"
    assert "Nothing was started" in caught.value.remedy
    for word in words:
        assert word in caught.value.message + caught.value.remedy


@pytest.mark.parametrize(
    ("selection", "ids", "warning"),
    [
        # Ansible splits "A, B" at the comma and keeps the blank.
        ({"name_pattern": ["nightly*", " pad*"]}, [321, 322, 500], None),
        ({"name_pattern": ["nightly*"], "exclude": ["Nightly import", " 322 "]}, [], None),
        ({"name_pattern": ["n*", "p*"], "exclude": ["padded", " nightly export"]}, [321], None),
        ({"name_pattern": ["n*", "typo*"]}, [321, 322], "name_pattern contains 'typo*', which matches no ETL."),
        ({"name_pattern": ["typo*"]}, [], None),
        ({"name_pattern": ["n*"], "exclude": ["Nihgtly*"]}, [321, 322], "exclude contains 'Nihgtly*', which"),
        ({"etl_id": [321, 999], "exclude": ["999"]}, [321], None),
        ({"etl_id": [321, 322], "exclude": ["* import"]}, [322], None),
        ({"etl_name": ["Nightly import", "Padded "], "exclude": ["500"]}, [321], None),
    ],
)
def test_selections(selection, ids, warning):
    api, warnings = mock.Mock(), []
    api.list_etls.return_value = ETLS
    targets = select({**NOTHING, **selection}, api, warnings.append)
    assert [target.etl_id for target in targets] == ids
    assert len(warnings) == (warning is not None)
    assert not warning or warning in warnings[0]


# -- several at once --------------------------------------------------------------------------------------------------

IDS = [11, 12, 13, 14, 15, 16]


def make(behaviour=None, **options):
    clock = FakeClock()
    model = Model(clock, {etl_id: Behaviour(**(behaviour or {})) for etl_id in IDS}, **options)
    return model, Task(model.handle, clock)


def outcomes(result):
    return [entry["outcome"] for entry in result["etls"]]


@pytest.mark.parametrize("width", [1, 2, 4])
def test_entries_in_the_order_given_and_no_more_than_max_parallel_execute(width):
    model, task = make({"start_lag": 1})
    for number, etl_id in enumerate(IDS):
        model.etls[etl_id].behaviour.duration = 60 - 5 * number
    result = task.act(etl_id=IDS[::-1], max_parallel=width)
    assert [entry["etl_id"] for entry in result["etls"]] == IDS[::-1]
    assert result["msg"] == "6 ETLs: 6 succeeded."
    assert "etl" not in result
    assert model.widest == width
    assert task.clock.elapsed <= 60 * len(IDS) / width + 40


def test_entries_of_runs_that_ended_well_are_short_and_still_serve_as_a_baseline():
    model, task = make({"duration": 50})
    model.etls[12].behaviour.exit_code = "ERROR"
    one = task.act(etl_id=[11], details="auto")
    good, bad = task.act(etl_id=[11, 12], details="auto")["etls"]
    assert set(good) == {"etl_id", "changed", "failed", "outcome", "after", "msg"} == set(one["etls"][0])
    assert {"before", "evidence", "started_at", "task_execution_request_id"} < set(one["etl"])
    assert {"timeline", "error", *one["etl"]} < set(bad)
    options = {"max_parallel": 1, "stop_launching_on_failure": True, "details": "auto"}
    not_tried = task.act(etl_id=[12, 13], **options)["etls"][1]
    assert set(not_tried) == {*good, "error"}
    assert task.wait_for(etl_id=[13], baseline=[not_tried])["etl"]["outcome"] == "nothing_to_do"
    task.warnings.clear()
    assert outcomes(task.wait_for(etl_id=[11, 12], baseline=[good, bad])) == ["nothing_to_do", "failed"]
    assert task.warnings == []


def test_one_failure_hides_no_other_result():
    model, task = make()
    model.etls[12].behaviour.exit_code = "ERROR"
    model.etls[14].behaviour.starts = False
    result = task.act(etl_id=[*IDS, 99])
    assert outcomes(result) == ["succeeded", "failed", "succeeded", "not_started", "succeeded", "succeeded", "failed"]
    assert (result["failed"], result["changed"]) == (True, True)
    assert result["msg"].startswith("3 of 7 ETLs failed (4 succeeded, 2 failed, 1 not_started).\n- ETL 12 (etl-12) ")
    assert result["error"] == result["etls"][1]["error"]
    assert result["etls"][6]["error"]["kind"] == "etl_not_found"
    assert "There is no ETL 99" in result["etls"][6]["msg"]


@pytest.mark.parametrize("width", [1, 4])
def test_a_fault_of_ours_in_one_hides_no_other_result(width):
    _model, task = make({"duration": 30})
    real = _observer.Observer.poll

    def poll(self):
        if self.record.etl_id == 13 and self.record.polls == 2:
            raise RuntimeError("a fault with the-secret-key-that-nobody-may-see-0123456789 in it")
        return real(self)

    with mock.patch.object(_observer.Observer, "poll", poll):
        result = task.act(etl_id=IDS, max_parallel=width)
    assert outcomes(result) == ["succeeded", "succeeded", "unconfirmed", "succeeded", "succeeded", "succeeded"]
    bad = result["etls"][2]
    assert (bad["failed"], bad["changed"], bad["error"]["kind"]) == (True, True, "internal_error")
    assert "RuntimeError" in bad["msg"]
    assert "nobody-may-see" not in str(result)


def test_check_mode_and_diff_of_several():
    model, task = make()
    model.etls[12].state = "RUNNING"
    result = task.act(etl_id=[11, 12], check_mode=True)
    assert (outcomes(result), result["changed"]) == (["would_run", "nothing_to_do"], True)
    statuses = {side: [shown["status"] for shown in states.values()] for side, states in result["diff"].items()}
    assert statuses == {"before": ["ENDED", "RUNNING"], "after": ["RUNNING", "RUNNING"]}
    assert list(result["diff"]["before"]) == ["ETL 11", "ETL 12"]


def test_each_etl_has_its_own_wait_timeout():
    _model, task = make({"duration": 1e6})
    result = task.act(etl_id=IDS[:4], max_parallel=2, wait_timeout=100)
    assert outcomes(result) == ["timed_out"] * 4
    assert all(entry["elapsed_seconds"] == pytest.approx(100, abs=2) for entry in result["etls"])
    assert task.clock.elapsed == pytest.approx(200, abs=5)


def test_many_at_once_poll_gently():
    _model, task = make({"duration": 300})
    with mock.patch.object(_observer.planning, "next_poll", wraps=_observer.planning.next_poll) as asked:
        task.act(etl_id=IDS, poll_interval=1)
    assert max(call.args[2] for call in asked.call_args_list) == len(IDS), "they share the requests"


def test_total_timeout_ends_what_runs_and_tries_no_other():
    model, task = make({"duration": 1e6})
    result = task.act(etl_id=IDS[:4], max_parallel=2, wait_timeout=300, total_timeout=100)
    assert outcomes(result) == ["timed_out", "timed_out", "not_tried", "not_tried"]
    assert [model.etls[etl_id].launches("run") for etl_id in IDS[:4]] == [1, 1, 0, 0]
    assert task.clock.elapsed == pytest.approx(100, abs=2)
    assert result["etls"][3]["error"]["kind"] == "not_tried"
    _count, first, _second, rest = result["msg"].splitlines()
    assert "had not ended after 100 s (total_timeout;" in first
    assert first.endswith("or raise total_timeout.")
    assert rest.startswith("- Not tried: 13, 14, because total_timeout expired first. Run the task again")
    _model, task = make({"initial": "RUNNING", "left": 1e6})
    result = task.wait_for(etl_id=IDS[:3], max_parallel=2, wait_timeout=300, total_timeout=100)
    assert outcomes(result) == ["timed_out", "timed_out", "not_tried"]


def test_total_timeout_is_named_if_the_request_came_too_late():
    model, task = make()
    model.etls[11].state = None  # believed only after several looks
    message = task.act(etl_id=[11], total_timeout=3)["msg"]
    assert "ETL 11 (etl-11) was not sent, because total_timeout had expired. Increase total_timeout" in message


def test_total_timeout_counts_the_time_of_the_selection():
    model, task = make()

    def slow(exchange):
        task.clock.sleep(20 if exchange.path.endswith("/etls/") else 0)
        return model.handle(exchange)

    task = Task(slow, task.clock)
    assert set(outcomes(task.act(etl_id=None, name_pattern=["*"], total_timeout=15))) == {"not_tried"}
    assert not task.posts
    _model, task = make(outage=(0, 1e9, "429_wait"))
    with pytest.raises(HelixError):
        task.act(etl_id=None, name_pattern=["*"], total_timeout=15)
    assert task.clock.elapsed < 15


def test_a_long_list_can_end_at_the_first_failure():
    model, task = make()
    model.etls[12].behaviour.exit_code = "ERROR"
    result = task.act(etl_id=IDS, max_parallel=1, stop_launching_on_failure=True)
    assert outcomes(result) == ["succeeded", "failed"] + ["not_tried"] * 4
    assert [model.etls[etl_id].launches("run") for etl_id in IDS] == [1, 1, 0, 0, 0, 0]


def test_a_task_that_is_over_launches_nothing_more():
    model, task = make({"duration": 30})
    with mock.patch.object(_run_files.Channel, "over", side_effect=lambda: task.clock.elapsed > 50):
        result = task.act(etl_id=IDS, max_parallel=1)
    assert outcomes(result)[2:] == ["not_tried"] * 4
    assert sum(model.etls[etl_id].launches("run") for etl_id in IDS) == 2


def test_names_are_resolved_and_shown():
    model, task = make()
    result = task.act(etl_id=None, etl_name=["etl-12", "etl-11"])
    assert [(e["etl_id"], e["etl_name"]) for e in result["etls"]] == [(12, "etl-12"), (11, "etl-11")]
    assert "ETL 12 (etl-12)" in result["etls"][0]["msg"]
    assert model.etls[13].executed == []


def test_info_shows_what_is_there():
    model, task = make({"initial": "RUNNING", "left": 1e6}, skew=7 * 3600.0)
    model.etls[12].state = None
    result = task.inform()
    assert result["msg"] == "6 ETLs."
    assert [entry["etl_id"] for entry in result["etls"]] == IDS
    assert [entry["status"] for entry in result["etls"]] == ["RUNNING", None] + ["RUNNING"] * 4
    assert result["etls"][0]["age_seconds"] == pytest.approx(7200, abs=2)
    assert (result["etls"][0]["kind"], result["etls"][0]["executing"]) == ("batch", True)
    chosen = task.inform(name_pattern=["ETL-1?"], exclude=["etl-11", "14"], gather_status=False)["etls"]
    assert [entry["etl_id"] for entry in chosen] == [12, 13, 15, 16]
    assert set(chosen[0]) == {"etl_id", "name", "run_configurations"}
    assert task.inform(etl_id=[14, 12])["msg"] == "2 ETLs."
    assert task.inform(etl_id=[14])["msg"] == "1 ETL."
    assert task.inform(name_pattern=["x"])["msg"] == "0 ETLs."
    with pytest.raises(HelixError, match="no ETL with the id 99"):
        task.inform(etl_id=[14, 99])
    assert not task.posts


def test_info_tells_which_could_not_be_read():
    _model, task = make(reads=("403",))
    result = task.inform(max_parallel=1)
    assert result["failed"]
    assert result["etls"][0]["error"]["kind"] == "permission"
    assert "ids 11" in result["msg"]
    assert [entry.get("status") for entry in result["etls"]] == [None] + ["ENDED"] * 5


def test_the_table_of_info_counts_letters_that_take_two_columns():
    entries = [{"etl_id": 7, "name": "日次", "kind": "batch", "status": "ENDED"}, {"etl_id": 12, "name": "VMware"}]
    rows = ["ID  NAME    STATE  EXIT  LAST RUN  AGE", "7   日次    ENDED", "12  VMware"]
    assert table(entries).splitlines() == rows


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"etl_id": None}, "No ETL is named"),
        ({"wait_timeout": 0}, "wait_timeout"),
        ({"max_parallel": 101}, "max_parallel"),
        ({"run_execution_properties": {"a": []}}, "a in run_execution_properties"),
        (
            {"action": "stop", "secret_run_execution_properties": {"a": "longenough"}},
            "cannot be used with action: stop",
        ),
    ],
)
def test_bad_options_are_found_before_any_request(options, words):
    _model, task = make()
    for check_mode in (False, True):
        with pytest.raises(HelixError, match=words):
            task.act(**options, check_mode=check_mode)
    assert task.lines == []


@pytest.mark.parametrize(
    "baseline", [[{}], ["x"], [{"etl_id": 5}], [{"etl_id": 0, "before": {"status": None}}], [None]]
)
def test_baselines_that_are_none(baseline):
    _model, task = make()
    with pytest.raises(HelixError, match="baseline"):
        task.wait_for(baseline=baseline)

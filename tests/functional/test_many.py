# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many ETLs in one task: order, duplicates, names, how many at a time, one failure among many, one login."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.functional.inprocess import InProcess, assert_documented
from tests.functional.support import ModuleRun
from tests.simulator.client import SimulatorProcess

pytest_plugins = ("tests.functional.inprocess",)


def most_at_once(executions: list[dict[str, Any]]) -> int:
    """How many executions were under way at the busiest moment."""
    changes = [(e["started_at"], 1) for e in executions] + [(e["ended_at"], -1) for e in executions]
    # At the same moment an end comes before a start.
    return max(itertools.accumulate(step for _moment, step in sorted(changes)))


def test_thirty(library: InProcess) -> None:
    ids = list(range(130, 100, -1))
    for etl_id in ids:
        library.control.put_etl(etl_id, name=f"Import {etl_id}", state="ENDED", duration=20, start_lag=1)
    done = library(action="run", etl_id=ids)
    assert_documented("etl_action", done.result)
    assert [entry["etl_id"] for entry in done["etls"]] == ids, "the order of the option"
    assert done.outcomes == ["succeeded"] * 30
    assert done["msg"] == "30 ETLs: 30 succeeded."
    assert "etl" not in done.result
    counters = library.control.counters()
    assert counters["logins"] == 1
    assert counters["lists"] == 0
    assert counters["launches_by_etl"] == dict.fromkeys(ids, 1)
    assert most_at_once(library.control.executions()) == 8, "max_parallel is used, and kept"
    assert counters["connections"] <= 8 + 2, "connections are kept alive"
    assert 75 < done.seconds < 130


@pytest.mark.parametrize("width", [1, 2, 5, 20])
def test_max_parallel(library: InProcess, width: int) -> None:
    ids = list(range(1, 11))
    for etl_id in ids:
        library.control.put_etl(etl_id, duration=5 + etl_id % 3, start_lag=etl_id % 2)
    done = library(action="run", etl_id=ids, max_parallel=width)
    assert done.outcomes == ["succeeded"] * 10
    assert most_at_once(library.control.executions()) == min(width, 10)


def test_names(library: InProcess) -> None:
    for etl_id, name in ((1, "Alpha"), (2, "Beta, the second"), (3, "Gamma é")):
        library.control.put_etl(etl_id, name=name)
    done = library(action="run", etl_name=["Gamma é", "Alpha", "Beta, the second"])
    assert [(e["etl_id"], e["etl_name"]) for e in done["etls"]] == [
        (3, "Gamma é"),
        (1, "Alpha"),
        (2, "Beta, the second"),
    ]
    assert library.control.counters()["lists"] == 1


def test_single_name(library: InProcess) -> None:
    library.control.put_etl(7, name="Nightly import")
    done = library(action="run", etl_name="Nightly import")
    assert done.etl["etl_name"] == "Nightly import"
    assert "ETL 7 (Nightly import) ran and ended with exit OK" in done["msg"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["Nightly imprt"], ("there is no ETL named 'Nightly imprt'", "Nearest: 'Nightly import' (id 7)")),
        (["nightly import"], ("'Nightly import' (id 7)",)),
        (["Twin"], ("'Twin' is the name of several ETLs (ids 8, 9)", "use etl_id")),
        (["Nightly import", "Twin", "Zebra"], ("2 of 3 names", "'Twin'", "'Zebra'")),
        (["Hidden"], ("no ETL named 'Hidden'", "task groups")),
    ],
)
@pytest.mark.parametrize("action", ["run", "stop"])
def test_names_that_do_not_fit(library: InProcess, names: list[str], words: tuple[str, ...], action: str) -> None:
    for etl_id, name in ((7, "Nightly import"), (8, "Twin"), (9, "Twin")):
        library.control.put_etl(etl_id, name=name)
    library.control.put_etl(10, name="Hidden", listed=False)
    done = library(action=action, etl_name=names)
    assert done["error"]["kind"] == "etl_name"
    for word in words:
        assert word in done["msg"], done["msg"]
    assert done["etls"] == []
    assert library.control.counters()["writes"] == 0, "nothing is started if one name is wrong"


@pytest.mark.parametrize("option", [{"etl_id": [5, 6, 5, "5"]}, {"etl_name": ["ETL 5", "ETL 6", "ETL 5"]}])
def test_duplicates_are_collapsed_with_a_warning(library: InProcess, option: dict[str, Any]) -> None:
    for etl_id in (5, 6):
        library.control.put_etl(etl_id)
    done = library(action="run", **option)
    assert [entry["etl_id"] for entry in done["etls"]] == [5, 6]
    assert library.control.counters()["launches_by_etl"] == {5: 1, 6: 1}
    assert len(done.warnings) == 1
    assert "more than once" in done.warnings[0]


def test_one_failure_among_many(library: InProcess) -> None:
    kinds: dict[int, dict[str, Any]] = {
        1: {},
        2: {"exit": "ERROR"},
        3: {"exit": "WARNING"},
        4: {"answers": {"run": "ERROR"}},
        6: {"engine": "inactive"},
        7: {"kind": "service"},
        8: {"state": "RUNNING", "duration": 30},
        9: {"duration": None},
        10: {},
    }
    for etl_id, fields in kinds.items():
        library.control.put_etl(etl_id, **{"duration": 10, **fields})
    library.control.fault({"exchange": "run", "etl_id": 10}, {"kind": "reset_after"})
    done = library(action="run", etl_id=list(range(1, 11)), wait_timeout=200, start_timeout=60)
    assert_documented("etl_action", done.result)
    assert dict(zip(range(1, 11), done.outcomes)) == {
        1: "succeeded",
        2: "failed",
        3: "warning",
        4: "failed",
        5: "failed",  # there is none
        6: "not_started",
        7: "service_on",
        8: "succeeded",
        9: "timed_out",
        10: "succeeded",
    }
    assert (done.failed, done.changed) == (True, True)
    assert done["msg"].startswith("5 of 10 ETLs failed (")
    for etl_id in (2, 4, 5, 6, 9):
        assert f"ETL {etl_id}" in done["msg"]
    assert done["error"] == done["etls"][1]["error"], "the first failure's"
    assert [entry["etl_id"] for entry in done["etls"] if "error" in entry] == [2, 4, 5, 6, 9]
    assert done["etls"][9]["evidence"] == "adopted"
    assert all(count == 1 for count in library.control.counters()["launches_by_etl"].values())


def test_second_run_of_many(library: InProcess) -> None:
    ids = [1, 2, 3]
    for etl_id in ids:
        library.control.put_etl(etl_id, state="RUNNING", duration=None)
    first = library(action="stop", etl_id=ids)
    assert (first.outcomes, first.changed) == (["stopped"] * 3, True)
    second = library(action="stop", etl_id=ids)
    assert (second.outcomes, second.changed) == (["nothing_to_do"] * 3, False)


def test_check_and_diff_of_many(library: InProcess) -> None:
    library.control.put_etl(1, state="ENDED")
    library.control.put_etl(2, state="RUNNING", duration=None)
    done = library(action="run", etl_id=[1, 2], check=True, diff=True)
    assert (done.outcomes, done.changed) == (["would_run", "nothing_to_do"], True)
    assert set(done["diff"]["before"]) == {"ETL 1", "ETL 2"}
    assert done["diff"]["before"]["ETL 2"] == done["diff"]["after"]["ETL 2"]
    assert done["diff"]["after"]["ETL 1"]["status"] == "RUNNING"
    assert library.control.counters()["writes"] == 0


def test_the_gateway_goes_away_under_many(library: InProcess) -> None:
    """All of them lose polls at the same time, the token expires meanwhile; nothing is started twice."""
    ids = list(range(1, 13))
    library.control.configure(token_life=60)
    for etl_id in ids:
        library.control.put_etl(etl_id, duration=200, run_when_running="parallel")
    library.clock.at(50, lambda: library.control.outage(40, "reset"))
    library.clock.at(150, lambda: library.control.outage(40, "502"))
    done = library(action="run", etl_id=ids, max_parallel=12)
    assert done.outcomes == ["succeeded"] * 12, done["msg"]
    assert library.control.counters()["launches_by_etl"] == dict.fromkeys(ids, 1)
    renewals = library.control.counters()["logins"] + library.control.counters()["refreshes"]
    assert renewals < 30, "they share one token"


@pytest.mark.full
def test_many_as_a_process(module: Callable[..., ModuleRun], simulator: SimulatorProcess) -> None:
    simulator.control.speed(20)
    ids = list(range(1, 31))
    for etl_id in ids:
        simulator.control.put_etl(etl_id, duration=6, start_lag=1)
    done = module("etl_action", action="run", etl_id=ids, max_parallel=10)
    assert {entry["outcome"] for entry in done["etls"]} == {"succeeded"}, json.dumps(done.result)[:2000]
    counters = simulator.control.counters()
    assert counters["logins"] == 1
    assert counters["connections"] <= 12
    assert most_at_once(simulator.control.executions()) <= 10
    assert counters["launches_by_etl"] == dict.fromkeys(ids, 1)

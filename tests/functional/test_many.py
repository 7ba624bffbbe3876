# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many ETLs in one task: order, how many at a time, one failure among many, one login."""

from __future__ import annotations

import itertools
from typing import Any

from tests.functional.inprocess import InProcess, assert_documented

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

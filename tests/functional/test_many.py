# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many ETLs in one task: order, how many at a time, one login, connections that are kept."""

from __future__ import annotations

import itertools

from tests.functional.inprocess import InProcess, assert_documented

pytest_plugins = ("tests.functional.inprocess",)


def test_thirty(library: InProcess) -> None:
    ids = list(range(130, 100, -1))
    for etl_id in ids:
        library.control.put_etl(etl_id, name=f"Import {etl_id}", state="ENDED", duration=20, start_lag=1)
    library.control.put_etl(115, state="ENDED", exit="ERROR", duration=20, start_lag=1)
    done = library(action="run", etl_id=ids)
    assert_documented("etl_action", done.result)
    assert [entry["etl_id"] for entry in done["etls"]] == ids, "the order of the option"
    assert [entry["outcome"] for entry in done["etls"]] == ["failed" if e == 115 else "succeeded" for e in ids]
    assert (done.failed, done.changed) == (True, True)
    counters = library.control.counters()
    assert (counters["logins"], counters["launches_by_etl"]) == (1, dict.fromkeys(ids, 1))
    assert counters["connections"] <= 8 + 2, "connections are kept alive"
    executions = library.control.executions()
    # At the same moment an end comes before a start.
    changes = sorted([(e["started_at"], 1) for e in executions] + [(e["ended_at"], -1) for e in executions])
    assert max(itertools.accumulate(step for _moment, step in changes)) == 8, "max_parallel is used, and kept"
    assert 75 < done.seconds < 130


def test_the_states_of_a_hundred(library: InProcess) -> None:
    for etl_id in range(1, 101):
        library.control.put_etl(etl_id, state="ENDED")
    for options, statuses in (({"gather_status": False}, 0), ({"name_pattern": "etl *", "max_parallel": 16}, 100)):
        done = library("etl_info", **options)
        assert_documented("etl_info", done.result)
        assert [entry["etl_id"] for entry in done["etls"]] == list(range(1, 101))
        counters = library.control.counters()
        assert (counters["statuses"], counters["writes"]) == (statuses, 0)
    # Two tasks
    assert (counters["logins"], counters["lists"]) == (2, 2)
    assert counters["connections"] <= 2 + 18

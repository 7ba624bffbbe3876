# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""etl_info: all, by id, by name, by pattern; with and without states; and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.functional.inprocess import InProcess, assert_documented
from tests.functional.support import ModuleRun
from tests.simulator.client import SimulatorProcess

pytest_plugins = ("tests.functional.inprocess",)

LIST: dict[int, dict[str, Any]] = {
    53: {"name": "VMware - vCenter Extractor Service", "kind": "service", "state": "SERVICE_ON"},
    118: {"name": "AWS - Nightly Cost", "kind": "periodic", "last_exec_age": 3600},
    321: {"name": "CSV Parser", "state": "ENDED", "exit_code": "WARNING", "last_exec_age": 7200},
    322: {"name": "csv parser [old]"},
    323: {"name": "Odd one", "state": "HIBERNATING"},
}


@pytest.fixture
def five(library: InProcess) -> InProcess:
    for etl_id, fields in LIST.items():
        library.control.put_etl(etl_id, **fields)
    return library


def test_all(five: InProcess) -> None:
    done = five("etl_info")
    assert_documented("etl_info", done.result)
    assert [entry["etl_id"] for entry in done["etls"]] == list(LIST)
    assert not done.changed
    assert done["msg"] == "5 ETLs."
    by_id = {entry["etl_id"]: entry for entry in done["etls"]}
    assert by_id[53]["run_configurations"] == [{"name": "Default", "active": True, "run_configuration_id": 1053}]
    assert [by_id[etl_id]["kind"] for etl_id in LIST] == ["service", "batch", "batch", "unknown", "unknown"]
    assert [by_id[etl_id]["executing"] for etl_id in LIST] == [True, False, False, False, False]
    assert [by_id[etl_id]["status"] for etl_id in LIST] == ["SERVICE_ON", "WAITING", "ENDED", None, "HIBERNATING"]
    assert by_id[321]["exit_code"] == "WARNING"
    assert by_id[321]["age_seconds"] == pytest.approx(7200, abs=2)
    assert by_id[322]["age_seconds"] is None
    counters = five.control.counters()
    assert (counters["logins"], counters["lists"], counters["statuses"], counters["writes"]) == (1, 1, 5, 0)


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({"etl_id": 321}, [321]),
        ({"etl_id": [323, 53]}, [323, 53]),
        ({"etl_name": ["Odd one", "CSV Parser"]}, [323, 321]),
        ({"name_pattern": "*csv*"}, [321, 322]),
        ({"name_pattern": "CSV PARSER"}, [321]),
        ({"name_pattern": "odd ???"}, [323]),
        ({"name_pattern": "nothing like this"}, []),
        ({"name_pattern": "*"}, list(LIST)),
    ],
)
@pytest.mark.parametrize("check", [False, True])
def test_choice(five: InProcess, options: dict[str, Any], ids: list[int], check: bool) -> None:
    done = five("etl_info", check=check, **options)
    assert [entry["etl_id"] for entry in done["etls"]] == ids
    assert five.control.counters()["statuses"] == len(ids)
    assert_documented("etl_info", done.result)


def test_without_states(five: InProcess) -> None:
    done = five("etl_info", gather_status=False)
    assert_documented("etl_info", done.result)
    assert all(set(entry) == {"etl_id", "name", "run_configurations"} for entry in done["etls"])
    assert five.control.counters()["statuses"] == 0


@pytest.mark.parametrize("skew", [0, 7 * 3600])
def test_age_by_the_clock_of_the_server(library: InProcess, skew: int) -> None:
    library.control.configure(clock_skew=skew)
    library.control.put_etl(1, state="ENDED", last_exec_age=600)
    assert library("etl_info")["etls"][0]["age_seconds"] == pytest.approx(600, abs=2)


def test_hundred_as_a_process(module: Callable[..., ModuleRun], simulator: SimulatorProcess) -> None:
    for etl_id in range(1, 101):
        simulator.control.put_etl(etl_id, state="ENDED")
    done = module("etl_info", name_pattern="etl *", max_parallel=16)
    assert len(done["etls"]) == 100
    counters = simulator.control.counters()
    assert (counters["logins"], counters["lists"], counters["statuses"]) == (1, 1, 100)
    assert counters["connections"] <= 18

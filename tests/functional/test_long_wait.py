# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Three hours of waiting in simulated time: tokens of a minute, gateways that restart, keys that change."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.inprocess import InProcess

pytest_plugins = ("tests.functional.inprocess",)

ETL = 321
HOURS = 3 * 3600
OPTIONS: dict[str, Any] = {"action": "run", "etl_id": ETL, "wait_timeout": 5 * 3600, "poll_interval": 30}


@pytest.fixture
def three_hours(library: InProcess) -> InProcess:
    library.control.configure(token_life=60)
    library.control.put_etl(ETL, state="ENDED", start_lag=120, duration=HOURS, run_when_running="parallel")
    return library


@pytest.mark.full
@pytest.mark.parametrize(
    "config",
    [{}, {"jwt_opaque": True}, {"jwt_exp": False, "date_header": False}, {"clock_skew": 7200}],
    ids=str,
)
def test_three_hours(three_hours: InProcess, config: dict[str, Any]) -> None:
    """It outlives its token some two hundred times, and two restarts of the gateway."""
    library = three_hours
    library.control.configure(**config)
    library.clock.at(3000, lambda: library.control.outage(180, "reset"))
    library.clock.at(8000, lambda: library.control.outage(240, "502"))
    done = library("etl_action", **OPTIONS)
    assert (done.outcome, done.failed, done.changed) == ("succeeded", False, True), done["msg"]
    assert HOURS < done.seconds < HOURS + 200
    counters = library.control.counters()
    assert counters["launches_by_etl"] == {ETL: 1}
    assert counters["by_action"]["run"] == 1
    assert done.etl["token_renewals"] > 100
    assert done.etl["lost_polls"] > 4
    late = library.control.requests(exchange="status", status=401)
    # A token that tells its end is renewed before it; one that does not costs one 401.
    told = config.get("jwt_exp", True) and not config.get("jwt_opaque")
    assert len(late) <= (2 if told else done.etl["token_renewals"])


@pytest.mark.parametrize("change", [{"secret": "anotherSecret"}, {"active": False}, {"expires_in": 0}])
def test_changed_key_is_reported_at_once(three_hours: InProcess, change: dict[str, Any]) -> None:
    """In the middle of the wait the key is taken away: the task says so, and names what goes on without it."""
    library = three_hours
    key = library.simulator.access_key
    library.clock.at(1800, lambda: library.control.outage(60))
    library.clock.at(5000, lambda: library.control.put_key(key, **change, revoke=True))
    done = library("etl_action", **OPTIONS)
    assert (done.outcome, done.failed, done.changed) == ("unconfirmed", True, True)
    assert 5000 <= done.seconds < 5000 + 60, "it is not waited for hours with a key that is refused"
    (execution,) = library.control.executions(ETL)
    assert done["error"]["kind"] == "authentication"
    for words in ("ETL 321", "accepted", f"request {execution['id']}", "RUNNING", "rotated"):
        assert words in done["msg"], done["msg"]
    assert "use etl_wait with this result's etls as baseline" in done["msg"]
    # With the new key it attaches to the run that went on.
    library.control.put_key(key, secret=library.simulator.access_secret_key, active=True, expires_in=None)
    again = library("etl_action", **OPTIONS)
    assert (again.outcome, again.changed) == ("succeeded", False)
    assert library.control.counters()["launches_by_etl"] == {ETL: 1}

# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Three hours of waiting in simulated time: tokens of a minute, gateways that restart."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.inprocess import InProcess

pytest_plugins = ("tests.functional.inprocess",)

ETL, HOURS = 321, 3 * 3600


@pytest.mark.full
@pytest.mark.parametrize(
    "config",
    [{}, {"jwt_opaque": True}, {"jwt_exp": False, "date_header": False}, {"clock_skew": 7200}],
    ids=str,
)
def test_three_hours(library: InProcess, config: dict[str, Any]) -> None:
    """The task outlives its token some two hundred times, and two restarts of the gateway."""
    library.control.configure(token_life=60, **config)
    library.control.put_etl(ETL, state="ENDED", start_lag=120, duration=HOURS, run_when_running="parallel")
    library.clock.at(3000, lambda: library.control.outage(180, "reset"))
    library.clock.at(8000, lambda: library.control.outage(240, "502"))
    done = library("etl_action", action="run", etl_id=ETL, wait_timeout=5 * 3600, poll_interval=30)
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

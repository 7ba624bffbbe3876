# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages shown to users."""

from __future__ import annotations

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _report as report
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import (
    AnswerError,
    EtlNotFoundError,
    HelixError,
    RequestRefusedError,
)
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._plan import Policy
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._report import Record, Request
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._status import EtlStatus
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.support import readable

NAMES = (None, "Nightly import")
ENDED = EtlStatus("ENDED", "OK", "2026-11-22T01:00:00Z")
RUNNING = EtlStatus("RUNNING", "OK", "2026-11-22T01:00:00Z")
LATER = EtlStatus("ENDED", "OK", "2026-11-22T02:00:00Z")
NEVER = EtlStatus("none")
LOST = "The status of ETL 321 failed with HTTP 502."


def record(name=None, **facts):
    facts.setdefault("before", ENDED)
    facts.setdefault("seen", facts["before"])
    return Record(321, name, began=1.0, ended=43.0, **facts)


def request(action="run", **facts):
    return Request(action, 2.0, **facts)


PROBLEMS = {
    "still_busy": lambda p: report.still_busy(p, Policy("run", if_running="queue")),
    "still_busy_restart": lambda p: report.still_busy(p, Policy("run", if_running="restart")),
    "already_running": report.already_running,
    **{outcome: lambda p, outcome=outcome: report.bad_end(p, outcome) for outcome in ("aborted", "warning", "failed")},
    **{
        f"not_started_{action}": lambda p, action=action: report.not_started(p, Policy(action), 300.0)
        for action in ("run", "schedule", "kill", "wait")
    },
    **{
        f"timed_out_{action}": lambda p, action=action, became=became: report.timed_out(p, Policy(action), became)
        for action, became in (("run", "It goes on."), ("stop", ""), ("kill", ""), ("wait", ""))
    },
    "lost_sight": lambda p: report.lost_sight(p, HelixError(LOST, remedy="Check url.")),
    "lost_sight_bare": lambda p: report.lost_sight(p, HelixError(LOST)),
    "refused": lambda p: report.refused(p, AnswerError("The login was refused (HTTP 401).", remedy="Check the key.")),
    "refused_request": lambda p: report.refused(p, RequestRefusedError("ETL 321 refused.", remedy="See.")),
}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"seen": RUNNING},
        {"seen": EtlStatus("ODD")},
        {"seen": LATER, "request": request(accepted=True, server_time=2e9)},
        {"before": NEVER},
        {"joined": "It was requested for host a."},
        {"losses": 3, "last_loss": LOST},
        {"put_off": 2, "last_loss": LOST},
        {"request": request(ambiguous=True, doubt="The connection was closed.")},
        {"request": request(ambiguous=True, doubt="It was closed."), "losses": 3, "last_loss": LOST},
        {"request": request(accepted=True, request_id=21359)},
        {"request": request(accepted=True, request_id=-1)},
        {"ending": request("stop", accepted=True)},
        {"attached": True},
    ],
)
def test_every_bad_end_is_a_sentence_with_a_remedy(problem, facts):
    for name in NAMES:
        error = PROBLEMS[problem](record(name, reason="it is running already", **facts))
        readable(error.message)
        readable(error.sentence())
        assert error.remedy or problem == "lost_sight_bare"
        assert error.kind != "error" or "lost_sight" in problem
        assert set(error.facts()) == {"kind", "http_status", "method", "path", "server_message", "remedy"}


def test_an_error_keeps_its_facts_and_does_not_name_the_etl_twice():
    error = AnswerError("Forbidden.", kind="permission", http_status=403, method="POST", path="/x", server_message="no")
    assert report.refused(record(), error).facts() == {**error.facts(), "remedy": error.remedy}
    error = EtlNotFoundError("There is no ETL 321 on https://helix.test.")
    assert report.refused(record(), error).message == error.message


def entries(*outcomes):
    bad = ("failed", "timed_out")
    return [
        {"etl_id": number, "outcome": outcome, "failed": outcome in bad, "msg": f"ETL {number} {outcome}."}
        for number, outcome in enumerate(outcomes, 1)
    ]


@pytest.mark.parametrize(
    ("outcomes", "text"),
    [
        (["succeeded"], "ETL 1 succeeded."),
        (["succeeded", "warning", "succeeded"], "3 ETLs: 2 succeeded, 1 warning."),
        (["failed", "timed_out"], "2 of 2 ETLs failed (1 failed, 1 timed_out).\n- ETL 1 failed.\n- ETL 2 timed_out."),
    ],
)
def test_the_summary(outcomes, text):
    assert report.summary(entries(*outcomes)) == text


def test_a_long_summary_is_shortened():
    lines = report.summary(entries(*["failed"] * 40)).splitlines()
    assert lines[-2:] == ["- ETL 10 failed.", "- … and 30 more; see etls."]


@pytest.mark.parametrize(
    ("facts", "check_mode", "after"),
    [
        ({"seen": RUNNING}, False, "RUNNING"),
        ({"changed": True}, True, "RUNNING"),
        ({"changed": False}, True, "ENDED"),
    ],
)
def test_the_diff_shows_what_was_or_would_be_altered(facts, check_mode, after):
    sides = report.diff(record(**facts), Policy("run", check_mode=check_mode))
    assert [side["status"] for side in sides] == ["ENDED", after]

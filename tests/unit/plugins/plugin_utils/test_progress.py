# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lines that a waiting task shows, and what its action plugin hands to the module."""

from __future__ import annotations

import json
from types import SimpleNamespace
from unittest import mock

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import HelixError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._run_files import CHANNEL
from ansible_collections.capacityops.bmc_helix.plugins.plugin_utils._action import HelixAction
from ansible_collections.capacityops.bmc_helix.plugins.plugin_utils._progress import (
    LAST_BEAT,
    PREFIX,
    Reporter,
    cut_off,
    farewells,
)


def entry(etl_id, name=None, state="ENDED", outcome=None, **facts):
    named = {"etl_name": name} if name else {}
    return {
        "etl_id": etl_id,
        **named,
        "outcome": outcome,
        "failed": outcome in ("failed", "timed_out"),
        "changed": False,
        "attached": False,
        "started_at": None,
        "task_execution_request_id": None,
        "after": {"status": state, "exit_code": "OK", "last_exec_ts": None},
        **facts,
    }


def event(phase, etl_id=1, name="Bank ETL", lost=0, elapsed=3.0, **facts):
    return {"phase": phase, "lost": lost, "elapsed": elapsed, "entry": entry(etl_id, name, **facts)}


def reporter_for(*ids, limit=3600, **options):
    reporter = Reporter(now=0.0, **options)
    reporter.take({"wait_timeout": limit, "entries": [entry(n, state=None) for n in ids]})
    return reporter


STARTS = "waiting for it to start (3 s)"


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (event("checking"), ""),
        (event("requested", task_execution_request_id=4711), f"request accepted (id 4711), {STARTS}"),
        (event("unclear"), f"the response to the request was lost, {STARTS}"),
        (event("requested", attached=True), f"following a run that was already requested, {STARTS}"),
        (event("waiting", state="RUNNING"), "queued behind the run in progress (3 s)"),
        (event("running", state="RUNNING"), "RUNNING (3 s)"),
        (event("running", state="RUNNING", attached=True), "RUNNING, already running (3 s)"),
        (event("stopping", state="RUNNING"), "RUNNING, asked to stop (3 s)"),
        (event("running", state="RUNNING", lost=3), "status unavailable, 3 polls failed (3 s)"),
        (event("done", outcome="succeeded"), "succeeded after 3 s"),
        (event("done", outcome="warning"), "warning (exit OK) after 3 s"),
        (event("done", outcome="would_run"), "would run"),
        (event("done", outcome="not_tried", failed=True), "not tried"),
        (event("done", outcome="timed_out"), "FAILED (timed out) after 3 s"),
        (event("done", outcome="failed"), "FAILED (exit OK) after 3 s"),
    ],
)
def test_one_line_for_each_change(told, line):
    reporter = reporter_for(1)
    reporter.take(told)
    reporter._events[1]["at"] = 1.0
    assert reporter.lines(1.0) == ([f"  ETL 1 (Bank ETL): {line}"] if line else [])
    assert reporter.lines(1.5) == [], "nothing is shown twice"


def test_many_etls_share_one_line_with_groups_in_a_fixed_order():
    reporter = reporter_for(*range(801, 821))
    for etl_id in range(801, 804):
        reporter.take(event("done", etl_id, outcome="succeeded"))
    reporter.take(event("done", 807, outcome="failed"))
    for etl_id in range(808, 816):
        reporter.take(event("running", etl_id, state="RUNNING"))
    reporter.take(event("done", 820, outcome="not_tried", failed=True))
    assert reporter.lines(25.0) == [
        "  [00:25 of 60:00] 20 ETLs: 3 succeeded, 1 FAILED (807 Bank ETL), 1 not tried, 8 running, 7 queued"
    ]
    reporter.take(event("running", 816, state="RUNNING"))
    assert reporter.lines(25.5) == [], "at most one line a second"
    assert len(reporter.lines(26.1)) == 1


def test_the_heartbeat_grows_sparser():
    reporter = reporter_for(1)
    reporter.take(event("running", state="RUNNING"))
    moments = [second for second in range(1, 1200) if reporter.lines(float(second))]
    pauses = [after - before for before, after in zip(moments, moments[1:])]
    assert pauses[0] == 10
    assert pauses == sorted(pauses)
    assert pauses[-1] == LAST_BEAT


def test_no_log_hides_names_and_states():
    reporter = reporter_for(1, 2, hidden=True)
    reporter.take(event("running", state="RUNNING", started_at="T"))
    assert reporter.lines(1.0) == []
    assert reporter.lines(12.0) == ["  waiting (00:12; no_log hides the rest)"]
    (line,) = reporter.farewell()
    assert "1 ETLs" in line
    assert "Bank" not in line


def test_what_was_started_is_named_at_an_early_end(tmp_path):
    """Also by the main process, from what a killed worker left behind."""
    lines = [
        {"hidden": False},
        {"wait_timeout": 60, "entries": [entry(n) for n in (1, 2, 3)]},
        event("done", 1, outcome="succeeded", started_at="T"),
        event("requested", 2, None, started_at="T", task_execution_request_id=4712),
        event("waiting", 3, state="RUNNING"),
    ]
    texts = [json.dumps(line) + "\n" for line in lines]
    (tmp_path / f"{PREFIX}1").write_text("".join(texts[:2]), encoding="utf-8")
    (tmp_path / f"{PREFIX}2").write_text("", encoding="utf-8")
    assert farewells(str(tmp_path)) == []
    (tmp_path / f"{PREFIX}2").write_text("".join(texts) + '{"phase": "do', encoding="utf-8")
    (line,) = farewells(str(tmp_path))
    assert "ETL 1 (Bank ETL): succeeded; ETL 2: request accepted (id 4712), waiting for it to start" in line
    assert "etl_wait" in line
    assert "action: stop" in line
    assert "ETL 3" not in line


def test_a_module_that_died_does_not_take_what_it_started_with_it():
    died = HelixError("The module was killed.", kind="internal_error", remedy="Check the ETL.")
    ended = {**entry(3, outcome="succeeded"), "msg": "ETL 3 ran."}
    begun, queued, done = cut_off([entry(1, "Load", started_at="T", changed=True), entry(2), ended], died)
    assert (begun["outcome"], begun["failed"], begun["changed"]) == ("unconfirmed", True, True)
    assert begun["msg"].startswith("ETL 1 (Load) was started, and how it ended is not known")
    assert (queued["outcome"], queued["failed"]) == ("failed", True)
    assert queued["error"]["kind"] == "internal_error"
    assert done == ended


def test_without_a_folder_for_progress_the_module_still_knows_its_task(tmp_path):
    action = HelixAction.__new__(HelixAction)
    action._task = SimpleNamespace(no_log=False, async_val=0, environment=None)
    about = {"run": "1", "task": "play.yml:7", "host": "a", "notes": str(tmp_path / "missing")}
    given = []
    with mock.patch.object(action, "_about", return_value=about):
        action._followed(lambda: given.extend(action._task.environment) or {}, {})
    (variables,) = given
    assert json.loads(variables[CHANNEL]).items() >= about.items()
    assert action._task.environment is None

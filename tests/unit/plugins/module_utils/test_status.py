# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the server says about an ETL, in every shape it may come."""

from __future__ import annotations

import json

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._progress import Progress
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._status import (
    NEVER,
    STATES,
    EtlStatus,
    from_public,
    parse_status,
)

FULL = {"status": "ENDED", "task_id": 321, "exit_code": "OK", "last_exec_ts": "2022-09-08T14:56:28Z"}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (FULL, EtlStatus("ENDED", "OK", "2022-09-08T14:56:28Z")),
        ({**FULL, "status": " running "}, EtlStatus("RUNNING", "OK", "2022-09-08T14:56:28Z")),
        ({**FULL, "exit_code": "warning"}, EtlStatus("ENDED", "WARNING", "2022-09-08T14:56:28Z")),
        ({**FULL, "status": "hibernating"}, EtlStatus("HIBERNATING", "OK", "2022-09-08T14:56:28Z")),
        ({**FULL, "exit_code": None}, EtlStatus("ENDED", None, "2022-09-08T14:56:28Z")),
        ({**FULL, "exit_code": 0}, EtlStatus("ENDED", "0", "2022-09-08T14:56:28Z")),
        ({**FULL, "last_exec_ts": ""}, EtlStatus("ENDED", "OK")),
        ({**FULL, "last_exec_ts": {"seconds": 5}}, EtlStatus("ENDED", "OK")),
        # no value
        (None, EtlStatus(NEVER)),
        ({}, EtlStatus(NEVER)),
        ({"status": None}, EtlStatus(NEVER)),
        ({"status": ""}, EtlStatus(NEVER)),
        ({"status": "   "}, EtlStatus(NEVER)),
        ({"task_id": 321}, EtlStatus(NEVER)),
        # somebody else's answer
        ([], None),
        ([FULL], None),
        ("ENDED", None),
        (0, None),
        (False, None),
        ({"state": "fine"}, None),
        ({"error": "maintenance"}, None),
        ({"status": {"code": "ENDED"}}, None),
        ({"status": ["ENDED"]}, None),
    ],
)
def test_every_shape(data, expected):
    assert parse_status(data) == expected


@pytest.mark.parametrize("state", STATES)
def test_states_have_a_meaning(state):
    status = EtlStatus(state)
    assert status.known
    assert status.executing == (state in ("RUNNING", "SERVICE_ON"))
    assert status.at_rest != status.executing
    expected = "unknown" if state == NEVER else "service" if state.startswith("SERVICE") else "batch"
    assert status.kind == expected


def test_an_unknown_word_neither_executes_nor_rests():
    status = EtlStatus("HIBERNATING")
    assert (status.known, status.executing, status.at_rest, status.kind) == (False, False, False, "unknown")


@pytest.mark.parametrize("state", [*STATES, "HIBERNATING"])
def test_the_public_form_can_be_read_again(state):
    status = EtlStatus(state, "OK", "2022-09-08T14:56:28Z")
    assert from_public(json.loads(json.dumps(status.public()))) == status
    assert status.public()["status"] == (None if state == NEVER else state)


def test_nothing_is_no_baseline():
    assert from_public(None) is None
    assert from_public({"outcome": "succeeded"}) is None


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        (None, None, False),
        (None, "2022-09-08T14:56:28Z", True),
        ("2022-09-08T14:56:28Z", None, False),
        ("2022-09-08T14:56:28Z", "2022-09-08T14:56:28Z", False),
        ("2022-09-08T14:56:28Z", "2022-09-08T14:56:28.000Z", False),
        ("2022-09-08T14:56:28Z", "2022-09-08T16:56:28+02:00", False),
        ("2022-09-08T14:56:28Z", "2022-09-08T14:56:29Z", True),
        ("2022-09-08T14:56:28Z", "2022-09-08T14:56:27Z", True),
        ("this morning", "this evening", True),
    ],
)
def test_whether_the_time_moved(before, after, moved):
    assert EtlStatus("ENDED", None, after).executed_since(EtlStatus("ENDED", None, before)) is moved


def test_a_status_in_words():
    assert str(EtlStatus("ENDED", "OK", "T")) == "ENDED, exit OK, last execution T"
    assert str(EtlStatus(NEVER)) == "none, never executed"


def test_progress_survives_as_json():
    p = Progress(7, "import", baseline=["ENDED", "OK", "T"], last=["RUNNING", "OK", "T"], timeline=[{"at": "T"}])
    again = Progress(**json.loads(json.dumps(p.export())))
    assert again == p
    assert again.before == EtlStatus("ENDED", "OK", "T")
    assert again.label == "ETL 7 (import)"
    assert not again.done

# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the server says about an ETL, in every shape it may come."""

from __future__ import annotations

import json

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._status import (
    NEVER,
    STATES,
    EtlStatus,
    matches,
    parse_rfc3339,
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
        ({**FULL, "exit_code": "X" * 61}, EtlStatus("ENDED", "X" * 60, "2022-09-08T14:56:28Z")),
        ({**FULL, "last_exec_ts": ""}, EtlStatus("ENDED", "OK")),
        ({**FULL, "last_exec_ts": {"seconds": 5}}, EtlStatus("ENDED", "OK")),
        # no value
        (None, EtlStatus(NEVER)),
        ({}, EtlStatus(NEVER)),
        ({"status": None}, EtlStatus(NEVER)),
        ({"status": "   "}, EtlStatus(NEVER)),
        ({"task_id": 321}, EtlStatus(NEVER)),
        # somebody else's answer
        ([], None),
        ("ENDED", None),
        (False, None),
        ({"outcome": "succeeded"}, None),
        ({"status": {"code": "ENDED"}}, None),
        ({"status": ["ENDED"]}, None),
    ],
)
def test_every_shape(data, expected):
    assert parse_status(data) == expected


@pytest.mark.parametrize("state", [*STATES, "HIBERNATING"])
def test_states_have_a_meaning_and_can_be_read_again(state):
    status = EtlStatus(state, "OK", "2022-09-08T14:56:28Z")
    assert status.known == (state != "HIBERNATING")
    assert status.executing == (state in ("RUNNING", "SERVICE_ON"))
    assert status.at_rest == (status.known and not status.executing)
    kinds = {NEVER: "unknown", "HIBERNATING": "unknown", "SERVICE_ON": "service", "SERVICE_OFF": "service"}
    assert status.kind == kinds.get(state, "batch")
    assert status.public()["status"] == (None if state == NEVER else state)
    assert parse_status(json.loads(json.dumps(status.public()))) == status


T0, T1, T2 = "2022-09-08T14:56:27Z", "2022-09-08T14:56:28Z", "2022-09-08T14:56:29Z"
REQUESTED = parse_rfc3339(T1) + 0.9


@pytest.mark.parametrize(
    ("before", "after", "since", "expected"),
    [
        # Without the time of a request, only a later time is news.
        (T1, T2, None, True),
        (T1, T1, None, False),
        (T1, T0, None, False),
        (T1, "2022-09-08T14:56:28.000Z", None, False),
        (T1, "2022-09-08T16:56:28+02:00", None, False),
        (T1, "2022-09-08T16:56:29+02:00", None, True),
        # What is missing or cannot be read proves nothing.
        (None, None, None, False),
        (T1, None, None, False),
        (None, T1, None, False),
        ("this morning", "this evening", None, False),
        (T1, "this evening", None, False),
        ("this morning", T2, None, False),
        # The request was at T1 + 0.9 s; times are whole seconds.
        (T0, T1, REQUESTED, True),
        (None, T1, REQUESTED, False),
        ("this morning", T1, REQUESTED, False),
        (T0, T0, REQUESTED, False),
        (None, T0, REQUESTED, False),
        (T1, T1, REQUESTED, False),
    ],
)
def test_what_proves_a_newer_run(before, after, since, expected):
    assert EtlStatus("ENDED", None, after).executed_since(EtlStatus("ENDED", None, before), since) is expected


def test_any_time_is_news_for_an_etl_that_never_ran():
    assert EtlStatus("WAITING", "OK", T1).executed_since(EtlStatus("WAITING"), REQUESTED)
    assert not EtlStatus("WAITING", "OK", T1).executed_since(EtlStatus("WAITING", "OK"), REQUESTED)
    assert EtlStatus("ENDED", "OK", T1).executed_since(EtlStatus(NEVER))
    assert not EtlStatus("ENDED", "OK", T0).executed_since(EtlStatus(NEVER), REQUESTED)


def test_a_status_in_words():
    assert str(EtlStatus("ENDED", "OK", "T")) == "ENDED, exit OK, last run T"
    assert str(EtlStatus(NEVER)) == "none, never ran"
    assert str(EtlStatus("RUNNING")) == "RUNNING"


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("nightly*", "Nightly import", True),
        ("bu\u0308*", "B\u00fcro", True),
        ("*SERVICE", "VMware - vCenter Extractor Service", True),
        ("x*", "Nightly import", False),
        ("Twi?", "Twin", True),
        # Brackets, dots and backslashes are part of names.
        ("[PROD]*", "[PROD] vCenter", True),
        ("[PROD]*", "Prometheus", False),
        ("a.b", "axb", False),
        ("a\\*", "a\\b", True),
        ("[PROD]*", "[prod] vCenter", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("*]", "x]", True),
        ("[!a]", "b", False),
        ("Caf\u00e9", "cafe\u0301", True),
        ("", "", True),
        ("*a*a*a*a*a*a*a*a*a*b", "a" * 5000, False),
    ],
)
def test_patterns(pattern, name, expected):
    assert matches(pattern, name) is expected

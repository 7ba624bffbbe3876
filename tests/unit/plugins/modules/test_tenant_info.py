# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How tenant_info reads responses."""

from __future__ import annotations

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.modules.tenant_info import (
    Row,
    compare,
    no_value,
    table,
    time_format,
    words_case,
)


def test_time_format():
    forms = {
        "2026-11-23T14:56:28Z": "z",
        "2026-11-23T14:56:28+00:00": "offset",
        "2026-11-23T14:56:28+0000": "offset",
        "2026-11-23T14:56:28+02:00": "zone",
        "2026-11-23T14:56:28.123Z": "fraction",
        "2026-11-23T14:56:28": "no_zone",
        "2026-11-23 14:56:28": "space",
        1700000000: "epoch",
        1700000000000: "epoch_ms",
        "1700000000": "epoch_text",
        "1700000000000": None,
        "soon": None,
        True: None,
    }
    assert {value: time_format(value) for value in forms} == forms


@pytest.mark.parametrize(
    ("data", "has_body", "form"),
    [
        (None, False, "empty_body"),
        (None, True, "null_body"),
        ({"task_id": 1}, True, "absent"),
        ({"status": None}, True, "null"),
        ({"status": ""}, True, "empty_string"),
    ],
)
def test_no_value(data, has_body, form):
    assert no_value(data, has_body) == form


def test_words_case():
    cases = {("ENDED", "OK"): "upper", ("ended",): "lower", ("Ended", "Service_On"): "title", ("Ended", "OK"): None}
    assert {words: words_case(words) for words in [*cases, ()]} == {**cases, (): None}


OURS = "\n".join(f"  /v1/backend/etls/{{etl_id}}/{call}:" for call in ("status", "run", "schedule", "stop", "kill"))
FIELDS = "run_configurations exit_code last_exec_ts request_status task_execution_request_id"


def test_openapi_description():
    complete = compare(f"openapi: 3.0.0\npaths:\n  /v1/backend/etls/:\n{OURS}\n{FIELDS}")
    assert complete == {"missing_calls": [], "missing_fields": [], "other_calls": []}
    text = OURS.replace("/kill", "/cancel") + FIELDS.replace("exit_code", "exitCode")
    text += " https://acme.example/etls/{id}/secret"
    assert compare(f'{{"openapi": "3.0.0", "paths": {{"/etls": {{}}}}}}{text}') == {
        "missing_calls": ["kill"],
        "missing_fields": ["exit_code"],
        "other_calls": ["/v1/backend/etls/{etl_id}/cancel"],
    }


def test_table():
    rows = {
        "library": Row("ok", "Python.", "", {}),
        "login": Row("failed", "Refused.", "Check the key.", {}),
        "token": Row("skipped", "Not done, because the check login has no result.", "", {}),
        "list": Row("skipped", "Not done, because the check login has no result.", "", {}),
    }
    assert table(rows, "Check the key.").splitlines() == [
        "Checks of the tenant: 1 failed, 1 ok, 2 skipped.",
        "ok       library  Python.",
        "FAILED   login    Refused.",
        "Not done: token, list.",
        "Remedy: Check the key.",
    ]

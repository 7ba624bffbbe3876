# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Failures as the user sees them: a sentence that names the ETL, facts, a remedy, and no write where none is due."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.functional.inprocess import Done, InProcess, assert_documented
from tests.functional.support import ModuleRun

pytest_plugins = ("tests.functional.inprocess",)

ETL = 321
WRONG = "wrongWrongWrongSecretKey0123456789abcdefghijklmnop"


def assert_explained(done: Done, kind: str, *words: str) -> None:
    """It failed with this kind of error, and the message can be read by a tired person."""
    assert done.failed, done["msg"]
    assert_documented("etl_action", done.result)
    error, message = done["error"], done["msg"]
    assert error["kind"] == kind, message
    for word in words:
        assert word in message, message
    assert error["remedy"] in message
    assert message.rstrip()[-1] in ".…)", message
    assert not any(bad in message for bad in ("Traceback", "Exception", "<html", "<!DOCTYPE", "None", "{}")), message
    assert len(message) < 900, message


def writes(library: InProcess) -> int:
    count: int = library.control.counters()["writes"]
    return count


def test_wrong_key(library: InProcess) -> None:
    done = library(action="run", etl_id=ETL, access_secret_key=WRONG)
    assert_explained(done, "authentication", "ETL 321", "HTTP 401", "access_secret_key", "expired", "rotated")
    assert done["error"]["http_status"] == 401
    assert done["error"]["path"] == "/ims/api/v1/access_keys/login"
    assert library.control.counters()["logins"] == 1, "a wrong key is tried once: portals lock keys"
    assert WRONG not in str(done.result)


@pytest.mark.parametrize(
    ("action", "etl", "words"),
    [
        ("run", {"duration": None}, ("had not ended", "It is still running", "RUNNING")),
        ("run", {"state": "RUNNING", "duration": None}, ("had not ended", "It is still running")),
        ("stop", {"state": "RUNNING", "duration": None, "stop_effect": "ignored"}, ("had not stopped", "kill")),
        ("kill", {"state": "RUNNING", "duration": None, "kill_effect": "ignored"}, ("had not stopped",)),
        ("stop", {"kind": "service", "state": "SERVICE_ON", "stop_effect": "ignored"}, ("had not stopped",)),
    ],
)
def test_too_long(library: InProcess, action: str, etl: dict[str, Any], words: tuple[str, ...]) -> None:
    library.control.put_etl(ETL, **etl)
    done = library(action=action, etl_id=ETL, wait_timeout=100)
    assert_explained(done, "timed_out", "ETL 321", "100 s", *words)
    assert done.outcome == "timed_out"
    assert 100 <= done.seconds < 101, "the last sleep is trimmed to the deadline"


def test_run_again_after_too_long_attaches(library: InProcess) -> None:
    library.control.put_etl(ETL, duration=5000)
    first = library(action="run", etl_id=ETL, wait_timeout=600)
    assert_explained(first, "timed_out", "10 min", "attaches")
    assert library(action="run", etl_id=ETL, wait_timeout=600).etl["attached"] is True
    assert library.control.counters()["launches_by_etl"] == {ETL: 1}


@pytest.mark.parametrize("permissions", [[], ["read"]])
def test_key_without_permission(library: InProcess, permissions: list[str]) -> None:
    library.control.put_etl(ETL)
    library.control.put_key(library.simulator.access_key, permissions=permissions)
    right = "etls_read" if not permissions else "custom_etl.edit"
    done = library(action="run", etl_id=ETL)
    assert_explained(done, "permission", "ETL 321", "403", right)
    assert (done.outcome, done.changed) == ("failed", False)


BAD_OPTIONS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"etl_id": 0}, ("etl_id is 0", "at least 1")),
    ({"etl_id": None, "etl_name": ["ok", " "]}, ("etl_name", "contains an empty text")),
    ({"wait_timeout": -1}, ("wait_timeout is -1",)),
    ({"max_parallel": 101}, ("max_parallel is 101",)),
    ({"url": None}, ("The option url is missing", "HELIX_URL")),
    ({"url": "https://user:secret@acme.example"}, ("url must not contain a user name",)),
    ({"token": "not a token"}, ("token",)),
    ({"client_key": "/no/such/key.pem"}, ("client_cert",)),
    ({"allow_http": False}, ("http://", "allow_http")),
    ({"access_key": None, "access_secret_key": None}, ("No credentials were provided", "HELIX_TOKEN")),
    ({"access_secret_key": None}, ("The option access_secret_key is missing", "HELIX_ACCESS_SECRET_KEY")),
    ({"run_execution_properties": {"a": {"b": 1}}}, ("property a", "nested")),
]


@pytest.mark.parametrize(("options", "words"), BAD_OPTIONS, ids=[str(options) for options, _words in BAD_OPTIONS])
def test_bad_options_are_refused_before_any_request(
    library: InProcess, options: dict[str, Any], words: tuple[str, ...]
) -> None:
    library.control.put_etl(ETL)
    done = library(**{"action": "run", "etl_id": ETL, **options})
    assert_explained(done, "invalid_option", *words)
    assert done["etls"] == []
    assert library.control.requests() == [], "something was sent"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("etl_action", {"etl_id": 1}, "missing required arguments: action"),
        ("etl_action", {"action": "run"}, "one of the following is required: etl_id, etl_name"),
        ("etl_action", {"action": "restart", "etl_id": 1}, "value of action must be one of"),
        *(
            (name, {"etl_id": 1, "etl_name": "x", **more}, "mutually exclusive")
            for name, more in (("etl_action", {"action": "run"}), ("etl_info", {}), ("etl_wait", {}))
        ),
    ],
)
def test_bad_arguments_are_refused_by_ansible(
    library: InProcess, name: str, options: dict[str, Any], words: str
) -> None:
    assert words in library(name, **options)["msg"]
    assert library.control.requests() == []


@pytest.mark.one_core
def test_the_same_as_a_process(module: Callable[..., ModuleRun], simulator: Any) -> None:
    """The in-process tests show what a user gets: a real process over HTTPS says the same."""
    simulator.control.put_etl(ETL, engine="inactive", state="ENDED")
    done = module("etl_action", action="run", etl_id=ETL, start_timeout=1)
    assert done["etl"]["outcome"] == "not_started"
    assert "remote ETL engine is inactive" in done["msg"]
    done = module("etl_action", action="run", etl_id=9999)
    assert "There is no ETL 9999" in done["msg"]
    done = module("etl_action", action="run", etl_id=ETL, env={"HELIX_ACCESS_SECRET_KEY": WRONG})
    assert done["error"]["kind"] == "authentication"
    # From ansible-core 2.22 on, a module tells Ansible what to mask.
    shown = {key: value for key, value in done.result.items() if not key.startswith("_ansible")}
    assert WRONG not in str(shown) + done.stderr
    done = module("etl_action", action="run", etl_id=ETL, env={"HELIX_ACCESS_SECRET_KEY": ""})
    assert "access_secret_key is missing" in done["msg"], "an empty variable counts as unset"
    simulator.control.put_etl(ETL, exit="ERROR", duration=0.5)
    done = module("etl_action", action="run", etl_id=ETL)
    assert done["msg"].startswith("ETL 321 (ETL 321) ended with exit ERROR. See the ETL's log")

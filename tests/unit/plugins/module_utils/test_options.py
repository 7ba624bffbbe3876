# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options: addresses, numbers, properties, and what the environment adds."""

from __future__ import annotations

import pytest
from ansible.module_utils.errors import AnsibleFallbackNotFound
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import OptionError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._options import (
    CONNECTION,
    base_url,
    check_numbers,
    connection_argument_spec,
    nonempty_env,
    plain_properties,
    without_password,
)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://acme-itom.onbmc.com", "https://acme-itom.onbmc.com"),
        ("https://acme-itom.onbmc.com/", "https://acme-itom.onbmc.com"),
        ("  acme-itom.onbmc.com  ", "https://acme-itom.onbmc.com"),
        ("acme-itom.onbmc.com:8443/helix//", "https://acme-itom.onbmc.com:8443/helix"),
        ("HTTPS://Acme.onbmc.com", "https://Acme.onbmc.com"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("10.0.0.7:8443", "https://10.0.0.7:8443"),
        ("https://acme/opt/api/v1/backend/etls/", "https://acme"),
        ("https://acme/opt/api", "https://acme"),
        ("acme:8443/helix/opt/api/v1", "https://acme:8443/helix"),
        ("https://acme/ims/api/v1/access_keys/login", "https://acme"),
        ("https://acme/ims/", "https://acme"),
        ("https://acme/imsx/opt/apis", "https://acme/imsx/opt/apis"),
    ],
)
def test_addresses(given, expected):
    assert base_url(given, "url", False) == expected


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "url is missing"),
        ("", "url is missing"),
        ("   ", "url is missing"),
        ("https://", "not a valid address"),
        ("https:///opt", "not a valid address"),
        ("https://acme:https", "not a valid address"),
        ("https://acme:0", "not a valid address"),
        ("https://acme:99999", "not a valid address"),
        ("https://[::1", "not a valid address"),
        ("https://ac me", "not a valid address"),
        ("https://acme/\n/opt", "not a valid address"),
        ("https://::1:8443", "IPv6 address without brackets"),
        ("2001:db8::7", "IPv6 address without brackets"),
        ("https://joe:pa55word@acme", "must not contain a user name or password"),
        ("joe@acme", "must not contain a user name or password"),
        ("ftp://acme", "must start with https:// (got ftp://)"),
        ("http://acme", "unencrypted"),
        ("https://acme?tenant=1", "contains a ? or a #"),
        ("https://acme#top", "contains a ? or a #"),
    ],
)
def test_addresses_that_are_refused(given, words):
    with pytest.raises(OptionError) as caught:
        base_url(given, "url", False)
    assert words in caught.value.message
    assert "pa55word" not in caught.value.sentence()
    assert caught.value.remedy


@pytest.mark.parametrize(
    "given", ["https://joe:pa55word@acme/x", " joe:pa55word@acme:8443", "http://joe:pa55@word@acme"]
)
def test_ansible_logs_no_password_of_an_address(given, monkeypatch):
    monkeypatch.setenv("HELIX_LOGIN_URL", given)
    for shown in (without_password(given), nonempty_env("HELIX_LOGIN_URL")):
        assert "pa55" not in shown
        with pytest.raises(OptionError, match="must not contain a user name or password"):
            base_url(shown, "url", False)
    assert without_password("https://acme/joe@home") == "https://acme/joe@home"


def test_http_only_if_it_is_allowed():
    assert base_url("http://127.0.0.1:8080/", "url", True) == "http://127.0.0.1:8080"
    # allowing http does not turn a bare name into it
    assert base_url("acme", "url", True) == "https://acme"


def test_a_missing_address_names_the_variable():
    for option in ("url", "login_url"):
        with pytest.raises(OptionError) as caught:
            base_url("", option, False)
        assert CONNECTION[option].env in caught.value.remedy


@pytest.mark.parametrize(
    ("option", "value", "good"),
    [
        ("retries", None, True),
        ("retries", 0, True),
        ("retries", -1, False),
        ("retries", 20, True),
        ("retries", 21, False),
        ("request_timeout", 0, False),
        ("request_timeout", 0.1, True),
        ("request_timeout", float("nan"), False),
        ("poll_interval", 0.9, False),
        ("wait_timeout", float("inf"), False),
        ("wait_timeout", float("-inf"), False),
        ("etl_id", [1, 2**63 - 1], True),
        ("etl_id", [1, 2**63], False),
    ],
)
def test_numbers(option, value, good):
    if good:
        check_numbers({option: value})
        return
    with pytest.raises(OptionError, match=f"The option {option} is"):
        check_numbers({option: value})


def test_times_say_their_unit():
    with pytest.raises(OptionError) as caught:
        check_numbers({"wait_timeout": 0})
    assert caught.value.sentence() == (
        "The option wait_timeout is 0, but must be above 0 and at most 1000000000. Times are in seconds."
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, {}),
        ({}, {}),
        ({"a": "b"}, {"a": "b"}),
        ({"a": True, "b": False}, {"a": "true", "b": "false"}),
        ({"a": 10, "b": 1.5, 3: ""}, {"a": "10", "b": "1.5", "3": ""}),
    ],
)
def test_properties_become_texts(given, expected):
    plain = plain_properties(given, "run_execution_properties")
    assert plain == expected
    assert {type(item) for pair in plain.items() for item in pair} <= {str}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"a": None}, "a in p is null"),
        ({"a": ["s3cret"]}, "a in p is a list"),
        ({"a": {"b": "s3cret"}}, "a in p is nested"),
        ({" ": "s3cret"}, "a property without a name"),
    ],
)
def test_properties_that_are_refused_are_never_quoted(given, words):
    with pytest.raises(OptionError) as caught:
        plain_properties(given, "p")
    assert words in caught.value.message
    assert "s3cret" not in caught.value.sentence()


def test_whole_numbers_are_shown_as_such():
    with pytest.raises(OptionError) as caught:
        check_numbers({"wait_timeout": 2147483648})
    expected = "The option wait_timeout is 2147483648, but must be above 0 and at most 1000000000."
    assert caught.value.message == expected


@pytest.mark.parametrize(
    "value",
    ["", "s3cr3t", "correct horse", "12345678", "-12.345.678", 12345678, 1234.5678, "RUNNING late", "1e10 and more"],
)
def test_secret_properties(value):
    assert plain_properties({"db.password": value}, "p", secret=True) == {"db.password": str(value)}


@pytest.mark.parametrize(
    "value",
    [
        *("20", 20, "1234567", 12.5, "-1234567", "1e5", True, False, "yes", "None", "abcde", " abcde ", "   "),
        *("running", "RUNNIN", "succeeded", "Warning", "timestamp_changed", "schedule", "etl_id", "would_run"),
    ],
)
def test_values_that_are_no_secrets(value):
    """Ansible masks registered values wherever a result contains them: ids, times, names, and our own words."""
    with pytest.raises(OptionError) as caught:
        plain_properties({"db.timeout": value}, "the_option", secret=True)
    assert caught.value.message.startswith("The property db.timeout in the_option is too short or too common")
    assert "Move it to run_execution_properties" in caught.value.remedy


def test_a_boolean_is_announced_once_with_both_spellings():
    said = []
    sent = plain_properties({"a": True, "b": False, "c": "Yes", "d": 1}, "run_execution_properties", warn=said.append)
    assert sent == {"a": "true", "b": "false", "c": "Yes", "d": "1"}
    assert len(said) == 2
    assert all(words in said[0] for words in ("property a ", '"true"', 'a: "Yes"'))
    assert all(words in said[1] for words in ("property b ", '"false"', 'b: "No"'))


@pytest.mark.parametrize("empty", [None, "", "   ", "\t"])
def test_an_empty_variable_counts_as_unset(monkeypatch, empty):
    monkeypatch.delenv("HELIX_URL", raising=False)
    if empty is not None:
        monkeypatch.setenv("HELIX_URL", empty)
    with pytest.raises(AnsibleFallbackNotFound):
        nonempty_env("HELIX_URL")


def test_a_variable_is_taken(monkeypatch):
    monkeypatch.setenv("HELIX_URL", "https://acme")
    assert nonempty_env("HELIX_URL") == "https://acme"


def test_the_specification_hides_secrets():
    spec = connection_argument_spec()
    hidden = {name for name, option in spec.items() if option["no_log"]}
    assert hidden == {"access_key", "access_secret_key", "token", "proxy"}
    # said aloud for every option: Ansible warns about names like access_key where it is not
    assert all("no_log" in option for option in spec.values())

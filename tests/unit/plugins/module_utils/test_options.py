# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options: addresses, numbers, properties, and what the environment adds."""

from __future__ import annotations

import pytest
from ansible.module_utils.errors import AnsibleFallbackNotFound
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import OptionError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._options import (
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
        ("https://acme-itom.onbmc.com/", "https://acme-itom.onbmc.com"),
        # Allowing http does not turn a bare name into it.
        ("  acme-itom.onbmc.com  ", "https://acme-itom.onbmc.com"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("acme-itom.onbmc.com:8443/helix//", "https://acme-itom.onbmc.com:8443/helix"),
        ("HTTPS://Acme.onbmc.com", "https://Acme.onbmc.com"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("https://acme//opt/api/v1/backend/etls/", "https://acme"),
        ("acme:8443/helix/opt/api", "https://acme:8443/helix"),
        ("https://acme/ims/", "https://acme"),
        ("https://acme/imsx/opt/apis", "https://acme/imsx/opt/apis"),
    ],
)
def test_addresses(given, expected):
    assert base_url(given, "url", True) == expected


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "url is missing"),
        ("   ", "url is missing"),
        ("https:///opt", "not a valid address"),
        ("https://acme:0", "not a valid address"),
        ("https://acme:99999", "not a valid address"),
        ("https://[::1", "not a valid address"),
        ("https://ac me", "not a valid address"),
        ("https://acme/\x01/opt", "not a valid address"),
        ("2001:db8::7", "IPv6 address without brackets"),
        ("https://joe:pa55word@acme", "must not contain a user name or password"),
        ("joe@acme", "must not contain a user name or password"),
        ("ftp://acme", "must start with https://"),
        ("http://acme", "unencrypted"),
        ("https://acme?tenant=1", "contains a ? or a #"),
        ("https://acme#top", "contains a ? or a #"),
    ],
)
def test_addresses_that_are_refused(given, words):
    with pytest.raises(OptionError) as caught:
        base_url(given, "login_url", False)
    assert words in caught.value.message
    assert "pa55word" not in caught.value.sentence()
    assert ("HELIX_LOGIN_URL" if "missing" in words else "") in caught.value.remedy
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


@pytest.mark.parametrize("empty", [None, "", " \t"])
def test_an_empty_variable_counts_as_unset(monkeypatch, empty):
    monkeypatch.setenv("HELIX_URL", "https://acme")
    assert nonempty_env("HELIX_URL") == "https://acme"
    monkeypatch.delenv("HELIX_URL")
    if empty is not None:
        monkeypatch.setenv("HELIX_URL", empty)
    with pytest.raises(AnsibleFallbackNotFound):
        nonempty_env("HELIX_URL")


def test_the_specification_hides_secrets():
    hidden = {name for name, option in connection_argument_spec().items() if option["no_log"]}
    assert hidden == {"access_key", "access_secret_key", "token", "proxy"}


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_numbers_in_their_range():
    check_numbers({"retries": None, "request_timeout": 0.1, "poll_interval": 1, "etl_id": [1, 2**63 - 1]})
    check_numbers({"retries": 0, "max_parallel": 100, "request_timeout": 3600, "wait_timeout": 1e9})


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("retries", -1, "-1, but must be at least 0 and at most 20."),
        ("retries", 21, "21, but"),
        ("request_timeout", 0, "0, but must be above 0 and at most 3600. Times are in seconds."),
        ("request_timeout", float("nan"), "nan, but"),
        ("poll_interval", 0.9, "0.9, but"),
        ("wait_timeout", float("inf"), "inf, but"),
        ("wait_timeout", float("-inf"), "-inf, but"),
        # Whole numbers have all their digits.
        ("wait_timeout", 2147483648.0, "2147483648, but must be above 0 and at most 1000000000."),
        ("etl_id", [1, 2**63], "9223372036854775808, but"),
    ],
)
def test_numbers_out_of_range(option, value, words):
    with pytest.raises(OptionError) as caught:
        check_numbers({option: value})
    assert caught.value.sentence().startswith(f"The option {option} is {words}")
    assert ("Times are in seconds." in caught.value.sentence()) == (option not in ("retries", "etl_id"))


# -- properties -------------------------------------------------------------------------------------------------------


def test_properties_become_texts_and_booleans_are_announced_with_both_spellings():
    said = []
    plain = plain_properties({"a": True, "b": False, "c": "Yes", "d": 1.5, 3: ""}, "p", warn=said.append)
    assert plain == {"a": "true", "b": "false", "c": "Yes", "d": "1.5", "3": ""}
    assert (plain_properties(None, "p"), plain_properties({"a": True}, "p")) == ({}, {"a": "true"})
    (first, second) = said
    assert all(words in first for words in ("property a ", '"true"', 'a: "Yes"'))
    assert all(words in second for words in ("property b ", '"false"', 'b: "No"'))


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


@pytest.mark.parametrize(
    "value", ["", "s3cr3t", "correct horse", "12345678", "-12.345.678", 1234.5678, "RUNNING late", "1e10 and more"]
)
def test_secret_properties(value):
    assert plain_properties({"db.password": value}, "p", secret=True) == {"db.password": str(value)}


@pytest.mark.parametrize(
    "value",
    [
        *(20, "1234567", 12.5, "-1234567", "1e5", True, "yes", "abcde", " abcde ", "   "),
        *("running", "RUNNIN", "Warning", "timestamp_changed", "would_run"),
    ],
)
def test_values_that_are_no_secrets(value):
    """Ansible masks registered values wherever a result contains them: ids, times, names, and our own words."""
    with pytest.raises(OptionError, match=r"db\.timeout in the_option is too short or too common") as caught:
        plain_properties({"db.timeout": value}, "the_option", secret=True)
    assert "Move it to run_execution_properties" in caught.value.remedy

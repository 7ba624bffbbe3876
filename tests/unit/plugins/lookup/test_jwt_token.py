# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lookup: where its options come from, what it returns, and what it says when there is no token."""

from __future__ import annotations

import base64
import json
import os
import sys
import time

import pytest
from ansible import constants
from ansible.errors import AnsibleError, AnsibleLookupError, AnsibleOptionsError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import lookup_loader
from ansible.template import Templar
from ansible_collections.capacityops.bmc_helix.plugins.lookup import jwt_token
from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _api
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import (
    AuthenticationError,
    MissingLibraryError,
    MissingOptionError,
    OptionError,
)
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._options import CONNECTION

try:
    from ansible.template import trust_as_template
except ImportError:
    # Before ansible-core 2.19 every text is a template.
    def trust_as_template(text):
        return text


SECRET = "the-secret-key-that-nobody-may-see-0123456789"
KEYS = {"url": "https://direct.test", "access_key": "the-access-key-0123", "access_secret_key": SECRET}
#: For each option a given value, and what it becomes.
VALUES = {
    "url": ("https://a.test", "https://a.test"),
    "login_url": ("https://b.test", "https://b.test"),
    "allow_http": ("yes", True),
    "access_key": ("some-access-key", "some-access-key"),
    "access_secret_key": ("some-secret-key", "some-secret-key"),
    "tenant_id": ("1234567890", "1234567890"),
    "token": ("some.given.token", "some.given.token"),
    "validate_certs": ("no", False),
    "ca_path": ("/etc/a.pem", "/etc/a.pem"),
    "client_cert": ("/etc/b.pem", "/etc/b.pem"),
    "client_key": ("/etc/c.pem", "/etc/c.pem"),
    "proxy": ("http://proxy.test:3128", "http://proxy.test:3128"),
    "request_timeout": ("12.5", 12.5),
    "retries": ("7", 7),
}
DEFAULTS = {name: option.default for name, option in CONNECTION.items()}


class Portal:
    """Stands in for everything behind connect()."""

    def __init__(self):
        self.options = []
        self.errors = []

    def connect(self, options, redactor, clock, connections=1):
        self.options.append(dict(options))
        self.tokens = self
        return self

    def current(self):
        if self.errors:
            raise self.errors[0]
        return f"token-{len(self.options)}"

    usable_seconds = 840.0


@pytest.fixture
def portal(monkeypatch):
    portal = Portal()
    monkeypatch.setattr(_api, "connect", portal.connect)
    return portal


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    """No settings of the machine, and a private temporary folder."""
    for name in list(os.environ):
        if name.startswith("HELIX_"):
            monkeypatch.delenv(name)
    folder = tmp_path / "ansible-local"
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(folder))
    monkeypatch.setattr(constants.config, "_config_file", None)
    return folder


@pytest.fixture
def ini(monkeypatch, tmp_path):
    def write(**settings):
        path = tmp_path / "ansible.cfg"
        lines = [f"{name} = {value}" for name, value in settings.items()]
        path.write_text("\n".join(["[bmc_helix]", *lines, ""]))
        monkeypatch.setattr(constants.config, "_config_file", str(path))

    return write


@pytest.fixture
def lookup(portal):
    def run(*terms, variables=None, **direct):
        loader = DataLoader()
        variables = dict(variables or {})
        plugin = lookup_loader.get(
            "capacityops.bmc_helix.jwt_token", loader=loader, templar=Templar(loader=loader, variables=variables)
        )
        return plugin.run(list(terms), variables=variables, **direct)

    return run


@pytest.fixture
def options_seen(lookup, portal):
    """The connection options that the library was given."""

    def run(variables=None, **direct):
        lookup(variables=variables, cache=False, **direct)
        seen = portal.options[-1]
        return {name: seen[name] for name in CONNECTION}

    return run


def jwt(expires):
    def part(data):
        return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256'})}.{part({'exp': expires})}.c2lnbmF0dXJl"


def test_it_returns_one_plain_string(lookup):
    result = lookup(**KEYS)
    assert result == ["token-1"]
    # Not a subclass: core marks texts with classes of its own.
    assert [type(result), type(result[0])] == [list, str]


def test_every_option_of_the_modules_is_there(options_seen):
    assert options_seen(**KEYS) == {**DEFAULTS, **KEYS}


# Keys are always given beside the option under test, or a given token would be all that is looked at.
def with_keys(name, value):
    others = {other: KEYS[other] for other in ("access_key", "access_secret_key") if other != name}
    return others if value is None else {**others, name: value}


@pytest.fixture
def set_option(monkeypatch, ini):
    """Set an option in one of its sources. Returns the variables and the options of the lookup."""

    def set_option(source, name, value):
        if source == "environment":
            monkeypatch.setenv(f"HELIX_{name.upper()}", value)
        elif source == "file":
            ini(**{name: value})
        elif source == "variable":
            return {f"helix_{name}": trust_as_template("{{ inner }}"), "inner": value}, {}
        return {}, {name: value} if source == "direct" else {}

    return set_option


SOURCES = ["direct", "variable", "environment", "file"]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", sorted(CONNECTION))
def test_the_sources_of_an_option(options_seen, set_option, name, source):
    given, expected = VALUES[name]
    # The values of ansible-core 2.19 and later carry tags, which some libraries print or refuse.
    variables, direct = set_option(source, name, trust_as_template(given) if source == "direct" else given)
    seen = options_seen(variables, **{**with_keys(name, None), **direct})[name]
    assert (seen, type(seen)) == (expected, type(expected))


def test_the_order_of_the_sources(options_seen, monkeypatch, ini):
    ini(tenant_id="from the file")
    assert options_seen(**KEYS)["tenant_id"] == "from the file"
    monkeypatch.setenv("HELIX_TENANT_ID", "from the environment")
    assert options_seen(**KEYS)["tenant_id"] == "from the environment"
    variables = {"helix_tenant_id": "from a variable"}
    assert options_seen(variables, **KEYS)["tenant_id"] == "from a variable"
    assert options_seen(variables, **KEYS, tenant_id="given")["tenant_id"] == "given"


@pytest.mark.parametrize("empty", ["", "  "])
@pytest.mark.parametrize("name", sorted(CONNECTION))
def test_empty_means_not_set(options_seen, monkeypatch, name, empty):
    """AWX sets empty environment and extra variables. An empty validate_certs must not switch the check off."""
    monkeypatch.setenv(CONNECTION[name].env, empty)
    seen = options_seen({f"helix_{name}": empty}, **{**with_keys(name, None), name: empty, **_partner(name)})
    assert seen[name] == DEFAULTS[name]
    assert os.environ[CONNECTION[name].env] == empty, "the environment of others is as it was"


@pytest.mark.parametrize("where", ["variable", "direct"])
@pytest.mark.parametrize("name", ["tenant_id", "ca_path", "validate_certs", "retries"])
def test_default_omit_means_not_set(options_seen, name, where):
    """Before ansible-core 2.19, the variable omit of the task holds a placeholder."""
    placeholder = "__omit_place_holder__0123456789abcdef"
    variables = {"omit": placeholder}
    if where == "direct":
        seen = options_seen(variables, **with_keys(name, placeholder))
    else:
        seen = options_seen({**variables, f"helix_{name}": placeholder}, **with_keys(name, None))
    assert seen[name] == DEFAULTS[name]


def _partner(name):
    # Without a key there must be no other key either.
    return {"access_key": None, "access_secret_key": None} if name.startswith("access") else {}


@pytest.mark.parametrize("name", sorted(CONNECTION))
def test_an_empty_variable_does_not_hide_the_configuration_file(options_seen, monkeypatch, ini, name):
    given, expected = VALUES[name]
    ini(**{name: given})
    monkeypatch.setenv(CONNECTION[name].env, "")
    assert options_seen({f"helix_{name}": ""}, **with_keys(name, None))[name] == expected


@pytest.mark.parametrize("name", ["validate_certs", "allow_http", "url", "access_key", "proxy"])
def test_an_empty_line_in_the_configuration_file(options_seen, ini, name):
    ini(**{name: ""})
    assert options_seen(**_partner(name), **({} if _partner(name) else with_keys(name, None)))[name] == DEFAULTS[name]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", ["validate_certs", "allow_http", "cache"])
def test_a_misspelt_boolean_is_an_error(lookup, set_option, name, source):
    variables, direct = set_option(source, name, "ture")
    with pytest.raises(AnsibleOptionsError, match=f"The option {name} is 'ture', which is neither true nor false"):
        lookup(variables=variables, **KEYS, **direct)


@pytest.mark.parametrize(
    "word", ["true", "True", "YES", "1", "on", True, 1, "false", "False", "NO", "0", "off", False, 0]
)
def test_booleans(options_seen, word):
    assert options_seen(**KEYS, validate_certs=word)["validate_certs"] is (
        str(word).lower() in ("true", "yes", "1", "on")
    )


@pytest.mark.parametrize(
    ("terms", "options", "words"),
    [
        (["https://acme-itom.onbmc.com"], KEYS, "takes no terms"),
        ([], {"acess_key": "x"}, r"has no option acess_key. It has access_key, "),
        ([], {**KEYS, "retries": "many"}, "retries"),
        ([], {"token": "Bearer abc"}, "without the word Bearer"),
    ],
)
def test_invalid_options(lookup, terms, options, words):
    with pytest.raises(AnsibleOptionsError, match=words):
        lookup(*terms, **options)


@pytest.mark.parametrize(
    ("second", "logins"),
    [({}, 1), ({"request_timeout": 5, "retries": 0}, 1)]
    + [({name: VALUES[name][0]}, 2) for name in sorted(set(CONNECTION) - {"request_timeout", "retries"})],
)
def test_one_login_for_each_way_to_log_in(lookup, portal, second, logins):
    assert lookup(**KEYS) == lookup(**KEYS) == ["token-1"]
    lookup(**{**KEYS, **second})
    assert len(portal.options) == logins


@pytest.mark.parametrize("private", [True, False])
def test_without_a_cache_every_use_logs_in_and_writes_nothing(lookup, surroundings, private):
    surroundings.chmod(0o700 if private else 0o777)
    options = {"cache": "no"} if private else {}
    assert [lookup(**KEYS, **options) for dummy in range(3)] == [["token-1"], ["token-2"], ["token-3"]]
    assert list(surroundings.iterdir()) == []


@pytest.mark.parametrize("url", [{}, {"url": "https://a.test"}])
@pytest.mark.parametrize("token", [jwt(4102444800), "not-a-jwt-but-a-token"])
def test_a_given_token_is_returned_as_it_is(lookup, portal, token, url):
    assert lookup(token=f" {token} ", **url) == [token]
    assert portal.options == []


def test_a_given_token_that_is_over(lookup):
    with pytest.raises(AnsibleLookupError) as caught:
        lookup(token=jwt(1700000000))
    assert "expired at 2023-11-14T22:13:20Z by the clock of the control node" in str(caught.value)
    assert "also set access_key and access_secret_key" in str(caught.value)


def test_a_token_with_keys_is_the_business_of_the_library(lookup, portal):
    given = jwt(1700000000)
    assert lookup(**KEYS, token=given) == ["token-1"]
    assert portal.options[0]["token"] == given


def test_a_variable_may_hold_the_lookup_itself(lookup, portal):
    """`helix_token` is the name that everybody takes for it, and also the variable of the option token."""
    keys = "url='https://a.test', access_key='k123', access_secret_key='s123'"
    variables = {"helix_token": trust_as_template(f"{{{{ lookup('capacityops.bmc_helix.jwt_token', {keys}) }}}}")}
    loader = DataLoader()
    templar = Templar(loader=loader, variables=variables)
    # The inner use logs in; the outer one gives its token and the keys to the library.
    assert templar.template(variables["helix_token"]) == "token-2"
    assert [options["token"] for options in portal.options] == [None, "token-1"]
    assert lookup(variables=variables, **KEYS) == ["token-3"]
    assert portal.options[-1]["token"] == "token-1"


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            AuthenticationError("Rejected.", remedy="Check the keys.", server_message=f"no such key {SECRET}"),
            AnsibleLookupError,
            ["jwt_token: Rejected. Check the keys. Response of the server: no such key ********"],
        ),
        (OptionError("url is missing.", remedy="Set it."), AnsibleOptionsError, ["jwt_token: url is missing. Set it."]),
        (
            MissingLibraryError("The Python library requests is missing."),
            AnsibleLookupError,
            [f"requests is missing in {sys.executable}", "pip install requests"],
        ),
        (
            MissingOptionError("The option url is missing.", remedy="Set it."),
            AnsibleOptionsError,
            [
                *("options", "variables helix_*", "HELIX_* environment variables of the control node", "ansible.cfg"),
                "module_defaults and the keyword environment do not apply",
            ],
        ),
    ],
)
def test_errors_show_what_to_do_and_hide_their_cause(lookup, portal, error, kind, words):
    portal.errors = [error]
    with pytest.raises(kind) as caught:
        lookup(**KEYS)
    assert [word for word in words if word not in str(caught.value)] == []
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_nothing_to_log_in_with(lookup, monkeypatch):
    monkeypatch.undo()
    for name in list(os.environ):
        if name.startswith("HELIX_"):
            monkeypatch.delenv(name)
    with pytest.raises(AnsibleOptionsError, match="No credentials were provided"):
        lookup(url="https://a.test", cache=False)


def test_steps_are_told_without_secrets(lookup, monkeypatch):
    said = []
    monkeypatch.setattr(jwt_token.display, "vvv", lambda words, **kwargs: said.append(words))
    lookup(**KEYS)
    lookup(**KEYS)
    lookup(**KEYS, cache=False)
    lookup(token=jwt(time.time() + 300))
    assert len(said) == 4
    assert "logging in for this run" in said[0]
    for secret in (SECRET, KEYS["access_key"], "token-1", "eyJ"):
        assert secret not in " ".join(said)


def test_core_learns_the_secrets_where_it_masks(lookup, monkeypatch):
    told = []
    monkeypatch.setattr(jwt_token, "register_secret", told.append)
    lookup(**KEYS, proxy="http://user:proxy-password@proxy.test:3128")
    expected = {KEYS["access_key"], SECRET, "token-1", "proxy-password"}
    assert expected <= set(told)
    told.clear()
    lookup(**KEYS, proxy="http://user:proxy-password@proxy.test:3128")
    assert expected <= set(told), "also where the token was at hand"
    assert KEYS["url"] not in told


def test_core_has_masking_from_2_22_on():
    from ansible.release import __version__

    newer = tuple(int(part) for part in __version__.split(".")[:2]) >= (2, 22)
    assert (jwt_token.register_secret is not None) == newer


def test_an_undefined_variable_is_named(lookup):
    with pytest.raises(AnsibleError, match="nowhere"):
        lookup(variables={"helix_url": trust_as_template("{{ nowhere }}")})

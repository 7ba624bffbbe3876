# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lookup: where its options come from, what it returns, and what it says when there is no token."""

from __future__ import annotations

import os
import sys

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
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.support import KEY, SECRET, jwt

try:
    from ansible.template import trust_as_template
except ImportError:
    # Before ansible-core 2.19 every text is a template.
    def trust_as_template(text):
        return text


KEYS = {"url": "https://direct.test", "access_key": KEY, "access_secret_key": SECRET}
DEFAULTS = {name: option.default for name, option in CONNECTION.items()}
#: For each option a given value, and what it becomes.
VALUES = {
    **{name: (f"some-{name}", f"some-{name}") for name, option in CONNECTION.items() if option.type == "str"},
    **{name: (f"/etc/{name}", f"/etc/{name}") for name, option in CONNECTION.items() if option.type == "path"},
    "allow_http": ("yes", True),
    "validate_certs": ("no", False),
    "request_timeout": ("12.5", 12.5),
    "retries": ("7", 7),
}
SOURCES = ["direct", "variable", "environment", "file"]


class Portal:
    """Stands in for everything behind connect()."""

    usable_seconds = 840.0

    def __init__(self):
        self.options = []
        self.error = None
        self.tokens = self

    def connect(self, options, redactor, clock, connections=1):
        self.options.append(dict(options))
        return self

    def current(self):
        if self.error:
            raise self.error
        return f"token-{len(self.options)}"


@pytest.fixture
def portal(monkeypatch):
    portal = Portal()
    monkeypatch.setattr(_api, "connect", portal.connect)
    return portal


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """The private temporary folder of the run; and no settings of the machine."""
    for name in list(os.environ):
        if name.startswith("HELIX_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(constants.config, "_config_file", None)
    folder = tmp_path / "ansible-local"
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(folder))
    return folder


@pytest.fixture
def set_option(monkeypatch, tmp_path):
    """Set an option in one of its sources. Returns the variables and the options of the lookup."""

    def set_option(source, name, value):
        if source == "environment":
            monkeypatch.setenv(CONNECTION[name].env if name in CONNECTION else "HELIX_CACHE", value)
        elif source == "file":
            path = tmp_path / f"{name}-{value}.cfg".replace("/", "")
            path.write_text(f"[bmc_helix]\n{name} = {value}\n")
            monkeypatch.setattr(constants.config, "_config_file", str(path))
        elif source == "variable":
            return {f"helix_{name}": trust_as_template("{{ inner }}"), "inner": value}, {}
        return {}, {name: value} if source == "direct" else {}

    return set_option


@pytest.fixture
def lookup(portal):
    def run(*terms, variables=None, **direct):
        loader = DataLoader()
        variables = dict(variables or {})
        templar = Templar(loader=loader, variables=variables)
        plugin = lookup_loader.get("capacityops.bmc_helix.jwt_token", loader=loader, templar=templar)
        return plugin.run(list(terms), variables=variables, **direct)

    return run


@pytest.fixture
def options_seen(lookup, portal):
    """The connection options that the library was given. Without keys, a given token would be returned at once."""

    def run(variables=None, **direct):
        lookup(variables=variables, cache=False, **{"access_key": KEY, **direct})
        return {name: portal.options[-1][name] for name in CONNECTION}

    return run


# -- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", sorted(CONNECTION))
def test_the_sources_of_an_option(options_seen, set_option, name, source):
    given, expected = VALUES[name]
    # The values of ansible-core 2.19 and later carry tags, which some libraries print or refuse.
    variables, direct = set_option(source, name, trust_as_template(given) if source == "direct" else given)
    no_other = {"access_key": None} if name == "access_key" else {}
    seen = options_seen(variables, **{**no_other, **direct})[name]
    assert (seen, type(seen)) == (expected, type(expected))


def test_the_order_of_the_sources(options_seen, set_option):
    assert options_seen(**KEYS, validate_certs=False) == {**DEFAULTS, **KEYS, "validate_certs": False}
    given = {"variables": {}}
    for source in reversed(SOURCES):
        variables, direct = set_option(source, "tenant_id", f"from {source}")
        given = {"variables": {**given["variables"], **variables}, **direct}
        assert options_seen(**KEYS, **given)["tenant_id"] == f"from {source}"


@pytest.mark.parametrize("empty", ["", "  "])
@pytest.mark.parametrize("name", sorted(CONNECTION))
def test_empty_means_not_set(options_seen, set_option, name, empty):
    """AWX sets empty environment and extra variables. An empty validate_certs must not switch the check off."""
    given, expected = VALUES[name]
    variables, direct = {f"helix_{name}": empty}, {name: empty}
    set_option("environment", name, empty)
    if CONNECTION[name].type in ("str", "bool"):
        set_option("file", name, "")
    assert options_seen(variables, **direct)[name] == DEFAULTS[name]
    assert os.environ[CONNECTION[name].env] == empty, "the environment of others is as it was"
    set_option("file", name, given)
    assert options_seen(variables, **direct)[name] == expected


@pytest.mark.parametrize("name", ["tenant_id", "validate_certs"])
def test_default_omit_means_not_set(options_seen, name):
    """Before ansible-core 2.19, the variable omit of the task holds a placeholder."""
    variables = {"omit": "__omit_place_holder__0123456789abcdef"}
    assert options_seen(variables, **{name: variables["omit"]})[name] == DEFAULTS[name]
    assert options_seen({**variables, f"helix_{name}": variables["omit"]})[name] == DEFAULTS[name]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", ["validate_certs", "allow_http", "cache"])
def test_a_misspelt_boolean_is_an_error(lookup, set_option, name, source):
    variables, direct = set_option(source, name, "ture")
    with pytest.raises(AnsibleOptionsError, match=f"The option {name} is 'ture', which is neither true nor false"):
        lookup(variables=variables, **KEYS, **direct)


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


def test_an_undefined_variable_is_named(lookup):
    with pytest.raises(AnsibleError, match="nowhere"):
        lookup(variables={"helix_url": trust_as_template("{{ nowhere }}")})


# -- tokens -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("second", "logins"),
    [({}, 1), ({"request_timeout": 5, "retries": 0}, 1)]
    + [({name: VALUES[name][0]}, 2) for name in sorted(set(CONNECTION) - {"request_timeout", "retries"})],
)
def test_one_login_for_each_way_to_log_in(lookup, portal, second, logins):
    assert lookup(**KEYS) == lookup(**KEYS) == ["token-1"]
    lookup(**{**KEYS, **second})
    assert len(portal.options) == logins


def test_a_token_is_shared_for_as_long_as_the_library_says(lookup, portal):
    portal.usable_seconds = 0.0
    results = [lookup(**KEYS), lookup(**KEYS)]
    assert results == [["token-1"], ["token-2"]]
    # Not a subclass: core marks texts with classes of its own.
    assert [type(results[0]), type(results[0][0])] == [list, str]


@pytest.mark.parametrize("private", [True, False])
def test_without_a_cache_every_use_logs_in_and_writes_nothing(lookup, folder, private):
    folder.chmod(0o700 if private else 0o777)
    options = {"cache": "no"} if private else {}
    assert [lookup(**KEYS, **options) for dummy in range(2)] == [["token-1"], ["token-2"]]
    assert list(folder.iterdir()) == []


def test_a_given_token_is_returned_as_it_is_unless_it_is_over(lookup, portal):
    for token in (jwt(exp=4102444800), "not-a-jwt-but-a-token"):
        assert lookup(token=f" {token} ") == [token]
    with pytest.raises(AnsibleLookupError, match="expired at 2023-11-14T22:13:20Z by the clock of the control node"):
        lookup(token=jwt(exp=1700000000))
    assert portal.options == []


def test_a_variable_may_hold_the_lookup_itself(lookup, portal):
    """`helix_token` is the name that everybody takes for it, and also the variable of the option token."""
    keys = "url='https://a.test', access_key='k123', access_secret_key='s123'"
    variables = {"helix_token": trust_as_template(f"{{{{ lookup('capacityops.bmc_helix.jwt_token', {keys}) }}}}")}
    templar = Templar(loader=DataLoader(), variables=variables)
    # The inner use logs in; the outer one gives its token and the keys to the library.
    assert templar.template(variables["helix_token"]) == "token-2"
    assert [options["token"] for options in portal.options] == [None, "token-1"]
    assert lookup(variables=variables, **KEYS) == ["token-3"]
    assert portal.options[-1]["token"] == "token-1"


# -- what is said -----------------------------------------------------------------------------------------------------


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
            ["variables helix_*", "module_defaults and the keyword environment do not apply"],
        ),
    ],
)
def test_errors_show_what_to_do_and_hide_their_cause(lookup, portal, error, kind, words):
    portal.error = error
    with pytest.raises(kind) as caught:
        lookup(**KEYS)
    assert [word for word in words if word not in str(caught.value)] == []
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_steps_are_shown_without_secrets_and_core_learns_the_secrets_where_it_masks(lookup, monkeypatch):
    said, masked = [], []
    monkeypatch.setattr(jwt_token.display, "vvv", lambda words, **kwargs: said.append(words))
    monkeypatch.setattr(jwt_token, "register_secret", masked.append)
    proxy = "http://user:proxy-password@proxy.test:3128"
    secrets = {KEY, SECRET, "token-1", "proxy-password"}
    for _use in ("at the login", "also with the token at hand"):
        masked.clear()
        lookup(**KEYS, proxy=proxy)
        assert secrets <= set(masked)
        assert KEYS["url"] not in masked
    lookup(**KEYS, cache=False)
    lookup(token=jwt(exp=4102444800))
    assert len(said) == 4
    assert "logging in for this run" in said[0]
    assert [secret for secret in (*secrets, "eyJ") if secret in " ".join(said)] == []

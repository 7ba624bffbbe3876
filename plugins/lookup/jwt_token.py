# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: jwt_token
short_description: Get a token of BMC Helix for other requests of a play
version_added: 1.0.0
description:
  - Logs in to the BMC Helix Portal with a pair of keys and returns the JSON web token, as one string.
  - Ansible evaluates a lookup at every use, for each task, host, and item of a loop. All uses share one login; see
    O(cache).
  - A token is valid for about 15 minutes. In most cases, set the keys for the modules instead, which renew their token
    while they wait. Use this lookup for requests that no module of this collection sends, and for managed hosts that
    must not receive the keys.
author:
  - CapacityOps (@capacityops)
extends_documentation_fragment:
  - capacityops.bmc_helix._connection.plugin
  - capacityops.bmc_helix._connection
options:
  cache:
    description:
      - Whether all tasks, hosts, loops, and forks of this run of Ansible share one token. It is renewed before it
        expires.
      - The token is kept in a file of mode 0600 in the private temporary folder of the run, which Ansible deletes at
        the end. If there is no such folder, every use logs in.
      - Rejected keys are not tried again for one minute.
      - With V(false), every use logs in.
    # Raw for the same reason as the booleans of the fragment.
    type: raw
    default: true
    env:
      - name: HELIX_CACHE
    ini:
      - section: bmc_helix
        key: cache
    vars:
      - name: helix_cache
notes:
  - There are no terms. Use C(lookup), not C(query), which returns a list.
  - For each option, the first of these applies. The option of the lookup, the Ansible variable, the environment
    variable, the configuration file. Empty values are treated as unset. From the configuration file, delete an empty
    number or path instead.
  - O(allow_http), O(validate_certs), and O(cache) must be booleans; other values cause an error.
  - C(module_defaults) and the keyword C(environment) do not apply to lookups.
  - The lookup also logs in in check mode, because a login changes nothing.
  - If only O(token) is set, without keys, the lookup returns it unchanged, unless it has expired by the clock of the
    control node.
  - A task that prints the token prints a secret. Before ansible-core 2.22, nothing masks it; use C(no_log).
seealso:
  - module: capacityops.bmc_helix.etl_action
  - ref: ansible_collections.capacityops.bmc_helix.docsite.guide_tokens
    description: How logins and tokens work, and when to use this lookup.
"""

EXAMPLES = r"""
- name: Call an endpoint that has no module
  ansible.builtin.uri:
    url: "https://acme-itom.onbmc.com/opt/api/agentdata/about"
    headers:
      Authorization: "Bearer {{ lookup('capacityops.bmc_helix.jwt_token', url='https://acme-itom.onbmc.com') }}"
  no_log: true
  delegate_to: localhost

- name: Provide managed hosts with a token while the keys stay on the control node
  hosts: etl_engines
  module_defaults:
    group/capacityops.bmc_helix.helix:
      url: https://acme-itom.onbmc.com
      token: "{{ lookup('capacityops.bmc_helix.jwt_token') }}"
  vars:
    helix_url: https://acme-itom.onbmc.com
    helix_access_key: "{{ vault_helix_access_key }}"
    helix_access_secret_key: "{{ vault_helix_access_secret_key }}"
  tasks:
    - name: Stop the ETL of this engine
      capacityops.bmc_helix.etl_action:
        action: stop
        etl_name: "{{ etl_of_this_engine }}"
"""

RETURN = r"""
_raw:
  description: A list of one string, the JSON web token without the word C(Bearer). C(lookup) returns the string alone.
  type: list
  elements: str
  sample: ["eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE3OTU0NDQ1ODh9.c2lnbmF0dXJl"]
"""

import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ansible import constants
from ansible.errors import AnsibleLookupError, AnsibleOptionsError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display

from ..module_utils._errors import AuthenticationError, HelixError, MissingLibraryError, MissingOptionError, OptionError
from ..module_utils._options import CONNECTION
from ..module_utils._redaction import Redactor
from ..module_utils._run_files import PrivateFolderError
from ..module_utils._status import rfc3339
from ..plugin_utils._token_cache import shared_token

try:
    from ansible.module_utils.secrets import register_secret
except ImportError:
    # ansible-core before 2.22 has no masking for what a lookup returns.
    register_secret = None

NAME = "capacityops.bmc_helix.jwt_token"
#: The types of the options, as plain Python types: values of ansible-core 2.19 and later carry tags.
_TYPES = {**{name: option.type for name, option in CONNECTION.items()}, "cache": "bool"}
_PLAIN = {"str": str, "path": str, "int": int, "float": float}
_SOURCES = (
    " The lookup reads its options, the variables helix_*, the HELIX_* environment variables of the control node, and"
    " the section [bmc_helix] of ansible.cfg. module_defaults and the keyword environment do not apply to lookups."
)
#: These do not lead to another token.
_NOT_IN_IDENTITY = frozenset(("request_timeout", "retries", "cache"))

display = Display()


class LookupModule(LookupBase):
    # Whether the variable helix_token is being evaluated; it may contain this lookup.
    _evaluating_token = False

    def run(self, terms: list[Any], variables: Mapping[str, Any] | None = None, **kwargs: Any) -> list[str]:
        if terms:
            raise AnsibleOptionsError(
                f"jwt_token takes no terms. Use options by name: lookup('{NAME}', url='https://HOST')."
            )
        redactor = Redactor(register_secret)
        try:
            return [self._token(self._plain_options(variables or {}, kwargs), redactor)]
        except OptionError as error:
            sources = _SOURCES if isinstance(error, MissingOptionError) else ""
            raise AnsibleOptionsError(f"jwt_token: {error.sentence()}{sources}") from None
        except MissingLibraryError:
            raise AnsibleLookupError(
                f"jwt_token: the Python library requests is missing in {sys.executable}, which runs Ansible itself on"
                f" the control node. Install it there ({sys.executable} -m pip install requests), or add it to your"
                " execution environment."
            ) from None
        except HelixError as error:
            quoted = f" Response of the server: {error.server_message}" if error.server_message else ""
            raise AnsibleLookupError(redactor.text(f"jwt_token: {error.sentence()}{quoted}", limit=2000)) from None

    def _plain_options(self, variables: Mapping[str, Any], direct: Mapping[str, Any]) -> dict[str, Any]:
        """The options, read as Ansible reads them, except that empty values are treated as unset."""
        unknown = sorted(set(direct) - set(_TYPES))
        if unknown:
            raise AnsibleOptionsError(
                f"jwt_token has no option {', '.join(unknown)}. It has {', '.join(sorted(_TYPES))}."
            )
        direct = {name: value for name, value in direct.items() if not self._is_unset(value, variables)}
        names = [name for name in _TYPES if name not in direct]
        with _without_blank_variables(option.env for option in CONNECTION.values()):
            self.set_options(var_options=self._variables(variables, names), direct=direct)
        return {name: _plain(name, kind, self.get_option(name)) for name, kind in _TYPES.items()}

    def _is_unset(self, value: Any, variables: Mapping[str, Any]) -> bool:
        """Whether a value is empty or comes from C(default(omit))."""
        if value is not None and not isinstance(value, (str, int, float)):
            # From ansible-core 2.19, it is an object that templating removes from a dictionary.
            value = self._templar.template({"value": value}).get("value")
        # Before, it is a placeholder.
        return _is_blank(value) or value == variables.get("omit")

    def _variables(self, variables: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
        """The helix_* variables as values: core passes them with their templates."""
        values: dict[str, Any] = {}
        for name in names:
            variable = f"helix_{name}"
            if variable not in variables or (name == "token" and LookupModule._evaluating_token):
                continue
            if name == "token":
                LookupModule._evaluating_token = True
            try:
                value = self._templar.template({name: variables[variable]}).get(name)
            finally:
                if name == "token":
                    LookupModule._evaluating_token = False
            if not self._is_unset(value, variables):
                values[variable] = value
        return values

    def _token(self, options: dict[str, Any], redactor: Redactor) -> str:
        redactor.add(*(options[name] for name in ("access_key", "access_secret_key", "token")))
        redactor.add_url(options["proxy"])

        def say(words: str) -> None:
            display.vvv(f"{NAME}: {redactor.text(words)}")

        if options["token"] and not (options["access_key"] or options["access_secret_key"]):
            say("returning the token that was set")
            return _given_token(options["token"])

        def fetch() -> tuple[str, float]:
            # Not at the top: importing requests takes longer than a use of a cached token.
            from ..module_utils._api import connect
            from ..module_utils._http import Clock

            tokens = connect(options, redactor, Clock()).tokens
            # Ansible reports what a worker writes to standard error, such as warnings of the libraries.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return tokens.current(), tokens.usable_seconds

        if options["cache"]:
            identity = {name: value for name, value in options.items() if name not in _NOT_IN_IDENTITY}
            try:
                token = shared_token(str(constants.DEFAULT_LOCAL_TMP), identity, fetch, say)
            except PrivateFolderError as error:
                say(f"the temporary folder of this run cannot keep the token ({error}); logging in for this use only")
                token = fetch()[0]
        else:
            say("logging in for this use only, because of cache: false")
            token = fetch()[0]
        redactor.add(token)
        return str(token)


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _plain(name: str, kind: str, value: Any) -> Any:
    if _is_blank(value):
        # Only a value from the configuration file can be blank here.
        return CONNECTION[name].default if name in CONNECTION else True
    if kind != "bool":
        return _PLAIN[kind](value)
    try:
        return boolean(value)
    except TypeError:
        raise OptionError(f"The option {name} is {str(value)!r}, which is neither true nor false.") from None


def _given_token(text: str) -> str:
    from ..module_utils._token import checked_token, jwt_claims, usable_life

    token = checked_token(text, "The option token")
    if usable_life(token, time.time()) <= 0:
        when = rfc3339(float(jwt_claims(token)["exp"]))
        raise AuthenticationError(
            f"The token in the option token expired at {when} by the clock of the control node.",
            remedy="Get a new token, or also set access_key and access_secret_key (a token is valid for about 15"
            " minutes).",
        )
    return token


@contextmanager
def _without_blank_variables(names: Iterable[str]) -> Iterator[None]:
    """Hide empty environment variables while core reads options, because core treats them as set."""
    blank = {name: os.environ.pop(name) for name in (*names, "HELIX_CACHE") if not os.environ.get(name, "-").strip()}
    try:
        yield
    finally:
        os.environ.update(blank)

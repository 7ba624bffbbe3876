# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one table of connection options, and the checks of values. Private to this collection.

The argument specification of the modules is made from the table; tests compare the documentation, the lookup, and the
README with it.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from ansible.module_utils.common.parameters import env_fallback
from ansible.module_utils.errors import AnsibleFallbackNotFound

from ._errors import MissingOptionError, OptionError


class Option(NamedTuple):
    """One connection option. Ansible masks the value of C(secret) ones."""

    type: str
    env: str
    default: Any = None
    secret: bool = False


CONNECTION: dict[str, Option] = {
    "url": Option("str", "HELIX_URL"),
    "login_url": Option("str", "HELIX_LOGIN_URL"),
    "allow_http": Option("bool", "HELIX_ALLOW_HTTP", False),
    "access_key": Option("str", "HELIX_ACCESS_KEY", secret=True),
    "access_secret_key": Option("str", "HELIX_ACCESS_SECRET_KEY", secret=True),
    "tenant_id": Option("str", "HELIX_TENANT_ID"),
    "token": Option("str", "HELIX_TOKEN", secret=True),
    "validate_certs": Option("bool", "HELIX_VALIDATE_CERTS", True),
    "ca_path": Option("path", "HELIX_CA_PATH"),
    "client_cert": Option("path", "HELIX_CLIENT_CERT"),
    "client_key": Option("path", "HELIX_CLIENT_KEY"),
    # It can contain a password.
    "proxy": Option("str", "HELIX_PROXY", secret=True),
    "request_timeout": Option("float", "HELIX_REQUEST_TIMEOUT", 30.0),
    "retries": Option("int", "HELIX_RETRIES", 3),
}
_TIMES = ("wait_timeout", "start_timeout", "total_timeout", "kill_after", "max_age")
#: Numbers: the lowest value, whether it is itself allowed, and the highest value.
RANGES: dict[str, tuple[float, bool, float]] = {
    "request_timeout": (0, False, 3600),
    "retries": (0, True, 20),
    **dict.fromkeys(_TIMES, (0, False, 1e9)),
    "poll_interval": (1, True, 1e9),
    # More requests at the same time would only load the server.
    "max_parallel": (1, True, 100),
    "etl_id": (1, True, 2**63 - 1),
}
_COUNTS = ("retries", "max_parallel", "etl_id")
#: Ansible masks a secret wherever it occurs in a result, so a shorter or more common value would garble the results.
SHORTEST_SECRET = 6
SHORTEST_SECRET_NUMBER = 8
SHORTEST_KEY = 4
#: Words of results and the names of their fields.
VOCABULARY = (
    "running waiting ended aborted service_on service_off ok warning error failed run schedule stop kill wait finished"
    " executing idle batch service unknown succeeded scheduled stopped nothing_to_do fresh accepted not_started"
    " timed_out unconfirmed would_run would_schedule would_stop would_kill canceled timestamp_changed"
    " seen_running state_reached adopted attached requested localhost changed outcome evidence etl_id etl_name"
    " run_configurations run_configuration_id task_execution_request_id request_status exit_code last_exec_ts timeline"
    " started_at elapsed_seconds token_renewals server_message http_status remedy before action warnings"
)
#: The addresses of the two services; the base address ends before them.
_API_PATH = re.compile(r"/(?:opt/api|ims)(?:/.*)?$")
_EXAMPLE = "https://acme-itom.onbmc.com"


def ways(option: str) -> str:
    """How to set a connection option, for messages."""
    return f"the option {option}, the variable helix_{option}, or the environment variable " + (CONNECTION[option].env)


def nonempty_env(*names: str) -> str:
    """As core's env_fallback, but an empty variable counts as unset, because AWX sets empty ones."""
    for name in names:
        if os.environ.get(name, "").strip():
            value: str = env_fallback(name)
            return without_password(value) if name.endswith("_URL") else value
    raise AnsibleFallbackNotFound


def without_password(url: str) -> str:
    """An address that C(base_url) refuses, without what it is refused for: Ansible logs the options of a module."""
    return re.sub(r"^(\s*(?:\w+://)?)[^/?#]*@", r"\1********@", url)


def connection_argument_spec() -> dict[str, dict[str, Any]]:
    """The connection options as C(AnsibleModule) expects them."""
    return {
        name: {"type": o.type, "default": o.default, "no_log": o.secret, "fallback": (nonempty_env, [o.env])}
        for name, o in CONNECTION.items()
    }


#: The options that select ETLs.
SELECTION: dict[str, dict[str, Any]] = {
    "etl_id": {"type": "list", "elements": "int", "aliases": ["etl_ids"]},
    "etl_name": {"type": "list", "elements": "str", "aliases": ["etl_names"]},
    "name_pattern": {"type": "list", "elements": "str"},
    "exclude": {"type": "list", "elements": "str"},
}


def base_url(text: str | None, option: str, allow_http: bool) -> str:
    """A base address as C(https://host[:port][/prefix]), without the path of an API and without a slash at the end.

    :raises OptionError: the address is missing, cannot be parsed, or must not be used.
    """
    text = (text or "").strip()
    if not text:
        raise MissingOptionError(
            f"The option {option} is missing.",
            remedy=f"Set {ways(option)} to the address of your Helix tenant, for example, {_EXAMPLE}.",
        )
    if "://" not in text:
        text = f"https://{text}"
    parts = _split(text, option)
    problem, remedy = _unusable(parts, allow_http)
    if problem:
        raise OptionError(f"The option {option} {problem}.", remedy=remedy)
    return f"{parts.scheme}://{parts.netloc}{_API_PATH.sub('', parts.path.rstrip('/')).rstrip('/')}"


def _split(text: str, option: str) -> SplitResult:
    wrong = OptionError(
        f"The option {option} is not a valid address.", remedy=f"Set it to an address such as {_EXAMPLE}."
    )
    if any(character.isspace() or ord(character) < 32 for character in text):
        raise wrong
    try:
        parts = urlsplit(text)
        place = parts.netloc.rpartition("@")[2]
        if place.count(":") > 1 and "[" not in place:
            raise OptionError(
                f"The option {option} contains an IPv6 address without brackets.",
                remedy="Write it in brackets, for example, https://[2001:db8::1]:8443.",
            )
        usable = parts.hostname and parts.port != 0
    except ValueError:
        raise wrong from None
    # Such an address is refused below, with another reason.
    if not usable and "@" not in parts.netloc:
        raise wrong
    return parts


def _unusable(parts: SplitResult, allow_http: bool) -> tuple[str, str]:
    """The problem with an address, and the remedy."""
    if "@" in parts.netloc:
        return (
            "must not contain a user name or password",
            "Remove everything up to the @, and set access_key and access_secret_key.",
        )
    if parts.scheme == "http" and not allow_http:
        return (
            "starts with http://, which would send keys and tokens unencrypted",
            "Use https://. For a test server, set allow_http: true.",
        )
    if parts.scheme not in ("http", "https"):
        return f"must start with https:// (got {parts.scheme}://)", f"Set it to an address such as {_EXAMPLE}."
    if parts.query or parts.fragment:
        return "contains a ? or a #", f"Set it to the base address only, for example, {_EXAMPLE}."
    return "", ""


def check_numbers(options: Mapping[str, Any]) -> None:
    """Refuse numbers outside their range (C(RANGES)); those that are not set are accepted.

    :raises OptionError: the message names both bounds.
    """
    for name, (lowest, included, highest) in RANGES.items():
        value = options.get(name)
        for number in value if isinstance(value, list) else [] if value is None else [value]:
            too_low = number < lowest if included else number <= lowest
            if not math.isfinite(number) or too_low or number > highest:
                bounds = f"{'at least' if included else 'above'} {_shown(lowest)} and at most {_shown(highest)}"
                raise OptionError(
                    f"The option {name} is {_shown(number)}, but must be {bounds}.",
                    remedy="" if name in _COUNTS else "Times are in seconds.",
                )


def _shown(value: float) -> str:
    """A number as text. A whole number has all its digits, because ids must not be rounded."""
    return str(int(value)) if math.isfinite(value) and value == int(value) else f"{value:g}"


def check_key(option: str, value: str) -> None:
    """Refuse a value that is too short for a key or token.

    :raises OptionError: masking it would garble the results.
    """
    if 0 < len(value) < SHORTEST_KEY:
        raise OptionError(
            f"The option {option} has fewer than {SHORTEST_KEY} characters, which is too short for a key or token.",
            remedy=f"Set the complete value in {ways(option)}.",
        )


def plain_properties(
    properties: dict[Any, Any] | None, option: str, secret: bool = False, warn: Callable[[str], None] | None = None
) -> dict[str, str]:
    """C(run_execution_properties) as the server expects them: a flat map of strings.

    :param secret: whether the values are masked in the output of Ansible.
    :param warn: called for each boolean, because YAML reads an unquoted C(Yes) as one.
    :raises OptionError: a value is nested or null, a name is empty, or a secret value cannot be masked. Never quotes
        a value.
    """
    plain: dict[str, str] = {}
    for key, value in (properties or {}).items():
        name = str(key)
        if not name.strip():
            raise OptionError(f"The option {option} contains a property without a name.", remedy="Add its name.")
        if isinstance(value, bool):
            plain[name] = "true" if value else "false"
            if warn and not secret:
                word = "Yes" if value else "No"
                warn(
                    f'The property {name} in {option} is a boolean and is sent as "{plain[name]}". YAML also reads an'
                    f" unquoted {word} as a boolean. If the ETL expects the word {word}, use quotation marks:"
                    f' {name}: "{word}".'
                )
        elif isinstance(value, (str, int, float)):
            plain[name] = str(value)
        else:
            kind = "null" if value is None else "a list" if isinstance(value, (list, tuple)) else "nested"
            raise OptionError(
                f"The property {name} in {option} is {kind}, but the service accepts only strings, numbers, and"
                " booleans.",
                remedy="Set a scalar value, or remove the property.",
            )
        if secret and _unmaskable(plain[name]):
            raise OptionError(
                f"The property {name} in {option} is too short or too common to be a secret, so it cannot be masked"
                " without garbling the results.",
                remedy="Move it to run_execution_properties.",
            )
    return plain


def _unmaskable(text: str) -> bool:
    """Whether results would contain this value by chance. Ansible does not mask an empty value."""
    if not text:
        return False
    text = text.strip()
    if re.fullmatch(r"[-+]?[0-9]*[.,]?[0-9]+(?:[eE][-+]?[0-9]+)?", text):
        return sum(character.isdigit() for character in text) < SHORTEST_SECRET_NUMBER
    return len(text) < SHORTEST_SECRET or text.lower() in VOCABULARY

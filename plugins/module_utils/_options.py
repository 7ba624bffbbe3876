# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one table of connection options, and how an address is read.

Private to this collection. From the table come the argument specification of the modules and the checks that hold the
documentation fragments, the lookup and the README to it.
"""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ansible.module_utils.common.parameters import env_fallback
from ansible.module_utils.errors import AnsibleFallbackNotFound
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import OptionError


class Option(NamedTuple):
    """One connection option. C(secret) ones are hidden wherever Ansible would show them."""

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
    # May hold a password.
    "proxy": Option("str", "HELIX_PROXY", secret=True),
    "request_timeout": Option("float", "HELIX_REQUEST_TIMEOUT", 30.0),
    "retries": Option("int", "HELIX_RETRIES", 3),
}


def nonempty_env(*names: str) -> str:
    """As core's env_fallback, but an empty variable counts as unset: AWX sets empty ones."""
    for name in names:
        if os.environ.get(name, "").strip():
            value: str = env_fallback(name)
            return value
    raise AnsibleFallbackNotFound


def connection_argument_spec() -> dict[str, dict[str, Any]]:
    """The connection options as C(AnsibleModule) wants them."""
    spec: dict[str, dict[str, Any]] = {}
    for name, option in CONNECTION.items():
        spec[name] = {"type": option.type, "no_log": option.secret, "fallback": (nonempty_env, [option.env])}
        if option.default is not None:
            spec[name]["default"] = option.default
    return spec


def base_url(text: str | None, option: str, allow_http: bool) -> str:
    """A base address in its one form: C(https://host[:port][/prefix]), without a slash at its end.

    :raises OptionError: nothing, not an address, or one that must not be used.
    """
    text = (text or "").strip()
    env = CONNECTION[option].env
    if not text:
        raise OptionError(
            f"The option {option} is missing.",
            remedy=f"Set it, or the environment variable {env}, to the address of your Helix tenant, for example"
            " https://acme-itom.onbmc.com.",
        )
    if "://" not in text:
        text = f"https://{text}"
    remedy = "It should look like https://acme-itom.onbmc.com."
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise OptionError(f"The option {option} is not a usable address.", remedy=remedy) from None
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise OptionError(
            f"The option {option} must not hold a user name or password.",
            remedy="Remove everything up to the @, and give access_key and access_secret_key.",
        )
    if not host or any(character.isspace() or ord(character) < 32 for character in text) or port == 0:
        raise OptionError(f"The option {option} is not a usable address.", remedy=remedy)
    scheme = parts.scheme.lower()
    if scheme == "http" and not allow_http:
        raise OptionError(
            f"The option {option} begins with http://, which would send keys and tokens in the clear.",
            remedy="Use https://, or say allow_http: true for a test server.",
        )
    if scheme not in ("http", "https"):
        raise OptionError(f"The option {option} begins with {scheme}://; only https:// is spoken.", remedy=remedy)
    if parts.query or parts.fragment:
        raise OptionError(f"The option {option} holds a ? or a #; it is a base address only.", remedy=remedy)
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def check_number(name: str, value: float | None, lowest: float, *, above: bool = False, highest: float = 1e9) -> None:
    """Refuse a number outside its range; None (not given) is fine.

    :raises OptionError: with the range.
    """
    if value is None:
        return
    too_low = value <= lowest if above else value < lowest
    if not math.isfinite(value) or too_low or value > highest:
        wanted = f"above {lowest:g}" if above else f"at least {lowest:g}"
        raise OptionError(
            f"The option {name} is {value:g}, but must be {wanted}"
            + (f" and at most {highest:g}." if highest < 1e9 else "."),
            remedy="Times are in seconds." if name not in ("retries", "max_parallel", "etl_id") else "",
        )


def plain_properties(properties: dict[Any, Any] | None, option: str) -> dict[str, str]:
    """C(run_execution_properties) as the server wants them: a flat map of strings.

    :raises OptionError: a value is nested or empty (null), or a name is empty. Values are never quoted.
    """
    plain: dict[str, str] = {}
    for key, value in (properties or {}).items():
        name = str(key)
        if not name.strip():
            raise OptionError(f"{option} has a property without a name.")
        if isinstance(value, bool):
            plain[name] = "true" if value else "false"
        elif isinstance(value, (str, int, float)):
            plain[name] = str(value)
        else:
            kind = "null" if value is None else "a list" if isinstance(value, (list, tuple)) else "nested"
            raise OptionError(
                f"The property {name} in {option} is {kind}; the service takes texts, numbers and booleans only.",
                remedy="Give a scalar value, or remove the property.",
            )
    return plain

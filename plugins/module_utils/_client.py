# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From options to a connected client: the one place where the layers are put together.

Private to this collection. Modules give their parameters, the lookup its options.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.capacityops.bmc_helix.plugins.module_utils._api import HelixApi
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._clock import Clock
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import OptionError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._options import base_url, check_number
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._redaction import Redactor
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._token import Credentials, TokenSource
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._transport import Transport


def connect(
    options: Mapping[str, Any],
    redactor: Redactor,
    clock: Clock,
    connections: int = 1,
    carried: dict[str, Any] | None = None,
) -> HelixApi:
    """A client for these connection options. Sends nothing yet.

    :param connections: how many requests may be under way at a time.
    :param carried: a token from an earlier slice of the same task (see C(TokenSource.export)).
    :raises OptionError: an option is missing or makes no sense.
    :raises MissingLibraryError: C(requests) is missing.
    """
    for secret in ("access_key", "access_secret_key", "token"):
        redactor.add(options.get(secret))
    for address in ("url", "login_url"):
        # Refused a few lines below, but Ansible may show the options of a failed task.
        redactor.add_url(options[address])
    allow_http = bool(options["allow_http"])
    url = base_url(options["url"], "url", allow_http)
    login_url = base_url(options["login_url"], "login_url", allow_http) if options["login_url"] else url
    check_number("request_timeout", options["request_timeout"], 0, above=True, highest=3600)
    check_number("retries", options["retries"], 0, highest=20)
    if options["client_key"] and not options["client_cert"]:
        raise OptionError("client_key is given without client_cert.", remedy="Give both, or neither.")
    credentials = Credentials(
        options["token"], options["access_key"], options["access_secret_key"], options["tenant_id"]
    )
    transport = Transport(
        clock=clock,
        redactor=redactor,
        validate_certs=options["validate_certs"],
        ca_path=options["ca_path"] or None,
        client_cert=options["client_cert"] or None,
        client_key=options["client_key"] or None,
        proxy=options["proxy"] or None,
        request_timeout=options["request_timeout"],
        retries=options["retries"],
        connections=connections,
    )
    return HelixApi(transport, TokenSource(transport, login_url, credentials, carried), url)

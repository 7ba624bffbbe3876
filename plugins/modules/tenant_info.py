#!/usr/bin/python
# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_info
short_description: Check the connection to BMC Helix Continuous Optimization
version_added: 1.1.0
description:
  - Checks the connection to a tenant step by step, from name resolution to reading the states of ETLs, and returns one
    row for each check with the remedy if it fails.
  - Describes how the tenant behaves in a profile without secrets, host, and names of ETLs. You can attach it to an
    issue, and the simulator of this collection can behave accordingly.
  - The task takes at most 60 seconds. Each request has a timeout of at most 10 seconds and is not retried.
  - The task fails if a check fails. Checks that need the result of a failed check are skipped.
author:
  - CapacityOps (@capacityops)
extends_documentation_fragment:
  - capacityops.bmc_helix._attributes
  - capacityops.bmc_helix._attributes.reads
  - capacityops.bmc_helix._connection
options:
  probe_write:
    description:
      - Whether to check that the key may start and stop ETLs.
      - Sends one C(stop) request for the ETL 2147483647, which does not exist. The API has no other way to find out.
        The request is not sent if the list of ETLs cannot be read, if it contains this ID, or in check mode.
    type: bool
    default: false
  profile_file:
    description:
      - A file for the profile, on the host that the task runs on. It is replaced as a whole and has the mode V(0600).
      - Its folder must exist. The file is written if the login succeeds, but not in check mode. It does not count as a
        change.
    type: path
notes:
  - Up to 100 states are read, for at most 8 seconds.
  - If O(tenant_id) is set, the module logs in a second time without it to find out whether the portal requires it.
seealso:
  - module: capacityops.bmc_helix.etl_info
  - ref: ansible_collections.capacityops.bmc_helix.docsite.guide_check_tenant
    description: What each check means, and how to use the profile.
"""

EXAMPLES = r"""
- name: Check the connection
  capacityops.bmc_helix.tenant_info:

- name: Check the connection and the permission to start ETLs, and write a profile
  capacityops.bmc_helix.tenant_info:
    probe_write: true
    profile_file: ~/helix-profile.json
  register: tenant

- name: Show the checks that need attention
  ansible.builtin.debug:
    msg: "{{ item.check }}: {{ item.msg }} {{ item.remedy }}"
  loop: "{{ tenant.checks | rejectattr('status', 'in', ['ok', 'skipped']) }}"
  loop_control:
    label: "{{ item.check }}"
"""

RETURN = r"""
msg:
  description: A table with one line for each check, and the remedy of the first check that failed.
  returned: always
  type: str
  sample: |-
    Checks of the tenant: 1 failed, 1 ok.
    ok       name_resolution  acme-itom.onbmc.com is 192.0.2.10.
    FAILED   connection       The request to https://acme-itom.onbmc.com failed: no connection within 10 s.
    Remedy: Check the host and the port in url, the firewall, and the proxy.
checks:
  description: The checks, in order.
  returned: unless an option is not valid or a library is missing
  type: list
  elements: dict
  contains:
    check:
      description:
        - The name of the check.
        - One of V(library), V(proxy), V(name_resolution), V(connection), V(tls), V(clock), V(login), V(token), V(list),
          V(names), V(states), V(values), V(unknown_id), V(trailing_slash), V(accept_header), V(openapi),
          V(write_permission), and V(profile_file).
        - If O(login_url) differs from O(url), the checks V(login_proxy), V(login_name_resolution),
          V(login_connection), and V(login_tls) are added.
      type: str
      returned: always
      sample: tls
    status:
      description: The result, one of V(ok), V(warning), V(failed), and V(skipped).
      type: str
      returned: always
      sample: ok
    msg:
      description: What was found.
      type: str
      returned: always
      sample: "TLSv1.3, the certificate is valid for 88 days. CA bundle used: /etc/ssl/cert.pem (from the system)."
    remedy:
      description: What to do next. Empty if there is nothing to do.
      type: str
      returned: always
      sample: ""
    details:
      description: Values that depend on the check. If it failed, the keys of RV(error) except C(remedy).
      type: dict
      returned: always
      sample: {"protocol": "TLSv1.3", "days_left": 88, "chain_length": 3}
profile:
  description:
    - How the tenant behaves. A field is null if it was not observed.
    - The keys C(format_version) (V(1)) and C(collection_version) are always set. The guide lists all fields.
  returned: unless an option is not valid or a library is missing
  type: dict
  sample: {"format_version": 1, "collection_version": "1.1.0", "status_code": 200, "no_value": "null"}
etls:
  description: Always empty. It is returned so that a C(rescue) section can handle the failures of all modules alike.
  returned: on failure
  type: list
  elements: dict
  sample: []
error:
  description:
    - Why the first check failed, with the keys of RV(capacityops.bmc_helix.etl_action#module:error).
  returned: on failure
  type: dict
  sample: {"kind": "authentication", "http_status": 401, "remedy": "Check access_key and access_secret_key."}
"""

import json
import os
import re
import socket
import ssl
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..module_utils import _errors as errors
from ..module_utils import _http as http
from ..module_utils import _status as status_of
from ..module_utils._api import ETLS_PATH, RIGHTS, Etl, connect
from ..module_utils._http import Clock
from ..module_utils._module import HelixModule, serve
from ..module_utils._options import connection_argument_spec
from ..module_utils._run_files import Host
from ..module_utils._token import Credentials, TokenSource, claim_number, jwt_claims

#: Seconds for all checks, for one check, for one exchange, and for reading states.
TOTAL = 50.0
LONGEST = 20.0
EXCHANGE = 10.0
SAMPLING = 8.0
#: The maximum number of states to read.
MOST_STATES = 100
#: Seconds by which clocks may differ, and days before the end of a certificate that deserve a warning.
SKEW = 60
DAYS_LEFT = 30
#: The largest id of many databases; no ETL has it.
UNKNOWN_ID = 2147483647
EXIT_CODES = ("OK", "WARNING", "ERROR", "FAILED")
_OPENAPI = ("/opt/api/backend/openapi.yaml", "/opt/api/backend/openapi.json")
_CALLS = ("", "status", "run", "schedule", "stop", "kill")
_FIELDS = ("run_configurations", "exit_code", "last_exec_ts", "request_status", "task_execution_request_id")
_NOT_DONE = "Not done"
_REPORT = "Attach the profile to an issue of the type API, so that the collection can support it."
#: The fields of a profile. Null means not observed. The simulator reads the same fields.
PROFILE = (
    *("format_version", "collection_version", "status_code", "no_value", "no_value_code", "time_format", "words_case"),
    *("state_words", "exit_words", "trailing_slash", "accept", "unknown_id", "forbidden_code", "permissions"),
    *("tenant_id_required", "token_life_seconds", "token_claims", "token_exp", "date_header", "clock_skew_seconds"),
    *("etl_count", "openapi"),
)


class Row(NamedTuple):
    """The result of one check, without its name."""

    status: str
    msg: str
    remedy: str
    details: dict[str, Any]


def _ok(msg: str, **details: Any) -> Row:
    return Row("ok", msg, "", details)


def _warning(msg: str, remedy: str, **details: Any) -> Row:
    return Row("warning", msg, remedy, details)


def _skipped(msg: str) -> Row:
    return Row("skipped", msg, "", {})


class Check(NamedTuple):
    """One check, and the checks that it depends on."""

    name: str
    needs: Sequence[str]
    work: Callable[[], Row]


def examine(options: Mapping[str, Any], host: Host) -> dict[str, Any]:
    """C(tenant_info): all checks, the profile, and C(failed) if a check failed.

    :raises HelixError: the options cannot be used, or a library is missing.
    """
    tenant = _Tenant(options, host)
    try:
        rows = {check.name: tenant.result_of(check) for check in tenant.checks()}
    finally:
        tenant.api.transport.close()
    first = next((row for row in rows.values() if row.status == "failed"), None)
    result: dict[str, Any] = {
        "changed": False,
        "failed": first is not None,
        "checks": [{"check": name, **row._asdict()} for name, row in rows.items()],
        "profile": tenant.known(),
        "msg": table(rows, first.remedy if first else ""),
    }
    if first:
        result["error"] = {**first.details, "remedy": first.remedy}
    return result


def table(rows: Mapping[str, Row], remedy: str) -> str:
    """One headline, one line for each check, and the first remedy."""
    count = Counter(row.status for row in rows.values())
    parts = [f"{count[status]} {status}" for status in ("failed", "warning", "ok", "skipped") if count[status]]
    width = max(map(len, rows))
    lines = [f"Checks of the tenant: {', '.join(parts)}."]
    for name, row in rows.items():
        status = row.status.upper() if row.status in ("failed", "warning") else row.status
        if not row.msg.startswith(_NOT_DONE):
            lines.append(f"{status:7}  {name:{width}}  {row.msg}")
    rest = [name for name, row in rows.items() if row.msg.startswith(_NOT_DONE)]
    if rest:
        lines.append(f"{_NOT_DONE}: {', '.join(rest)}.")
    return "\n".join(lines + ([f"Remedy: {remedy}"] if remedy else []))


def _within(seconds: float, work: Callable[[], Row]) -> Row:
    """The result of the work. If it takes longer, an error is raised, and its thread is left behind."""
    results: list[Row | Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:  # noqa: BLE001 - it is raised again in the other thread
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not results:
        raise errors.HelixError(
            f"The check did not end within {seconds:.0f} s.",
            kind="timed_out",
            remedy="Check the name servers, the network, and the load of the server.",
        )
    if isinstance(results[0], Exception):
        raise results[0]
    return results[0]


class _Tenant:
    """The checks and their findings."""

    def __init__(self, options: Mapping[str, Any], host: Host) -> None:
        self.options = options
        self.host = host
        limits = {"request_timeout": min(options["request_timeout"], EXCHANGE), "retries": 0}
        self.api = connect({**options, **limits}, host.redactor, host.clock)
        self.url, self.login_url = self.api.url, self.api.tokens.login_url
        self.profile: dict[str, Any] = {"format_version": 1, "collection_version": http.VERSION}
        self.deadline = host.clock.now() + TOTAL
        self.rejected: dict[str, errors.TransportError] = {}
        self.etls: list[Etl] = []
        self.samples: list[tuple[http.Answer, Any]] = []
        #: Checks without a usable result; what needs them is skipped.
        self.blocked: set[str] = set()
        self.unknown: http.Answer | None = None

    def checks(self) -> list[Check]:
        found = [Check("library", (), self._library)]
        addresses = {"": self.url} if self.url == self.login_url else {"": self.url, "login_": self.login_url}
        for prefix, address in addresses.items():
            proxy, name, connection = (f"{prefix}{word}" for word in ("proxy", "name_resolution", "connection"))
            found += [
                Check(proxy, (), partial(self._proxy, address)),
                Check(name, (proxy,), partial(self._name, address)),
                Check(connection, (name,), partial(self._connection, address)),
                Check(f"{prefix}tls", (connection,), partial(self._tls, address)),
            ]
        last = "login_tls" if "login_" in addresses else "tls"
        return [
            *found,
            Check("clock", (last,), self._clock),
            Check("login", (last,), self._login),
            Check("token", ("login",), self._token),
            Check("list", ("tls", "login"), self._list),
            Check("names", ("list",), self._names),
            Check("states", ("list",), self._states),
            Check("values", ("states",), self._values),
            Check("unknown_id", ("list",), self._unknown_id),
            Check("trailing_slash", ("list",), self._trailing_slash),
            Check("accept_header", ("list",), self._accept),
            Check("openapi", ("tls", "login"), self._openapi),
            Check("write_permission", ("tls", "login"), self._write_permission),
            Check("profile_file", ("login",), self._profile_file),
        ]

    def known(self) -> dict[str, Any]:
        """The profile, with null for what was not observed."""
        return {name: self.profile.get(name) for name in PROFILE}

    def result_of(self, check: Check) -> Row:
        missing = next((name for name in check.needs if name in self.blocked), None)
        left = self.deadline - self.host.clock.now()
        if missing or (left <= 0 and check.name != "profile_file"):
            self.blocked.add(check.name)
            reason = f"the check {missing} has no result" if missing else f"{TOTAL:.0f} s had passed"
            return _skipped(f"{_NOT_DONE}, because {reason}.")
        try:
            return _within(min(LONGEST, max(left, 2.0)), check.work)
        except errors.HelixError as error:
            self.blocked.add(check.name)
            details = {name: value for name, value in error.facts().items() if name != "remedy"}
            return Row("failed", error.message, error.remedy, details)

    # -- the way to the server ----------------------------------------------------------------------------------------

    def _library(self) -> Row:
        python, openssl = ".".join(map(str, sys.version_info[:3])), ssl.OPENSSL_VERSION
        versions = {name: _version(name) for name in ("requests", "urllib3")}
        shown = ", ".join(f"{name} {version}" for name, version in versions.items())
        facts = {"interpreter": sys.executable, "python": python, "openssl": openssl, **versions}
        return _ok(f"Python {python} ({sys.executable}), {shown}, {openssl}.", **facts)

    def _proxy(self, address: str) -> Row:
        proxy = self.api.transport.proxy_for(address)
        if not proxy:
            return _ok(f"No proxy is used for {http.place(address)}.", proxy=None, named_by=None)
        named, shown = "the option proxy or HELIX_PROXY", http.proxy_place(proxy)
        if not (self.options["proxy"] or "").strip():
            names = [name for name in os.environ if name.lower() in ("https_proxy", "http_proxy", "all_proxy")]
            named = next((name for name in names if os.environ[name].strip() == proxy), "the environment")
        return _ok(f"The proxy {shown} (from {named}) is used.", proxy=shown, named_by=named)

    def _name(self, address: str) -> Row:
        if self.api.transport.proxy_for(address):
            return _skipped("The proxy resolves the host name.")
        name = urlsplit(address).hostname or ""
        try:
            found = socket.getaddrinfo(name, _port(address), type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise errors.TransportError(
                f"The host name {name} could not be resolved.",
                remedy="Check the host in url and login_url, and the name servers of this host. If only a proxy reaches"
                " the tenant, set proxy.",
            ) from None
        addresses = sorted({str(item[4][0]) for item in found})
        return _ok(f"{name} is {', '.join(addresses)}.", host=name, addresses=addresses)

    def _connection(self, address: str) -> Row:
        began = self.host.clock.now()
        try:
            answer = self.api.transport.once("GET", address + ETLS_PATH, {})
        except errors.TransportError as error:
            if error.kind == "tls":
                self.rejected[address] = error
                return _ok(f"{http.place(address)} accepts connections.")
            if address.startswith("http:"):
                error.remedy = f"If this port requires TLS, use https:// in the address. {error.remedy}"
            raise
        milliseconds = int(1000 * (self.host.clock.now() - began))
        facts = {"http_status": answer.status, "milliseconds": milliseconds}
        if answer.status // 100 == 3 or (answer.status == 200 and _shape(answer) == "html"):
            what = "a web page" if answer.status == 200 else "a redirect"
            return _warning(
                f"{http.place(address)} returned {what} (HTTP {answer.status}) to an API request without a token.",
                "Check url. Check whether a captive portal, or a gateway with a login page, is in front of the server.",
                **facts,
            )
        return _ok(f"{http.place(address)} responded (HTTP {answer.status}, {milliseconds} ms).", **facts)

    def _tls(self, address: str) -> Row:
        if address in self.rejected:
            error = self.rejected[address]
            if re.search("expired|not yet valid", error.message):
                error.remedy += " If the clock of this host is wrong, correct it."
            raise error
        trust = str(self.api.transport.trust)
        if address.startswith("http://"):
            return _warning(
                "Keys and tokens are sent unencrypted (http://).", "Use https://, except for a test server."
            )
        if self.api.transport.proxy_for(address):
            return _skipped(f"Accepted through the proxy, so there are no details. {trust}")
        facts = {**self._certificate(address), "trust": trust, "client_cert": self.options["client_cert"] or None}
        if not self.api.transport.trust.path:
            return _warning(trust, "Set validate_certs: true, and ca_path to your CA.", **facts)
        days = facts.get("days_left")
        msg = f"{facts['protocol']}, the certificate is valid for {days} days. {trust}"
        if days is not None and days < DAYS_LEFT:
            return _warning(msg, "Renew the certificate of the server before it expires.", **facts)
        return _ok(msg, **facts)

    def _certificate(self, address: str) -> dict[str, Any]:
        host = urlsplit(address).hostname or ""
        try:
            with (
                socket.create_connection((host, _port(address)), EXCHANGE) as raw,
                self.api.transport.context.wrap_socket(raw, server_hostname=host) as tls,
            ):
                certificate = tls.getpeercert() or {}
                chain = getattr(tls, "get_verified_chain", None)  # from Python 3.13
                details = {"protocol": tls.version(), "chain_length": len(chain()) if chain else None}
        except OSError:
            raise errors.TransportError(
                f"A second connection to {http.place(address)} failed.",
                remedy="Run the task again. If it fails again, check the gateways in front of the server.",
            ) from None
        if certificate:
            ends = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
            names: Any = certificate["issuer"]
            details["issuer"] = ", ".join(str(value) for part in names for _kind, value in part)
            details["expires_at"] = status_of.rfc3339(ends)
            details["days_left"] = int((ends - self.host.clock.wall()) // 86400)
        return details

    def _clock(self) -> Row:
        server = self.api.transport.server_time()
        self.profile["date_header"] = server is not None
        if server is None:
            remedy = "Keep the clock of this host correct: ages of runs are calculated with it."
            return _warning("The server sends no time (header Date).", remedy)
        skew = round(server - self.host.clock.wall())
        # The header has whole seconds.
        self.profile["clock_skew_seconds"] = skew = 0 if abs(skew) <= 2 else skew
        facts = {"server_time": status_of.rfc3339(server), "skew_seconds": skew}
        if abs(skew) < SKEW:
            return _ok(f"The clocks of the server and of this host differ by {abs(skew)} s.", **facts)
        return _warning(
            f"The clock of the server is {abs(skew)} s {'ahead of' if skew > 0 else 'behind'} the one of this host.",
            "Correct the clock that is wrong (NTP). Certificates and tokens depend on it.",
            **facts,
        )

    # -- the key ------------------------------------------------------------------------------------------------------

    def _login(self) -> Row:
        if self.options["token"] and not self.options["access_key"]:
            return _skipped("The option token is used, so no login is necessary.")
        began = self.host.clock.now()
        self.api.tokens.current(retries=0)
        self.profile["tenant_id_required"] = self._requires_tenant()
        return _ok(f"Logged in at {http.place(self.login_url)} ({self.host.clock.now() - began:.1f} s).")

    def _requires_tenant(self) -> bool | None:
        """Whether a login without C(tenant_id) returns 404."""
        if not (self.options["tenant_id"] or "").strip():
            return False
        keys = Credentials(None, self.options["access_key"], self.options["access_secret_key"], None)
        try:
            TokenSource(self.api.transport, self.login_url, keys).current(retries=0)
        except errors.HelixError as error:
            return True if error.http_status == 404 else None
        return False

    def _token(self) -> Row:
        token = self.api.tokens.current(retries=0)
        claims = jwt_claims(token)
        self.profile["token_claims"] = "readable" if claims else "opaque"
        if not claims:
            return _ok("The claims of the token cannot be read. It is renewed every ten minutes.")
        expires, issued = (claim_number(claims.get(name)) for name in ("exp", "iat"))
        self.profile["token_exp"] = expires is not None
        if expires is None:
            return _ok("The token has no expiry (exp). It is renewed every ten minutes.")
        left = round(expires - self.api.transport.server_now())
        life = round(expires - issued) if issued else left
        self.profile["token_life_seconds"] = max(0, life)
        facts = {"life_seconds": life, "seconds_left": left, "expires_at": status_of.rfc3339(expires)}
        if left < SKEW and not self.options["access_key"]:
            remedy = "Get a new token, or set access_key and access_secret_key, so that it can be renewed."
            return _warning(f"The token expires in {left} s.", remedy, **facts)
        return _ok(f"A token is valid for {life} s.", **facts)

    def _list(self) -> Row:
        try:
            self.etls = self.api.list_etls(retries=0)
        except errors.AnswerError as error:
            if error.kind == "permission":
                self.profile["forbidden_code"], self.profile["permissions"] = error.http_status, []
            if error.http_status in (401, 403):
                error.remedy += " The type of the key must be 'Access key'."
            raise
        self.profile["etl_count"] = count = len(self.etls)
        if not count:
            remedy = "Add the user of the key to the task groups of the ETLs."
            return _warning("No ETLs are visible to this key.", remedy, etl_count=0)
        return _ok(f"{count} ETLs are visible to this key.", etl_count=count)

    def _names(self) -> Row:
        names = Counter(etl.name for etl in self.etls)
        duplicates = sorted(name for name, count in names.items() if count > 1)
        blank = sorted(name for name in names if name != name.strip())
        if not duplicates and not blank:
            return _ok("The names of the ETLs are unique.")
        return _warning(
            f"{len(duplicates)} names are used by several ETLs, {len(blank)} names begin or end with white space.",
            "Use etl_id for these ETLs, or rename them in the console.",
            duplicates=duplicates,
            white_space=blank,
        )

    # -- the shape of responses ---------------------------------------------------------------------------------------

    def _send(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> http.Answer:
        token = self.api.tokens.current(retries=0)
        return self.api.transport.once(method, self.url + path, {"Authorization": f"Bearer {token}", **(headers or {})})

    def _states(self) -> Row:
        if not self.etls:
            self.blocked.add("states")
            return _skipped("There is no ETL whose state can be read.")
        until, failures = self.host.clock.now() + SAMPLING, []
        for etl in self.etls[:MOST_STATES]:
            try:
                self.samples.append(self._state(etl.etl_id))
            except errors.HelixError as error:
                failures.append(error)
            if self.host.clock.now() > until:
                break
        tried = len(self.samples) + len(failures)
        facts = {"read": len(self.samples), "tried": tried}
        if not failures:
            return _ok(f"{tried} states were read.", **facts)
        if not self.samples:
            raise failures[0]
        msg = f"{len(failures)} of {tried} states could not be read. {failures[0].message}"
        return _warning(msg, failures[0].remedy, **facts)

    def _state(self, etl_id: int) -> tuple[http.Answer, Any]:
        path = f"{ETLS_PATH}{etl_id}/status"
        answer = self._send("GET", path)
        if answer.status in (200, 204):
            data = http.decoded(answer, "GET", self.url + path, self.host.redactor)
            if status_of.parse_status(data) is not None:
                return answer, data
        # Raises the error that the response means.
        self.api.status(etl_id, retries=0)
        raise errors.AnswerError("The response to a status request changes.", remedy="Run the task again.")

    def _values(self) -> Row:
        fields = [data for _answer, data in self.samples if isinstance(data, dict)]
        states, exits = (self._words(data.get(name) for data in fields) for name in ("status", "exit_code"))
        times = [data["last_exec_ts"] for data in fields if data.get("last_exec_ts")]
        forms = Counter(time_format(value) for value in times)
        with_body = [(answer, bool(answer.body.strip()), data) for answer, data in self.samples]
        # No state: null, empty, or absent.
        without = [(a, no_value(data, body)) for a, body, data in with_body if not _state_word(data)]
        self.profile.update(
            state_words=states,
            exit_words=exits,
            words_case=words_case(states + exits),
            time_format=_usual(form for form in forms.elements() if form),
            status_code=_usual(answer.status for answer, body, _data in with_body if body),
            no_value=_usual(form for _answer, form in without),
            no_value_code=_usual(answer.status for answer, _form in without),
        )
        unread = [str(value) for value in times if status_of.parse_rfc3339(str(value)) is None]
        odd = [word for word in states if word.upper() not in status_of.STATES]
        odd += [word for word in exits if word.upper() not in EXIT_CODES]
        facts = {name: self.profile[name] for name in ("state_words", "exit_words", "time_format", "no_value")}
        facts["time_formats"] = {str(form): count for form, count in forms.items()}
        msg = f"States: {', '.join(states) or 'none'}. Exit codes: {', '.join(exits) or 'none'}."
        if unread:
            msg += f" Times such as {self.host.redactor.text(unread[0], 40)} cannot be parsed."
        if odd:
            msg += f" Not documented: {', '.join(odd)}."
        return _warning(msg, _REPORT, **facts) if unread or odd else _ok(msg, **facts)

    def _words(self, values: Iterable[Any]) -> list[str]:
        words = {value for value in values if isinstance(value, str) and value.strip()}
        return sorted({self.host.redactor.text(word, 60) for word in words})

    def _unknown_id(self) -> Row:
        taken = {etl.etl_id for etl in self.etls}
        unknown_id = next(number for number in range(UNKNOWN_ID, 0, -1) if number not in taken)
        self.unknown = answer = self._send("GET", f"{ETLS_PATH}{unknown_id}/status")
        facts = {"code": answer.status, "content_type": _content_type(answer), "shape": _shape(answer)}
        self.profile["unknown_id"] = facts
        msg = f"An ETL that does not exist: HTTP {answer.status}, {facts['content_type']}, {facts['shape']}."
        if answer.status in (400, 404):
            return _ok(msg, **facts)
        return _warning(msg, f"HTTP 400 was expected. {_REPORT}", **facts)

    def _trailing_slash(self) -> Row:
        status = self._send("GET", ETLS_PATH.rstrip("/")).status
        forms = {2: "optional", 3: "redirected", 4: "required" if status == 404 else None}
        self.profile["trailing_slash"] = forms.get(status // 100)
        return _ok(f"The list without the last slash of its address: HTTP {status}.")

    def _accept(self) -> Row:
        status = self._send("GET", ETLS_PATH, {"Accept": "application/json, text/plain, */*"}).status
        self.profile["accept"] = {200: "lenient", 204: "lenient", 400: "strict", 406: "strict"}.get(status)
        return _ok(f"The list with a compound Accept header: HTTP {status}.")

    def _openapi(self) -> Row:
        for path in _OPENAPI:
            answer = self._send("GET", path)
            text = answer.text()
            if answer.status == 200 and _shape(answer) != "html" and re.search(r"openapi|swagger", text[:1000]):
                found = compare(text)
                self.profile["openapi"] = facts = {"served": True, **found}
                lacks = found["missing_calls"] + found["missing_fields"]
                if lacks:
                    return _warning(f"{path} does not contain {', '.join(lacks)}.", _REPORT, **facts)
                return _ok(f"{path} describes all calls and fields that the collection uses.", **facts)
        self.profile["openapi"] = {"served": False}
        return _skipped(f"The tenant serves no OpenAPI description (HTTP {answer.status}).")

    # -- writing ------------------------------------------------------------------------------------------------------

    def _write_permission(self) -> Row:
        if not self.options["probe_write"]:
            return _skipped("Not requested (probe_write).")
        if self.host.check_mode:
            return _skipped("Check mode sends no stop request.")
        if "etl_count" not in self.profile or any(etl.etl_id == UNKNOWN_ID for etl in self.etls):
            return _skipped(f"It is not certain that there is no ETL {UNKNOWN_ID}.")
        path = f"{ETLS_PATH}{UNKNOWN_ID}/stop"
        answer = self._send("POST", path)
        code = answer.status
        if code in (401, 403):
            self.profile.update(forbidden_code=code, permissions=["read"])
            raise errors.AnswerError(
                f"This key is not allowed to start or stop ETLs (HTTP {code}).",
                kind="permission",
                http_status=code,
                method="POST",
                path=path,
                remedy=RIGHTS[True],
            )
        same = code in (400, 404) and code == getattr(self.unknown, "status", None)
        if same and not re.search("forbid|denied|permission|authori", answer.text(), re.IGNORECASE):
            self.profile["permissions"] = ["read", "write"]
            return _ok("This key may start and stop ETLs.", http_status=code)
        msg = f"A stop request for an ETL that does not exist returned HTTP {code}, which proves nothing."
        return _warning(msg, _REPORT, http_status=code)

    def _profile_file(self) -> Row:
        path = self.options["profile_file"]
        if not path:
            return _skipped("Not requested (profile_file).")
        if self.host.check_mode:
            return _skipped("Check mode writes no file.")
        try:
            # A new file of mode 0600 replaces the old one, so that there is never half a profile.
            with tempfile.TemporaryDirectory(prefix=".tenant_info-", dir=Path(path).parent) as folder:
                new = Path(folder, "profile")
                with open(new, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                    file.write(json.dumps(self.host.redactor.masked(self.known()), indent=2) + "\n")
                new.replace(path)
        except OSError as error:
            raise errors.OptionError(
                f"The profile cannot be written to {path}: {(error.strerror or 'unknown reason').lower()}.",
                remedy="Set profile_file to a file in an existing folder that the user of the task may write to.",
            ) from None
        return _ok(f"The profile was written to {path}.", path=path)


# -- reading responses ------------------------------------------------------------------------------------------------


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _port(address: str) -> int:
    parts = urlsplit(address)
    return parts.port or (80 if parts.scheme == "http" else 443)


def _usual(values: Iterable[Any]) -> Any:
    """The most frequent value; None if there is none."""
    return next((value for value, _count in Counter(values).most_common(1)), None)


def _content_type(answer: http.Answer) -> str | None:
    found = re.match(r"\s*([\w.+-]{1,60}/[\w.+-]{1,60})", answer.headers.get("content-type", ""))
    return found.group(1).lower() if found else None


def _shape(answer: http.Answer) -> str:
    """C(empty), C(html), C(json), or C(text)."""
    text = answer.body.strip()
    if not text:
        return "empty"
    if text[:1] == b"<":
        return "html"
    try:
        answer.json()
    except ValueError:
        return "text"
    return "json"


def _state_word(data: Any) -> str:
    status = status_of.parse_status(data)
    return "" if status is None or status.state == status_of.NEVER else status.state


def no_value(data: Any, has_body: bool) -> str:
    """How a status response expresses that an ETL has no state."""
    if not isinstance(data, dict):
        return "null_body" if has_body else "empty_body"
    if "status" not in data:
        return "absent"
    return "null" if data["status"] is None else "empty_string"


def words_case(words: Iterable[str]) -> str | None:
    """The case in which the server writes words; None if it varies."""
    words = list(words)
    forms: dict[str, Callable[[str], str]] = {"upper": str.upper, "lower": str.lower, "title": str.title}
    return next((name for name, form in forms.items() if words and all(form(word) == word for word in words)), None)


#: Forms of a time as text.
_TIMES = {
    "z": r"T{time}Z",
    "offset": r"T{time}\+00:?00",
    "zone": r"T{time}[+-]\d\d:?\d\d",
    "fraction": r"T{time}\.\d+Z",
    "no_zone": r"T{time}",
    "space": r" {time}",
}


def time_format(value: Any) -> str | None:
    """The form of C(last_exec_ts); None for any other."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "epoch_ms" if value > 1e11 else "epoch"
    text = str(value).strip()
    if re.fullmatch(r"\d{1,11}", text):
        return "epoch_text"
    for name, form in _TIMES.items():
        if re.fullmatch(r"\d{4}-\d\d-\d\d" + form.replace("{time}", r"\d\d:\d\d:\d\d"), text, re.IGNORECASE):
            return name
    return None


def compare(text: str) -> dict[str, list[str]]:
    """Search an OpenAPI description for the calls and fields that the collection uses. As text, without YAML."""
    # Not a path inside an address, which would contain the host.
    paths = set(re.findall(r"(?<![\w/:.])/(?!/)[\w./{}-]*\betls\b[\w./{}-]*", text))
    forms = {call: rf".*/etls/\{{[^}}]+\}}/{call}/?" if call else r".*/etls/?" for call in _CALLS}
    known = {call: {path for path in paths if re.fullmatch(form, path)} for call, form in forms.items()}
    others = {path for path in paths if not any(path in found for found in known.values())}
    return {
        "missing_calls": [call or "list" for call in _CALLS if not known[call]],
        "missing_fields": [name for name in _FIELDS if name not in text],
        "other_calls": sorted(others)[:50],
    }


def main() -> None:
    module = HelixModule(
        argument_spec={
            **connection_argument_spec(),
            "probe_write": {"type": "bool", "default": False},
            "profile_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    serve(module, examine, Clock())


if __name__ == "__main__":
    main()

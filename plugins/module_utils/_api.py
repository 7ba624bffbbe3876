# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoints of the ETL service: addresses and shapes, nothing else.

Private to this collection. Sources: the vendor's pages "Executing ETL tasks by using API", "Obtaining the status of
the task by using API" and "Exporting ETL configuration by using API".
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from ._errors import AnswerError, DeadlineError, EtlNotFoundError, HelixError, OptionError, RequestRefusedError
from ._http import Answer, Clock, Transport, decoded, facts
from ._options import base_url, check_numbers
from ._redaction import Redactor, clean
from ._status import EtlStatus, parse_status
from ._token import Credentials, TokenSource

#: The trailing slash is part of the printed address.
ETLS_PATH = "/opt/api/v1/backend/etls/"
#: Actions whose request carries properties. The two others are documented without a body.
WITH_PROPERTIES = ("run", "schedule")
#: The permissions that a key needs, by whether the request writes.
RIGHTS = {
    False: "The key needs capacity_optimization.admin.etls_read or capacity_optimization.admin.admin_section_read.",
    True: "The key needs capacity_optimization.custom_etl.edit or capacity_optimization.admin.admin_section_edit.",
}
_OTHER_PORTAL = "The tenant rejects tokens issued by this portal. Check url, login_url, and tenant_id."
_OLD = (
    "Check url. The service requires BMC Helix Continuous Optimization 22.4 or later; TrueSight Capacity Optimization"
    " does not provide it."
)
_REDIRECTED = "redirects are not followed to avoid sending the token to another host."
_FINAL_ADDRESS = "Set url to the final address (HTTPS, correct host, no additional path)."
_FEWER = "Try again later, or lower max_parallel."
_LATER = "Try again later. If the error persists, contact the administrator of the service."
_CHECK = "Check url and the options of the task."


class Etl(NamedTuple):
    """One entry of the list."""

    etl_id: int
    name: str
    #: Their documented fields: name, active, run_configuration_id.
    run_configurations: list[dict[str, Any]]


class Receipt(NamedTuple):
    """The response to an accepted request. C(task_execution_request_id) -1 means a service ETL."""

    task_execution_request_id: int | None
    request_status: str


def connect(options: Mapping[str, Any], redactor: Redactor, clock: Clock, connections: int = 1) -> HelixApi:
    """A client for these connection options, of a module or of the lookup. Sends no request.

    :param connections: the maximum number of simultaneous requests.
    :raises OptionError: an option is missing or not valid.
    :raises MissingLibraryError: C(requests) is missing.
    """
    redactor.add(*(options.get(name) for name in ("access_key", "access_secret_key", "token")))
    for address in ("url", "login_url", "proxy"):
        # Register the password before the address is refused: Ansible can show the options of a failed task.
        redactor.add_url(options[address])
    allow_http = bool(options["allow_http"])
    url = base_url(options["url"], "url", allow_http)
    login_url = base_url(options["login_url"], "login_url", allow_http) if (options["login_url"] or "").strip() else url
    check_numbers(options)
    if options["client_key"] and not options["client_cert"]:
        raise OptionError("client_key is set without client_cert.", remedy="Set both, or neither.")
    names = ("token", "access_key", "access_secret_key", "tenant_id")
    credentials = Credentials(**{name: options[name] for name in names})
    network: dict[str, Any] = {name: options[name] for name in ("validate_certs", "request_timeout", "retries")}
    network |= {name: options[name] or None for name in ("ca_path", "client_cert", "client_key")}
    network["proxy"] = (options["proxy"] or "").strip() or None
    transport = Transport(clock=clock, redactor=redactor, connections=connections, **network)
    return HelixApi(transport, TokenSource(transport, login_url, credentials), url)


class _Call(NamedTuple):
    """A request to the service, and its name in messages."""

    method: str
    path: str
    what: str
    etl_id: int | None = None

    @property
    def writes(self) -> bool:
        """Whether it must not be repeated."""
        return self.method == "POST"


def _id(value: Any) -> int | None:
    """An id: an integer, or a string of digits. None for anything else, because C(int()) also accepts true and 8.7."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


class HelixApi:
    """One method for each documented endpoint.

    Every method raises C(AuthenticationError), C(AnswerError), or C(TransportError). A deadline is a moment on
    C(transport.clock.now()); no retry waits longer.

    :param url: base address, without a slash at the end.
    """

    def __init__(self, transport: Transport, tokens: TokenSource, url: str) -> None:
        self.transport = transport
        self.tokens = tokens
        self.url = url
        self._lock = threading.Lock()
        self._etls: list[Etl] | None = None

    def list_etls(self, retries: int | None = None, deadline: float | None = None) -> list[Etl]:
        """C(GET /opt/api/v1/backend/etls/): all ETLs that are visible to this key. Requested once per task."""
        with self._lock:
            if self._etls is None:
                self._etls = self._list_etls(retries, deadline)
            return self._etls

    def _list_etls(self, retries: int | None, deadline: float | None) -> list[Etl]:
        call = _Call("GET", ETLS_PATH, "The list of ETLs")
        answer, data = self._answered(call, None, retries, deadline)
        if not isinstance(data, (list, type(None))):
            raise self._wrong_shape(call, answer, data)
        etls = []
        for item in data or ():
            etl_id = _id(item.get("etl_id")) if isinstance(item, dict) else None
            if etl_id is None:
                raise self._wrong_shape(call, answer, item)
            found = item.get("run_configurations")
            configurations = [c for c in found if isinstance(c, dict)] if isinstance(found, list) else []
            etls.append(Etl(etl_id, self._text(item.get("name")), [self._configuration(c) for c in configurations]))
        return etls

    def _configuration(self, item: Mapping[str, Any]) -> dict[str, Any]:
        configuration: dict[str, Any] = {"name": self._text(item.get("name"))}
        if isinstance(item.get("active"), bool):
            configuration["active"] = item["active"]
        if _id(item.get("run_configuration_id")) is not None:
            configuration["run_configuration_id"] = _id(item["run_configuration_id"])
        return configuration

    def _text(self, value: Any) -> str:
        """A text of the server, without secrets and without characters that control a terminal."""
        return clean(self.transport.redactor.masked(value)) if isinstance(value, str) else ""

    def status(self, etl_id: int, retries: int | None = None, deadline: float | None = None) -> EtlStatus:
        """C(GET …/etls/{id}/status). Accepts 200 and the documented 204; an empty body means "no value".

        :raises EtlNotFoundError: HTTP 400, and the body or the list confirms that there is no such ETL.
        """
        call = _Call("GET", f"{ETLS_PATH}{etl_id}/status", f"The status of ETL {etl_id}", etl_id)
        answer, data = self._answered(call, None, retries, deadline)
        if isinstance(data, dict):
            data = {key: self._text(value) if isinstance(value, str) else value for key, value in data.items()}
        status = parse_status(data)
        if status is None:
            raise self._wrong_shape(call, answer, data)
        return status

    def act(
        self, action: str, etl_id: int, properties: Mapping[str, str] | None = None, deadline: float | None = None
    ) -> Receipt:
        """C(POST …/etls/{id}/{run,schedule,stop,kill}), sent exactly once (a second time only after a 401).

        :raises DeadlineError: the deadline passed before the request was sent.
        :raises RequestRefusedError: HTTP 200 with C(request_status) ERROR.
        :raises EtlNotFoundError: HTTP 400, and the body or the list confirms that there is no such ETL.
        :raises HelixError: with C(maybe_done) if the server may have acted.
        """
        call = _Call("POST", f"{ETLS_PATH}{etl_id}/{action}", f"The {action} request for ETL {etl_id}", etl_id)
        payload = {"run_execution_properties": dict(properties or {})} if action in WITH_PROPERTIES else None
        answer, data = self._answered(call, payload, deadline=deadline)
        word = data.get("request_status") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(word, str) or not word.strip():
            raise self._wrong_shape(call, answer, data)
        word = self.transport.redactor.text(word, 40).upper()
        if word != "OK":
            raise self._not_ok(call, answer, word)
        return Receipt(_id(data.get("task_execution_request_id")), word)

    # -- exchanges ----------------------------------------------------------------------------------------------------

    def _answered(
        self, call: _Call, payload: Any = None, retries: int | None = None, deadline: float | None = None
    ) -> tuple[Answer, Any]:
        """The response and its JSON.

        :raises AnswerError: the HTTP status is not a documented success.
        """
        answer = self._exchange(call, payload, retries, deadline)
        if answer.status not in ((200, 201, 202) if call.writes else (200, 204)):
            raise self._problem(call, answer)
        return answer, decoded(answer, call.method, self.url + call.path, self.transport.redactor)

    def _exchange(self, call: _Call, payload: Any, retries: int | None, deadline: float | None) -> Answer:
        """One call with a token; after a 401, which means "not executed", once more with another token."""
        url, rejected = self.url + call.path, None
        for last in (False, True):
            self._check_deadline(call, deadline)
            token = self._token(rejected, retries, deadline)
            headers = {"Authorization": f"Bearer {token}"}
            # Check again, because a login can take long.
            self._check_deadline(call, deadline)
            if call.writes:
                answer = self.transport.once(call.method, url, headers, payload)
            else:
                answer = self.transport.read(call.method, url, headers, payload, retries, deadline)
            if answer.status != 401 or last:
                break
            rejected = token
        return answer

    def _check_deadline(self, call: _Call, deadline: float | None) -> None:
        if call.writes and deadline is not None and self.transport.clock.now() >= deadline:
            raise DeadlineError(call.what)

    def _token(self, rejected: str | None, retries: int | None, deadline: float | None) -> str:
        try:
            if rejected is None:
                return self.tokens.current(retries, deadline)
            return self.tokens.replace(rejected, retries, deadline)
        except HelixError as error:
            # Even if the login failed: the request itself was not sent, or was rejected with 401.
            error.maybe_done = False
            raise

    # -- what a response means ----------------------------------------------------------------------------------------

    def _facts(self, call: _Call, answer: Answer) -> dict[str, Any]:
        return facts(answer, call.method, call.path, self.transport.redactor)

    def _not_ok(self, call: _Call, answer: Answer, word: str) -> AnswerError:
        found, log = self._facts(call, answer), "See the log of the ETL in the Helix console (the API has none)."
        if word == "ERROR":
            message = f"{call.what} was rejected with request_status ERROR."
            return RequestRefusedError(message, remedy=log, **found)
        error = AnswerError(
            f"{call.what} returned request_status {word}, which is neither OK nor ERROR.",
            remedy=f"The server may have carried out the request. {log}",
            maybe_done=True,
            **found,
        )
        error.request_status = word
        return error

    def _wrong_shape(self, call: _Call, answer: Answer, data: Any) -> AnswerError:
        shape = "nothing" if data is None else type(data).__name__
        return AnswerError(
            f"{call.what} returned HTTP {answer.status} with JSON of an unexpected shape ({shape}).",
            remedy="Check that url is a BMC Helix Continuous Optimization tenant (22.4 or later).",
            maybe_done=True,
            transient=True,
            **self._facts(call, answer),
        )

    def _problem(self, call: _Call, answer: Answer) -> AnswerError:
        """The error for an HTTP status that is not a success."""
        status, found = answer.status, self._facts(call, answer)
        if status in (400, 404) and call.etl_id is not None and self._is_missing(call.etl_id, answer):
            return EtlNotFoundError(
                f"There is no ETL {call.etl_id} on {self.url}, or it is not visible to this key (HTTP {status}).",
                remedy="Check the ID in the console (Administration > ETL and system tasks > ETL tasks), and the"
                " task groups of the key.",
                **found,
            )
        quoted = f" Response of the server: {found['server_message']!r}." if found["server_message"] else ""
        # The first that applies: kind, words, remedy.
        rules: tuple[tuple[bool, str, str, str], ...] = (
            (status == 401, "authentication", "was rejected (HTTP 401), even with a new token.", _OTHER_PORTAL),
            (status == 403, "permission", "was forbidden (HTTP 403).", RIGHTS[call.writes]),
            (status == 404, "wrong_address", f"returned HTTP 404: {self.url} has no ETL service at {call.path}.", _OLD),
            (300 <= status < 400, "redirected", f"was redirected (HTTP {status}); {_REDIRECTED}", _FINAL_ADDRESS),
            (status == 429, "rate_limited", "was postponed (HTTP 429, too many requests).", _FEWER),
            (status >= 500 or status == 408, "server_error", f"failed with HTTP {status}.{quoted}", _LATER),
            (True, "unexpected_answer", f"returned HTTP {status}.{quoted or ' The response was empty.'}", _CHECK),
        )
        kind, words, remedy = next(rule[1:] for rule in rules if rule[0])
        busy = kind == "server_error"
        return AnswerError(
            f"{call.what} {words}",
            kind=kind,
            remedy=remedy,
            retry_after=answer.retry_after(),
            transient=busy or status == 429 or (kind == "redirected" and not call.writes),
            # Also 503: a gateway may return it after it has passed the request on. Some servers carry out the request
            # and then redirect to a page about it. An undocumented success status proves nothing.
            maybe_done=busy or status < 300 or (call.writes and status in (302, 303)),
            **found,
        )

    def _is_missing(self, etl_id: int, answer: Answer) -> bool:
        """Whether a 400 or 404 means "ETL not found": the body contains these words, or the list confirms it."""
        words = answer.text().lower()
        if "not found" in words and "etl" in words and answer.body.lstrip()[:1] != b"<":
            return True
        try:
            return all(etl.etl_id != etl_id for etl in self.list_etls(retries=0))
        except HelixError:
            # The documented meaning of an empty 400 is "ETL not found".
            return answer.status == 400 and not words.strip()

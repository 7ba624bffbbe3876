# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoints of the ETL service: addresses and shapes, nothing else.

Private to this collection. Sources: the vendor's pages "Executing ETL tasks by using API", "Obtaining the status of
the task by using API" and "Exporting ETL configuration by using API".
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple, NoReturn

from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import (
    AnswerError,
    EtlNotFoundError,
    HelixError,
    RequestRefusedError,
)
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._status import EtlStatus, parse_status
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._token import TokenSource
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._transport import Answer, Transport, decoded

#: The trailing slash is part of the printed address.
ETLS_PATH = "/opt/api/v1/backend/etls/"
#: Actions whose request carries properties. The two others are documented without a body.
WITH_PROPERTIES = ("run", "schedule")


class Etl(NamedTuple):
    """One entry of the list."""

    etl_id: int
    name: str
    run_configurations: list[dict[str, Any]]


class Receipt(NamedTuple):
    """The answer to an accepted request. C(task_execution_request_id) -1 means a service ETL."""

    task_execution_request_id: int | None
    request_status: str


class HelixApi:
    """One method for each documented endpoint.

    Every method raises C(AuthenticationError), C(AnswerError) or C(TransportError).

    :param url: base address, without a slash at its end.
    """

    def __init__(self, transport: Transport, tokens: TokenSource, url: str) -> None:
        self.transport = transport
        self.tokens = tokens
        self._url = url
        self._lock = threading.Lock()
        self._etls: list[Etl] | None = None

    def list_etls(self, retries: int | None = None) -> list[Etl]:
        """C(GET /opt/api/v1/backend/etls/): all ETLs that this key may see. Asked once per run."""
        with self._lock:
            if self._etls is None:
                self._etls = self._list_etls(retries)
            return self._etls

    def _list_etls(self, retries: int | None) -> list[Etl]:
        answer = self._exchange("GET", ETLS_PATH, retries=retries)
        if answer.status not in (200, 204):
            self._raise(answer, "GET", ETLS_PATH, "The list of ETLs")
        data = self._decoded(answer, "GET", ETLS_PATH)
        if data is None:
            return []
        if not isinstance(data, list):
            self._wrong_shape(answer, "GET", ETLS_PATH, "The list of ETLs", data)
        etls = []
        for item in data:
            if not isinstance(item, dict):
                self._wrong_shape(answer, "GET", ETLS_PATH, "The list of ETLs", item)
            try:
                etl_id = int(item.get("etl_id", ""))
            except (TypeError, ValueError):
                self._wrong_shape(answer, "GET", ETLS_PATH, "The list of ETLs", item)
            configurations = item.get("run_configurations")
            etls.append(
                Etl(
                    etl_id,
                    str(item.get("name") or ""),
                    [c for c in configurations if isinstance(c, dict)] if isinstance(configurations, list) else [],
                )
            )
        return etls

    def status(self, etl_id: int, retries: int | None = None, deadline: float | None = None) -> EtlStatus:
        """C(GET …/etls/{id}/status). 200 and the documented 204 are both read; an empty body is "no value".

        :raises EtlNotFoundError: HTTP 400, and the body or the list says that there is no such ETL.
        """
        path = f"{ETLS_PATH}{etl_id}/status"
        answer = self._exchange("GET", path, retries=retries)
        if answer.status not in (200, 204):
            self._raise(answer, "GET", path, f"The status of ETL {etl_id}", etl_id)
        data = self._decoded(answer, "GET", path)
        # Before words are compared and put in capitals: these are shown, whatever a server puts there.
        status = parse_status(self.transport.redactor.masked(data))
        if status is None:
            self._wrong_shape(answer, "GET", path, f"The status of ETL {etl_id}", data)
        return status

    def act(self, action: str, etl_id: int, properties: dict[str, str] | None = None, deadline: float | None = None) -> Receipt:
        """C(POST …/etls/{id}/{run,schedule,stop,kill}), sent exactly once (twice only around a 401).

        :raises RequestRefusedError: HTTP 200 with another C(request_status) than OK.
        :raises EtlNotFoundError: HTTP 400, and the body or the list says that there is no such ETL.
        :raises HelixError: with C(maybe_done) where the server may have acted all the same.
        """
        path = f"{ETLS_PATH}{etl_id}/{action}"
        payload = {"run_execution_properties": dict(properties or {})} if action in WITH_PROPERTIES else None
        answer = self._exchange("POST", path, payload, write=True)
        what = f"The {action} request for ETL {etl_id}"
        if answer.status not in (200, 201, 202):
            self._raise(answer, "POST", path, what, etl_id, write=True)
        data = self._decoded(answer, "POST", path)
        word = data.get("request_status") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(word, str) or not word.strip():
            self._wrong_shape(answer, "POST", path, what, data)
        request_id = data.get("task_execution_request_id")
        if isinstance(request_id, bool) or not isinstance(request_id, (int, str)):
            request_id = None
        try:
            request_id = None if request_id is None else int(request_id)
        except ValueError:
            request_id = None
        word = self.transport.redactor.text(word, 40).upper()
        if word != "OK":
            refusal = RequestRefusedError(
                f"{what} was answered with request_status {word}, not OK.",
                http_status=answer.status,
                method="POST",
                path=path,
                server_message=self.transport.redactor.text(answer.text()),
                remedy=("" if word == "ERROR" else "It may have been carried out all the same. ")
                + "See the ETL's log in the Helix console (the API has none).",
            )
            refusal.request_status = word
            raise refusal
        return Receipt(request_id, word)

    def _exchange(
        self, method: str, path: str, payload: Any = None, *, write: bool = False, retries: int | None = None
    ) -> Answer:
        """One call with a token; after a 401, which means "not executed", once more with another token."""
        url = self._url + path
        token = self._token(None, retries)
        for last in (False, True):
            headers = {"Authorization": f"Bearer {token}"}
            if write:
                answer = self.transport.once(method, url, headers, payload)
            else:
                answer = self.transport.read(method, url, headers, payload, retries)
            if answer.status != 401 or last:
                break
            token = self._token(token, retries)
        return answer

    def _token(self, rejected: str | None, retries: int | None) -> str:
        try:
            return self.tokens.current(retries) if rejected is None else self.tokens.replace(rejected, retries)
        except HelixError as error:
            # Whatever became of the login, the request itself was not sent, or was answered with 401.
            error.maybe_done = False
            raise

    def _decoded(self, answer: Answer, method: str, path: str) -> Any:
        return decoded(answer, method, self._url + path, self.transport.redactor)

    def _wrong_shape(self, answer: Answer, method: str, path: str, what: str, data: Any) -> NoReturn:
        raise AnswerError(
            f"{what} was answered with HTTP {answer.status} and JSON of an unexpected shape"
            f" ({'nothing' if data is None else type(data).__name__}).",
            http_status=answer.status,
            method=method,
            path=path,
            server_message=self.transport.redactor.text(answer.text()) or None,
            remedy="Check that url is a BMC Helix Continuous Optimization tenant (22.4 or newer).",
            maybe_done=True,
            transient=True,
        )

    def _raise(
        self, answer: Answer, method: str, path: str, what: str, etl_id: int | None = None, write: bool = False
    ) -> NoReturn:
        """The documented and the usual HTTP statuses in words."""
        status = answer.status
        said = self.transport.redactor.text(answer.text())
        facts: dict[str, Any] = {
            "http_status": status,
            "method": method,
            "path": path,
            "server_message": said or None,
        }
        quoted = f" The server said: {said!r}." if said else ""
        if status == 401:
            raise AnswerError(
                f"{what} was refused (HTTP 401), also with a new token.",
                kind="authentication",
                remedy="Portal and tenant do not agree about the token: check url, login_url and tenant_id.",
                **facts,
            )
        if status == 403:
            right = (
                "capacity_optimization.custom_etl.edit or capacity_optimization.admin.admin_section_edit"
                if write
                else "capacity_optimization.admin.etls_read or capacity_optimization.admin.admin_section_read"
            )
            raise AnswerError(
                f"{what} was forbidden (HTTP 403).", kind="permission", remedy=f"The key needs {right}.", **facts
            )
        if status in (400, 404) and etl_id is not None and self._is_missing(etl_id, answer):
            raise EtlNotFoundError(
                f"There is no ETL {etl_id} on {self._url}, or this key may not see it (HTTP {status}).",
                remedy="Check the id in the console (Administration > ETL and system tasks > ETL tasks), and the"
                " task groups of the key.",
                **facts,
            )
        if status == 404:
            raise AnswerError(
                f"{what} was answered with HTTP 404: {self._url} has no ETL service at {path}.",
                kind="wrong_address",
                remedy="Check url (without /opt/api); the service exists in BMC Helix Continuous Optimization 22.4"
                " and newer, not in TrueSight Capacity Optimization.",
                **facts,
            )
        if 300 <= status < 400:
            raise AnswerError(
                f"{what} was redirected (HTTP {status}); redirects are not followed, so that no token goes astray.",
                kind="redirected",
                remedy="Give url the address that answers itself (https, the right host, no extra path).",
                transient=not write,
                # Some servers do what they were asked and then send the client to a page about it.
                maybe_done=write and status in (302, 303),
                **facts,
            )
        if status == 429:
            raise AnswerError(
                f"{what} was put off (HTTP 429, too many requests).",
                kind="rate_limited",
                transient=True,
                retry_after=answer.retry_after(),
                remedy="Try again later, or lower max_parallel.",
                **facts,
            )
        if status >= 500 or status == 408:
            raise AnswerError(
                f"{what} failed with HTTP {status}.{quoted}",
                kind="server_error",
                transient=True,
                retry_after=answer.retry_after(),
                # Also 503: a gateway may say so after it had passed the request on.
                maybe_done=True,
                remedy="Try again in a moment; if it stays, ask the administrator of the service.",
                **facts,
            )
        raise AnswerError(
            f"{what} was answered with HTTP {status}.{quoted or ' The answer was empty.'}",
            # A success that is not the documented one, or a status from nowhere, proves nothing.
            maybe_done=status < 400,
            remedy="Check url and the options of the task.",
            **facts,
        )

    def _is_missing(self, etl_id: int, answer: Answer) -> bool:
        """Whether a 400 (or 404) really means "ETL not found": the body says so, or the list does not have it."""
        words = answer.text().lower()
        if "not found" in words and "etl" in words and answer.body.lstrip()[:1] != b"<":
            return True
        try:
            return all(etl.etl_id != etl_id for etl in self.list_etls(retries=0))
        except HelixError:
            # The documented meaning of an empty 400 is "ETL not found".
            return answer.status == 400 and not words.strip()

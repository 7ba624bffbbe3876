# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP exchanges: what is sent, what counts as an answer, and when a read is tried again.

Private to this collection.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _wire
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._clock import Clock, parse_http_date
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import (
    AnswerError,
    MissingLibraryError,
    TransportError,
)
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._failures import (
    explained,
    path,
    place,
    proxy_demands,
)
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._redaction import Redactor
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._tls import make_tls, refused_by_nginx

#: Equal to the version in galaxy.yml; a test compares them.
VERSION = "1.0.0"
#: HTTP statuses after which a read is tried again.
RETRIED = frozenset((429, 502, 503, 504))
#: No server makes us wait longer than this before the next try, in seconds.
LONGEST_PAUSE = 60.0
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class Answer:
    """A complete HTTP answer."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = {str(name).lower(): str(value) for name, value in headers.items()}
        self.body = body

    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The decoded body.

        :raises ValueError: the body is no JSON.
        """
        try:
            data = json.loads(self.body.decode("utf-8-sig"), parse_constant=_not_a_number, parse_float=_finite)
            if _SURROGATE.search(self.body):
                # Half a character can be neither printed nor sent: whoever gets it fails later.
                data = json.loads(json.dumps(data, ensure_ascii=False).encode("utf-8", "replace"))
            return data
        except RecursionError:
            raise ValueError("nested too deeply") from None

    def retry_after(self) -> float | None:
        """Seconds that the server asks us to wait (seconds or HTTP date), clamped to 0..60; None where it does not."""
        text = self.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit():
            return min(float(text[:9]), LONGEST_PAUSE)
        moment = parse_http_date(text)
        now = parse_http_date(self.headers.get("date"))
        if moment is None or now is None:
            return None
        return min(max(moment - now, 0.0), LONGEST_PAUSE)


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _not_a_number(text)


def _not_a_number(text: str) -> Any:
    """NaN, Infinity and 1e999 are no JSON, and would break whoever counts with them."""
    raise ValueError(text)


def backoff(attempt: int, asked: float | None = None) -> float:
    """Seconds before try C(attempt) + 1: what the server asked for, else 0.5, 1, 2 … up to 30, with jitter."""
    if asked is not None:
        return asked + random.uniform(0.0, 0.5)
    return min(0.5 * 2.0 ** min(attempt, 10), 30.0) * random.uniform(0.5, 1.0)


class Transport:
    """Connections with one trust, one proxy rule and one set of secrets to mask.

    :param request_timeout: seconds for each half of an exchange: until the connection stands, and from the request
        to the last byte of its answer.
    :param retries: how often a read is tried again.
    :param connections: how many requests may be under way at a time.
    :raises MissingLibraryError: C(requests) cannot be imported.
    :raises OptionError: a TLS file is missing or unusable.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        redactor: Redactor,
        validate_certs: bool = True,
        ca_path: str | None = None,
        client_cert: str | None = None,
        client_key: str | None = None,
        proxy: str | None = None,
        request_timeout: float = 30.0,
        retries: int = 3,
        connections: int = 1,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        if _wire.REQUESTS_IMPORT_ERROR:
            raise MissingLibraryError("The Python library requests is missing.")
        environ = os.environ if environ is None else environ
        self.clock = clock
        self.redactor = redactor
        self.retries = retries
        self._timeout = request_timeout
        self._proxy = proxy
        redactor.add_url(proxy)
        #: (the server's time, our monotonic time then): one value, so that threads never see half of it.
        self._server_clock: tuple[float, float] | None = None
        self._answered = False
        self._tls = make_tls(validate_certs, ca_path, client_cert, client_key, environ)
        self._adapter = _wire.make_adapter(self._tls.context, connections)

    def close(self) -> None:
        self._adapter.close()

    def server_time(self) -> float | None:
        """Seconds since 1970 by the server's clock (its latest C(Date) header), or None where it never sent one."""
        if self._server_clock is None:
            return None
        server, ours = self._server_clock
        return server + (self.clock.now() - ours)

    def read(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        payload: Any = None,
        retries: int | None = None,
    ) -> Answer:
        """An exchange that may safely be repeated: tried again after 429, 502, 503, 504 and lost connections.

        The last answer is returned whatever its status.

        :raises TransportError: no usable answer in all the tries.
        """
        tries = (self.retries if retries is None else retries) + 1
        for attempt in range(tries):
            last = attempt == tries - 1
            try:
                answer = self.once(method, url, headers, payload)
            except TransportError as error:
                if last or not error.transient:
                    raise
                self.clock.sleep(backoff(attempt))
                continue
            if last or answer.status not in RETRIED:
                return answer
            self.clock.sleep(backoff(attempt, answer.retry_after()))
        raise AssertionError("unreachable")

    def once(self, method: str, url: str, headers: Mapping[str, str], payload: Any = None) -> Answer:
        """One exchange, never repeated, no redirect followed.

        :raises TransportError: no usable answer; C(maybe_done) says whether the server may have acted on it.
        """
        body = None if payload is None else json.dumps(payload).encode("utf-8")
        sent_headers = {
            "Accept": "application/json",
            # A compressed answer could grow beyond every bound while it is unpacked.
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": f"capacityops.bmc_helix/{VERSION}",
            **headers,
        }
        proxies, proxy = self._proxies(url)
        try:
            answer = Answer(*_wire.exchange(self._adapter, method, url, sent_headers, body, self._timeout, proxies))
        except _wire.FAILURES as error:
            raise explained(
                error, method, url, timeout=self._timeout, tls=self._tls, proxy=proxy, first=not self._answered
            ) from None
        self._answered = True
        moment = parse_http_date(answer.headers.get("date"))
        if moment is not None:
            self._server_clock = (moment, self.clock.now())
        refusal = self._refusal(answer, url, proxy)
        if refusal:
            refusal.method, refusal.path = method, path(url)
            raise refusal
        return answer

    def _refusal(self, answer: Answer, url: str, proxy: str | None) -> TransportError | None:
        """Answers that do not come from the service, but from what the connection led to."""
        if answer.status == 407 and proxy:
            return proxy_demands(place(url), proxy)
        return refused_by_nginx(answer.text(), place(url), self._tls) if answer.status == 400 else None

    def _proxies(self, url: str) -> tuple[dict[str, str], str | None]:
        """The proxies as C(requests) wants them, and the one that is used for this address."""
        if self._proxy:
            return {"http": self._proxy, "https": self._proxy}, self._proxy
        proxies = _wire.environment_proxies(url)
        for proxy in proxies.values():
            self.redactor.add_url(proxy)
        return proxies, _wire.proxy_for(url, proxies)


def decoded(answer: Answer, method: str, url: str, redactor: Redactor) -> Any:
    """The JSON of an answer; None for an empty body.

    :raises AnswerError: something else than JSON came; C(maybe_done), since a gateway may have replaced the answer.
    """
    if not answer.body.strip():
        return None
    try:
        return answer.json()
    except ValueError:
        pass
    shown = redactor.text(answer.text(), 200)
    page = answer.body.lstrip()[:1] == b"<"
    raise AnswerError(
        f"{place(url)} answered HTTP {answer.status} with {'a web page' if page else 'something that is not JSON'}"
        f" instead of JSON: {shown!r}.",
        http_status=answer.status,
        method=method,
        path=path(url),
        server_message=shown,
        remedy="Often a login page, a maintenance page or a portal of a gateway: check url and what stands before it.",
        maybe_done=True,
        transient=True,
    )

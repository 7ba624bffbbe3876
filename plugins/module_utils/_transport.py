# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP exchanges on a C(requests) session: TLS, proxy, time-outs, bounded bodies, and retries of reads.

Private to this collection.
"""

from __future__ import annotations

import json
import os
import random
import socket
import ssl
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.capacityops.bmc_helix.plugins.module_utils._clock import Clock, parse_http_date
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import (
    AnswerError,
    MissingLibraryError,
    TransportError,
)
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._redaction import Redactor
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._tls import explain, make_context

try:
    import requests
    import requests.adapters
    import requests.utils
    import urllib3.exceptions
except ImportError:
    REQUESTS_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    REQUESTS_IMPORT_ERROR = None

#: Equal to the version in galaxy.yml; a test compares them.
VERSION = "1.0.0"
#: The largest answer that is read. A list of 10,000 ETLs takes about 2 MB.
MAX_BODY_BYTES = 32 * 1024 * 1024
#: HTTP statuses after which a read is tried again.
RETRIED = frozenset((429, 502, 503, 504))
#: No server makes us wait longer than this before the next try, in seconds.
LONGEST_PAUSE = 60.0


class Answer:
    """A complete HTTP answer."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = {str(name).lower(): str(value) for name, value in headers.items()}
        self.body = body

    def text(self) -> str:
        # The first part is enough for any message, and keeps masking cheap.
        return self.body[:65536].decode("utf-8", "replace")

    def json(self) -> Any:
        """The decoded body.

        :raises ValueError: the body is no JSON.
        """
        try:
            return json.loads(self.body.decode("utf-8-sig"))
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


def backoff(attempt: int, asked: float | None = None) -> float:
    """Seconds before try C(attempt) + 1: what the server asked for, else 0.5, 1, 2 … up to 30, with jitter."""
    if asked is not None:
        return asked + random.uniform(0.0, 0.5)
    return min(0.5 * 2.0 ** min(attempt, 10), 30.0) * random.uniform(0.5, 1.0)


class Transport:
    """One session with one trust, one proxy rule and one set of secrets to mask.

    :param request_timeout: seconds for one exchange: for the connection, between two pieces of the answer, and for
        the whole body.
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
        if REQUESTS_IMPORT_ERROR:
            raise MissingLibraryError("The Python library requests is missing.")
        environ = os.environ if environ is None else environ
        self.clock = clock
        self.redactor = redactor
        self.retries = retries
        self._timeout = request_timeout
        self._ca_path = ca_path
        self._proxy = proxy
        redactor.add_url(proxy)
        #: (the server's time, our monotonic time then): one value, so that threads never see half of it.
        self._server_clock: tuple[float, float] | None = None
        context = make_context(validate_certs, ca_path, client_cert, client_key, environ)
        self._session = _make_session(context, connections)

    def close(self) -> None:
        self._session.close()

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
        started = self.clock.now()
        try:
            with self._session.request(
                method,
                url,
                data=body,
                headers=sent_headers,
                timeout=self._timeout,
                verify=True,
                allow_redirects=False,
                stream=True,
                proxies=self._proxies(url),
            ) as response:
                content = self._bounded(response, method, url, started)
                answer = Answer(response.status_code, response.headers, content)
        except TransportError:
            raise
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise self._explained(error, method, url) from None
        moment = parse_http_date(answer.headers.get("date"))
        if moment is not None:
            self._server_clock = (moment, self.clock.now())
        return answer

    def _proxies(self, url: str) -> dict[str, str]:
        if self._proxy:
            return {"http": self._proxy, "https": self._proxy}
        proxies: dict[str, str] = requests.utils.get_environ_proxies(url, no_proxy=None)
        for proxy in proxies.values():
            self.redactor.add_url(proxy)
        return proxies

    def _bounded(self, response: Any, method: str, url: str, started: float) -> bytes:
        pieces: list[bytes] = []
        size = 0
        for piece in response.iter_content(65536):
            size += len(piece)
            if size > MAX_BODY_BYTES:
                raise TransportError(
                    f"The answer of {_place(url)} is larger than {MAX_BODY_BYTES // 1024 // 1024} MiB; "
                    "the rest was not read.",
                    kind="unexpected_answer",
                    method=method,
                    path=_path(url),
                    remedy="This is not an answer of the ETL API: check url and what stands in front of the server.",
                    maybe_done=True,
                )
            # The time-out of the socket starts anew with every piece: a dripping answer would last for ever.
            if self.clock.now() - started > 2 * self._timeout:
                raise self._too_slow(method, url)
            pieces.append(piece)
        return b"".join(pieces)

    def _too_slow(self, method: str, url: str) -> TransportError:
        return TransportError(
            f"No complete answer from {_place(url)} within {self._timeout:g} s.",
            kind="timeout",
            method=method,
            path=_path(url),
            remedy="Raise request_timeout (seconds) if the server is known to be this slow.",
            maybe_done=True,
            transient=True,
        )

    def _explained(self, error: BaseException, method: str, url: str) -> TransportError:
        """Our own words for a failed exchange: the texts of the libraries may quote addresses and headers."""
        place = _place(url)
        chain = list(_chain(error))
        for cause in chain:
            explained = explain(cause, place, self._ca_path)
            if explained:
                explained.method, explained.path = method, _path(url)
                return explained
        names = {type(cause).__name__ for cause in chain}
        facts: dict[str, Any] = {"method": method, "path": _path(url), "transient": True}
        proxied = next((c for c in chain if isinstance(c, requests.exceptions.ProxyError)), None)
        if proxied is not None:
            return self._proxy_failed(chain, place, facts)
        if any(isinstance(c, socket.gaierror) for c in chain) or "NameResolutionError" in names:
            return TransportError(
                f"The name of {place} could not be resolved.",
                remedy="Check the host name in url, and the name service of the host that the task runs on.",
                **facts,
            )
        if any(isinstance(c, ConnectionRefusedError) for c in chain):
            return TransportError(
                f"{place} refused the connection.",
                remedy="Check host and port in url, and that the server is up.",
                **facts,
            )
        if names & {"ConnectTimeout", "ConnectTimeoutError"}:
            return TransportError(
                f"No connection to {place} within {self._timeout:g} s.",
                kind="timeout",
                remedy="Check url, firewall and proxy; raise request_timeout (seconds) on a very slow network.",
                **facts,
            )
        if "NewConnectionError" in names:
            reason = next((c.strerror for c in chain if isinstance(c, OSError) and c.strerror), "no reason given")
            return TransportError(
                f"No connection to {place} ({str(reason).lower()}).", remedy="Check url, firewall and proxy.", **facts
            )
        if names & {"ReadTimeout", "ReadTimeoutError", "timeout", "TimeoutError"}:
            return self._too_slow(method, url)
        if names & {
            "InvalidURL",
            "LocationParseError",
            "InvalidSchema",
            "InvalidProxyURL",
            "UnicodeError",
            "InvalidHeader",
        }:
            facts["transient"] = False
            return TransportError(
                f"The address of {place}, or of the proxy, cannot be used.",
                kind="invalid_option",
                remedy="Check url, login_url and proxy (or the proxy variables of the environment).",
                **facts,
            )
        cut = names & {
            "ChunkedEncodingError",
            "IncompleteRead",
            "ContentDecodingError",
            "DecodeError",
            "InvalidChunkLength",
        }
        what = "broke off in the middle of the answer" if cut else "was closed before an answer came"
        return TransportError(
            f"The connection to {place} {what}.",
            remedy="Usually a restart of the server or of a gateway before it: try again in a moment.",
            maybe_done=True,
            **facts,
        )

    def _proxy_failed(self, chain: Sequence[BaseException], place: str, facts: dict[str, Any]) -> TransportError:
        words = next((str(c) for c in chain if str(c).startswith("Tunnel connection failed")), "")
        status = "".join(filter(str.isdigit, words))[:3]
        # What a proxy says to CONNECT is not our exchange; 4xx is a decision, the rest may pass.
        facts["transient"] = not status.startswith("4")
        if status == "407":
            return TransportError(
                f"The proxy on the way to {place} demands a user name and password, or refused the ones given (407).",
                kind="proxy",
                remedy="Give proxy as http://USER:PASSWORD@HOST:PORT (percent-encode special characters).",
                **facts,
            )
        said = f" It answered {status}." if status else ""
        return TransportError(
            f"The proxy on the way to {place} made no connection.{said}",
            kind="proxy",
            remedy="Check proxy or HTTPS_PROXY; name hosts that need no proxy in NO_PROXY.",
            # A tunnel that never stood carried nothing; a plain-http proxy may have passed the request on.
            maybe_done=not place.startswith("https")
            and not words
            and "NewConnectionError" not in {type(c).__name__ for c in chain},
            **facts,
        )


def _make_session(context: ssl.SSLContext, connections: int) -> Any:
    """A session that takes trust, proxies and credentials from us alone, never from the environment or a netrc file."""

    class Adapter(requests.adapters.HTTPAdapter):  # type: ignore[misc, name-defined]
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs, ssl_context=context)

        def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
            kwargs["ssl_context"] = context
            if proxy.lower().startswith("https://"):
                kwargs["proxy_ssl_context"] = context
            return super().proxy_manager_for(proxy, **kwargs)

        def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
            """Nothing: it would add certifi's authorities to the ones that the context was given."""
            conn.cert_reqs = None
            conn.ca_certs = None

        def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
            """The context decides, for every pool (requests 2.32 and newer ask here)."""
            host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
            for key in ("cert_reqs", "ca_certs", "ca_cert_dir", "ssl_context"):
                pool.pop(key, None)
            return host, pool

    session = requests.Session()
    session.trust_env = False
    adapter = Adapter(pool_connections=4, pool_maxsize=max(1, connections), max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.headers.clear()
    return session


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and everything that stands behind it, each once."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        current = waiting.pop(0)
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting.extend(current.args)
        waiting.extend((getattr(current, "reason", None), current.__cause__, current.__context__))


def _place(url: str) -> str:
    """Scheme, host and port of an address, for messages."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _path(url: str) -> str:
    return urlsplit(url).path


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
        f"{_place(url)} answered HTTP {answer.status} with {'a web page' if page else 'something that is not JSON'}"
        f" instead of JSON: {shown!r}.",
        http_status=answer.status,
        method=method,
        path=_path(url),
        server_message=shown,
        remedy="Often a login page, a maintenance page or a portal of a gateway: check url and what stands before it.",
        maybe_done=True,
        transient=True,
    )

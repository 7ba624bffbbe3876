# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a failed exchange means, in our own words: the texts of the libraries may quote addresses and headers.

Private to this collection.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import HelixError, TransportError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._tls import Tls, explain
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._wire import (
    MAX_BODY_BYTES,
    BadEncodingError,
    TooLargeError,
)

_TUNNEL = "Tunnel connection failed"
_NOT_AN_API = "This is not an answer of the ETL API: check url and what stands in front of the server."
#: Names of exceptions, since the libraries moved them about. After these nothing can have been sent.
_UNUSABLE = {
    "InvalidProxyURL",
    "InvalidSchema",
    "InvalidURL",
    "LocationParseError",
    "LocationValueError",
    "MissingSchema",
}
_NO_CONNECTION = {"NewConnectionError", "ConnectTimeoutError", "ConnectTimeout", "NameResolutionError"}
_TOO_SLOW = {"ReadTimeout", "ReadTimeoutError", "timeout", "TimeoutError"}
_CUT = {"ChunkedEncodingError", "IncompleteRead", "InvalidChunkLength"}


def place(url: str) -> str:
    """Scheme, host and port of an address, for messages."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def path(url: str) -> str:
    return urlsplit(url).path


def explained(
    error: BaseException, method: str, url: str, *, timeout: float, tls: Tls, proxy: str | None, first: bool
) -> TransportError:
    """The failure of one exchange as the error that a user sees.

    :param proxy: address of the proxy that this exchange went through.
    :param first: nothing was answered yet in this run.
    """
    chain = list(_chain(error))
    names = {type(cause).__name__ for cause in chain}
    server = place(url)
    reached = f"{server} through the proxy {_bare(proxy)}" if proxy else server
    failure = (
        _at_tls(chain, names, server, tls, proxy)
        or _at_proxy(chain, names, server, proxy)
        or _unconnected(chain, names, server, timeout)
        or _too_long(chain, names, reached, timeout)
        or _broken(chain, names, reached)
    )
    if (
        first
        and failure.kind == "connection"
        and failure.maybe_done
        and url.startswith("https")
        and not tls.client_cert
    ):
        # Its reason gets lost where it closes the connection while we still send.
        failure.remedy += " A server that demands a client certificate may do the same: then give client_cert."
    failure.method, failure.path = method, path(url)
    return failure


def _at_tls(
    chain: Sequence[BaseException], names: set[str], server: str, tls: Tls, proxy: str | None
) -> TransportError | None:
    peer = f"the proxy {_bare(proxy)}" if proxy and "ProxyError" in names else server
    return next((failure for failure in (explain(cause, peer, tls) for cause in chain) if failure), None)


def _unconnected(chain: Sequence[BaseException], names: set[str], server: str, timeout: float) -> TransportError | None:
    """Nothing was sent."""
    if any(isinstance(c, socket.gaierror) for c in chain) or "NameResolutionError" in names:
        return TransportError(
            f"The name of {server} could not be resolved.",
            remedy="Check the host name in url, and the name service of the host that the task runs on.",
            transient=True,
        )
    if any(isinstance(c, ConnectionRefusedError) for c in chain):
        return TransportError(
            f"{server} refused the connection.",
            remedy="Check host and port in url, and that the server is up.",
            transient=True,
        )
    if names & {"ConnectTimeout", "ConnectTimeoutError"}:
        return TransportError(
            f"No connection to {server} within {timeout:g} s.",
            kind="timeout",
            remedy="Check url, firewall and proxy; raise request_timeout (seconds) on a very slow network.",
            transient=True,
        )
    if "NewConnectionError" in names:
        return TransportError(
            f"No connection to {server} ({_reason(chain)}).", remedy="Check url, firewall and proxy.", transient=True
        )
    if names & _UNUSABLE or any(isinstance(c, UnicodeError) for c in chain):
        return TransportError(
            f"The address of {server}, or of the proxy, cannot be used.",
            kind="invalid_option",
            remedy="Check url, login_url and proxy (or the proxy variables of the environment)."
            " Percent-encode special characters in the password of a proxy.",
        )
    return None


def _too_long(chain: Sequence[BaseException], names: set[str], server: str, timeout: float) -> TransportError | None:
    if any(isinstance(c, TooLargeError) for c in chain):
        return TransportError(
            f"The answer of {server} is larger than {MAX_BODY_BYTES // 1024 // 1024} MiB; the rest was not read.",
            kind="unexpected_answer",
            remedy=_NOT_AN_API,
            maybe_done=True,
        )
    if names & _TOO_SLOW:
        return TransportError(
            f"No complete answer from {server} within {timeout:g} s.",
            kind="timeout",
            remedy="Raise request_timeout (seconds) if the server is known to be this slow.",
            maybe_done=True,
            transient=True,
        )
    return None


def _broken(chain: Sequence[BaseException], names: set[str], server: str) -> TransportError:
    """The connection stood, and the answer is missing or is none."""
    if any(isinstance(c, BadEncodingError) for c in chain):
        return TransportError(
            f"{server} sent a compressed answer that cannot be unpacked.",
            kind="unexpected_answer",
            remedy=_NOT_AN_API,
            maybe_done=True,
            transient=True,
        )
    cut = names & _CUT
    odd = any(
        isinstance(c, http.client.HTTPException) and not isinstance(c, http.client.RemoteDisconnected) for c in chain
    )
    # Without a cause below it, a ProtocolError is the library's own verdict on what it read.
    on_its_own = "ProtocolError" in names and not any(isinstance(c, OSError) for c in chain)
    if not cut and (odd or on_its_own or "InvalidHeader" in names):
        return TransportError(
            f"{server} did not answer in proper HTTP.",
            kind="unexpected_answer",
            remedy="Check host and port in url, and what stands in front of the server.",
            maybe_done=True,
            transient=True,
        )
    if not cut and not any(isinstance(c, OSError) for c in chain):
        return TransportError(
            f"The request to {server} failed in a way that this collection does not know ({type(chain[0]).__name__}).",
            remedy="Please report it with this message.",
            maybe_done=True,
        )
    what = "broke off in the middle of the answer" if cut else "was closed before an answer came"
    return TransportError(
        f"The connection to {server} {what}.",
        remedy="Usually a restart of the server or of a gateway before it: try again in a moment.",
        maybe_done=True,
        transient=True,
    )


def proxy_demands(server: str, proxy: str) -> TransportError:
    """HTTP 407, for a tunnel or for a plain request."""
    return TransportError(
        f"The proxy {_bare(proxy)} on the way to {server} demands a user name and password, or refused the ones"
        " given (407).",
        kind="proxy",
        remedy="Give proxy as http://USER:PASSWORD@HOST:PORT (percent-encode special characters).",
    )


def _at_proxy(chain: Sequence[BaseException], names: set[str], server: str, proxy: str | None) -> TransportError | None:
    words = next((str(c) for c in chain if str(c).startswith(_TUNNEL)), "")
    status = "".join(filter(str.isdigit, words))[:3]
    if proxy is None or not (words or "ProxyError" in names):
        return None
    if status == "407":
        return proxy_demands(server, proxy)
    said = f"It answered {status}." if status else f"The reason: {_reason(chain)}."
    remedy = "Check proxy or HTTPS_PROXY; name hosts that need no proxy in NO_PROXY."
    if status == "403":
        remedy = "Ask whoever runs the proxy to let this address through, or name it in NO_PROXY."
    elif status.startswith("5"):
        remedy = "The proxy is there, but does not reach the server: check host and port in url."
    return TransportError(
        f"The proxy {_bare(proxy)} made no connection to {server}. {said}",
        kind="proxy",
        remedy=remedy,
        # What a proxy says to CONNECT is not our exchange; 4xx is a decision, the rest may pass.
        transient=not status.startswith("4"),
        # A tunnel that never stood carried nothing. Old libraries also call it a proxy's failure when a connection
        # breaks inside of the tunnel, after the request.
        maybe_done=not words and not names & _NO_CONNECTION,
    )


def _bare(proxy: str | None) -> str:
    """Host and port of a proxy, never its user and password."""
    return str(proxy).rpartition("@")[2].rpartition("//")[2].rstrip("/")


def _reason(chain: Sequence[BaseException]) -> str:
    if any(isinstance(c, socket.gaierror) for c in chain):
        return "its name could not be resolved"
    for cause in chain:
        if isinstance(cause, OSError) and cause.errno and cause.strerror:
            return str(cause.strerror).lower()
    return "none given"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and everything that stands behind it, each once.

    Not what stands behind an error of our own: where a look follows a failed request inside its C(except) clause,
    Python hangs the old failure behind the new one.
    """
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        current = waiting.pop(0)
        if not isinstance(current, BaseException) or isinstance(current, HelixError) or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting.extend(current.args)
        waiting.extend((getattr(current, "reason", None), current.__cause__, current.__context__))

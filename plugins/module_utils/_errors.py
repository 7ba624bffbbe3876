# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exceptions that carry a message, a remedy, and facts.

Private to this collection. Library code raises these; only a module's C(main()) or a plugin's C(run()) turns them
into the failure that a user sees.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class HelixError(Exception):
    """Base class of the exceptions of this library.

    :param message: one or two sentences: what happened, and to which ETL.
    :param remedy: what the user should do next.
    :param maybe_done: whether the server may have acted on the request. True makes a run or schedule request
        I(ambiguous): the state decides, and the request is never repeated blindly.
    :param transient: whether it can help to retry a I(read) later.
    :param retry_after: seconds that the server asked to wait, if it did.
    """

    kind = "error"

    def __init__(
        self,
        message: str,
        *,
        kind: str | None = None,
        remedy: str = "",
        http_status: int | None = None,
        method: str | None = None,
        path: str | None = None,
        server_message: str | None = None,
        maybe_done: bool = False,
        transient: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind or self.kind
        self.remedy = remedy
        self.http_status = http_status
        self.method = method
        self.path = path
        self.server_message = server_message
        self.maybe_done = maybe_done
        self.transient = transient
        self.retry_after = retry_after

    def facts(self) -> dict[str, Any]:
        """The C(error) entry of a failed result: plain values, no secrets."""
        names = ("kind", "http_status", "method", "path", "server_message", "remedy")
        return {name: getattr(self, name) for name in names}

    def reworded(self, message: str, remedy: str | None = None) -> HelixError:
        """The same facts with another message."""
        return HelixError(message, **{**self.facts(), "remedy": self.remedy if remedy is None else remedy})

    def sentence(self) -> str:
        """Message and remedy as one text for C(msg)."""
        return f"{self.message} {self.remedy}".strip()


def internal(error: Exception, readable: Callable[[str], str]) -> HelixError:
    """A bug, as an error without a traceback.

    :param readable: masks secrets in a text and shortens it.
    """
    return HelixError(
        f"An error inside the collection ({type(error).__name__}: {readable(str(error))}).",
        kind="internal_error",
        remedy="Report this message. Check the state of the ETL before you start it again.",
    )


class OptionError(HelixError):
    """Bad input, found before any request was sent."""

    kind = "invalid_option"


class MissingOptionError(OptionError):
    """A required option is not set anywhere."""


class MissingLibraryError(HelixError):
    """The C(requests) library cannot be imported by the interpreter that runs this code."""

    kind = "missing_library"


class TransportError(HelixError):
    """No usable HTTP response: name resolution, connection, TLS, proxy, timeout, reset, incomplete body."""

    kind = "connection"


class AnswerError(HelixError):
    """An unexpected HTTP response."""

    kind = "unexpected_answer"
    #: The request_status of a run, schedule, stop, or kill request, if it is not OK.
    request_status: str | None = None


class AuthenticationError(AnswerError):
    """The key pair or the token was rejected, and there are no other credentials."""

    kind = "authentication"


class EtlNotFoundError(AnswerError):
    """No ETL with that id or name is visible to this key."""

    kind = "etl_not_found"


class RequestRefusedError(AnswerError):
    """HTTP 200 with C(request_status) ERROR."""

    kind = "request_refused"
    request_status = "ERROR"


class DeadlineError(HelixError):
    """A request was not sent, because its deadline had passed.

    :param what: the request, as messages name it.
    :param option: the option that set the deadline.
    """

    kind = "timed_out"

    def __init__(self, what: str, option: str = "wait_timeout") -> None:
        remedy = f"Increase {option}, and check why the server did not respond in time."
        super().__init__(f"{what} was not sent, because {option} had expired.", remedy=remedy)
        self.what = what

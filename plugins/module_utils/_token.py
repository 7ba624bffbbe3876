# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens: log in, refresh, and always have a valid one at hand.

Private to this collection. Facts of the service that this file relies on: C(POST /ims/api/v1/access_keys/login) takes
C(access_key), C(access_secret_key) and optionally C(tenant_id), and answers C(json_web_token) and the refresh token
C(token) (documented; field names seen in public clients). C(POST /ims/api/v1/auth/tokens) takes C(token) and answers a
new C(json_web_token) (seen in public clients, not documented: every failure of it falls back to the keys). A JWT lives
15 minutes, a refresh token 24 hours (documented).
"""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

from ansible_collections.capacityops.bmc_helix.plugins.module_utils._clock import rfc3339
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import (
    AnswerError,
    AuthenticationError,
    HelixError,
    OptionError,
    TransportError,
)
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._transport import (
    RETRIED,
    Answer,
    Transport,
    decoded,
)

LOGIN_PATH = "/ims/api/v1/access_keys/login"
REFRESH_PATH = "/ims/api/v1/auth/tokens"
#: Seconds that a token without a readable expiry is used: documented life is 900, careful clients use 600.
BLIND_LIFE = 600.0
#: A token is renewed this long before it expires, or at four fifths of a shorter life.
MARGIN = 60.0


def jwt_claims(token: str) -> dict[str, Any]:
    """The claims of a JWT, not verified (that is the server's business); empty where they cannot be read."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _number(value: Any) -> float | None:
    # A claim beyond the year 5000 or below zero is no time.
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e11
    return float(value) if usable else None


def usable_life(token: str, server_now: float) -> float:
    """Seconds for which a token just seen may be used before it should be renewed.

    From its own C(exp) against the server's clock; a careful fixed age where there is no C(exp).
    """
    expires = _number(jwt_claims(token).get("exp"))
    if expires is None:
        return BLIND_LIFE
    left = expires - server_now
    return left - min(MARGIN, 0.2 * max(left, 0.0))


def checked_token(token: str, where: str) -> str:
    """The token without surrounding white space.

    :raises OptionError: it holds characters that cannot stand in an HTTP header.
    """
    token = token.strip()
    if not token or not all("!" <= character <= "~" for character in token):
        raise OptionError(
            f"{where} is empty or holds blanks or characters that no token has.",
            remedy="Give the JWT alone, without the word Bearer and without quotation marks.",
        )
    return token


class Credentials:
    """A ready token, a key pair, or both.

    :raises OptionError: neither, half a key pair, or a token that no header can carry.
    """

    def __init__(
        self,
        token: str | None = None,
        access_key: str | None = None,
        access_secret_key: str | None = None,
        tenant_id: str | None = None,
    ) -> None:
        self.token = checked_token(token, "The option token") if token else None
        self.access_key = access_key or ""
        self.access_secret_key = access_secret_key or ""
        self.tenant_id = tenant_id or None
        if bool(self.access_key) != bool(self.access_secret_key):
            missing = "access_secret_key" if self.access_key else "access_key"
            raise OptionError(
                f"The option {missing} is missing.",
                remedy=f"Set it, or the environment variable HELIX_{missing.upper()}; the two keys go together.",
            )
        if not self.token and not self.access_key:
            raise OptionError(
                "There is nothing to log in with.",
                remedy="Set access_key and access_secret_key (or HELIX_ACCESS_KEY and HELIX_ACCESS_SECRET_KEY),"
                " or token (or HELIX_TOKEN).",
            )

    @property
    def has_keys(self) -> bool:
        return bool(self.access_key)


class TokenSource:
    """Hands out a token that is valid now; renews it before it expires, and once after a 401.

    Order of renewal: refresh token, then keys. Safe for several threads: one of them renews, the others wait for it.

    :param login_url: base address of the portal.
    :param carried: what C(export()) gave in an earlier slice of the same task.
    """

    def __init__(
        self, transport: Transport, login_url: str, credentials: Credentials, carried: dict[str, Any] | None = None
    ) -> None:
        self._transport = transport
        self._login_url = login_url
        self._credentials = credentials
        self._lock = threading.RLock()
        self._token = ""
        self._refresh_token: str | None = None
        self._renew_at = 0.0
        self._refusal: AuthenticationError | None = None
        #: Logins and refreshes after the first token.
        self.renewals = 0
        redactor = transport.redactor
        redactor.add(credentials.access_secret_key, credentials.access_key, credentials.token)
        if carried:
            self._token = str(carried["token"])
            self._refresh_token = carried.get("refresh_token")
            self._renew_at = transport.clock.now() + float(carried["usable"])
            self.renewals = int(carried.get("renewals", 0))
            redactor.add(self._token, self._refresh_token)
        elif credentials.token:
            self._token = credentials.token
            # Without keys only the server can say that it is over; with keys an old one is not even tried.
            self._renew_at = transport.clock.now() + (
                usable_life(credentials.token, transport.clock.wall()) if credentials.has_keys else float("inf")
            )

    def export(self) -> dict[str, Any] | None:
        """What a later process needs to go on without a login. Secret."""
        if not self._token:
            return None
        usable = min(self._renew_at - self._transport.clock.now(), 1e9)
        return {
            "token": self._token,
            "refresh_token": self._refresh_token,
            "usable": usable,
            "renewals": self.renewals,
        }

    def current(self, retries: int | None = None) -> str:
        """A token to send now.

        :param retries: how often a login is tried again; None: as often as any read.
        :raises AuthenticationError: no credential is accepted any more.
        :raises TransportError: the portal cannot be reached.
        """
        with self._lock:
            if not self._token:
                self._log_in(retries)
            elif self._transport.clock.now() >= self._renew_at:
                self._renew_early(retries)
            return self._token

    def replace(self, rejected: str, retries: int | None = None) -> str:
        """Another token than the one that the server answered with 401.

        :raises AuthenticationError: there is no other.
        """
        with self._lock:
            if not self._token or self._token == rejected:
                self._renew(retries)
            return self._token

    def _renew_early(self, retries: int | None) -> None:
        try:
            if self._refresh():
                self.renewals += 1
            else:
                self._renew_by_keys(retries)
        except AuthenticationError:
            raise
        except HelixError:
            # The old token may still be good for the margin; if it is not, its 401 leads to replace().
            self._renew_at = self._transport.clock.now() + 5.0

    def _renew(self, retries: int | None) -> None:
        try:
            refreshed = self._refresh()
        except TransportError:
            refreshed = False
        if refreshed:
            self.renewals += 1
        else:
            self._renew_by_keys(retries)

    def _renew_by_keys(self, retries: int | None) -> None:
        if not self._credentials.has_keys:
            raise self._token_over()
        self._log_in(retries)
        self.renewals += 1

    def _token_over(self) -> AuthenticationError:
        expires = _number(jwt_claims(self._token).get("exp"))
        when = f" It expired at {rfc3339(expires)}." if expires and expires <= self._now() else ""
        return AuthenticationError(
            f"The token given in option token has expired or is not accepted any more (HTTP 401).{when}",
            http_status=401,
            remedy="Get a new one, or give access_key and access_secret_key as well, so that it can be renewed"
            " (a token lives about 15 minutes).",
        )

    def _now(self) -> float:
        server = self._transport.server_time()
        return self._transport.clock.wall() if server is None else server

    def _take(self, answer: Answer, path: str) -> None:
        data = decoded(answer, "POST", self._login_url + path, self._transport.redactor)
        token = data.get("json_web_token") if isinstance(data, dict) else None
        if not isinstance(token, str) or not token:
            raise AnswerError(
                f"The login at {self._login_url} answered HTTP {answer.status} without a json_web_token.",
                http_status=answer.status,
                method="POST",
                path=path,
                remedy="Check that login_url (or url) is the BMC Helix Portal of your tenant.",
            )
        refresh_token = data.get("token")
        principal = data.get("principal_id")
        self._transport.redactor.add(token, *(v for v in (refresh_token, principal) if isinstance(v, str)))
        self._token = checked_token(token, "The json_web_token that the server sent")
        if isinstance(refresh_token, str) and refresh_token:
            self._refresh_token = refresh_token
        life = usable_life(self._token, self._now())
        if life <= 0:
            # A token that was just handed out is not over: the server told no time, and our clock is wrong.
            life = BLIND_LIFE
        self._renew_at = self._transport.clock.now() + max(life, 1.0)

    def _refresh(self) -> bool:
        """One try with the refresh token. It is not documented, so no failure of it is final.

        :raises TransportError: nobody answered, so nothing is known about the refresh token: it is kept.
        """
        if not self._refresh_token:
            return False
        refresh_token, self._refresh_token = self._refresh_token, None
        try:
            answer = self._transport.once(
                "POST",
                self._login_url + REFRESH_PATH,
                {"Authorization": f"Bearer {checked_token(refresh_token, 'The refresh token')}"},
                {"token": refresh_token},
            )
            if answer.status not in (200, 201):
                if answer.status in RETRIED:
                    self._refresh_token = refresh_token
                return False
            self._take(answer, REFRESH_PATH)
        except TransportError:
            self._refresh_token = refresh_token
            raise
        except HelixError:
            return False
        # A server that rotates refresh tokens sent a new one; one that does not goes on with the old one.
        self._refresh_token = self._refresh_token or refresh_token
        return True

    def _log_in(self, retries: int | None) -> None:
        if self._refusal:
            # Keys that were refused once are not tried for every ETL of a list: portals lock them.
            raise self._refusal
        keys = self._credentials
        payload = {"access_key": keys.access_key, "access_secret_key": keys.access_secret_key}
        if keys.tenant_id:
            payload["tenant_id"] = keys.tenant_id
        # A login changes nothing on the server, so it may be repeated like a read.
        answer = self._transport.read("POST", self._login_url + LOGIN_PATH, {}, payload, retries)
        if answer.status in (200, 201):
            self._take(answer, LOGIN_PATH)
            return
        raise self._login_failed(answer)

    def _login_failed(self, answer: Answer) -> AnswerError:
        status = answer.status
        facts: dict[str, Any] = {
            "http_status": status,
            "method": "POST",
            "path": LOGIN_PATH,
            "server_message": self._transport.redactor.text(answer.text()) or None,
        }
        if status == 401:
            self._refusal = AuthenticationError(
                f"The login at {self._login_url} was refused (HTTP 401).",
                remedy="Check access_key and access_secret_key: mistyped, expired, deactivated or rotated, or a key of"
                " another tenant; it must be of type 'Access key'.",
                **facts,
            )
            return self._refusal
        if status == 403:
            return AnswerError(
                f"The login at {self._login_url} was forbidden (HTTP 403).",
                kind="authentication",
                remedy="Ask the administrator of the portal whether this key may log in, and from this address.",
                **facts,
            )
        if status == 404:
            what = f"tenant_id {self._credentials.tenant_id!r}" if self._credentials.tenant_id else "the address"
            return AnswerError(
                f"The login at {self._login_url} answered 404: {what} is not known there.",
                kind="authentication",
                remedy="Check tenant_id, and that login_url (or url) is the BMC Helix Portal of your tenant.",
                **facts,
            )
        if 300 <= status < 400:
            return AnswerError(
                f"The login at {self._login_url} was redirected (HTTP {status}); redirects are not followed with keys.",
                kind="redirected",
                remedy="Give login_url (or url) the address that answers itself.",
                **facts,
            )
        return AnswerError(
            f"The login at {self._login_url} failed with HTTP {status}.",
            kind="server_error" if status >= 500 else "unexpected_answer",
            transient=status >= 500 or status == 429,
            retry_after=answer.retry_after(),
            remedy="Try again in a moment; if it stays, ask the administrator of the portal.",
            **facts,
        )

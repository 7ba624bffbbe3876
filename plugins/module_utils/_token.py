# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log in, and provide a valid token. Private to this collection.

Facts about the service: C(POST /ims/api/v1/access_keys/login) takes C(access_key), C(access_secret_key), and optionally
C(tenant_id), and returns C(json_web_token) (documented; C(tenant_id) and the field name seen in public clients). A JWT
is valid for 15 minutes (documented). The refresh token is not used, because its endpoint is not documented and the keys
are needed anyway if it fails.
"""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

from ._errors import AnswerError, AuthenticationError, HelixError, MissingOptionError, OptionError
from ._http import Answer, Transport, decoded, facts
from ._options import check_key, ways
from ._status import rfc3339

LOGIN_PATH = "/ims/api/v1/access_keys/login"
#: Seconds for which a token without a readable expiry is used. The documented lifetime is 900 s.
BLIND_LIFE = 600.0
#: A token is renewed this long before it expires, or at four fifths of a shorter lifetime.
MARGIN = 60.0
_REFUSED = (
    "Check access_key and access_secret_key. The key may be mistyped, expired, deactivated, rotated, or of another"
    " tenant. Its type must be 'Access key'."
)
_FORBIDDEN = "Ask the administrator of the portal whether this key may log in, and from this address."
_PORTAL = "that login_url (or url) is the BMC Helix Portal of your tenant."
_REDIRECTED = "redirects are not followed to avoid sending the keys to another host."
_FINAL_ADDRESS = "Set login_url (or url) to the final address (HTTPS, correct host, no additional path)."
_LATER = "Try again later. If the error persists, contact the administrator of the portal."


def jwt_claims(token: str) -> dict[str, Any]:
    """The claims of a JWT, not verified (that is up to the server); empty if they cannot be read."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def claim_number(value: Any) -> float | None:
    """Seconds since 1970 of a time claim. None if it is below zero or beyond the year 5000."""
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e11
    return float(value) if usable else None


def usable_life(token: str, server_now: float) -> float:
    """Seconds for which a new token may be used before it should be renewed.

    From its C(exp) claim and the clock of the server; without C(exp), a fixed time.
    """
    expires = claim_number(jwt_claims(token).get("exp"))
    if expires is None:
        return BLIND_LIFE
    left = expires - server_now
    return left - min(MARGIN, 0.2 * max(left, 0.0))


def checked_token(token: str, where: str) -> str:
    """The token without surrounding white space.

    :raises OptionError: it contains characters that an HTTP header cannot contain.
    """
    token = token.strip()
    if not token or not all("!" <= character <= "~" for character in token):
        raise OptionError(
            f"{where} is empty or contains white space or other characters that are not allowed in a token.",
            remedy="Set the JWT only, without the word Bearer and without quotation marks.",
        )
    return token


class Credentials:
    """A token, a key pair, or both. White space around the values is removed.

    :raises OptionError: nothing is set, one key is missing, or a value cannot be a key or a token.
    """

    def __init__(
        self,
        token: str | None = None,
        access_key: str | None = None,
        access_secret_key: str | None = None,
        tenant_id: str | None = None,
    ) -> None:
        self.token = checked_token(token, "The option token") if token else None
        self.access_key = (access_key or "").strip()
        self.access_secret_key = (access_secret_key or "").strip()
        self.tenant_id = (tenant_id or "").strip() or None
        for option in ("token", "access_key", "access_secret_key"):
            check_key(option, getattr(self, option) or "")
        if bool(self.access_key) != bool(self.access_secret_key):
            missing = "access_secret_key" if self.access_key else "access_key"
            raise MissingOptionError(
                f"The option {missing} is missing; the two keys belong together.", remedy=f"Set {ways(missing)}."
            )
        if not self.token and not self.access_key:
            raise MissingOptionError(
                "No credentials were provided.",
                remedy="Set access_key and access_secret_key, or token: as options, as the variables helix_access_key,"
                " helix_access_secret_key, and helix_token, or as the environment variables"
                " HELIX_ACCESS_KEY, HELIX_ACCESS_SECRET_KEY, and HELIX_TOKEN.",
            )


class TokenSource:
    """Provides a token that is valid now: logs in before it expires, and after a 401. Safe for several threads.

    :param login_url: base address of the portal.
    """

    def __init__(self, transport: Transport, login_url: str, credentials: Credentials) -> None:
        self._transport = transport
        self.login_url = login_url
        self._credentials = credentials
        # One thread logs in, the others wait for its result.
        self._lock = threading.RLock()
        self._token = credentials.token or ""
        self._renew_at = float("inf")
        self._refusal: AuthenticationError | None = None
        #: Logins that replaced a token.
        self.renewals = 0
        transport.redactor.add(credentials.access_secret_key, credentials.access_key, credentials.token)
        if credentials.token and credentials.access_key:
            # Without keys, the server decides whether it is still valid. With keys, an old one is not tried.
            self._renew_at = transport.clock.now() + usable_life(credentials.token, transport.clock.wall())

    @property
    def usable_seconds(self) -> float:
        """Seconds for which C(current()) returns the same token."""
        return max(0.0, self._renew_at - self._transport.clock.now()) if self._token else 0.0

    def current(self, retries: int | None = None, deadline: float | None = None) -> str:
        """A valid token.

        :param retries: how often a login is retried; None means as often as a read.
        :param deadline: a moment on C(clock.now()); no retry waits longer.
        :raises AuthenticationError: the credentials are rejected.
        :raises TransportError: the portal cannot be reached.
        """
        with self._lock:
            if not self._token:
                self._log_in(retries, deadline)
            elif self._transport.clock.now() >= self._renew_at:
                try:
                    self._renew(retries, deadline)
                except AuthenticationError:
                    raise
                except HelixError:
                    # The old token may be valid for the rest of its margin. If it is not, the 401 leads to replace().
                    self._renew_at = self._transport.clock.now() + 5.0
            return self._token

    def replace(self, rejected: str, retries: int | None = None, deadline: float | None = None) -> str:
        """A new token, in place of the one that the server rejected with 401.

        :raises AuthenticationError: there are no keys, or they are rejected.
        """
        with self._lock:
            if not self._token or self._token == rejected:
                self._renew(retries, deadline)
            return self._token

    def _renew(self, retries: int | None, deadline: float | None) -> None:
        if not self._credentials.access_key:
            expires = claim_number(jwt_claims(self._token).get("exp"))
            when = f" It expired at {rfc3339(expires)}." if expires and expires <= self._transport.server_now() else ""
            raise AuthenticationError(
                f"The token in the option token has expired or is no longer accepted (HTTP 401).{when}",
                http_status=401,
                remedy="Get a new token, or also set access_key and access_secret_key, so that it can be renewed (a"
                " token is valid for about 15 minutes).",
            )
        self._log_in(retries, deadline)
        self.renewals += 1

    def _log_in(self, retries: int | None, deadline: float | None) -> None:
        if self._refusal:
            # Rejected keys are not tried again for each ETL of a list, because portals lock them.
            raise self._refusal
        keys = self._credentials
        payload = {"access_key": keys.access_key, "access_secret_key": keys.access_secret_key}
        if keys.tenant_id:
            payload["tenant_id"] = keys.tenant_id
        # A login changes nothing on the server, so it may be repeated like a read.
        answer = self._transport.read("POST", self.login_url + LOGIN_PATH, {}, payload, retries, deadline)
        if answer.status not in (200, 201):
            raise self._login_failed(answer)
        self._take(answer)

    def _take(self, answer: Answer) -> None:
        data = decoded(answer, "POST", self.login_url + LOGIN_PATH, self._transport.redactor)
        fields = data if isinstance(data, dict) else {}
        secrets = [fields.get(name) for name in ("json_web_token", "token", "principal_id")]
        self._transport.redactor.add(*(secret for secret in secrets if isinstance(secret, str)))
        token = secrets[0]
        if not isinstance(token, str) or not token:
            raise AnswerError(
                f"The login at {self.login_url} returned HTTP {answer.status} without a json_web_token.",
                http_status=answer.status,
                method="POST",
                path=LOGIN_PATH,
                remedy=f"Check {_PORTAL}",
            )
        self._token = checked_token(token, "The json_web_token of the login response")
        life = usable_life(self._token, self._transport.server_now())
        # A new token has not expired: the server sent no time, and the clock of this machine is wrong.
        self._renew_at = self._transport.clock.now() + max(life if life > 0 else BLIND_LIFE, 1.0)

    def _login_failed(self, answer: Answer) -> AnswerError:
        status = answer.status
        found = facts(answer, "POST", LOGIN_PATH, self._transport.redactor)
        if status == 401:
            message = f"The login at {self.login_url} was refused (HTTP 401)."
            self._refusal = AuthenticationError(message, remedy=_REFUSED, **found)
            return self._refusal
        what = f"tenant_id {self._credentials.tenant_id!r}" if self._credentials.tenant_id else "the address"
        unknown = f"returned HTTP 404: {what} is unknown."
        # The first that applies: kind, words, remedy.
        rules: tuple[tuple[bool, str, str, str], ...] = (
            (status == 403, "authentication", "was forbidden (HTTP 403).", _FORBIDDEN),
            (status == 404, "authentication", unknown, f"Check tenant_id, and {_PORTAL}"),
            (300 <= status < 400, "redirected", f"was redirected (HTTP {status}); {_REDIRECTED}", _FINAL_ADDRESS),
            (status >= 500, "server_error", f"failed with HTTP {status}.", _LATER),
            (True, "unexpected_answer", f"failed with HTTP {status}.", _LATER),
        )
        kind, words, remedy = next(rule[1:] for rule in rules if rule[0])
        return AnswerError(
            f"The login at {self.login_url} {words}",
            kind=kind,
            remedy=remedy,
            transient=status >= 500 or status == 429,
            retry_after=answer.retry_after(),
            **found,
        )

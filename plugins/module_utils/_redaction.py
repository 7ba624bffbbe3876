# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep secrets and control characters out of all output. Private to this collection."""

from __future__ import annotations

import base64
import html
import json
import re
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus, unquote

MASK = "********"
#: Shorter values are refused as options, because masking them would garble messages.
SHORTEST = 4
_COMMON = frozenset(("true", "false", "none", "null"))
#: How much of a text is scanned, and how much more, so that a secret at the end of it is found as a whole.
_SCANNED, _SLACK = 64 * 1024, 16 * 1024
#: Tokens and passwords that were not registered: JWTs, Authorization headers, user:password@ in addresses.
_LOOKS_SECRET = re.compile(
    r"eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){0,2}"
    r"|(?i:\b(?:bearer|basic))\s+(?=[^\s\"']*[0-9])[A-Za-z0-9._~+/=-]{8,}"
    r"|(?<=://)(?!USER:PASSWORD@)[^/\s:@]*:[^/\s@]*@"
)
#: JSON fields of a login response, also inside a JSON string.
_SECRET_FIELD = re.compile(
    r"((?:json_web_token|(?:access_|refresh_|id_)?token|access_(?:secret_)?key|principal_id|password|passphrase)"
    r"(?P<quote>\\*[\"'])\s*:\s*(?P=quote)).*?((?<!\\)(?P=quote)|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
#: Zero-width characters, direction marks, and code points that are not characters.
_INVISIBLE = re.compile(r"[\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]+")
_INLINE_TAG = re.compile(r"</?(?:wbr|b|i|em|strong|span|code)\b[^<>]{0,100}>", re.IGNORECASE)
_TAG = re.compile(r"<[^>]{0,500}>")
_UNSHOWN = re.compile(r"<(script|style)\b.*?(?:</\1\b[^>]{0,500}>|\Z)", re.IGNORECASE | re.DOTALL)


def clean(text: str) -> str:
    """The text on one line, without characters that control a terminal or reorder what it shows."""
    return _INVISIBLE.sub("", _CONTROL.sub(" ", text))


def _without_markup(text: str) -> str:
    """The text that a browser would show. In linear time, because a hostile page must not take seconds."""
    return html.unescape(_TAG.sub(" ", _INLINE_TAG.sub("", _UNSHOWN.sub(" ", text))))


def _spellings(value: str) -> set[str]:
    """The forms in which servers echo a value: unchanged, in JSON (also nested, or by Gson or PHP), URL, or HTML."""
    # In one line, too: white space collapses in a page, before its entities show that this was a secret.
    texts = {value, " ".join(clean(value).split())}
    for _nested in range(2):
        texts |= {json.dumps(text, ensure_ascii=ascii_only)[1:-1] for text in texts for ascii_only in (True, False)}
    texts |= {re.sub("[<>&='/+]", lambda match: f"\\u{ord(match.group()):04x}", text) for text in texts}
    texts |= {re.sub("[<>&=']", lambda match: f"\\u{ord(match.group()):04x}", text) for text in texts}
    texts |= {text.replace("/", "\\/") for text in texts} | {html.escape(text) for text in texts}
    urls = {quote(value, safe=safe, errors="replace") for safe in ("", "/")} | {quote_plus(value, errors="replace")}
    texts |= urls | {re.sub("%..", lambda match: match.group().lower(), url) for url in urls}
    return {text for text in texts | _base64_forms(value) if len(text) >= SHORTEST}


def _base64_forms(value: str) -> set[str]:
    """The part of base64 text that a value determines, at each of the three possible offsets (Basic credentials)."""
    raw, forms = value.encode("utf-8", "surrogatepass"), set()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw).decode("ascii").rstrip("=")
        forms.add(encoded[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6])
    forms |= {form.translate({ord("+"): "-", ord("/"): "_"}) for form in forms}
    return {form for form in forms if len(form) >= 8}


class Redactor:
    """Masks the secrets of this task in texts. Safe for several threads.

    :param on_secret: called once with each new secret, to register it with Ansible.
    """

    def __init__(self, on_secret: Callable[[str], None] | None = None) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._spellings: list[str] = []
        self._on_secret = on_secret

    def add(self, *values: str | None) -> None:
        """Register secrets. Values of fewer than 4 characters and words such as true are ignored."""
        for value in values:
            # A server may return a value without the white space around it.
            value = (value or "").strip()
            with self._lock:
                if len(value) < SHORTEST or value.lower() in _COMMON or value in self._known:
                    continue
                self._known.add(value)
                # The longest first, because masking a part would leave the rest of a longer secret.
                self._spellings = sorted({*self._spellings, *_spellings(value)}, key=len, reverse=True)
            if self._on_secret:
                self._on_secret(value)

    def add_url(self, url: str | None) -> None:
        """Register the password in C(user:password@) of an address, with or without a scheme."""
        # Not urlsplit, which finds no or another password if a character is not encoded.
        user_info, _at, _host = (url or "").rpartition("://")[2].rpartition("@")
        user, colon, password = user_info.partition(":")
        if colon:
            pair = f"{unquote(user)}:{unquote(password)}".encode("utf-8", "replace")
            self.add(password, unquote(password), base64.b64encode(pair).decode())

    def mask(self, text: str) -> str:
        """The text, with registered secrets and everything that looks like a token or a password masked."""
        return _LOOKS_SECRET.sub(MASK, _SECRET_FIELD.sub(rf"\1{MASK}\3", self._without_known(text)))

    def _without_known(self, text: str) -> str:
        for spelling in self._spellings:
            text = text.replace(spelling, MASK)
        return text

    def masked(self, data: Any) -> Any:
        """Plain data with registered secrets masked in its strings, keys included."""
        if isinstance(data, str):
            return self._without_known(data)
        if isinstance(data, dict):
            return {self.masked(key): self.masked(value) for key, value in data.items()}
        if isinstance(data, (list, tuple)):
            return [self.masked(item) for item in data]
        return data

    def text(self, text: str, limit: int = 300) -> str:
        """One readable line of at most C(limit) characters: no markup, no control characters, secrets masked."""
        # Masked before and after, because cleaning can split a secret or join one.
        masked = self.mask(text[: _SCANNED + _SLACK])
        if len(text) > _SCANNED:
            masked = masked[:-_SLACK]
        text = self.mask(" ".join(clean(_without_markup(masked)).split()))
        return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"

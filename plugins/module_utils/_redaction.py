# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps secrets out of every text that this collection shows.

Private to this collection.
"""

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
#: Shorter values would mask half of every message; nothing that short is a secret.
SHORTEST = 4
#: As properties these may be marked secret, but to mask them would garble results and keep nothing.
_NO_SECRETS = frozenset(("true", "false", "none", "null"))
#: Characters of a text that are looked at: enough for any message.
_SCANNED = 64 * 1024
#: Longer than any secret: what a cut text may hold half of at its end.
_SLACK = 16 * 1024
#: Nobody writes longer values as base64 into an error.
_LONGEST_BASE64 = 80
#: Anything that looks like a JWT or a header with credentials is masked, also one that we never saw before.
_LOOKS_SECRET = re.compile(
    r"eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){0,2}"
    r"|(?i:\b(?:bearer|basic))\s+(?=[^\s\"']*[0-9])[A-Za-z0-9._~+/=-]{8,}"
    r"|(?<=://)(?!USER:PASSWORD@)[^/\s:@]*:[^/\s@]*@"
)
#: A login that goes wrong may show tokens that we never got to know: their names give them away.
_SECRET_FIELD = re.compile(
    r"((?:json_web_token|(?:access_|refresh_|id_)?token|access_(?:secret_)?key|principal_id|password|passphrase)"
    r"(?P<quote>\\*[\"'])\s*:\s*(?P=quote)).*?((?<!\\)(?P=quote)|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_TAG = re.compile(r"(<[^>]{0,500}>)")
_UNSHOWN = re.compile(r"<(/?)(?:script|style)\b", re.IGNORECASE)
#: One character that may have been escaped, for JSON, URLs, HTML or by Python, once or several times over.
_ESCAPED = (
    r"(?:%(?:25){0,3}[0-9A-Fa-f]{2}"
    r"|(?:&|%(?:25){0,3}26|\\{1,8}u0026)(?:amp(?:;|%3[bB])){0,3}#?\w{2,8}(?:;|%(?:25){0,3}3[bB])"
    r"|(?:\\|%(?:25){0,3}5[cC]){1,8}(?:u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|x[0-9A-Fa-f]{2}|[bfnrt])"
    # The last: what was escaped is to be taken whole, also at the end of a secret.
    r"|[^A-Za-z0-9])"
)
_SPECIAL = re.compile(r"[^A-Za-z0-9]+")
#: So many letters and digits make a secret recognisable, whatever became of the characters between them.
_SKELETON = 4


def _spellings(value: str) -> set[str]:
    """The usual ways in which a server may echo a value: as it is, escaped for JSON, URL, HTML, or in base64."""
    in_json = json.dumps(value)[1:-1]
    spellings = {
        value,
        in_json,
        json.dumps(in_json)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quote(value, errors="replace"),
        quote(value, safe="", errors="replace"),
        quote_plus(value, errors="replace"),
        re.sub("%..", lambda escape: escape.group().lower(), quote(value, safe="", errors="replace")),
        html.escape(value),
        repr(value)[1:-1],
    }
    if len(value) <= _LONGEST_BASE64:
        spellings |= _base64_forms(value)
    return {spelling for spelling in spellings if len(spelling) >= SHORTEST}


def _base64_forms(value: str) -> set[str]:
    """What of a value shows in base64, wherever in the encoded text it stands (as in C(Basic) credentials)."""
    raw = value.encode("utf-8", "surrogatepass")
    forms = set()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw).decode("ascii").rstrip("=")
        forms.add(encoded[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6])
    forms |= {form.translate({ord("+"): "-", ord("/"): "_"}) for form in forms}
    return {form for form in forms if len(form) >= 8}


def _any_spelling(value: str) -> re.Pattern[str] | None:
    """Finds a value by its letters and digits; None where it has nothing else, or too few of them."""
    parts = _SPECIAL.split(value)
    runs = _SPECIAL.findall(value)
    if not runs or sum(map(len, parts)) < _SKELETON:
        return None
    pattern = parts[0]
    for run, part in zip(runs, parts[1:]):
        if pattern and part:
            pattern += f"{_ESCAPED}{{1,{4 * len(run.encode('utf-8', 'surrogatepass'))}}}{part}"
        else:  # at an end: not more than there is, or the text around it would go too
            pattern += f"{_ESCAPED}{{0,{len(run)}}}{part}"
    return re.compile(pattern)


def _without_markup(text: str) -> str:
    """What a browser would show. One pass: a hostile page must not cost seconds."""
    shown = []
    hidden = False
    for piece in _TAG.split(text):
        if _TAG.fullmatch(piece):
            special = _UNSHOWN.match(piece)
            if special:
                hidden = not special.group(1)
        elif not hidden:
            shown.append(piece)
    return " ".join(shown)


class Redactor:
    """Knows the secrets of this run and masks them in texts. Safe for several threads.

    :param on_secret: called once with every new secret, so that the host (a module or a plugin) can register it
        with Ansible's own masking as well.
    """

    def __init__(self, on_secret: Callable[[str], None] | None = None) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._spellings: list[str] = []
        self._patterns: list[re.Pattern[str]] = []
        self._on_secret = on_secret

    def add(self, *values: str | None) -> None:
        """Remember secrets; empty and very short values are ignored."""
        for value in values:
            # Whoever echoes a value may have trimmed it.
            value = (value or "").strip()
            if len(value) < SHORTEST or value.lower() in _NO_SECRETS:
                continue
            with self._lock:
                if value in self._known:
                    continue
                self._known.add(value)
                # The longest first, so that a part never leaves the rest of a longer secret behind.
                self._spellings = sorted(set(self._spellings) | _spellings(value), key=len, reverse=True)
                pattern = _any_spelling(value)
                if pattern:
                    self._patterns = [*self._patterns, pattern]
            if self._on_secret:
                self._on_secret(value)

    def add_url(self, url: str | None) -> None:
        """Remember the password of C(user:password@) in an address (a proxy's)."""
        # Split by hand: with a character that should have been encoded, urlsplit finds another password or none.
        user_info, at, _host = (url or "").rpartition("://")[2].rpartition("@")
        user, colon, password = user_info.partition(":")
        if at and colon:
            pair = f"{unquote(user)}:{unquote(password)}".encode("utf-8", "replace")
            self.add(password, unquote(password), base64.b64encode(pair).decode())

    def mask(self, text: str) -> str:
        """The text as it is, with secrets masked, also what only looks like one."""
        text = _SECRET_FIELD.sub(rf"\1{MASK}\3", self._without_known(text))
        return _LOOKS_SECRET.sub(MASK, text)

    def _without_known(self, text: str) -> str:
        for spelling in self._spellings:
            text = text.replace(spelling, MASK)
        for pattern in self._patterns:
            text = pattern.sub(MASK, text)
        return text

    def masked(self, value: Any) -> Any:
        """Plain data with the secrets in its texts masked; only known ones, since most of the texts are our own."""
        if isinstance(value, str):
            return self._without_known(value)
        if isinstance(value, dict):
            return {key: self.masked(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.masked(item) for item in value]
        return value

    def text(self, text: str, limit: int = 300) -> str:
        """One readable line: mark-up and control characters removed, secrets masked, at most C(limit) characters."""
        # Masked before it is cut or cleaned: half a secret, or one with a tag inside, would slip through afterwards.
        whole = len(text) <= _SCANNED
        text = self.mask(text if whole else text[: _SCANNED + _SLACK])
        if not whole:
            text = text[:-_SLACK]
        text = _CONTROL.sub(" ", html.unescape(_without_markup(text)))
        text = self.mask(" ".join(text.split()))
        return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"

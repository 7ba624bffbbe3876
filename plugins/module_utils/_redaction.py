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
from typing import Callable
from urllib.parse import quote, quote_plus, unquote, urlsplit

MASK = "********"
#: Shorter values would mask half of every message; nothing that short is a secret.
SHORTEST = 4
#: Anything that looks like a JWT or a bearer header is masked, also one that we never saw before.
_LOOKS_SECRET = re.compile(
    r"eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){0,2}|(?i:bearer)\s+[A-Za-z0-9._~+/=-]{8,}|(?<=://)[^/\s:@]*:[^/\s@]*@"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_MARKUP = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]{0,500}>", re.IGNORECASE | re.DOTALL)


def _spellings(value: str) -> set[str]:
    """The ways in which a server may echo a value: as it is, escaped for JSON, URL, HTML, or base64."""
    spellings = {
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quote(value),
        quote(value, safe=""),
        quote_plus(value),
        html.escape(value),
        repr(value)[1:-1],
        base64.b64encode(value.encode("utf-8", "replace")).decode("ascii"),
    }
    return {spelling for spelling in spellings if len(spelling) >= SHORTEST}


class Redactor:
    """Knows the secrets of this run and masks them in texts.

    :param on_secret: called once with every new secret, so that the host (a module or a plugin) can register it
        with Ansible's own masking as well.
    """

    def __init__(self, on_secret: Callable[[str], None] | None = None) -> None:
        self._known: set[str] = set()
        self._spellings: list[str] = []
        self._on_secret = on_secret

    def add(self, *values: str | None) -> None:
        """Remember secrets; empty and very short values are ignored."""
        for value in values:
            if not value or len(value) < SHORTEST or value in self._known:
                continue
            self._known.add(value)
            # The longest first, so that a part never leaves the rest of a longer secret behind.
            self._spellings = sorted(set(self._spellings) | _spellings(value), key=len, reverse=True)
            if self._on_secret:
                self._on_secret(value)

    def add_url(self, url: str | None) -> None:
        """Remember the password of C(user:password@) in an address (a proxy's)."""
        try:
            password = urlsplit(url or "").password
        except ValueError:
            return
        if password:
            self.add(password, unquote(password))

    def text(self, text: str, limit: int = 300) -> str:
        """One readable line: mark-up and control characters removed, secrets masked, at most C(limit) characters."""
        # Masked before it is cut or cleaned: half a secret, or one with a tag inside, would slip through afterwards.
        for spelling in self._spellings:
            text = text.replace(spelling, MASK)
        text = _LOOKS_SECRET.sub(MASK, text)
        text = _CONTROL.sub(" ", html.unescape(_MARKUP.sub(" ", text)))
        text = " ".join(text.split())
        for spelling in self._spellings:
            text = text.replace(spelling, MASK)
        return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"

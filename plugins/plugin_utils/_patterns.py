# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Name patterns in which only C(*) and C(?) are special.

Private to this collection. Pure: no input, no output.
"""

from __future__ import annotations

import fnmatch
import unicodedata


def fold(text: str) -> str:
    """The form in which names are compared: NFC, without case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def matches(pattern: str, name: str) -> bool:
    """Whether the whole name matches the pattern. Brackets are literal: people tag names as C([PROD])."""
    return fnmatch.fnmatchcase(fold(name), fold(pattern).replace("[", "[[]"))

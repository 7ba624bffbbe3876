# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values from playbooks as plain JSON types.

Private to this collection. Without input and output.

Up to ansible-core 2.18, the result of a template is written as text and parsed again. If it contains a date, the
whole structure remains text. A value encrypted with C(!vault) is a special object.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any


def plain(value: Any) -> Any:
    """The same value, made of dictionaries with text keys, lists, texts, numbers, booleans, and None."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    is_day = isinstance(value, date) and not isinstance(value, datetime)
    return value.isoformat() if is_day else str(value)


def items(value: Any) -> list[Any]:
    """A list, also from a single value or a text with commas, as Ansible reads lists."""
    value = plain(value)
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value if isinstance(value, list) else [] if value is None else [value]

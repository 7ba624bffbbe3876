# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings described once: default, types and meaning live beside each other, and input is checked against them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, Callable


class InputError(ValueError):
    """Input that the simulator does not understand; the text is a plain sentence for the person who sent it."""


# Far more than any test needs, and small enough for sums of such numbers to remain dates.
_LARGEST = 1e10


def is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) and abs(value) <= _LARGEST


def is_integer(value: object) -> bool:
    return isinstance(value, int) and is_number(value)


_TESTS: dict[str, Callable[[object], bool]] = {
    "text": lambda value: isinstance(value, str),
    "number": is_number,
    "integer": is_integer,
    "boolean": lambda value: isinstance(value, bool),
    "list": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
    "anything": lambda value: True,
}


def about(
    types: str, doc: str, choices: tuple[str, ...] = (), minimum: float | None = None, maximum: float = _LARGEST
) -> dict[str, Any]:
    """Metadata of a dataclass field that can be set from outside. `types` is a list of words, "number or null"."""
    return {"types": types, "doc": doc, "choices": choices, "minimum": minimum, "maximum": maximum}


def fields_of(owner: type) -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in dataclasses.fields(owner) if "types" in field.metadata}


def as_object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{what} must be a JSON object, not {value!r}.")
    return value


def refuse_unknown(given: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    known = sorted(known)
    for name in given:
        if name not in known:
            raise InputError(f"{what} has no '{name}'; it knows {', '.join(known)}.")


def check(owner: type, given: object, what: str) -> dict[str, Any]:
    """Return `given` when every key and value fits the settings of `owner`; raise InputError otherwise."""
    values = as_object(given, what)
    fields = fields_of(owner)
    refuse_unknown(values, fields, what)
    for name, value in values.items():
        _check_value(fields[name], value, what)
    return values


def _check_value(field: dataclasses.Field[Any], value: object, what: str) -> None:
    types: str = field.metadata["types"]
    choices: tuple[str, ...] = field.metadata["choices"]
    minimum: float | None = field.metadata["minimum"]
    if not any(_TESTS[word](value) for word in types.split(" or ")):
        raise InputError(f"{what}: '{field.name}' must be {types}, not {value!r}.")
    if choices and isinstance(value, str) and value not in choices:
        raise InputError(f"{what}: '{field.name}' must be one of {', '.join(choices)}, not '{value}'.")
    maximum: float = field.metadata["maximum"]
    if isinstance(value, (int, float)) and minimum is not None and value < minimum:
        raise InputError(f"{what}: '{field.name}' must be at least {minimum:g}, not {value!r}.")
    if isinstance(value, (int, float)) and value > maximum:
        raise InputError(f"{what}: '{field.name}' must be at most {maximum:g}, not {value!r}.")

# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cuts a long wait into slices: what one process hands to the next so that nothing is done twice.

Private to this collection. The action plugins run a module several times and print progress in between. Between the
slices stands plain data (C(Progress)), and the token, so that a slice costs no login. The token crosses the
controller's memory and Ansible's own plumbing; it is sealed, so that no text printed on the way can hold it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any, Callable, NamedTuple

from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import OptionError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._http import Clock
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._progress import Progress

#: What a module returns instead of a result when it pauses.
CARRIED = "bmc_helix_slice"
#: Longer gaps between two slices are a sleeping machine or a clock that was set, not our doing. Seconds.
_LONGEST_GAP = 60.0


def slice_argument_spec() -> dict[str, dict[str, Any]]:
    """Options that only the action plugin sets."""
    return {"_slice": {"type": "dict"}, "_slice_key": {"type": "str", "no_log": True}}


def seal(data: Any, key: str, number: int) -> str:
    """Make data unreadable without the key. Each number is used once with a key, so no key stream is used twice."""
    text = json.dumps(data).encode("utf-8")
    hidden = bytes(a ^ b for a, b in zip(text, _stream(key, number, len(text))))
    return base64.b64encode(_tag(key, number, hidden) + hidden).decode("ascii")


def unseal(sealed: str, key: str, number: int) -> Any:
    """The data again.

    :raises OptionError: it was sealed with another key, or damaged.
    """
    raw = base64.b64decode(sealed)
    tag, hidden = raw[:32], raw[32:]
    if not hmac.compare_digest(tag, _tag(key, number, hidden)):
        raise OptionError(
            "The state of the wait came back damaged.", kind="internal_error", remedy="Run the task again."
        )
    return json.loads(bytes(a ^ b for a, b in zip(hidden, _stream(key, number, len(hidden)))))


def _stream(key: str, number: int, length: int) -> bytes:
    return hashlib.shake_256(f"{key}:{number}".encode()).digest(length)


def _tag(key: str, number: int, hidden: bytes) -> bytes:
    return hmac.new(key.encode(), str(number).encode() + b":" + hidden, hashlib.sha256).digest()


class Slice(NamedTuple):
    """One slice of a wait.

    :param number: counts from 0.
    :param quiet: seconds that pass at least before a change of state ends the slice.
    :param beat: seconds after which it ends in any case.
    """

    number: int
    quiet: float
    beat: float
    key: str
    elapsed: float = 0.0
    progress: list[Progress] | None = None
    token: dict[str, Any] | None = None

    @staticmethod
    def from_options(option: dict[str, Any] | None, key: str | None, clock: Clock) -> Slice | None:
        """What the action plugin asked for; None where a module runs by itself, in one piece."""
        if not option or not key:
            return None
        number = int(option["number"])
        quiet, beat = float(option["quiet"]), float(option["beat"])
        carried = option.get("carried")
        if not carried:
            return Slice(number, quiet, beat, key)
        gap = min(max(clock.wall() - float(carried["wall"]), 0.0), _LONGEST_GAP)
        progress = [Progress(**data) for data in carried["progress"]]
        token = unseal(carried["sealed"], key, number - 1) if carried.get("sealed") else None
        if token:
            token["usable"] -= gap
        return Slice(number, quiet, beat, key, float(carried["elapsed"]) + gap, progress, token)

    def carry(
        self, progress: list[Progress], token: dict[str, Any] | None, elapsed: float, clock: Clock
    ) -> dict[str, Any]:
        """What the next slice needs."""
        return {
            "progress": [p.export() for p in progress],
            "elapsed": elapsed,
            "wall": clock.wall(),
            "sealed": seal(token, self.key, self.number) if token else None,
        }

    def pause(self, progress: list[Progress], clock: Clock) -> Callable[[], bool]:
        """The question "is it time to report?" for the engine."""
        began = clock.now()
        shown = [(p.phase, p.last) for p in progress]

        def due() -> bool:
            lasted = clock.now() - began
            if lasted >= self.beat:
                return True
            return lasted >= self.quiet and [(p.phase, p.last) for p in progress] != shown

        return due

# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private files."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class PrivateFolderError(Exception):
    """The folder cannot be used."""


class PrivateFolder:
    def __init__(self, path: str) -> None:
        self._path = Path(path)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        descriptor = os.open(self._path / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def read(self, name: str) -> dict[str, Any]:
        try:
            return dict(json.loads((self._path / f"{name}.json").read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    def write(self, name: str, entry: Mapping[str, Any]) -> None:
        (self._path / f"{name}.json").write_text(json.dumps(entry), encoding="utf-8")


def append_line(path: str, data: Mapping[str, Any]) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.write(descriptor, (json.dumps(data) + "\n").encode("utf-8"))
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return True

# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small JSON files that only this user can read, shared by the processes of a run. Private to this collection.

Standard library only: modules use it on the target, plugins on the control node.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Larger files are not ours.
MAX_BYTES = 1024 * 1024


class PrivateFolderError(Exception):
    """The folder is missing, belongs to somebody else, is accessible to others, or cannot be locked."""


def _refuse_foreign(info: os.stat_result, is_kind: Callable[[int], bool]) -> None:
    """:raises PermissionError: others can read or change it, it belongs to somebody else, or it is a link."""
    if not is_kind(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o077:
        raise PermissionError(1, "it is not private")


class PrivateFolder:
    """A folder of mode 0700, and files of mode 0600 in it.

    :raises PrivateFolderError: see there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            _refuse_foreign(os.lstat(self.path), stat.S_ISDIR)
        except (OSError, ValueError) as error:
            raise PrivateFolderError(_reason(error)) from None

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Exclusive access among all processes that ask for the same name. The lock ends with its process.

        :raises PrivateFolderError: it cannot be locked.
        """
        descriptor = -1
        try:
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                descriptor = os.open(self.path / f"{name}.lock", flags, 0o600)
                _refuse_foreign(os.fstat(descriptor), stat.S_ISREG)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError as error:
                raise PrivateFolderError(_reason(error)) from None
            yield
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def read(self, name: str) -> dict[str, Any]:
        """The data of a file; empty if there is none, or if it is not private."""
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with os.fdopen(os.open(self.path / f"{name}.json", flags), "rb") as file:
                _refuse_foreign(os.fstat(file.fileno()), stat.S_ISREG)
                data = json.loads(file.read(MAX_BYTES))
        except (OSError, ValueError, RecursionError):
            return {}
        return data if isinstance(data, dict) else {}

    def write(self, name: str, data: Mapping[str, Any]) -> bool:
        """Replace a file as a whole. Best effort: False if that failed, for example, because the disk is full."""
        new = self.path / f"{name}.{os.getpid()}"
        try:
            # O_EXCL: never through a link, never into a file that somebody else has opened.
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(new, flags, 0o600), "w", encoding="utf-8") as file:
                json.dump(data, file)
            new.replace(self.path / f"{name}.json")
        except OSError:
            try:
                new.unlink()
            except OSError:
                pass  # it was never made, or the folder is gone
            return False
        return True


def append_line(path: str | os.PathLike[str], data: Mapping[str, Any]) -> bool:
    """Append one line of JSON to an existing private file. Best effort; False if the file is gone or not private."""
    line = json.dumps(data).encode("utf-8") + b"\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _refuse_foreign(os.fstat(descriptor), stat.S_ISREG)
            # One write, so that lines of several threads do not mix.
            return os.write(descriptor, line) == len(line)
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        return False


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__

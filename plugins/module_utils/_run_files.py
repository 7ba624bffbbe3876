# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private files: what a task shares with its action plugin, and with other hosts and tasks of the same run of Ansible.

Private to this collection. A I(private folder) holds JSON that only this user can read. The I(channel) is a private
file that the action plugin creates: its first line describes the task, the module appends progress, and the lock on it
shows whether the task still exists. A I(note) remembers the latest request that started an ETL, because the API does
not show an accepted request until the run begins.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ._plan import Policy
from ._redaction import Redactor
from ._status import EtlStatus, parse_status

if TYPE_CHECKING:  # the control node imports this file, too, and does not need requests
    from ._http import Clock

#: Larger files were not written by this collection.
MAX_BYTES = 1024 * 1024


class PrivateFolderError(Exception):
    """The folder is missing, belongs to another user, is accessible to others, or cannot be locked."""


def _refuse_foreign(info: os.stat_result, is_kind: Callable[[int], bool]) -> None:
    """:raises PermissionError: others can read or change it, it belongs to another user, or it is a link."""
    if not is_kind(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o077:
        raise PermissionError(1, "it is not private")


@contextmanager
def _opened(path: str | os.PathLike[str], flags: int) -> Iterator[int]:
    """The descriptor of a private file, never through a link, and without waiting for the reader of a pipe.

    :raises OSError: it cannot be opened, or is not private.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        _refuse_foreign(os.fstat(descriptor), stat.S_ISREG)
        yield descriptor
    finally:
        os.close(descriptor)


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
        with ExitStack() as stack:
            try:
                file = stack.enter_context(_opened(self.path / f"{name}.lock", os.O_RDWR | os.O_CREAT))
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                raise PrivateFolderError(_reason(error)) from None
            yield

    def read(self, name: str) -> dict[str, Any]:
        """The data of a file; empty if there is none, or if it is not private."""
        try:
            with _opened(self.path / f"{name}.json", os.O_RDONLY) as file:
                data = json.loads(os.read(file, MAX_BYTES))
        except (OSError, ValueError, RecursionError):
            return {}
        return data if isinstance(data, dict) else {}

    def write(self, name: str, data: Mapping[str, Any]) -> bool:
        """Replace a file as a whole. Best effort: False if that failed, for example, because the disk is full."""
        new = self.path / f"{name}.{os.getpid()}"
        try:
            # O_EXCL: never through a link, never into a file that another process has opened.
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(new, flags, 0o600), "w", encoding="utf-8") as file:
                json.dump(data, file)
            new.replace(self.path / f"{name}.json")
        except OSError:
            with suppress(OSError):  # it was not created, or the folder no longer exists
                new.unlink()
            return False
        return True


def append_line(path: str | os.PathLike[str], data: Mapping[str, Any]) -> bool:
    """Append one line of JSON to an existing private file. Best effort; False if the file is missing or not private."""
    line = json.dumps(data).encode("utf-8") + b"\n"
    try:
        with _opened(path, os.O_WRONLY | os.O_APPEND) as file:
            # One write, so that lines of several threads do not mix.
            return os.write(file, line) == len(line)
    except (OSError, ValueError):
        return False


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


#: The environment variable with the path of the channel, or with the description of the task alone, if
#: progress is not shown (C(async), other hosts). The action plugins set it; users do not.
CHANNEL = "BMC_HELIX_CHANNEL"
#: A request that was accepted and never began is followed instead of sent again for this long, in seconds.
NOTE_LIFE = 3600.0


class Channel:
    """The module's end of the channel; without a path it only watches the parent process.

    :param given: path of the channel, or the description of the task as JSON.
    """

    def __init__(self, given: str | None) -> None:
        self._path = None if not given or given.startswith("{") else given
        self._parent = os.getppid()
        self.about: dict[str, Any] = {}
        with suppress(OSError, ValueError):  # the task has already ended
            if self._path:
                with Path(self._path).open(encoding="utf-8") as file:
                    given = file.readline()
            self.about = dict(json.loads(given or "{}"))

    def tell(self, event: Mapping[str, Any]) -> None:
        """Append one event, if the action plugin reads them. Best effort."""
        if self._path:
            append_line(self._path, event)

    def over(self) -> bool:
        """Whether the task has ended (time limit, interrupt, killed ansible-playbook), so that nothing may be launched.

        The action plugin holds a lock on the channel while it runs, and removes the file at its end. It runs a little
        longer than an ansible-playbook that is killed.
        """
        if os.getppid() != self._parent or not _exists(self.about.get("player")):
            return True
        if not self._path:
            return False
        try:
            with _opened(self._path, os.O_RDONLY) as file, suppress(OSError):  # it is locked
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return True
        except OSError:
            return True  # the action plugin has removed it
        return False


def _exists(process: Any) -> bool:
    """Whether this process still exists; True if that is unknown."""
    try:
        if isinstance(process, int):
            os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it belongs to another user
    return True


class Host(NamedTuple):
    """What a module provides: the redactor, warnings, the clock, and the channel to the action plugin."""

    redactor: Redactor
    clock: Clock
    warn: Callable[[str], None]
    channel: Channel
    check_mode: bool = False
    want_diff: bool = False


class Note(NamedTuple):
    """The latest request that was to start an ETL. Contains no secret.

    C(run), C(task), and C(hosts) identify who sent it and who has followed it.
    """

    action: str
    before: EtlStatus
    wall: float
    server_time: float | None = None
    request_id: int | None = None
    begun: bool = False
    run: str | None = None
    task: str | None = None
    hosts: Sequence[str] = ()
    #: Whether the same task of the same run sent it, for another host than the one that reads it.
    is_same_task: bool = False

    def holds(self, policy: Policy, wall: float) -> bool:
        """Whether this request is to be followed instead of sending another one."""
        if policy.action != self.action:
            return False
        pending = not self.begun and 0.0 <= wall - self.wall < NOTE_LIFE
        return self.is_same_task or (pending and policy.if_running in ("attach", "fail"))

    def reason(self) -> str:
        number = f" (request {self.request_id})" if self.request_id is not None else ""
        if self.is_same_task:
            return f"the same task has already requested this run for host {self.hosts[0]}{number}"
        return f"an earlier {self.action} request{number} has not begun yet, so it was followed instead of sent again"


class Notes:
    """The notes of one tenant. If the folder cannot be used, nothing is remembered.

    :param folder: where they are kept; None: nothing is remembered.
    :param address: base address of the tenant.
    :param me: C(run), C(task) and C(host) of the reader, if they are known.
    :raises PrivateFolderError: the folder is not private.
    """

    def __init__(self, folder: str | None, address: str = "", me: Mapping[str, Any] | None = None) -> None:
        self._folder = PrivateFolder(folder) if folder else None
        self._address = address
        self._me = me or {}

    @contextmanager
    def alone(self, etl_id: int) -> Iterator[None]:
        """Exclusive access to the note of this ETL."""
        with ExitStack() as locks:
            try:
                if self._folder:
                    locks.enter_context(self._folder.locked(self._name(etl_id)))
            except PrivateFolderError:
                self._folder = None
            yield

    def read(self, etl_id: int) -> Note | None:
        data = self._folder.read(self._name(etl_id)) if self._folder else {}
        before = parse_status(data.pop("before")) if isinstance(data.get("before"), dict) else None
        if before is None or data.pop("format", None) != 1:
            return None
        try:
            note = Note(before=before, **data)
        except TypeError:
            return None
        run, me = self._me.get("run"), self._me
        same = run is not None and (note.run, note.task) == (run, me.get("task"))
        return note._replace(is_same_task=same and me.get("host") not in note.hosts)

    def write(self, etl_id: int, note: Note | None) -> None:
        if self._folder:
            data = {**note._asdict(), "format": 1, "before": note.before.public()} if note else {}
            data.pop("is_same_task", None)
            self._folder.write(self._name(etl_id), data)

    def join(self, etl_id: int, policy: Policy, wall: float) -> Note | None:
        """The request to follow instead of sending another one; this host is then one of those that follow it."""
        note = self.read(etl_id)
        if note is None or not note.holds(policy, wall):
            return None
        self.write(etl_id, note._replace(hosts=[*note.hosts, str(self._me.get("host"))]))
        return note

    def make(self, action: str, before: EtlStatus, server_time: float | None, wall: float) -> Note:
        """The note of a request of this task."""
        me = self._me
        host = [str(me["host"])] if "host" in me else []
        return Note(action, before, wall, server_time, run=me.get("run"), task=me.get("task"), hosts=host)

    def begun(self, etl_id: int) -> None:
        """Record that the requested run was seen."""
        if self._folder:
            with self.alone(etl_id):
                note = self.read(etl_id)
                if note and not note.begun:
                    self.write(etl_id, note._replace(begun=True))

    def clear(self, etl_id: int) -> None:
        """Record that the ETL was stopped, so that no earlier request is followed."""
        if self._folder:
            with self.alone(etl_id):
                self.write(etl_id, None)

    def _name(self, etl_id: int) -> str:
        return "bmc_helix-" + hashlib.sha256(f"{self._address} {etl_id}".encode("utf-8", "replace")).hexdigest()[:32]

# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private files: what a task shares with its action plugin, and with other hosts and tasks of the same run of Ansible.

Private to this collection. A I(private folder) holds JSON that only this user can read. The I(channel) is a private
file that the action plugin makes: its first line describes the task, the module appends progress, and the file's lock
tells whether the task still exists. A I(note) remembers the latest request that started an ETL, since the API does not
show an accepted request until the run begins.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ._errors import OptionError
from ._plan import Policy
from ._redaction import Redactor
from ._report import Request
from ._status import EtlStatus, from_public

if TYPE_CHECKING:  # the control node reads this file too, and must not import requests for it
    from ._http import Clock

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


#: The environment variable with the path of the channel. The action plugins set it; users do not.
CHANNEL = "BMC_HELIX_CHANNEL"
#: A request that was accepted and never began is followed instead of sent again for this long, in seconds.
NOTE_LIFE = 3600.0


class Channel:
    """The module's end of the channel; without a path it only watches the parent process."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._parent = os.getppid()
        self.about: dict[str, Any] = {}
        if path:
            try:
                with Path(path).open(encoding="utf-8") as file:
                    self.about = dict(json.loads(file.readline()))
            except (OSError, ValueError):
                pass  # the task has already ended

    def tell(self, event: Mapping[str, Any]) -> None:
        """Append one event, if anybody reads them. Best effort."""
        if self._path:
            append_line(self._path, event)

    def over(self) -> bool:
        """Whether the task has ended (time limit, interrupt, a player that died), so that nothing may be launched.

        The action plugin holds a lock on the channel while it lives, and removes the file when it leaves.
        """
        if os.getppid() != self._parent:
            return True
        if not self._path:
            return False
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True


class Host(NamedTuple):
    """What a module brings along: where secrets and warnings go, what time it is, and the way to the action plugin."""

    redactor: Redactor
    clock: Clock
    warn: Callable[[str], None]
    channel: Channel
    check_mode: bool = False
    want_diff: bool = False


@dataclass
class Note:
    """The latest request that was to start an ETL. Holds no secret.

    C(run), C(task) and C(hosts) say who sent it and who has followed it; C(me) is who reads it.
    """

    action: str
    before: EtlStatus
    wall: float
    server_time: float | None = None
    request_id: int | None = None
    begun: bool = False
    run: str | None = None
    task: str | None = None
    hosts: list[str] = field(default_factory=list)
    me: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_same_task(self) -> bool:
        """Whether the same task of the same run sent it for another host."""
        me = self.me
        known = me.get("run") is not None and (self.run, self.task) == (me.get("run"), me.get("task"))
        return known and me.get("host") not in self.hosts

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

    def sentence(self) -> str:
        text = self.reason()
        return f"{text[0].upper()}{text[1:]}."


class Claim:
    """The right to launch an ETL, while its note is locked."""

    def __init__(self, folder: PrivateFolder | None, name: str, note: Note | None, me: Mapping[str, Any]) -> None:
        self._folder = folder
        self._name = name
        self._note = note
        self._me = me

    def join(self, policy: Policy, wall: float) -> Note | None:
        """The request to follow instead of sending another one; this host then counts among those that follow it."""
        note = self._note
        if note is None or not note.holds(policy, wall):
            return None
        self._write(Note(**{**vars(note), "hosts": [*note.hosts, str(self._me.get("host"))]}))
        return note

    def sending(self, action: str, before: EtlStatus, server_time: float | None, wall: float) -> None:
        """Remember the request before it is sent: the process may not come to its end."""
        me = self._me
        host = [str(me["host"])] if "host" in me else []
        self._note = Note(action, before, wall, server_time, None, False, me.get("run"), me.get("task"), host, me)
        self._write(self._note)

    def sent(self, request: Request | None) -> None:
        """Remember the request that was sent. Without one the server certainly did nothing, and the note goes."""
        if request is None:
            self.drop()
        elif self._note is not None:
            self._note.request_id = request.request_id
            self._write(self._note)

    def begun(self) -> None:
        if self._note is not None and not self._note.begun:
            self._note.begun = True
            self._write(self._note)

    def drop(self) -> None:
        if self._note is not None:
            self._write(None)

    def _write(self, note: Note | None) -> None:
        if self._folder is None:
            return
        data: dict[str, Any] = {}
        if note is not None:
            data = {**asdict(note), "format": 1, "before": note.before.public()}
            data.pop("me")
        self._folder.write(self._name, data)


class Notes:
    """The notes of one tenant.

    :param folder: where they are kept; None: nothing is remembered.
    :param address: base address of the tenant.
    :param me: C(run), C(task) and C(host) of the reader, if they are known.
    """

    def __init__(self, folder: str | None, address: str = "", me: Mapping[str, Any] | None = None) -> None:
        try:
            self._folder = PrivateFolder(folder) if folder else None
        except PrivateFolderError as error:
            raise OptionError(
                f"The folder {folder} (request_notes) cannot be used: {error}.",
                remedy="Set request_notes to an existing folder of mode 0700 that belongs to the user of the task.",
            ) from None
        self._address = address
        self._me = me or {}

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        if self._folder is None:
            yield
            return
        with self._folder.locked(name):
            yield

    @contextmanager
    def claim(self, etl_id: int) -> Iterator[Claim]:
        """Alone with the note of this ETL. A folder that cannot be used means that nothing is remembered."""
        name = self._name(etl_id)
        try:
            lock = self._locked(name)
            lock.__enter__()
        except PrivateFolderError:
            yield Claim(None, name, None, self._me)
            return
        try:
            yield Claim(self._folder, name, self.read(etl_id), self._me)
        finally:
            lock.__exit__(None, None, None)

    def read(self, etl_id: int) -> Note | None:
        data = self._folder.read(self._name(etl_id)) if self._folder else {}
        before = from_public(data.pop("before", None)) if isinstance(data.get("before"), dict) else None
        if before is None or data.pop("format", None) != 1:
            return None
        try:
            return Note(before=before, me=self._me, **data)
        except TypeError:
            return None

    def begun(self, etl_id: int) -> None:
        """The run that was requested was seen."""
        if self._folder is not None:
            with self.claim(etl_id) as claim:
                claim.begun()

    def clear(self, etl_id: int) -> None:
        """The ETL was stopped: nothing that was requested before is to be followed."""
        if self._folder is not None:
            with self.claim(etl_id) as claim:
                claim.drop()

    def _name(self, etl_id: int) -> str:
        return "bmc_helix-" + hashlib.sha256(f"{self._address} {etl_id}".encode("utf-8", "replace")).hexdigest()[:32]

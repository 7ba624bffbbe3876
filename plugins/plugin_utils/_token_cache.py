# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One token for all processes of one run of Ansible.

Private to this collection. Ansible evaluates a lookup at every use, in a forked process for each task and host. They
share a file of mode 0600 in the private temporary folder of the run, which Ansible makes before it forks and deletes
at its end. A lock beside it lets one process log in while the others wait for what comes of it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.capacityops.bmc_helix.plugins.module_utils._clock import Clock
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import (
    AnswerError,
    HelixError,
    TransportError,
)

#: Keys that were refused are not tried again for so many seconds: portals lock keys after a few refusals.
REFUSED_SECONDS = 60.0
#: No entry is larger. A JWT with many groups takes some kilobytes.
MAX_ENTRY_BYTES = 1024 * 1024
#: What is told again of a failure; it is masked already, and holds no secret.
_REMEMBERED = ("message", "kind", "remedy", "http_status", "server_message")


class CacheUnusableError(Exception):
    """There is no private folder, or it cannot be locked. The token is then fetched without a cache."""


class TokenCache:
    """A place for one entry, shared by the processes of this run.

    :param folder: the private temporary folder of this run of Ansible.
    :param identity: everything that makes another token: addresses, keys, trust. Only its hash leaves this object.
    """

    def __init__(self, folder: str, identity: Mapping[str, Any]) -> None:
        text = json.dumps(identity, sort_keys=True)
        name = "bmc_helix-" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        self._folder = Path(folder)
        self._entry = self._folder / f"{name}.json"
        self._lock = self._folder / f"{name}.lock"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone with the entry. The lock of a process that dies is free at once.

        :raises CacheUnusableError: see there.
        """
        try:
            _refuse_foreign(os.lstat(self._folder), stat.S_ISDIR)
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CacheUnusableError(error.strerror or type(error).__name__) from None
        try:
            try:
                _refuse_foreign(os.fstat(descriptor), stat.S_ISREG)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError as error:
                raise CacheUnusableError(error.strerror or type(error).__name__) from None
            yield
        finally:
            os.close(descriptor)

    def read(self) -> dict[str, Any]:
        """The entry; empty where there is none, or none that we wrote."""
        try:
            descriptor = os.open(self._entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return {}
        with os.fdopen(descriptor, "rb") as file:
            try:
                _refuse_foreign(os.fstat(descriptor), stat.S_ISREG)
                entry = json.loads(file.read(MAX_ENTRY_BYTES))
            except (OSError, ValueError, RecursionError):
                return {}
        return entry if isinstance(entry, dict) else {}

    def write(self, entry: Mapping[str, Any]) -> None:
        """Replace the entry as a whole; a reader never sees half of it. A full disk only means: no cache."""
        new = self._entry.with_suffix(f".{os.getpid()}")
        try:
            # O_EXCL: never through a link, never into a file that somebody else has opened.
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(entry, file)
            new.replace(self._entry)
        except OSError:
            try:
                new.unlink()
            except OSError:
                pass  # it was never made, or it goes with the folder


def _refuse_foreign(info: os.stat_result, is_kind: Callable[[int], bool]) -> None:
    """:raises PermissionError: a file or folder that others may read or change, or that is not ours."""
    if not is_kind(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o077:
        raise PermissionError(1, "it is not private")


class RememberedError(HelixError):
    """What this run was told a moment ago."""


def shared_token(
    cache: TokenCache,
    fetch: Callable[[dict[str, Any] | None], dict[str, Any]],
    clock: Clock,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """The token of this run, as C(TokenSource.export()) writes it. At most one process at a time asks the server.

    :param fetch: logs in, or renews the token that it is given; in and out as C(TokenSource.export()) writes it.
    :raises CacheUnusableError: nothing was fetched; do it without a cache.
    :raises HelixError: no token can be had.
    """
    began = clock.wall()
    with cache.locked():
        entry = cache.read()
        _raise_remembered(entry, began, clock.wall())
        old = _old_token(entry, clock.wall())
        if old and clock.wall() < old["renew_at"]:
            say(f"using the token of this run for {old['renew_at'] - clock.wall():.0f} s more")
            return dict(old["carried"])
        say("renewing the token of this run" if old else "logging in for this run")
        try:
            new = _fetched(old, fetch, clock)
        except (AnswerError, TransportError) as error:
            cache.write({"failed_at": clock.wall(), "failure": {name: getattr(error, name) for name in _REMEMBERED}})
            raise
        cache.write(new)
        return dict(new["carried"])


def _old_token(entry: Mapping[str, Any], now: float) -> Mapping[str, Any] | None:
    """The entry, if it holds a token and makes sense."""
    carried = entry.get("carried")
    if not isinstance(carried, dict) or not isinstance(carried.get("token"), str) or not carried["token"]:
        return None
    times = [entry.get(name) for name in ("made_at", "renew_at", "over_at")]
    # A clock that was set back since would make the token look younger than it is.
    sensible = all(isinstance(time, (int, float)) for time in times) and entry["made_at"] <= now + 1.0
    return entry if sensible else None


def _fetched(
    old: Mapping[str, Any] | None, fetch: Callable[[dict[str, Any] | None], dict[str, Any]], clock: Clock
) -> dict[str, Any]:
    # Not at the top: it imports requests, which takes longer than everything else where the token is at hand.
    from ansible_collections.capacityops.bmc_helix.plugins.module_utils._token import MARGIN

    carried = fetch({**old["carried"], "usable": 0.0} if old else None)
    # A renewal that failed for the moment gives the old token again. It is good until its very end, and not longer.
    kept = old is not None and carried["token"] == old["carried"]["token"]
    if old and kept and clock.wall() >= old["over_at"]:
        carried, kept = fetch(None), False
    now = clock.wall()
    usable = max(0.0, float(carried["usable"]))
    # TokenSource keeps a margin of MARGIN seconds, or of a fifth of a short life.
    over_at = old["over_at"] if old and kept else now + min(usable + MARGIN, usable / 0.8)
    return {"made_at": now, "renew_at": now + usable, "over_at": over_at, "carried": carried}


def _raise_remembered(entry: Mapping[str, Any], began: float, now: float) -> None:
    """A failure holds for all who waited for the same attempt; a refusal of the keys for a while longer.

    Otherwise twenty forks would wait for a dead server one after the other, or lock a key with twenty wrong logins.
    """
    failure, failed_at = entry.get("failure"), entry.get("failed_at")
    if not isinstance(failure, dict) or not isinstance(failed_at, (int, float)):
        return
    keep = REFUSED_SECONDS if failure.get("http_status") == 401 else 0.0
    if began <= failed_at <= now or 0.0 <= now - failed_at < keep:
        facts: dict[str, Any] = {name: failure.get(name) for name in _REMEMBERED}
        raise RememberedError(str(facts.pop("message")), **facts)

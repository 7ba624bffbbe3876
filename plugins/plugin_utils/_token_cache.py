# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One token for all processes of a run of Ansible. Private to this collection.

Ansible evaluates a lookup at each use, in a forked process for each task and host. The processes share a file in the
private temporary folder of the run, which Ansible creates before it forks and deletes at the end. While one process
logs in, the others wait for its result.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..module_utils._errors import AnswerError, HelixError, TransportError
from ..module_utils._run_files import PrivateFolder

#: Rejected keys are not tried again for this many seconds, because portals lock keys after a few failures.
REFUSED_SECONDS = 60.0
#: What is kept of a failure. The texts are already masked.
_REMEMBERED = ("message", "kind", "remedy", "http_status", "server_message")


class RememberedError(HelixError):
    """A failure of another process of this run."""


class Now:
    """The clocks. Tests replace them. Not C(_http.Clock), because importing requests takes longer than a use."""

    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        """Monotonic seconds, the same for all processes of this machine."""
        return time.monotonic()


def shared_token(
    folder: str,
    identity: Mapping[str, Any],
    fetch: Callable[[], tuple[str, float]],
    say: Callable[[str], None],
    now: Now | None = None,
) -> str:
    """The token of this run. At most one process at a time asks the server.

    :param folder: the private temporary folder of this run.
    :param identity: everything that a token depends on: addresses, keys, CA. Only its hash is used.
    :param fetch: logs in, and returns the token and the seconds for which it may be used.
    :raises PrivateFolderError: no token was fetched, because the folder cannot be used.
    :raises HelixError: the login failed.
    """
    now = now or Now()
    text = json.dumps(identity, sort_keys=True).encode("utf-8", "surrogatepass")
    name = "bmc_helix-" + hashlib.sha256(text).hexdigest()[:32]
    private = PrivateFolder(folder)
    began = now.monotonic()
    with private.locked(name):
        entry = private.read(name)
        age = _age(entry, now)
        _raise_remembered(entry, age, now.monotonic() - began)
        usable = entry.get("usable")
        if age is not None and isinstance(entry.get("token"), str) and isinstance(usable, float) and age < usable:
            say(f"using the token of this run, valid for {usable - age:.0f} s more")
            return str(entry["token"])
        say("logging in for this run")
        made = {"wall": now.wall(), "monotonic": now.monotonic()}
        try:
            token, life = fetch()
        except (AnswerError, TransportError) as error:
            made = {"wall": now.wall(), "monotonic": now.monotonic()}
            private.write(name, {**made, "failure": {fact: getattr(error, fact) for fact in _REMEMBERED}})
            raise
        private.write(name, {**made, "token": token, "usable": float(life)})
        return token


def _age(entry: Mapping[str, Any], now: Now) -> float | None:
    """Seconds since the entry was made; None if that is not known.

    The larger of two: the wall clock may be set back, and the monotonic clock stops while a machine sleeps.
    """
    made = (entry.get("wall"), entry.get("monotonic"))
    if not all(isinstance(moment, float) for moment in made):
        return None
    ages = (now.wall() - entry["wall"], now.monotonic() - entry["monotonic"])
    # The entry is from before a restart of the machine.
    return max(ages) if ages[1] >= 0 else None


def _raise_remembered(entry: Mapping[str, Any], age: float | None, waited: float) -> None:
    """Whether a failure applies: to all processes that waited for the attempt, and for rejected keys, some time longer.

    Otherwise, twenty forks would wait for a dead server one after another, or lock a key with twenty logins.
    """
    failure = entry.get("failure")
    if age is None or not isinstance(failure, dict):
        return
    if age <= waited or (failure.get("http_status") == 401 and age < REFUSED_SECONDS):
        facts: dict[str, Any] = {fact: failure.get(fact) for fact in _REMEMBERED}
        raise RememberedError(str(facts.pop("message")), **facts)

# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The token that the processes of one run share: who may read it, how long it is used, and who asks the server."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _run_files
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import (
    AuthenticationError,
    HelixError,
    OptionError,
    TransportError,
)
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._run_files import PrivateFolderError
from ansible_collections.capacityops.bmc_helix.plugins.plugin_utils._token_cache import (
    REFUSED_SECONDS,
    Now,
    shared_token,
)

IDENTITY = {"url": "https://helix.test", "access_key": "the-access-key", "access_secret_key": "the-secret"}
#: A token of 900 seconds, renewed a minute before its end.
USABLE = 840.0


class Run(Now):
    """A run of Ansible with its folder, a clock, and a server that gives a new token for every call."""

    def __init__(self, folder):
        self.folder = folder
        self.time = 1800000000.0
        self.set_back = 0.0
        self.calls = 0
        self.error = None
        self.said = []

    def wall(self):
        return self.time - self.set_back

    def monotonic(self):
        return self.time - 1799990000.0

    def fetch(self):
        self.calls += 1
        if self.error:
            raise self.error
        return f"token-{self.calls}", USABLE

    def use(self, **changes):
        """What one use of the lookup does."""
        return shared_token(str(self.folder), {**IDENTITY, **changes}, self.fetch, self.said.append, self)

    def file(self, suffix):
        (path,) = self.folder.glob(f"*.{suffix}")
        return path


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "ansible-local-1234"
    folder.mkdir(mode=0o700)
    return Run(folder)


def test_later_uses_find_the_token_in_files_that_only_we_can_read_and_that_hold_no_key(run):
    old = os.umask(0)
    try:
        assert run.use() == "token-1"
    finally:
        os.umask(old)
    run.time += 500
    assert [run.use(), run.use()] == ["token-1"] * 2
    assert run.said == ["logging in for this run", *["using the token of this run, valid for 340 s more"] * 2]
    files = [run.file("json"), run.file("lock")]
    assert sorted(files) == sorted(run.folder.iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    everything = " ".join([path.name + path.read_text() for path in files])
    assert [value for value in (*IDENTITY.values(), "helix.test") if value in everything] == []


def test_other_keys_or_addresses_have_another_token(run):
    tokens = [run.use(), *(run.use(**{name: "other"}) for name in IDENTITY), run.use()]
    assert tokens == ["token-1", "token-2", "token-3", "token-4", "token-1"]


@pytest.mark.parametrize(
    ("passed", "set_back", "token"),
    [
        (USABLE - 1, 0.0, "token-1"),
        (USABLE, 0.0, "token-2"),
        # The wall clock was set back: the monotonic clock counts.
        (USABLE - 10, 3600.0, "token-1"),
        (USABLE + 10, 3600.0, "token-2"),
        # It was set forward, or the machine was suspended: the wall clock counts.
        (USABLE - 10, -3600.0, "token-2"),
    ],
)
def test_a_token_is_replaced_when_its_time_is_over(run, passed, set_back, token):
    run.use()
    run.time += passed
    run.set_back = set_back
    assert [run.use(), run.use()] == [token, token]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"[" * 100000,
        b'{"token": 5, "wall": 1800000000.0, "monotonic": 10000.0, "usable": 9e9}',
        b'{"token": "planted", "wall": 1800000000.0, "monotonic": 10000.0, "usable": "long"}',
        b'{"token": "planted", "wall": null, "monotonic": 10000.0, "usable": 9e9}',
        # From before a restart of the machine
        b'{"token": "planted", "wall": 1800000000.0, "monotonic": 20000.0, "usable": 9e9}',
        b'{"wall": "now", "monotonic": 10000.0, "failure": {"message": "planted"}}',
        b'{"wall": 1800000000.0, "monotonic": 10000.0, "failure": "planted"}',
    ],
)
def test_a_corrupt_entry_is_replaced(run, content):
    run.use()
    run.file("json").write_bytes(content)
    assert [run.use(), run.use()] == ["token-2", "token-2"]


@pytest.mark.parametrize("kind", ["private", "a link", "readable for others", "of another user", "a pipe"])
def test_only_a_private_file_of_the_user_is_believed(run, tmp_path, monkeypatch, kind):
    run.use()
    entry, elsewhere = run.file("json"), tmp_path / "elsewhere"
    planted = json.dumps({"token": "planted", "wall": 1800000000.0, "monotonic": 10000.0, "usable": 840.0})
    entry.write_text(planted)
    if kind == "a link":
        entry.rename(elsewhere)
        entry.symlink_to(elsewhere)
    elif kind == "readable for others":
        entry.chmod(0o644)
    elif kind == "of another user":
        foreign = os.stat_result([*entry.stat()[:4], os.geteuid() + 1, *entry.stat()[5:]])
        inode, real = entry.stat().st_ino, os.fstat
        monkeypatch.setattr(_run_files.os, "fstat", lambda fd: foreign if real(fd).st_ino == inode else real(fd))
    elif kind == "a pipe":
        entry.unlink()
        os.mkfifo(entry, 0o600)
    assert run.use() == ("planted" if kind == "private" else "token-2")
    assert stat.S_ISREG(entry.lstat().st_mode)
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600
    assert kind != "a link" or elsewhere.read_text() == planted, "nothing is written through the link"


@pytest.mark.parametrize(
    "kind", ["missing", "a file", "open to others", "a link", "a lock that is a link", "a file system without locks"]
)
def test_without_a_private_folder_there_is_no_cache(run, tmp_path, monkeypatch, kind):
    def refuse(descriptor, operation):
        raise OSError(37, "No locks available")

    folder = run.folder
    if kind in ("missing", "a file"):
        folder.rmdir()
        if kind == "a file":
            folder.touch(0o700)
    elif kind == "open to others":
        folder.chmod(0o755)
    elif kind == "a link":
        folder.symlink_to(folder.rename(tmp_path / "real"))
    elif kind == "a lock that is a link":
        run.use()
        run.file("lock").unlink()
        (folder / run.file("json").with_suffix(".lock")).symlink_to(tmp_path / "made")
    else:
        monkeypatch.setattr(_run_files.fcntl, "flock", refuse)
    calls = run.calls
    with pytest.raises(PrivateFolderError):
        run.use()
    assert run.calls == calls
    assert not (tmp_path / "made").exists()


def test_a_full_disk_costs_the_cache_and_not_the_token(run, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_run_files.json, "dump", full)
    assert [run.use(), run.use()] == ["token-1", "token-2"]
    assert list(run.folder.iterdir()) == [run.file("lock")]


REJECTED = AuthenticationError("The login was refused.", http_status=401, remedy="Check them.", server_message="no")


@pytest.mark.parametrize(
    ("error", "passed", "changes", "asks_again"),
    [
        (REJECTED, REFUSED_SECONDS - 1, {}, False),
        (REJECTED, REFUSED_SECONDS, {}, True),
        (REJECTED, 0, {"access_secret_key": "the right one"}, True),
        # A server that was away: only those that waited for this attempt share its failure.
        (TransportError("No connection."), 0.1, {}, True),
        (OptionError("The option url is missing."), 0, {}, True),
    ],
)
def test_only_rejected_keys_are_not_tried_again_for_a_while(run, error, passed, changes, asks_again):
    run.error = error
    with pytest.raises(type(error)):
        run.use()
    run.error = None
    run.time += passed
    if asks_again:
        assert run.use(**changes) == "token-2"
        return
    with pytest.raises(HelixError) as caught:
        run.use()
    assert caught.value.sentence() == "The login was refused. Check them."
    facts = (caught.value.http_status, caught.value.kind, caught.value.server_message)
    assert (facts, run.calls) == ((401, "authentication", "no"), 1)


@pytest.mark.parametrize("fails", [False, True])
def test_of_many_uses_at_once_one_asks_the_server(run, fails):
    """And the others take what comes of it, also a failure: they do not wait for a dead server one by one."""
    everybody = threading.Barrier(8)
    run.error = TransportError("No connection.") if fails else None

    def slow_fetch():
        time.sleep(0.5)
        return run.fetch()

    def use(_number):
        everybody.wait(30)
        try:
            return shared_token(str(run.folder), IDENTITY, slow_fetch, run.said.append)
        except HelixError as error:
            return error.message

    with ThreadPoolExecutor(8) as threads:
        results = set(threads.map(use, range(8)))
    assert (results, run.calls) == ({"No connection." if fails else "token-1"}, 1)

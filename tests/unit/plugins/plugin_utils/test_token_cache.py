# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The token that the processes of one run share: who may read it, how long it is used, and who asks the server."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import time
from pathlib import Path

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


class FakeClock(Now):
    def __init__(self):
        self.time = 1800000000.0
        self.set_back = 0.0

    def wall(self):
        return self.time - self.set_back

    def monotonic(self):
        return self.time - 1799990000.0


class Server:
    """Gives a new token for every call, or raises what it was told to."""

    def __init__(self):
        self.calls = 0
        self.errors = []

    def __call__(self):
        self.calls += 1
        if self.errors:
            raise self.errors[0]
        return f"token-{self.calls}", USABLE


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "ansible-local-1234"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def said():
    return []


@pytest.fixture
def ask(folder, clock, server, said):
    """What one use of the lookup does."""

    def run(identity=None, where=None):
        return shared_token(str(where or folder), identity or IDENTITY, server, said.append, clock)

    return run


def entry_of(folder):
    (path,) = folder.glob("*.json")
    return path


def test_the_second_use_finds_the_token_of_the_first(ask, server):
    assert [ask(), ask(), ask()] == ["token-1"] * 3
    assert server.calls == 1


def test_only_we_can_read_the_files_and_they_hold_no_key(ask, folder):
    old = os.umask(0)
    try:
        ask()
    finally:
        os.umask(old)
    files = list(folder.iterdir())
    assert len(files) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    everything = " ".join([path.name + path.read_text() for path in files])
    assert [value for value in (*IDENTITY.values(), "helix.test") if value in everything] == []


@pytest.mark.parametrize("name", sorted(IDENTITY))
def test_other_keys_or_addresses_have_another_token(ask, name):
    assert ask() == "token-1"
    assert ask({**IDENTITY, name: "other"}) == "token-2"
    assert ask() == "token-1"


@pytest.mark.parametrize(
    ("passed", "set_back", "token"),
    [
        (USABLE - 1, 0.0, "token-1"),
        (USABLE, 0.0, "token-2"),
        # A clock that was set back, by more and by less than the time that passed: the one that cannot be set counts.
        (USABLE - 10, 3600.0, "token-1"),
        (USABLE - 10, 500.0, "token-1"),
        (USABLE + 10, 3600.0, "token-2"),
        # Set forward, or the machine was suspended: the wall clock counts.
        (USABLE - 10, -3600.0, "token-2"),
        (0.0, -USABLE, "token-2"),
    ],
)
def test_a_token_is_replaced_when_its_time_is_over(ask, clock, passed, set_back, token):
    ask()
    clock.time += passed
    clock.set_back = set_back
    assert [ask(), ask()] == [token, token]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"token": []}',
        b'{"token": 5, "wall": 1800000000.0, "monotonic": 10000.0, "usable": 9e9}',
        b'{"token": "planted", "wall": 1800000000.0, "monotonic": 10000.0, "usable": "long"}',
        b'{"token": "planted", "wall": null, "monotonic": 10000.0, "usable": 9e9}',
        b'{"token": "planted", "wall": 1800000000.0, "monotonic": 20000.0, "usable": 9e9}',
        b'{"wall": "now", "monotonic": 10000.0, "failure": {"message": "planted"}}',
        b'{"wall": 1800000000.0, "monotonic": 10000.0, "failure": "planted"}',
        b"[" * 100000,
    ],
)
def test_a_corrupt_entry_is_ignored_and_replaced(ask, folder, content):
    ask()
    entry_of(folder).write_bytes(content)
    assert ask() == "token-2"
    assert ask() == "token-2"


PLANTED = json.dumps({"token": "planted", "wall": 1800000000.0, "monotonic": 10000.0, "usable": 840.0})


def of_the_user(entry, monkeypatch):
    entry.write_text(PLANTED)


def behind_a_link_of_its_own(entry, monkeypatch):
    elsewhere = entry.parent.parent / "elsewhere"
    elsewhere.write_text(PLANTED)
    elsewhere.chmod(0o600)
    entry.unlink()
    entry.symlink_to(elsewhere)


def readable_for_others(entry, monkeypatch):
    entry.write_text(PLANTED)
    entry.chmod(0o644)


def of_another_user(entry, monkeypatch):
    entry.write_text(PLANTED)
    real = os.fstat

    def foreign(descriptor):
        info = real(descriptor)
        values = list(info)
        if info.st_size:
            values[stat.ST_UID] += 1
        return os.stat_result(values)

    monkeypatch.setattr(_run_files.os, "fstat", foreign)


def a_pipe(entry, monkeypatch):
    entry.unlink()
    os.mkfifo(entry, 0o600)


@pytest.mark.parametrize(
    ("plant", "token"),
    [
        (of_the_user, "planted"),
        (behind_a_link_of_its_own, "token-2"),
        (readable_for_others, "token-2"),
        (of_another_user, "token-2"),
        (a_pipe, "token-2"),
    ],
)
def test_only_a_private_file_of_the_user_is_believed(ask, folder, tmp_path, monkeypatch, plant, token):
    ask()
    entry = entry_of(folder)
    plant(entry, monkeypatch)
    assert ask() == token
    assert entry.is_file()
    assert not entry.is_symlink()
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600
    for elsewhere in tmp_path.glob("elsewhere"):
        assert elsewhere.read_text() == PLANTED, "nothing is written through the link"


def missing(folder):
    folder.rmdir()


def open_to_others(folder):
    folder.chmod(0o755)


def behind_a_link(folder):
    real = folder.with_name("real")
    folder.rename(real)
    folder.symlink_to(real)


def a_file(folder):
    folder.rmdir()
    folder.write_text("")
    folder.chmod(0o700)


@pytest.mark.parametrize("spoil", [missing, open_to_others, behind_a_link, a_file])
def test_without_a_private_folder_there_is_no_cache(ask, folder, server, spoil):
    spoil(folder)
    with pytest.raises(PrivateFolderError):
        ask()
    assert server.calls == 0


def test_a_lock_behind_a_link_is_not_followed(ask, folder, server, tmp_path):
    ask()
    (lock,) = folder.glob("*.lock")
    lock.unlink()
    lock.symlink_to(tmp_path / "made")
    with pytest.raises(PrivateFolderError):
        ask()
    assert not (tmp_path / "made").exists()


def test_a_file_system_without_locks_means_no_cache(ask, server, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(_run_files.fcntl, "flock", refuse)
    with pytest.raises(PrivateFolderError, match="No locks available"):
        ask()
    assert server.calls == 0


def test_a_full_disk_costs_the_cache_and_not_the_token(ask, folder, server, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_run_files.json, "dump", full)
    assert ask() == "token-1"
    assert ask() == "token-2"
    assert sorted(path.suffix for path in folder.iterdir()) == [".lock"]


REJECTED = AuthenticationError("The login was refused.", http_status=401, remedy="Check them.", server_message="no")


@pytest.mark.parametrize(
    ("error", "passed", "identity", "asks_again"),
    [
        (REJECTED, REFUSED_SECONDS - 1, IDENTITY, False),
        (REJECTED, REFUSED_SECONDS, IDENTITY, True),
        (REJECTED, 0, {**IDENTITY, "access_secret_key": "the right one"}, True),
        # A server that was away
        (TransportError("No connection."), 0.1, IDENTITY, True),
    ],
)
def test_only_rejected_keys_are_not_tried_again_for_a_while(ask, server, clock, error, passed, identity, asks_again):
    server.errors = [error]
    with pytest.raises(type(error)):
        ask()
    server.errors = []
    clock.time += passed
    if asks_again:
        assert ask(identity) == "token-2"
        return
    with pytest.raises(HelixError) as caught:
        ask(identity)
    assert caught.value.sentence() == "The login was refused. Check them."
    facts = (caught.value.http_status, caught.value.kind, caught.value.server_message)
    assert (facts, server.calls) == ((401, "authentication", "no"), 1)


def test_a_wrong_option_is_told_to_everybody_as_such(ask, server):
    server.errors = [OptionError("The option url is missing.")]
    for _use in range(2):
        with pytest.raises(OptionError):
            ask()


def test_no_step_that_is_told_holds_a_secret(ask, clock, said):
    ask()
    clock.time += 500
    ask()
    clock.time += 500
    ask()
    assert said == [
        "logging in for this run",
        "using the token of this run, valid for 340 s more",
        "logging in for this run",
    ]


def _worker(folder, log, fails, everybody, results):
    def fetch():
        with Path(log).open("a") as file:
            file.write("x")
        time.sleep(1)
        if fails:
            raise TransportError("No connection.")
        return f"token-{os.getpid()}", USABLE

    everybody.wait(30)
    try:
        results.put(shared_token(folder, IDENTITY, fetch, lambda words: None))
    except HelixError as error:
        results.put(error.message)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # forked beside the threads of the test runner
@pytest.mark.parametrize("fails", [False, True])
def test_of_many_processes_one_asks_the_server(folder, tmp_path, fails):
    """And the others take what comes of it, also a failure: they do not wait for a dead server one by one."""
    fork = multiprocessing.get_context("fork")
    results, everybody, log = fork.Queue(), fork.Barrier(8), tmp_path / "log"
    arguments = (str(folder), str(log), fails, everybody, results)
    workers = [fork.Process(target=_worker, args=arguments) for dummy in range(8)]
    for worker in workers:
        worker.start()
    answers = [results.get(timeout=30) for dummy in workers]
    for worker in workers:
        worker.join(10)
    assert len(set(answers)) == 1
    assert (answers[0] == "No connection.") == fails
    assert log.read_text() == "x"

# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a real Ansible shows, logs and leaves behind while unusual secrets are in every option and every answer.

Up to 2.21, ansible-core takes registered secrets out of results. From 2.22 on, it masks what it prints, and results
keep them. `make matrix` runs this file on both.
"""

from __future__ import annotations

import contextlib
import json
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible.release import __version__ as ansible_version
from ansible_collections.capacityops.bmc_helix.plugins.lookup.jwt_token import register_secret

from tests.functional.network.parrot import EXCHANGES, Parrot
from tests.functional.network.secrets import (
    ACCESS_KEY,
    ACCESS_SECRET_KEY,
    GIVEN_TOKEN,
    JWT,
    NUMBER,
    PRINCIPAL_ID,
    PROPERTY,
    REFRESH_TOKEN,
    found_in,
)
from tests.functional.support import COLLECTION, INVENTORY, Played, base_environment, run_ansible

# A module takes seconds where others use the machine too, and there are thirty runs of one.
pytestmark = [pytest.mark.full, pytest.mark.smoke, pytest.mark.every_core, pytest.mark.timeout(400)]

MASKS_ITSELF = tuple(map(int, ansible_version.split(".")[:2])) >= (2, 22)
#: Core's own masks, and ours.
MASKS = ("********", "$REDACTED$", "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER")
#: Core calls syslog directly; Python runs this file at the start of every process.
SITECUSTOMIZE = """
import os, syslog
def _record(*words):
    with open(os.environ["RECORD_OF_SYSLOG"], "a", encoding="utf-8") as handle:
        handle.write(repr(words[-1]) + "\\n" + str(words[-1]) + "\\n")
syslog.syslog = _record
"""
#: The shortest property that is accepted as a secret
SHORT = "Zq7x9_"
#: Core shows the lines of a playbook around a task that failed: whoever writes secrets there has them shown.
VARIABLES = {
    "s_access_key": ACCESS_KEY,
    "s_access_secret_key": ACCESS_SECRET_KEY,
    "s_token": GIVEN_TOKEN,
    "s_jwt": JWT,
    "s_text": PROPERTY,
    "s_short": SHORT,
    "s_proxy": f"http://u:{GIVEN_TOKEN}@127.0.0.1:1",
    "s_address": "https://u:Zz06MARKgiventoken@127.0.0.1",
}


class Case(NamedTuple):
    """One task, named after the mode of the server, and words that its message must hold for a person."""

    name: str
    words: str
    task: dict[str, Any]
    fails: bool = True


def cases(parrot: Parrot) -> list[Case]:
    keys = {"access_key": "{{ s_access_key }}", "access_secret_key": "{{ s_access_secret_key }}"}
    secret = "secret_run_execution_properties"
    properties = {"secret.text": "{{ s_text }}", "secret.short": "{{ s_short }}", "secret.number": NUMBER}
    # The usual way, and the slower one: the module and its options are put into a file.
    as_a_file = {"vars": {"ansible_pipelining": False}}
    asynchronous = {"async": 60, "poll": 1}
    fine = "ended with exit OK"

    common = {"action": "run", "etl_id": 321, "wait_timeout": 30, "start_timeout": 1, "poll_interval": 1}
    common |= {"run_execution_properties": {"plain": "shown"}, secret: properties}

    def run(mode: str, words: str, keywords: Any = None, **options: Any) -> Case:
        task = {f"{COLLECTION}.etl_action": {"url": parrot.url(mode), **common, **options}, **(keywords or {})}
        return Case(mode, words, task, fails=words != fine)

    def read_list(mode: str, words: str, fails: bool = True, **options: Any) -> Case:
        return Case(mode, words, {f"{COLLECTION}.etl_info": {"url": parrot.url(mode), **options}}, fails)

    def lookup(mode: str, words: str, fails: bool = True) -> Case:
        that = f"lookup('{COLLECTION}.jwt_token', url='{parrot.url(mode)}') | length > 20"
        return Case(mode, words, {"ansible.builtin.assert": {"that": that, "quiet": True}}, fails)

    return [
        run("fine", fine),
        run("well", fine, as_a_file, **keys),
        run("calm", fine, asynchronous, **keys),
        run("login-401-json", "(HTTP 401)", asynchronous),
        run("login-401-nested", "The login at http://127.0.0.1", as_a_file, **keys),
        read_list("list-200-json", "1 ETL", fails=False),
        run("status-200-json", "which this collection does not know"),
        run("run-400-quoted", "HTTP 400"),
        run("run-401-json", "HTTP 401", token="{{ s_token }}"),
        read_list("proxy", "or the address of the proxy, is not valid", proxy="{{ s_proxy }}", retries=0),
        read_list("user-in-address", "must not contain a user name", url="{{ s_address }}"),
        run("wrong-type", "dict", **{secret: "{{ s_text }}"}),
        run("nested", "The property x", **{secret: {"x": {"y": "{{ s_text }}"}}}),
        lookup("lookup", "All assertions passed", fails=False),
        lookup("login-401-java", "The login at http://127.0.0.1"),
    ]


def tasks(listed: list[Case]) -> list[dict[str, Any]]:
    done = [
        {"name": case.name, "register": f"r{number}", "ignore_errors": True, **case.task}
        for number, case in enumerate(listed)
    ]
    # What a play can do with results; core 2.22 masks what it prints, and not what it writes.
    content = f"{{{{ {{'jwt': s_jwt, 'results': [{', '.join(task['register'] for task in done)}]}} | to_json }}}}"
    copy = {"dest": "{{ playbook_dir }}/written.json", "content": content, "mode": "0600"}
    done.append({"ansible.builtin.copy": copy, "diff": False})
    if MASKS_ITSELF:
        # The module learned the token and registered it: from then on core masks it, wherever it comes from.
        done.append({"ansible.builtin.debug": {"msg": "the token is {{ s_jwt }}"}})
    return done


class Watch:
    """Looks at the arguments of all processes, and at files that come and go, while something runs."""

    def __init__(self, *folders: Path) -> None:
        self.folders = folders
        self.arguments: set[str] = set()
        self.open_files: set[str] = set()
        self.commands_seen = 0
        self._seen: dict[Path, int] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_again_and_again)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look_again_and_again(self) -> None:
        while not self._ended.wait(0.1):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):  # it is gone
                    self._look_at_process(read(path))
            for path in [path for folder in self.folders for path in folder.rglob("*")]:
                with contextlib.suppress(OSError):
                    self._look_at_file(path)

    def _look_at_process(self, text: str) -> None:
        self.commands_seen += "AnsiballZ_etl_" in text
        self.arguments.update(f"{name} in: {text[:300]}" for name in found_in(text.replace("\0", " ")))

    def _look_at_file(self, path: Path) -> None:
        """Modules come with their options in a file; nobody else may be able to read it."""
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or self._seen.get(path) == status.st_mtime_ns:
            return
        self._seen[path] = status.st_mtime_ns
        parents = [parent for parent in path.parents if {*self.folders} & {parent, *parent.parents}]
        if all(item.stat().st_mode & 0o077 for item in (path, *parents)):
            self.open_files.update(f"{name} in {path}" for name in found_in(read(path)))


def read(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def assert_none_in(text: str) -> None:
    at = text.find("MARK")
    assert found_in(text) == [], text[max(0, at - 400) : at + 100]
    assert SHORT not in text


@pytest.fixture(scope="module")
def parrot() -> Iterator[Parrot]:
    keys = {"access_key": ACCESS_KEY, "access_secret_key": ACCESS_SECRET_KEY}
    with Parrot(keys, JWT, REFRESH_TOKEN, PRINCIPAL_ID) as server:
        yield server


def play_all(folder: Path, parrot: Parrot, listed: list[Case]) -> Played:
    for name in ("home", "temporary", "python"):
        # As on most machines: whoever is on it may look into a home folder.
        (folder / name).mkdir()
        (folder / name).chmod(0o755)
    (folder / "python" / "sitecustomize.py").write_text(SITECUSTOMIZE, encoding="utf-8")
    (folder / "secrets.yml").write_text(
        "".join(f"{name}: !unsafe {json.dumps(text, ensure_ascii=False)}\n" for name, text in VARIABLES.items()),
        encoding="utf-8",
    )
    variables = {"ansible_pipelining": True, "ansible_async_dir": f"{folder}/home/.ansible_async"}
    head = {"hosts": "localhost", "gather_facts": False, "vars_files": "secrets.yml", "vars": variables}
    playbook = folder / "play.yml"
    playbook.write_text(json.dumps([{**head, "tasks": tasks(listed)}], indent=1), encoding="utf-8")
    environment = {
        **base_environment(folder / "home"),
        "ANSIBLE_LOG_PATH": str(folder / "ansible.log"),
        "PYTHONPATH": str(folder / "python"),
        "RECORD_OF_SYSLOG": str(folder / "syslog.txt"),
        "TMPDIR": str(folder / "temporary"),
        "HELIX_URL": parrot.url(),
        "HELIX_ALLOW_HTTP": "true",
        "HELIX_ACCESS_KEY": ACCESS_KEY,
        "HELIX_ACCESS_SECRET_KEY": ACCESS_SECRET_KEY,
        "HELIX_RETRIES": "0",
    }
    command = ["ansible-playbook", "-i", INVENTORY, playbook, "-vvvvv", "--diff"]
    return run_ansible(command, environment, folder, 300)


def test_no_secret_anywhere(tmp_path: Path, parrot: Parrot) -> None:
    """One play for all checks, because it takes long."""
    listed = cases(parrot)
    with Watch(tmp_path / "home", tmp_path / "temporary") as watch:
        done = play_all(tmp_path, parrot, listed)
    assert done.rc == 0, done.output[-6000:]
    log, syslog = read(tmp_path / "ansible.log"), read(tmp_path / "syslog.txt")
    written = json.loads(read(tmp_path / "written.json"))

    # Every bad answer came, and every failure can be understood.
    for case in listed:
        exchange = case.name.partition("-")[0]
        assert exchange not in EXCHANGES or f"{case.name} {exchange}" in parrot.requests
        result = done.task(case.name)
        text = json.dumps(result.result, ensure_ascii=False)
        assert case.words in text, f"{case.name}: {text}"
        assert result.failed == case.fails, f"{case.name}: {text}"
        assert "output has been hidden" not in text
    assert any(mask in done.task("login-401-nested")["error"]["server_message"] for mask in MASKS)

    # Output and logs, which are what they should be
    for text in (done.stdout, done.stderr, log, syslog):
        assert_none_in(text)
    assert "Traceback" not in done.output
    assert done.stdout.count("TASK [") >= 15
    assert "EXEC /bin/sh" in log
    assert syslog.count("Invoked with") > 12
    assert "etl_id=" in syslog or '"etl_id"' in syslog

    # Results, without the help of core: what is written to a file is not masked from 2.22 on.
    assert len(written["results"]) == len(listed)
    for result in written["results"]:
        assert_none_in(json.dumps(result, ensure_ascii=False))
    # The lookup tells core its token, too.
    assert (register_secret is not None) == MASKS_ITSELF
    if MASKS_ITSELF:
        assert '"msg": "the token is $REDACTED$"' in done.stdout
        assert written["jwt"] == JWT, "the file was masked too, so it shows nothing"

    # Arguments of processes, and files: while it ran, and afterwards
    assert watch.commands_seen > 1, "the processes of the modules were not seen"
    assert watch.arguments == set()
    files = [path for folder in watch.folders for path in folder.rglob("*") if path.is_file()]
    left = {f"{name} in {path}" for path in files for name in found_in(read(path))}
    # Core 2.22 lets async_wrapper write what a module was given into its job file; not what the server gave us.
    job, from_server = f"in {tmp_path}/home/.ansible_async/", ("json_web_token ", "refresh_token ", "principal_id ")
    for found in (left, watch.open_files):
        allowed = {text for text in found if MASKS_ITSELF and job in text and not text.startswith(from_server)}
        assert found - allowed == set()

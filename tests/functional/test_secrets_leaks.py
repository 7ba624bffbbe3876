# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a real Ansible shows, logs and leaves behind while unusual secrets are in every option and every answer.

Up to 2.21, ansible-core takes registered secrets out of results. From 2.22 on, it masks what it prints, and results
keep them. `make matrix` runs this file on both.
"""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.release import __version__ as ansible_version
from ansible_collections.capacityops.bmc_helix.plugins.lookup.jwt_token import register_secret

from tests.functional.network.parrot import Parrot
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
#: Cases, and words that each message must hold for a person to understand it.
SUCCEED = {
    "success": "ran and ended with exit OK",
    "success with options in a file": "ran and ended with exit OK",
    "asynchronous": "exit OK",
    "list that tells": "1 ETL",
}
FAIL = {
    "asynchronous failure": "(HTTP 401)",
    "login refused": "The login at http://127.0.0.1",
    "status that tells": "which this collection does not know",
    "run refused": "HTTP 400",
    "run with a given token": "HTTP 401",
    "proxy that is not there": "or the address of the proxy, is not valid",
    "user in the address": "must not contain a user name",
    "secret of the wrong type": "dict",
    "nested secret": "The property x",
    "lookup that fails": "The login at http://127.0.0.1",
}


def tasks(parrot: Parrot) -> list[dict[str, Any]]:
    secret = "secret_run_execution_properties"
    keys = {"access_key": "{{ s_access_key }}", "access_secret_key": "{{ s_access_secret_key }}"}
    asynchronous = {"async": 60, "poll": 1}
    # The usual way, and the slower one: the module and its options are put into a file.
    as_a_file = {"vars": {"ansible_pipelining": False}}
    found: list[dict[str, Any]] = []

    def case(name: str, module: str, options: dict[str, Any], **keywords: Any) -> None:
        register = {"register": f"r{len(found)}", "ignore_errors": True}
        found.append({"name": name, f"{COLLECTION}.{module}": options, **register, **keywords})

    def run(name: str, mode: str, keywords: Any = None, **options: Any) -> None:
        common = {
            "url": parrot.url(mode),
            "action": "run",
            "etl_id": 321,
            "run_execution_properties": {"plain": "shown"},
        }
        times = {"wait_timeout": 30, "start_timeout": 1, "poll_interval": 1}
        secrets = {secret: {"secret.text": "{{ s_text }}", "secret.short": "{{ s_short }}", "secret.number": NUMBER}}
        case(name, "etl_action", {**common, **times, **secrets, **options}, **(keywords or {}))

    run("success", "fine")
    run("success with options in a file", "well", as_a_file, **keys)
    run("asynchronous", "calm", asynchronous, **keys)
    run("asynchronous failure", "login-401-json", asynchronous)
    run("login refused", "login-401-nested", as_a_file, **keys)
    case("list that tells", "etl_info", {"url": parrot.url("list-200-json")})
    run("status that tells", "status-200-json")
    run("run refused", "run-400-quoted")
    run("run with a given token", "run-401-json", token="{{ s_token }}")
    case("proxy that is not there", "etl_info", {"proxy": "{{ s_proxy }}", "retries": 0})
    case("user in the address", "etl_info", {"url": "{{ s_address }}"})
    run("secret of the wrong type", "fine", **{secret: "{{ s_text }}"})
    run("nested secret", "fine", **{secret: {"x": {"y": "{{ s_text }}"}}})
    # What a play can do with results; core 2.22 masks what it prints, and not what it writes.
    results = ", ".join(task["register"] for task in found)
    content = f"{{{{ {{'jwt': s_jwt, 'results': [{results}]}} | to_json }}}}"
    copy = {"dest": "{{ playbook_dir }}/written.json", "content": content, "mode": "0600"}
    found.append({"name": "written by the user", "ansible.builtin.copy": copy, "diff": False})
    if MASKS_ITSELF:
        # The module learned the token and registered it: from then on core masks it, wherever it comes from.
        found.append({"name": "printed by the user", "ansible.builtin.debug": {"msg": "the token is {{ s_jwt }}"}})
    for name, options in (("lookup", ""), ("lookup that fails", f", url='{parrot.url('login-401-java')}'")):
        that = f"lookup('{COLLECTION}.jwt_token'{options}) | length > 20"
        found.append({"name": name, "ansible.builtin.assert": {"that": that, "quiet": True}, "ignore_errors": True})
    return found


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
                self._look(path, self._look_at_process)
            for folder in self.folders:
                for path in folder.rglob("*"):
                    self._look(path, self._look_at_file)

    def _look(self, path: Path, look: Callable[[Path], None]) -> None:
        try:
            look(path)
        except OSError:
            pass  # it is gone

    def _look_at_process(self, path: Path) -> None:
        text = read(path).replace("\0", " ")
        self.commands_seen += "AnsiballZ_etl_" in text
        self.arguments.update(f"{name} in: {text[:300]}" for name in found_in(text))

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


def play_all(folder: Path, parrot: Parrot) -> Played:
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
    playbook.write_text(json.dumps([{**head, "tasks": tasks(parrot)}], indent=1), encoding="utf-8")
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
    with Watch(tmp_path / "home", tmp_path / "temporary") as watch:
        done = play_all(tmp_path, parrot)
    assert done.rc == 0, done.output[-6000:]
    log, syslog = read(tmp_path / "ansible.log"), read(tmp_path / "syslog.txt")
    written = json.loads(read(tmp_path / "written.json"))

    # Every bad answer came, and every failure can be understood.
    for mode in ("login-401-nested", "run-400-quoted", "status-200-json", "list-200-json", "run-401-json"):
        assert f"{mode} {mode.partition('-')[0]}" in parrot.requests
    for name, words in {**SUCCEED, **FAIL}.items():
        result = done.task(name)
        text = json.dumps(result.result, ensure_ascii=False)
        assert words in text, f"{name}: {text}"
        assert result.failed == (name in FAIL), f"{name}: {text}"
        assert "output has been hidden" not in text
    assert any(mask in done.task("login refused")["error"]["server_message"] for mask in MASKS)

    # Output and logs, which are what they should be
    for text in (done.stdout, done.stderr, log, syslog):
        assert_none_in(text)
    assert "Traceback" not in done.output
    assert done.stdout.count("TASK [") >= 15
    assert "EXEC /bin/sh" in log
    assert syslog.count("Invoked with") > 12
    assert "etl_id=" in syslog or '"etl_id"' in syslog

    # Results, without the help of core: what is written to a file is not masked from 2.22 on.
    assert len(written["results"]) == len(SUCCEED) + len(FAIL) - 1
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
    left = {
        f"{name} in {path}"
        for folder in watch.folders
        for path in folder.rglob("*")
        if path.is_file()
        for name in found_in(read(path))
    }
    # Core 2.22 lets async_wrapper write what a module was given into its job file; not what the server gave us.
    job, given_by_the_server = (
        f"in {tmp_path}/home/.ansible_async/",
        ("json_web_token ", "refresh_token ", "principal_id "),
    )
    for found in (left, watch.open_files):
        allowed = {text for text in found if MASKS_ITSELF and job in text and not text.startswith(given_by_the_server)}
        assert found - allowed == set()

# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a real Ansible shows, logs and leaves behind while unusual secrets are in every option and every answer.

Up to 2.21, ansible-core takes registered secrets out of results. From 2.22 on, it masks what it prints, and results
keep them. `make matrix` runs this file on both.
"""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible.release import __version__ as ansible_version

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
from tests.functional.support import INVENTORY, TaskResult, base_environment

# A module takes seconds where others use the machine too, and there are thirty runs of one.
pytestmark = [pytest.mark.full, pytest.mark.every_core, pytest.mark.timeout(400)]

CORE = ".".join(ansible_version.split(".")[:2])
# Core's own masks, and ours.
MASKS = ("********", "$REDACTED$", "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER")

# Core calls syslog directly; Python runs this file at the start of every process.
_SITECUSTOMIZE = """
import os, syslog
def _record(*words):
    with open(os.environ["RECORD_OF_SYSLOG"], "a", encoding="utf-8") as handle:
        handle.write(repr(words[-1]) + "\\n" + str(words[-1]) + "\\n")
syslog.syslog = _record
"""


@dataclass
class Case:
    """One task, and words that its message must hold for a person to understand it."""

    name: str
    options: dict[str, Any]
    words: str
    module: str = "etl_action"
    keywords: dict[str, Any] = field(default_factory=dict)
    failed: bool = True

    @property
    def variable(self) -> str:
        return "r_" + re.sub(r"\W", "_", self.name)

    def task(self) -> str:
        lines = [f"- name: {self.name}", "  ignore_errors: true", f"  register: {self.variable}"]
        lines += [f"  {name}: {json.dumps(value)}" for name, value in self.keywords.items()]
        lines.append(f"  capacityops.bmc_helix.{self.module}:")
        lines += [f"    {name}: {json.dumps(value)}" for name, value in self.options.items()]
        return "\n".join(lines)


#: Core shows the lines of a playbook around a task that failed: whoever writes secrets there has them shown.
VARIABLES = {
    "s_access_key": ACCESS_KEY,
    "s_access_secret_key": ACCESS_SECRET_KEY,
    "s_token": GIVEN_TOKEN,
    "s_jwt": JWT,
    "s_text": PROPERTY,
    "s_proxy": f"http://u:{GIVEN_TOKEN}@127.0.0.1:1",
    "s_address": "https://u:Zz06MARKgiventoken@127.0.0.1",
}


def cases(parrot: Parrot, core: str) -> list[Case]:
    mark = core.replace(".", "").replace(" ", "")

    def run(mode: str, **more: Any) -> dict[str, Any]:
        return {
            "url": parrot.url(mode),
            "action": "run",
            "etl_id": 321,
            "wait_timeout": 30,
            "start_timeout": 1,
            "poll_interval": 1,
            "run_execution_properties": {"plain": "shown"},
            "secret_run_execution_properties": {"secret.text": "{{ s_text }}", "secret.number": NUMBER},
            **more,
        }

    keys = {"access_key": "{{ s_access_key }}", "access_secret_key": "{{ s_access_secret_key }}"}
    asynchronous = {"async": 60, "poll": 1}
    # The usual way, and the slower one: the module and its options are put into a file.
    as_a_file = {"vars": {"ansible_pipelining": False}}
    wrong_type = {"secret_run_execution_properties": "{{ s_text }}"}
    nested = {"secret_run_execution_properties": {"x": {"y": "{{ s_text }}"}}}
    return [
        Case("success, keys from the environment", run(f"fine{mark}"), "ran and ended with exit OK", failed=False),
        Case(
            "success, keys as options",
            run(f"well{mark}", **keys),
            "ran and ended with exit OK",
            failed=False,
            keywords=as_a_file,
        ),
        Case("asynchronous", run(f"calm{mark}", **keys), "exit OK", keywords=asynchronous, failed=False),
        Case("asynchronous failure", run("login-401-json"), "(HTTP 401)", keywords=asynchronous),
        Case("login refused", run("login-401-nested", **keys), "The login at http://127.0.0.1", keywords=as_a_file),
        Case("list that tells", {"url": parrot.url("list-200-json")}, "1 ETL", "etl_info", failed=False),
        Case("status that tells", run("status-200-json"), "which this collection does not know"),
        Case("run refused", run("run-400-quoted"), "HTTP 400"),
        Case("run with a given token", run("run-401-json", token="{{ s_token }}"), "HTTP 401"),
        Case(
            "proxy that is not there",
            {"proxy": "{{ s_proxy }}", "retries": 0},
            "or the address of the proxy, is not valid",
            "etl_info",
        ),
        Case("user in the address", {"url": "{{ s_address }}"}, "must not contain a user name", "etl_info"),
        Case("secret of the wrong type", run("fine", **wrong_type), "dict"),
        Case("nested secret", run("fine", **nested), "The property x"),
    ]


# The module learned the token and registered it: from then on core masks it, wherever it comes from.
PRINTED = """
- name: printed by the user
  ansible.builtin.debug:
    msg: the token is {{ s_jwt }}
"""
# What a play can do with results; core 2.22 masks what it prints, and not what it writes.
WRITTEN = """
- name: written by the user
  ansible.builtin.copy:
    dest: "{{{{ playbook_dir }}}}/written.json"
    content: "{{{{ {{'jwt': s_jwt, 'results': [{names}]}} | to_json }}}}"
    mode: "0600"
  diff: false
"""
LOOKUPS = """
- name: lookup
  ansible.builtin.assert:
    that: lookup('capacityops.bmc_helix.jwt_token') | length > 20
    quiet: true
- name: lookup that fails
  ignore_errors: true
  ansible.builtin.assert:
    that: lookup('capacityops.bmc_helix.jwt_token', url=refusing) | length > 20
"""


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
            self._look_at_processes()
            for folder in self.folders:
                self._look_at_files(folder)

    def _look_at_processes(self) -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                text = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            self.commands_seen += "AnsiballZ_etl_" in text
            self.arguments.update(f"{name} in: {text[:300]}" for name in found_in(text))

    def _look_at_files(self, folder: Path) -> None:
        """Modules come with their options in a file; nobody else may be able to read it."""
        for path in folder.rglob("*"):
            try:
                status = path.stat()
                if not stat.S_ISREG(status.st_mode) or self._seen.get(path) == status.st_mtime_ns:
                    continue
                self._seen[path] = status.st_mtime_ns
                closed = not status.st_mode & 0o077 or any(
                    not parent.stat().st_mode & 0o077 for parent in path.parents if folder in (parent, *parent.parents)
                )
                if not closed:
                    self.open_files.update(f"{name} in {path}" for name in found_in(_text(path)))
            except OSError:
                continue


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


@dataclass
class Run:
    """All that one run of the playbook left."""

    core: str
    stdout: str
    stderr: str
    log: str
    syslog: str
    results: dict[str, TaskResult]
    written: dict[str, Any]
    watch: Watch
    home: Path
    temporary: Path
    requests: list[str]


@pytest.fixture(scope="module")
def parrot() -> Iterator[Parrot]:
    with Parrot(
        {"access_key": ACCESS_KEY, "access_secret_key": ACCESS_SECRET_KEY}, JWT, REFRESH_TOKEN, PRINCIPAL_ID
    ) as server:
        yield server


def _play(core: str, folder: Path, parrot: Parrot) -> Run:
    for name in ("home", "temporary", "python"):
        (folder / name).mkdir()
    # As on most machines: whoever is on it may look into a home folder.
    (folder / "home").chmod(0o755)
    (folder / "temporary").chmod(0o755)
    (folder / "python" / "sitecustomize.py").write_text(_SITECUSTOMIZE, encoding="utf-8")
    listed = cases(parrot, core)
    written = WRITTEN.format(names=", ".join(case.variable for case in listed))
    tasks = "\n".join(case.task() for case in listed) + written + (PRINTED if core == "2.22" else "") + LOOKUPS
    playbook = folder / "play.yml"
    refusing = json.dumps(parrot.url("login-401-java"))
    (folder / "secrets.yml").write_text(
        "".join(f"{name}: !unsafe {json.dumps(text, ensure_ascii=False)}\n" for name, text in VARIABLES.items()),
        encoding="utf-8",
    )
    playbook.write_text(
        "---\n- hosts: localhost\n  gather_facts: false\n  vars_files: secrets.yml\n  vars:\n"
        f"    refusing: {refusing}\n    ansible_pipelining: true\n"
        f"    ansible_async_dir: {folder}/home/.ansible_async\n  tasks:\n"
        + "\n".join(f"    {line}" for line in tasks.splitlines()),
        encoding="utf-8",
    )
    environment = {
        **base_environment(folder / "home"),
        "ANSIBLE_LOG_PATH": str(folder / "ansible.log"),
        "ANSIBLE_RECORDER_FILE": str(folder / "record.jsonl"),
        "PYTHONPATH": str(folder / "python"),
        "RECORD_OF_SYSLOG": str(folder / "syslog.txt"),
        "TMPDIR": str(folder / "temporary"),
        "HELIX_URL": parrot.url(),
        "HELIX_ALLOW_HTTP": "true",
        "HELIX_ACCESS_KEY": ACCESS_KEY,
        "HELIX_ACCESS_SECRET_KEY": ACCESS_SECRET_KEY,
        "HELIX_RETRIES": "0",
    }
    before = len(parrot.requests)
    with Watch(folder / "home", folder / "temporary") as watch:
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                "-i",
                str(INVENTORY),
                str(playbook),
                "-vvvvv",
                "--diff",
            ],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    results = [TaskResult(**json.loads(line)) for line in _text(folder / "record.jsonl").splitlines()]
    return Run(
        core,
        done.stdout,
        done.stderr,
        _text(folder / "ansible.log"),
        _text(folder / "syslog.txt"),
        {result.task: result for result in results},
        json.loads(_text(folder / "written.json")),
        watch,
        folder / "home",
        folder / "temporary",
        parrot.requests[before:],
    )


def _check_output_and_logs(run: Run) -> None:
    if run.core == "2.22":  # the others mask options only
        assert '"msg": "the token is $REDACTED$"' in run.stdout
    for name in ("stdout", "stderr", "log", "syslog"):
        text = getattr(run, name)
        assert found_in(text) == [], _around(text)
    assert "Traceback" not in run.stdout + run.stderr
    # What was searched is what it should be.
    assert run.stdout.count("TASK [") >= 15
    assert "EXEC /bin/sh" in run.log
    assert run.syslog.count("Invoked with") > 12
    assert "etl_id=" in run.syslog or '"etl_id"' in run.syslog


def _check_results_without_the_help_of_core(run: Run) -> None:
    """A registered result can be written to a file: there nothing is masked from 2.22 on."""
    if run.core == "2.22":
        assert run.written["jwt"] == JWT, "the file was masked too, so it shows nothing"
    assert len(run.written["results"]) == 13
    for result in run.written["results"]:
        text = json.dumps(result, ensure_ascii=False)
        assert found_in(text) == [], _around(text)


def _check_failures_are_readable(run: Run, parrot: Parrot) -> None:
    for case in cases(parrot, run.core):
        result = run.results[case.name]
        text = json.dumps(result.result, ensure_ascii=False)
        assert case.words in text, f"{case.name}: {text}"
        assert result.failed == case.failed, f"{case.name}: {text}"
        assert "output has been hidden" not in text
    assert "the login" in json.dumps(run.results["lookup that fails"].result).lower()
    assert any(mask in run.results["login refused"]["error"]["server_message"] for mask in MASKS)


def _check_process_arguments(run: Run) -> None:
    assert run.watch.commands_seen > 1, "the processes of the modules were not seen"
    assert run.watch.arguments == set()


def _check_files(run: Run) -> None:
    """While it runs, and afterwards. Core 2.22 lets async_wrapper write what a module was given into its job file."""
    core_s_own = run.home / ".ansible_async"
    left = {
        f"{name} in {path}"
        for folder in (run.home, run.temporary)
        for path in folder.rglob("*")
        if path.is_file() and (core_s_own not in path.parents or not run.core.startswith("2.22"))
        for name in found_in(_text(path))
    }
    assert left == set()
    while_running = run.watch.open_files
    if run.core == "2.22":
        # What the server gave us is not among it, not even there.
        ours = ("json_web_token ", "refresh_token ", "principal_id ")
        while_running = {text for text in while_running if text.startswith(ours) or f"in {core_s_own}/" not in text}
    assert while_running == set()


def _check_the_server_was_asked(run: Run) -> None:
    """Every bad answer really came."""
    asked = set(run.requests)
    for mode in ("login-401-nested", "run-400-quoted", "status-200-json", "list-200-json", "run-401-json"):
        assert f"{mode} {mode.partition('-')[0]}" in asked


def _around(text: str) -> Optional[str]:
    """Where the first secret stands."""
    at = text.find("MARK")
    return text[max(0, at - 400) : at + 100] if at >= 0 else text[:300]


@pytest.mark.smoke
def test_no_secret_anywhere(tmp_path_factory: pytest.TempPathFactory, parrot: Parrot) -> None:
    """One play for all checks, because it takes long."""
    run = _play(CORE, tmp_path_factory.mktemp("leaks"), parrot)
    _check_the_server_was_asked(run)
    _check_failures_are_readable(run, parrot)
    _check_output_and_logs(run)
    _check_results_without_the_help_of_core(run)
    _check_process_arguments(run)
    _check_files(run)


@pytest.mark.smoke
def test_core_masks_what_the_lookup_learned(parrot: Parrot, play: Callable[..., Any]) -> None:
    """From 2.22 on a token that a lookup returned is masked wherever it is printed, because we registered it."""
    done = play(
        "- ansible.builtin.debug:\n    msg: the token is {{ lookup('capacityops.bmc_helix.jwt_token') }}\n",
        env={"HELIX_URL": parrot.url(), "HELIX_ALLOW_HTTP": "true", "HELIX_ACCESS_KEY": ACCESS_KEY}
        | {"HELIX_ACCESS_SECRET_KEY": ACCESS_SECRET_KEY, "HELIX_CA_PATH": None},
        allow_secrets=True,
    )
    newest = tuple(map(int, CORE.split("."))) >= (2, 22)
    assert ("json_web_token" in found_in(done.output)) != newest
    assert ("$REDACTED$" in done.output) == newest

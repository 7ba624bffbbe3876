# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the real module and the real Ansible as processes, and gives their results back as objects."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "capacityops.bmc_helix"
INVENTORY = ROOT / "tests" / "inventory.yml"
SITE_PACKAGES = Path(sysconfig.get_path("purelib"))

# These change what the product or Ansible does. A test that wants one sets it itself.
_LEFT_OUT = re.compile(
    r"(ANSIBLE|HELIX|PYTEST)_.*|PYTHON(PATH|HOME|DONTWRITEBYTECODE|WARNINGS)|VIRTUAL_ENV"
    r"|((https?|all|no)_proxy)|(REQUESTS|CURL|AWS)_CA_BUNDLE|SSL_CERT_(FILE|DIR)|NETRC",
    re.IGNORECASE,
)
_JWT = re.compile(r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*")
_WARNING = re.compile(r"^\[(?:DEPRECATION )?WARNING\].*(?:\n(?!\[|\s*$|PLAY |TASK |\w+: \[).*)*", re.MULTILINE)


@dataclass
class Result:
    """What a module or a task returned."""

    result: dict[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.result[key]

    def __contains__(self, key: str) -> bool:
        return key in self.result

    @property
    def changed(self) -> bool:
        return bool(self.result.get("changed"))

    @property
    def failed(self) -> bool:
        return bool(self.result.get("failed"))


@dataclass
class ModuleRun(Result):
    """One run of a module without Ansible around it."""

    rc: int
    stdout: str
    stderr: str


@dataclass
class TaskResult(Result):
    """What one task returned on one host."""

    task: str
    host: str
    status: str
    ignored: bool

    @property
    def failed(self) -> bool:
        return self.status == "failed"


@dataclass
class Played:
    """One run of a program of Ansible."""

    rc: int
    stdout: str
    stderr: str
    tasks: list[TaskResult]

    @property
    def output(self) -> str:
        """All that the user sees."""
        return self.stdout + self.stderr

    @property
    def warnings(self) -> list[str]:
        """Warnings and deprecations, each as one line of text."""
        return [" ".join(match.group().split()) for match in _WARNING.finditer(self.output)]

    def task(self, name: Optional[str] = None) -> TaskResult:
        """The result of the task of that name; without a name, of the last task that was not skipped."""
        found = [task for task in self.tasks if (task.task == name if name else task.status != "skipped")]
        assert found, f"no result of {name or 'any task'} in:\n{self.output}"
        return found[-1]


def base_environment(home: Path) -> dict[str, str]:
    """A process environment that is the same on every machine: no user settings, no proxy, no foreign CA."""
    env = {name: value for name, value in os.environ.items() if not _LEFT_OUT.fullmatch(name)}
    env["HOME"] = str(home)
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    env["NO_PROXY"] = env["no_proxy"] = "127.0.0.1,localhost"
    env["ANSIBLE_HOME"] = str(home / ".ansible")
    env["ANSIBLE_CONFIG"] = str(ROOT / "tests" / "ansible.cfg")
    env["ANSIBLE_COLLECTIONS_PATH"] = str(SITE_PACKAGES)
    env["ANSIBLE_NOCOLOR"] = "true"
    env["ANSIBLE_CALLBACK_PLUGINS"] = str(ROOT / "tests" / "functional" / "callback_plugins")
    env["ANSIBLE_CALLBACKS_ENABLED"] = "recorder"
    env["ANSIBLE_LOAD_CALLBACK_PLUGINS"] = "true"  # for the ad-hoc command
    env["COLUMNS"] = "1000"  # or warnings are folded, and a test cannot search for a sentence
    return env


def without_internals(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result without what a module and ansible-core tell each other, which differs from core to core."""
    return {key: value for key, value in result.items() if not key.startswith("_ansible_")}


def without_callbacks(env: Mapping[str, str]) -> dict[str, str]:
    """For programs that set the callback plugins of Ansible themselves."""
    return {name: value for name, value in env.items() if "CALLBACK" not in name}


def run_process(
    command: Sequence[object], env: Mapping[str, str], folder: Union[str, Path], timeout: float, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program, which is looked for beside this interpreter first, with a text on standard input."""
    return subprocess.run(
        [str(word) for word in command],
        input=given,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=dict(env),
        cwd=folder,
        timeout=timeout,
        check=False,
    )


@contextlib.contextmanager
def started(command: Sequence[object], env: Mapping[str, str], output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a session of its own, in the folder of the file that gets its output. It is killed at the end."""
    words = [str(word) for word in command]
    with output.open("w") as file:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=env,
            cwd=output.parent,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(fact: Callable[[], object], output: Path) -> None:
    """Until it is so, at most a minute."""
    deadline = time.monotonic() + 60
    while not fact():
        assert time.monotonic() < deadline, output.read_text(encoding="utf-8")
        time.sleep(0.05)


def run_ansible(command: Sequence[object], env: Mapping[str, str], folder: Path, timeout: float) -> Played:
    """Run a program of Ansible, with the recorder."""
    record = folder / f"record-{time.monotonic_ns()}.jsonl"
    process = run_process(command, {**env, "ANSIBLE_RECORDER_FILE": str(record)}, folder, timeout)
    lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
    tasks = [TaskResult(**json.loads(line)) for line in lines]
    return Played(process.returncode, process.stdout, process.stderr, tasks)


def write_playbook(folder: Path, tasks: Union[str, list[dict[str, Any]]], hosts: str, vars_: Mapping[str, Any]) -> Path:
    """Write a playbook of one play around the tasks, or a complete one if the text starts with a play."""
    path = folder / f"play-{time.monotonic_ns()}.yml"
    text = textwrap.dedent(tasks).strip("\n") if isinstance(tasks, str) else json.dumps(tasks, indent=2)
    if not re.search(r"^- (hosts|name: .*\n  hosts|import_playbook|ansible.builtin.import_playbook)\b", text):
        header = f"- hosts: {hosts}\n  gather_facts: false\n  vars: {json.dumps(dict(vars_))}\n  tasks:\n"
        text = header + textwrap.indent(text, "    ")
    path.write_text(f"---\n{text}\n", encoding="utf-8")
    return path


def rescued(
    number: int, role: str, variables: Mapping[str, Any], shown: str = "ansible_failed_result.msg"
) -> dict[str, Any]:
    """A task that runs a role. If the role fails, the play goes on, and the task `Told NUMBER` shows why."""
    include = {"ansible.builtin.include_role": {"name": role}, "vars": variables}
    told = {"name": f"Told {number}", "ansible.builtin.debug": {"msg": f"{{{{ {shown} }}}}"}}
    return {"block": [include], "rescue": [told]}


def assert_no_secret(text: str, secrets: Sequence[str]) -> None:
    """Keys and tokens appear nowhere."""
    for secret in secrets:
        assert secret not in text, "a secret key is in the output"
    match = _JWT.search(text)
    assert match is None, f"a token is in the output: ...{text[max(0, match.start() - 80) : match.start()]}"

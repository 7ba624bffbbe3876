# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demo: tarball, simulator, a real playbook."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Optional

from build import build, install, only_installed
from common import CACHE, COLLECTION, ROOT, ToolError, clean_environment, run, say
from environments import Environment

DEMO = ROOT / "tests" / "demo"
STATE = CACHE / "demo" / "simulator"
IDLE_SECONDS = 600
# Of the simulated tenant only; long and unlike any word, so that a leak would be seen at once.
ACCESS_KEY = "DEMOACCESSKEY7Q2X9"
ACCESS_SECRET_KEY = "demo-secret-key-vJ3mZ8tq-0kTn5Rw"


def start(environment: Environment, arguments: list[str]) -> None:
    """Build, install, start the simulator unless it runs, play."""
    tarball = build(environment)
    collections = CACHE / "demo" / "collections"
    folder = install(environment, tarball, collections)
    env = only_installed(environment, collections)
    _prove(environment, env, folder)
    say(f"built {tarball.relative_to(ROOT)}, installed it into {collections.relative_to(ROOT)}: that copy is used")

    simulator = _running()
    if simulator:
        say("the simulator of the last demo is still running")
    else:
        simulator = _launch(environment)
        say(f"started a simulated Helix tenant (it stops by itself after {IDLE_SECONDS // 60} idle minutes)")
    say(f"watch it in a browser: {simulator['url']}/")

    env |= {
        "HELIX_URL": simulator["url"],
        "HELIX_CA_PATH": simulator["ca_file"],
        "HELIX_ACCESS_KEY": ACCESS_KEY,
        "HELIX_ACCESS_SECRET_KEY": ACCESS_SECRET_KEY,
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
    }
    command = [environment.bin / "ansible-playbook", "-i", "tests/inventory.yml", "tests/demo/demo.yml", *arguments]
    say("ansible-playbook -i tests/inventory.yml tests/demo/demo.yml")
    began = time.monotonic()
    run(command, env=env)
    say(f"the playbook took {time.monotonic() - began:.1f} s. Once more: make demo   The end: make demo-stop")


def stop() -> None:
    """Stop the simulator, if it runs."""
    simulator = _running()
    if not simulator:
        say("no simulator of the demo is running")
        return
    os.kill(simulator["pid"], signal.SIGTERM)
    deadline = time.monotonic() + 5
    while _alive(simulator["pid"]) and time.monotonic() < deadline:
        time.sleep(0.1)
    if _alive(simulator["pid"]):
        os.kill(simulator["pid"], signal.SIGKILL)
    shutil.rmtree(STATE, ignore_errors=True)
    say("the simulator has stopped")


def _prove(environment: Environment, env: dict[str, str], folder: Path) -> None:
    """The demo is of no worth if it shows the working tree."""
    command = [environment.bin / "ansible-doc", "--json", f"{COLLECTION}.etl_action"]
    text = run(command, env=env, quiet=True)
    found = Path(json.loads(text[text.index("{") :])[f"{COLLECTION}.etl_action"]["doc"]["filename"]).resolve()
    if not found.is_relative_to(folder.resolve()):
        raise ToolError(f"Ansible would use {found}, which is not the installed tarball.")


def _launch(environment: Environment) -> dict[str, Any]:
    shutil.rmtree(STATE, ignore_errors=True)
    STATE.mkdir(parents=True)
    log = STATE / "log.txt"
    command = [environment.python, "-m", "tests.simulator", "--https", "--port", "0", "--state-dir", STATE]
    command += ["--access-key", ACCESS_KEY, "--access-secret-key", ACCESS_SECRET_KEY, "--stop-after", IDLE_SECONDS]
    # Twice as fast as life, so that nobody has to wait long.
    command += ["--scenario", "demo", "--speed", 2]
    with log.open("w") as handle:
        # A session of its own and none of our file handles: make can end, and a pipe behind it can close.
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=ROOT,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        simulator = _running()
        if simulator:
            return simulator
        if process.poll() is not None:
            break
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    raise ToolError(f"The simulator did not start. It said:\n{log.read_text(encoding='utf-8')}")


def _running() -> Optional[dict[str, Any]]:
    try:
        ready: dict[str, Any] = json.loads((STATE / "ready.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return ready if _alive(ready["pid"]) else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    # A pid may belong to another program by now.
    command = Path("/proc") / str(pid) / "cmdline"
    return b"tests.simulator" in command.read_bytes() if command.exists() else True

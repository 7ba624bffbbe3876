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
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

from build import build, install, only_installed
from common import CACHE, COLLECTION, ROOT, ToolError, clean_environment, run, say
from environments import Environment
from variants import VARIANTS, Play, Variant

DEMO = ROOT / "tests" / "demo"
STATE = CACHE / "demo" / "simulator"
IDLE_SECONDS = 600
# Of the simulated tenant only; long and unlike any word, so that a leak would be seen at once.
ACCESS_KEY = "DEMOACCESSKEY7Q2X9"
ACCESS_SECRET_KEY = "demo-secret-key-vJ3mZ8tq-0kTn5Rw"


def start(environment: Environment, arguments: list[str]) -> None:
    """Build, install, start the simulator unless it runs, play: tests/demo/demo.yml, or what the first word names."""
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
    }
    word, *rest = arguments or [""]
    if word == "all" or word in VARIANTS:
        for name in VARIANTS if word == "all" else [word]:
            _vary(environment, env, simulator, name, rest)
        return
    command = [environment.bin / "ansible-playbook", "-i", "tests/inventory.yml", "tests/demo/demo.yml", *arguments]
    say("ansible-playbook -i tests/inventory.yml tests/demo/demo.yml")
    began = time.monotonic()
    run(command, env={**env, "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"})
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


def _vary(
    environment: Environment, env: dict[str, str], simulator: dict[str, Any], name: str, arguments: list[str]
) -> None:
    """Play a variant on a tenant that is as new, and look whether what had to happen happened."""
    variant = VARIANTS[name]
    print()
    say(f"{name}: {variant.about}")
    _forget(simulator)
    before = _states(simulator)
    with _controller(environment, env, variant) as whole_env:
        for play in variant.plays:
            _play(environment, whole_env, play, arguments)
    if variant.restores:
        after = _states(simulator)
        changed = [f"{etl} was {before[etl]} and is {after[etl]}" for etl in before if before[etl] != after[etl]]
        if changed:
            raise ToolError(f"Not every ETL is as it was: {', '.join(changed)}.")
        told = ", ".join(f"{etl} {state}" for etl, state in after.items())
        say(f"asked the tenant itself: every ETL is in the state in which it was before ({told})")
    if variant.makes:
        made = CACHE / "demo" / variant.makes
        if not made.is_file():
            raise ToolError(f"There is no {made.relative_to(ROOT)}.")
        say(f"open it in a browser: {made.as_uri()}")
    say(f"{name}: good")


def _play(environment: Environment, env: dict[str, str], play: Play, arguments: list[str]) -> None:
    """Run ansible-playbook; show what it says as it comes, and hold it against what it has to say."""
    words = ["-i", "tests/inventory.yml", f"{COLLECTION}.{play.playbook}"]
    for variable in play.variables:
        words += ["-e", variable if "=" in variable else f"@tests/demo/vars/{variable}"]
    words += arguments
    say(f"ansible-playbook {' '.join(words)}")
    # A role has many tasks that are for other cases.
    env = {**env, "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false"}
    if sys.stdout.isatty():
        env["ANSIBLE_FORCE_COLOR"] = "true"
    shown = []
    began = time.monotonic()
    with subprocess.Popen(
        [environment.bin / "ansible-playbook", *words],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            shown.append(line)
    if process.returncode != play.status:
        wanted = f"red, with status {play.status}," if play.status else "well"
        raise ToolError(f"This run had to end {wanted} and ended with status {process.returncode}.")
    # Arguments such as --check change what is said.
    if not arguments and play.says not in "".join(shown):
        raise ToolError(f"This run had to say '{play.says}', and did not.")
    how = f"ended red, with status {play.status}, as it has to" if play.status else "ended well"
    say(f"this run took {time.monotonic() - began:.1f} s and {how}")


@contextlib.contextmanager
def _controller(environment: Environment, env: dict[str, str], variant: Variant) -> Iterator[dict[str, str]]:
    """The process environment of the plays; with a fake of AWX where the variant needs one."""
    if not variant.awx:
        yield env
        return
    modules = environment.site_packages / "ansible_collections" / "awx"
    if not modules.is_dir():
        raise ToolError("The collection awx.awx could not be installed here, and this variant needs it.")
    link = CACHE / "demo" / "collections" / "ansible_collections" / "awx"
    link.unlink(missing_ok=True)
    link.symlink_to(modules)
    # It ends when its standard input does.
    code = (
        "import sys\n"
        "from tests.awx.fake_awx import TOKEN, FakeAwxServer\n"
        "with FakeAwxServer() as server:\n"
        "    print(server.url, TOKEN, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [environment.python, "-c", code],
        cwd=ROOT,
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        answer = process.stdout.readline().split() if process.stdout else []
        if len(answer) != 2:
            raise ToolError("The fake of AWX did not start.")
        say(f"started a FAKE of AWX's API at {answer[0]}: it keeps AWX's rules, and runs nothing")
        yield {**env, "CONTROLLER_HOST": answer[0], "CONTROLLER_OAUTH_TOKEN": answer[1]}


def _forget(simulator: dict[str, Any]) -> None:
    """The tenant is as new, and nothing is left of earlier variants."""
    _control(simulator, "POST", "/reset")
    for name in ("chain.json", "maintenance.json", "report.html"):
        (CACHE / "demo" / name).unlink(missing_ok=True)


def _states(simulator: dict[str, Any]) -> dict[int, str]:
    return {etl["id"]: etl["state"] for etl in _control(simulator, "GET", "/etls")}


def _control(simulator: dict[str, Any], method: str, path: str) -> Any:
    """Ask the simulator itself, not the API that it pretends to be."""
    data = b"{}" if method == "POST" else None
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(  # noqa: S310  # an address of our own
        f"{simulator['url']}/_simulator{path}", data, headers, method=method
    )
    handlers = (
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=simulator["ca_file"])),
    )
    with urllib.request.build_opener(*handlers).open(request, timeout=30) as answer:
        return json.loads(answer.read())


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

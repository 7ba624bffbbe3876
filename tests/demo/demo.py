# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make demo`: run playbooks of the installed collection against a simulated tenant and check how they end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".cache" / "demo"
VARIANTS: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "tests/demo/variants.yml").read_text("utf-8"))
#: Long and unique, so that a leak is noticed.
KEYS = {"HELIX_ACCESS_KEY": "DEMOACCESSKEY7Q2X9", "HELIX_ACCESS_SECRET_KEY": "demo-secret-key-vJ3mZ8tq-0kTn5Rw"}
IDLE_SECONDS = 600
SPEED = 2
sys.path.insert(0, str(ROOT))

from tests.awx.fake_awx import TOKEN, FakeAwxServer  # noqa: E402
from tests.simulator.client import Control  # noqa: E402


def running() -> Optional[dict[str, Any]]:
    """The address of the simulator of an earlier call, if it still responds."""
    with contextlib.suppress(OSError, ValueError):
        ready: dict[str, Any] = json.loads((FOLDER / "simulator" / "ready.json").read_text("utf-8"))
        Control(ready["url"], ready["ca_file"]).clock()
        return ready
    return None


def start() -> dict[str, Any]:
    """Start a simulator that outlives this process, so that its page can be opened. It stops when it is idle."""
    state = FOLDER / "simulator"
    state.mkdir(parents=True, exist_ok=True)
    (state / "ready.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.simulator", "--https", "--scenario", "demo", "--state-dir", str(state)]
    command += ["--access-key", KEYS["HELIX_ACCESS_KEY"], "--access-secret-key", KEYS["HELIX_ACCESS_SECRET_KEY"]]
    command += ["--stop-after", str(IDLE_SECONDS), "--speed", str(SPEED), "--page-port", "0"]
    with (state / "log.txt").open("w") as log:
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **streams)
    while not (state / "ready.json").exists():
        if process.poll() is not None:
            sys.exit(f"The simulator did not start:\n{(state / 'log.txt').read_text('utf-8')}")
        time.sleep(0.05)
    return running() or sys.exit("The simulator does not respond.")


def play(words: list[str], env: dict[str, str], status: int = 0, shows: str = "") -> None:
    """Run ansible-playbook, show its output as it comes, and check its exit status and one text in the output."""
    print(f"\n==> ansible-playbook {' '.join(words)}", flush=True)
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "tests/inventory.yml", *words]
    output = []
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        for line in process.stdout or ():
            sys.stdout.buffer.write(line)
            sys.stdout.flush()
            output.append(line.decode("utf-8", "replace"))
    if process.returncode != status or shows not in "".join(output):
        sys.exit(f"==> Expected exit status {status} and {shows!r} in the output; got status {process.returncode}.")
    if status:
        print("==> This run failed as expected.")


def vary(name: str, env: dict[str, str], control: Control, arguments: list[str]) -> None:
    """Run one variant on a reset tenant, and verify the result on the tenant."""
    variant = VARIANTS[name]
    print(f"\n==> {name}: {variant['about']}.", flush=True)
    control.reset()
    for etl_id, behavior in variant.get("etls", {}).items():
        control.patch_etl(etl_id, **behavior)
    for file in FOLDER.glob("*.*"):
        file.unlink()
    before = {etl["id"]: etl["state"] for etl in control.etls()}
    for run in variant["runs"]:
        words = [f"capacityops.bmc_helix.{run['playbook']}"]
        for word in run["vars"]:
            words += ["-e", word if "=" in word or "{" in word else f"@tests/demo/vars/{word}"]
        # With other arguments, such as --check, the output differs.
        play([*words, *arguments], env, run.get("status", 0), "" if arguments else run["shows"])
    after = {etl["id"]: etl["state"] for etl in control.etls()}
    if variant.get("restores"):
        if before != after:
            sys.exit(f"==> Not every ETL has its first state: {before} became {after}.")
        print(f"==> Verified on the tenant: every ETL has its first state, {after}.")
    if "creates" in variant:
        print(f"==> Open it in a browser: {(FOLDER / variant['creates']).resolve(strict=True).as_uri()}")


@contextlib.contextmanager
def controller(env: dict[str, str]) -> Iterator[dict[str, str]]:
    """A fake of AWX's API, and the collection awx.awx beside the installed one."""
    (site,) = Path(sys.prefix).glob("lib/python3.*/site-packages")
    env = {**env, "ANSIBLE_COLLECTIONS_PATH": f"{env['ANSIBLE_COLLECTIONS_PATH']}{os.pathsep}{site}"}
    with FakeAwxServer() as server:
        yield {**env, "CONTROLLER_HOST": server.url, "CONTROLLER_OAUTH_TOKEN": TOKEN}


def main(name: str = "", *arguments: str) -> None:
    """Run the demo that the first argument names."""
    if name == "list":
        print("\n".join(f"{name:<16} {variant['about']}." for name, variant in VARIANTS.items()))
        return
    simulator = running()
    if name == "stop":
        if simulator:
            os.kill(simulator["pid"], signal.SIGTERM)
        return
    simulator = simulator or start()
    print(f"==> Open the simulated tenant in a browser: {simulator['page']}")
    print(f"==> Its clock runs at {SPEED} times real speed. It stops after {IDLE_SECONDS // 60} idle minutes.")
    env = {**os.environ, **KEYS, "HELIX_URL": simulator["url"], "HELIX_CA_PATH": simulator["ca_file"]}
    env |= {"ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml", "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false"}
    if sys.stdout.isatty():
        env["ANSIBLE_FORCE_COLOR"] = "true"
    if name in ("all", *VARIANTS):
        with controller(env) as env:
            for each in VARIANTS if name == "all" else [name]:
                vary(each, env, Control(simulator["url"], simulator["ca_file"]), [*arguments])
    else:
        play(["tests/demo/demo.yml", *filter(None, [name]), *arguments], env)
        print("==> Run again: make demo. Stop the tenant: make demo ARGS=stop. Other playbooks: make demo ARGS=list.")


if __name__ == "__main__":
    main(*sys.argv[1:])

# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Command line of the simulator."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shlex
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .checks import InputError
from .scenarios import BUILT_IN, scenario_from
from .world import ACCESS_KEY, ACCESS_SECRET_KEY, TENANT_ID, Identity, World


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=0, help="port; 0 takes a free one (default: %(default)s)")
    add("--https", dest="https", action="store_true", default=True, help="serve HTTPS (default)")
    add("--http", dest="https", action="store_false", help="serve plain HTTP")
    add("--certificate", choices=("valid", "expired", "wrong-host"), default="valid", help="which certificate to show")
    add("--state-dir", help="where ca.pem, server.pem and ready.json are written (default: a temporary folder)")
    add("--scenario", default="demo", help=f"{', '.join(BUILT_IN)} or a JSON file (default: %(default)s)")
    add("--speed", type=float, default=1.0, help="simulated seconds in a real one (default: %(default)s)")
    add("--latency-ms", type=float, help="real milliseconds added to every API request")
    add("--token-life", type=float, help="simulated seconds until a JWT is refused (default: 900)")
    add("--access-key", default=ACCESS_KEY, help="access key of the pretend tenant")
    add("--access-secret-key", default=ACCESS_SECRET_KEY, help="its secret")
    add("--tenant-id", default=TENANT_ID, help="its tenant id (default: %(default)s)")
    add("--stop-after", type=float, metavar="SECONDS", help="end after so long without a request")
    add("--stop-with-stdin", action="store_true", help="end when standard input closes, so with whoever started it")
    add("--quiet", action="store_true", help="print nothing at start")
    return parser.parse_args(arguments)


def build_world(options: argparse.Namespace) -> World:
    if options.speed < 0:
        raise InputError(f"--speed must be at least 0, not {options.speed:g}.")
    config = {"token_life": options.token_life, "latency_ms": options.latency_ms}
    identity = Identity(
        access_key=options.access_key,
        access_secret_key=options.access_secret_key,
        tenant_id=options.tenant_id,
        speed=options.speed,
        config={name: value for name, value in config.items() if value is not None},
        scenario=scenario_from(options.scenario),
    )
    return World(identity)


async def serve(options: argparse.Namespace, folder: Path) -> None:
    world = build_world(options)
    # Imported late so that `--help` and a mistyped option answer at once.
    from .certificates import server_context
    from .server import build, start

    ready_file = folder / "ready.json"
    ready_file.unlink(missing_ok=True)
    tls, ca_file = server_context(options.certificate, folder) if options.https else (None, None)
    application, front = build(world)
    runner, port = await start(application, options.host, options.port, tls)
    host = f"[{options.host}]" if ":" in options.host else options.host
    url = f"{'https' if tls else 'http'}://{host}:{port}"
    ca_path = str(ca_file) if ca_file else None
    _write_whole(ready_file, json.dumps({"url": url, "ca_file": ca_path, "pid": os.getpid()}))
    if not options.quiet:
        print(greeting(options, url, ca_path), flush=True)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    if options.stop_with_stdin:
        loop.add_reader(sys.stdin.fileno(), _stop_at_end_of_input, stop)
    try:
        await _until_stopped(stop, options.stop_after, front)
    finally:
        ready_file.unlink(missing_ok=True)
        await runner.cleanup()


def _stop_at_end_of_input(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        stop.set()


async def _until_stopped(stop: asyncio.Event, stop_after: float | None, front: Any) -> None:
    while not stop.is_set():
        left = None if stop_after is None else front.last_used + stop_after - time.monotonic()
        if left is not None and left <= 0:
            return
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stop.wait(), left)


def _write_whole(path: Path, text: str) -> None:
    """A reader sees the whole file or none."""
    draft = path.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def greeting(options: argparse.Namespace, url: str, ca_file: str | None) -> str:
    exports = {
        "HELIX_URL": url,
        "HELIX_ACCESS_KEY": options.access_key,
        "HELIX_ACCESS_SECRET_KEY": options.access_secret_key,
        **({"HELIX_CA_PATH": ca_file} if ca_file else {"HELIX_ALLOW_HTTP": "true"}),
    }
    lines = "\n".join(f"  export {name}={shlex.quote(value)}" for name, value in exports.items())
    return f"""
A pretend BMC Helix Continuous Optimization is ready.

  {url}/             live page: ETLs and requests
  {url}/_simulator/  control interface (see tests/simulator/README.md)

Connect the collection to it:

{lines}

Stop it with Ctrl-C.
"""


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    with contextlib.ExitStack() as stack:
        folder = options.state_dir or stack.enter_context(tempfile.TemporaryDirectory(prefix="helix-simulator-"))
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            asyncio.run(serve(options, Path(folder)))
        except (InputError, OSError) as error:
            print(f"The simulator cannot start: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

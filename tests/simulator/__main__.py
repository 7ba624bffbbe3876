# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A simulated BMC Helix Continuous Optimization tenant. README.md in the same folder describes it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import runpy
import shlex
import signal
import ssl
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).resolve().parent
if __name__ == "__main__" and not __package__:
    # Started by its path, `python PATH/tests/simulator`: start again as the package, which then exits.
    sys.path[0] = str(_FOLDER.parent)
    runpy.run_module(_FOLDER.name, run_name="__main__", alter_sys=True)

_PACKAGES = {"aiohttp": "aiohttp", "jwt": "PyJWT", "trustme": "trustme"}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python {_FOLDER}", description=__doc__)
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=0, help="port; 0 takes a free one (default: %(default)s)")
    add("--https", dest="https", action="store_true", default=True, help="serve HTTPS (default)")
    add("--http", dest="https", action="store_false", help="serve plain HTTP")
    add("--page-port", type=int, help="port of the page, in plain HTTP for browsers; 0 takes a free one")
    add("--certificate", choices=("valid", "expired", "wrong-host"), default="valid", help="certificate to present")
    add("--state-dir", help="folder for ca.pem, server.pem, and ready.json (default: a temporary folder)")
    add("--scenario", default="demo", help="empty, demo, or a JSON or YAML file (default: %(default)s)")
    add("--profile", metavar="FILE", help="behave like the tenant in this profile, a JSON or YAML file")
    add("--speed", type=float, default=1.0, help="simulated seconds per real second (default: %(default)s)")
    add("--latency-ms", type=float, help="real milliseconds added to every API request")
    add("--token-life", type=float, help="simulated seconds until a JWT is refused (default: 900)")
    add("--access-key", help="access key of the simulated tenant")
    add("--access-secret-key", help="its secret")
    add("--tenant-id", help="its tenant ID")
    add("--stop-after", type=float, metavar="SECONDS", help="stop after this many seconds without a request")
    add("--stop-with-stdin", action="store_true", help="stop when the process that started it closes standard input")
    add("--quiet", action="store_true", help="print nothing at start")
    return parser.parse_args(arguments)


def missing_packages() -> str | None:
    """A message about what to install, or None."""
    missing = [package for module, package in _PACKAGES.items() if importlib.util.find_spec(module) is None]
    if not missing:
        return None
    command = shlex.join([sys.executable, "-m", "pip", "install", *missing])
    return f"The simulator needs {', '.join(missing)}. Install with: {command}"


def build_tenant(options: argparse.Namespace) -> Any:
    # Imported late so that `--help` needs no library, and a mistyped option is reported immediately.
    from .control import apply_profile, read_object, scenario_from
    from .settings import InputError
    from .tenant import Identity, Tenant

    if options.speed < 0:
        raise InputError(f"--speed must be at least 0, not {options.speed:g}.")
    identity = Identity(speed=options.speed, scenario=scenario_from(options.scenario))
    for name in ("access_key", "access_secret_key", "tenant_id"):
        setattr(identity, name, getattr(options, name) or getattr(identity, name))
    config = {"token_life": options.token_life, "latency_ms": options.latency_ms}
    identity.config = {name: value for name, value in config.items() if value is not None}
    if options.profile:
        without_effect = apply_profile(identity, read_object("profile", options.profile))
        if without_effect and not options.quiet:
            print(f"Fields of the profile without effect: {', '.join(without_effect)}", file=sys.stderr)
    return Tenant(identity)


def server_context(variety: str, folder: Path) -> ssl.SSLContext:
    """Write a new authority (`ca.pem`) and the server's key and certificate (`server.pem`) into the folder."""
    import trustme

    authority = trustme.CA()
    end = datetime.now(timezone.utc) + timedelta(days=-30 if variety == "expired" else 365)
    names = ("other-host.invalid",) if variety == "wrong-host" else ("localhost", "127.0.0.1", "::1")
    server = authority.issue_cert(*names, not_before=end - timedelta(days=366), not_after=end)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    server_file = folder / "server.pem"
    server_file.touch(mode=0o600)
    server.private_key_and_cert_chain_pem.write_to_path(str(server_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_file)
    return context


async def serve(options: argparse.Namespace, folder: Path) -> None:
    tenant = build_tenant(options)
    from .server import build, start

    ready_file = folder / "ready.json"
    ready_file.unlink(missing_ok=True)
    tls = server_context(options.certificate, folder) if options.https else None
    application, page, front = build(tenant)
    ready: dict[str, Any] = {"ca_file": str(folder / "ca.pem") if tls else None, "pid": os.getpid()}
    async with contextlib.AsyncExitStack() as stack:
        runner, port = await start(application, options.host, options.port, tls)
        stack.push_async_callback(runner.cleanup)
        host = f"[{options.host}]" if ":" in options.host else options.host
        ready["url"] = f"{'https' if tls else 'http'}://{host}:{port}"
        ready["page"] = f"{ready['url']}/"
        if options.page_port is not None:
            page_runner, page_port = await start(page, options.host, options.page_port, None)
            stack.push_async_callback(page_runner.cleanup)
            ready["page"] = f"http://{host}:{page_port}/"
        stop = _stop_event(options)
        # Replaced as a whole, so that no reader sees half a file.
        draft = ready_file.with_suffix(".draft")
        draft.write_text(json.dumps(ready), encoding="utf-8")
        draft.replace(ready_file)
        stack.callback(ready_file.unlink, missing_ok=True)
        if not options.quiet:
            print(greeting(tenant.identity, ready), flush=True)
        while not stop.is_set():
            left = None if options.stop_after is None else front.last_used + options.stop_after - time.monotonic()
            if left is not None and left <= 0:
                return
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stop.wait(), left)


def _stop_event(options: argparse.Namespace) -> asyncio.Event:
    """Set by a signal, or when standard input closes."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)

    def read_input() -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            loop.remove_reader(sys.stdin.fileno())
            stop.set()

    if options.stop_with_stdin:
        loop.add_reader(sys.stdin.fileno(), read_input)
    return stop


def greeting(identity: Any, ready: dict[str, Any]) -> str:
    exports = {
        "HELIX_URL": ready["url"],
        "HELIX_ACCESS_KEY": identity.access_key,
        "HELIX_ACCESS_SECRET_KEY": identity.access_secret_key,
        **({"HELIX_CA_PATH": ready["ca_file"]} if ready["ca_file"] else {"HELIX_ALLOW_HTTP": "true"}),
    }
    lines = "\n".join(f"  export {name}={shlex.quote(value)}" for name, value in exports.items())
    return f"""
The simulated BMC Helix Continuous Optimization tenant is ready.

  Live page (ETLs and requests):  {ready["page"]}
  Control interface:              {ready["url"]}/_simulator/  (see {_FOLDER / "README.md"})

To connect the collection to it:

{lines}

Press Ctrl-C to stop.
"""


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    problem = missing_packages()
    if problem:
        print(problem, file=sys.stderr)
        return 1
    from .settings import InputError

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

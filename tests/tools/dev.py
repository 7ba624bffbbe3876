# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The developer's commands. `make help` lists them; the Makefile only passes them on."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

import ansible_test
import build
import demo
import environments
import lint
import release
import testing
import variants
from common import CACHE, ROOT, ToolError, run, say

import docs


def _demo(arguments: list[str]) -> None:
    """a real playbook, from the built tarball, against the simulator (ARGS=list for all the others)"""
    if arguments == ["list"]:
        print(variants.listing())
        return
    demo.start(environments.test_environment(), arguments)


def _demo_stop(arguments: list[str]) -> None:
    """stop the demo's simulator"""
    demo.stop()


def _test(arguments: list[str]) -> None:
    """unit and functional tests with coverage (ARGS='-k word' for some of them)"""
    testing.pytest(environments.test_environment(), arguments)


def _summary(arguments: list[str]) -> None:
    """the counts of the last test run, in one line"""
    print(testing.summary())


def _matrix(arguments: list[str]) -> None:
    """rules and plays on every supported ansible-core (ARGS='2.16 2.21' for some of them, --all for all tests)"""
    testing.matrix(*testing.split(arguments))


def _lint(arguments: list[str]) -> None:
    """ruff, yamllint, ansible-lint, mypy, shellcheck, antsibull-changelog, reuse"""
    lint.lint(environments.lint_environment())


def _format(arguments: list[str]) -> None:
    """let ruff put the source in order"""
    environment = environments.lint_environment()
    for command in (["check", "--fix", "--quiet"], ["format", "--quiet"]):
        subprocess.run([environment.bin / "ruff", *command, "."], cwd=ROOT, check=False)


def _sanity(arguments: list[str]) -> None:
    """ansible-test sanity (ARGS='--test validate-modules' for one of them, ARGS='2.16 2.22' on these cores)"""
    chosen, arguments = testing.split(arguments)
    for environment in testing.core_environments(chosen) if chosen else [environments.test_environment()]:
        ansible_test.sanity(environment, arguments)


def _units(arguments: list[str]) -> None:
    """ansible-test units: the unit tests on every Python of the machine from 3.9 on"""
    ansible_test.units(environments.test_environment(), arguments)


def _integration(arguments: list[str]) -> None:
    """ansible-test integration (ARGS='TARGET' for one of them)"""
    ansible_test.integration(environments.test_environment(), arguments)


def _bench(arguments: list[str]) -> None:
    """speed beside uri and a bare script (ARGS=--quick for half of it); a quarter of an hour"""
    environment = environments.test_environment()
    run([environment.python, "-m", "tests.bench", *arguments], env=environment.variables())


def _docs(arguments: list[str]) -> None:
    """check the documentation and build the site in docs/build"""
    docs.docs(environments.docs_environment())


def _tables(arguments: list[str]) -> None:
    """print the table of states into README.md and its guide"""
    environment = environments.test_environment()
    run([environment.python, "tests/tools/tables.py"], env=environment.variables())


def _build(arguments: list[str]) -> None:
    """build the tarball in dist/, install it elsewhere, verify it"""
    build.smoke(environments.test_environment())


def _importer(arguments: list[str]) -> None:
    """what Galaxy would say to the tarball"""
    tarball = build.build(environments.test_environment())
    lint.importer(environments.importer_environment(), tarball)


def _nox(arguments: list[str]) -> None:
    """the sessions of the Ansible community (ARGS='--list' for all that there are)"""
    lint.nox(environments.nox_environment(), arguments)


def _changelog(arguments: list[str]) -> None:
    """write CHANGELOG.rst for the version in galaxy.yml"""
    release.changelog(environments.lint_environment())


def _release_check(arguments: list[str]) -> None:
    """tag, version and changelog are one; the tarball works in an empty environment"""
    release.check(environments.empty_environment(), environments.test_environment())


def _lock(arguments: list[str]) -> None:
    """look for newer versions of the pinned development requirements"""
    environments.lock()


def _environment(arguments: list[str]) -> None:
    """make .venv and nothing else"""
    say(f"activate it with: . {environments.test_environment().path.relative_to(ROOT)}/bin/activate")


def _clean(arguments: list[str]) -> None:
    """remove everything that these commands made"""
    demo.stop()
    for folder in (".venv", ".cache", "dist", "tests/output", ".pytest_cache", ".hypothesis", ".ruff_cache"):
        shutil.rmtree(ROOT / folder, ignore_errors=True)


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "demo": _demo,
    "demo-stop": _demo_stop,
    "test": _test,
    "summary": _summary,
    "matrix": _matrix,
    "lint": _lint,
    "format": _format,
    "sanity": _sanity,
    "units": _units,
    "integration": _integration,
    "bench": _bench,
    "docs": _docs,
    "tables": _tables,
    "build": _build,
    "importer": _importer,
    "nox": _nox,
    "changelog": _changelog,
    "release-check": _release_check,
    "environment": _environment,
    "lock": _lock,
    "clean": _clean,
}

#: These say at their end that they found nothing; of the others it can be seen.
CHECKS = ("lint", "sanity", "units", "integration", "matrix", "build", "importer", "nox", "release-check")


def main() -> int:
    """Run one command; tell how long it took."""
    listing = "\n".join(f"  {name:<13} {function.__doc__}" for name, function in COMMANDS.items())
    parser = argparse.ArgumentParser(prog="make", add_help=False)
    parser.add_argument("command", nargs="?", default="help", choices=["help", *COMMANDS], metavar="command")
    options, arguments = parser.parse_known_args()
    if options.command == "help":
        print(f"make COMMAND [ARGS='...']\n\n{listing}")
        return 0
    began = time.monotonic()
    try:
        COMMANDS[options.command](arguments)
    except ToolError as error:
        print(f"==> {options.command}: FAILED. {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        return 130
    if options.command in CHECKS:
        say(f"{options.command}: good, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    os.chdir(ROOT)
    CACHE.mkdir(exist_ok=True)
    sys.exit(main())

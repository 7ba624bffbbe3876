# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every check that only reads the source."""

from __future__ import annotations

import os
import time
from pathlib import Path

from common import CACHE, COLLECTION, NAME, NAMESPACE, ROOT, ToolError, run, say
from environments import Environment

#: ansible-lint and galaxy-importer are sessions too; `make lint` and `make importer` run them.
NOX_SESSIONS = ("lint", "docs-check", "license-check", "extra-checks")


def lint(environment: Environment) -> None:
    """Run all checks, then name the ones that failed."""
    env = environment.variables()
    tree = _tree()
    mypy_env = {**env, "MYPYPATH": os.pathsep.join([str(tree), str(ROOT / "tests" / "tools")])}
    scripts = ["tests/tools/dev.sh", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(".ci/*"))]
    checks: list[tuple[str, list[str], dict[str, str]]] = [
        ("ruff check", ["ruff", "check", "--quiet", "--output-format=concise", "."], env),
        ("ruff format", ["ruff", "format", "--check", "--output-format=concise", "."], env),
        ("yamllint", ["yamllint", "--strict", "."], env),
        ("shellcheck", ["shellcheck", *scripts], env),
        ("mypy", ["mypy", "--config-file", ".mypy.ini", *_typed_packages()], mypy_env),
        ("mypy tools", ["mypy", "--config-file", ".mypy.ini", *_tools()], mypy_env),
        ("antsibull-changelog", ["antsibull-changelog", "lint"], env),
        ("reuse", ["reuse", "lint", "--lines"], env),
        ("ansible-lint", ["ansible-lint", "--offline", "--strict", "--nocolor", "-q"], env),
    ]
    failed = [name for name, command, env in checks if not _passes(environment, name, command, env)]
    if failed:
        raise ToolError(f"These checks failed: {', '.join(failed)}")


def _passes(environment: Environment, name: str, command: list[str], env: dict[str, str]) -> bool:
    began = time.monotonic()
    try:
        run([environment.bin / command[0], *command[1:]], env=env, quiet=True)
    except ToolError as error:
        say(f"{name}: failed. {error}")
        return False
    say(f"{name}: good, {time.monotonic() - began:.1f} s")
    return True


def _tree() -> Path:
    """Mypy leaves installed packages unchecked, so it gets the collection in a folder of its own."""
    link = CACHE / "tree" / "ansible_collections" / NAMESPACE / NAME
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink() or link.resolve() != ROOT:
        link.unlink(missing_ok=True)
        link.symlink_to(ROOT)
    return CACHE / "tree"


def _typed_packages() -> list[str]:
    folders = ("plugins/module_utils", "plugins/plugin_utils", "tests/simulator")
    words = []
    for folder in folders:
        if any((ROOT / folder).rglob("*.py")):
            words += ["-p", f"ansible_collections.{COLLECTION}.{folder.replace('/', '.')}"]
    return words


def _tools() -> list[str]:
    return [str(path.relative_to(ROOT)) for path in sorted((ROOT / "tests" / "tools").glob("*.py"))]


def nox(environment: Environment, arguments: list[str]) -> None:
    """The sessions of antsibull-nox that need neither a container nor a source code host."""
    command = [environment.bin / "nox", "--envdir", CACHE / "nox-sessions", "--reuse-existing-virtualenvs"]
    command += arguments or ["--session", *NOX_SESSIONS]
    output = run(command, env=environment.variables(), quiet=True)
    print("\n".join(line for line in output.splitlines() if line.startswith("nox > *")))


def importer(environment: Environment, tarball: Path) -> None:
    """What Galaxy does with an upload."""
    output = run(
        [environment.python, "-m", "galaxy_importer.main", tarball], env=environment.variables(), cwd=CACHE, quiet=True
    )
    print(output, end="")
    complaints = [line for line in output.splitlines() if line.startswith(("WARNING", "ERROR"))]
    if complaints or "Importer processing completed successfully" not in output:
        raise ToolError(f"galaxy-importer is not content: {len(complaints)} complaints, see above.")

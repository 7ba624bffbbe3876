# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds the collection's tarball and installs it, without the junk that a working tree collects."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from common import CACHE, COLLECTION, NAME, NAMESPACE, ROOT, ToolError, run, say
from environments import Environment


def copy_of_tree(target: Path) -> Path:
    """Copy the files that git tracks or would track to target, which is emptied first."""
    shutil.rmtree(target, ignore_errors=True)
    listed = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], quiet=True)
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        # Listed but gone: deleted in the working tree and not committed yet.
        if source.is_symlink() or source.is_file():
            destination = target / name
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, destination, follow_symlinks=False)
    return target


def build(environment: Environment, output: Path = ROOT / "dist") -> Path:
    """Build the tarball; ansible-galaxy packs whatever lies around, so it gets a clean copy."""
    tree = copy_of_tree(CACHE / "build")
    if not (tree / "README.md").is_file():
        raise ToolError("README.md is missing, and galaxy.yml names it: the collection cannot be built.")
    output.mkdir(parents=True, exist_ok=True)
    command = [environment.bin / "ansible-galaxy", "collection", "build", "--force", "--output-path", output, tree]
    answer = run(command, env=environment.variables(), quiet=True)
    tarballs = [word for word in answer.split() if word.endswith(".tar.gz")]
    if not tarballs:
        raise ToolError(f"ansible-galaxy built nothing. It said: {answer}")
    return Path(tarballs[-1])


def install(environment: Environment, tarball: Path, path: Path) -> Path:
    """Install the tarball into an empty collections path; the folder of the collection is returned."""
    shutil.rmtree(path, ignore_errors=True)
    command = [environment.bin / "ansible-galaxy", "collection", "install", "--offline", "-p", path, tarball]
    run(command, env=only_installed(environment, path), quiet=True)
    return path / "ansible_collections" / NAMESPACE / NAME


def only_installed(environment: Environment, path: Path) -> dict[str, str]:
    """The process environment in which Ansible sees the installed collection and cannot see the checkout."""
    env = environment.variables()
    env["ANSIBLE_COLLECTIONS_PATH"] = str(path)
    env["ANSIBLE_COLLECTIONS_SCAN_SYS_PATH"] = "false"
    return env


def smoke(environment: Environment) -> None:
    """Build, install, verify, and let ansible-doc read every plugin from the installed copy."""
    tarball = build(environment)
    say(f"built {tarball.relative_to(ROOT)}, {tarball.stat().st_size // 1024} KiB")
    path = CACHE / "installed"
    install(environment, tarball, path)
    env = only_installed(environment, path)
    run([environment.bin / "ansible-galaxy", "collection", "verify", "--offline", COLLECTION], env=env, quiet=True)
    listed = run([environment.bin / "ansible-doc", "--list", COLLECTION], env=env, quiet=True)
    modules = [line.split()[0] for line in listed.splitlines() if line.startswith(COLLECTION + ".")]
    if not modules:
        raise ToolError(f"ansible-doc finds no module in the installed collection. It said: {listed}")
    run([environment.bin / "ansible-doc", *modules], env=env, quiet=True)
    say(f"installed, verified and documented: {', '.join(modules)}")


def ansible_test_tree() -> Path:
    """A copy where ansible-test accepts it: below ansible_collections, and a git repository of its own.

    Without the latter it asks the surrounding repository, finds the copy ignored there, and tests nothing.
    """
    tree = copy_of_tree(CACHE / "ansible-test" / "ansible_collections" / NAMESPACE / NAME)
    subprocess.run(["git", "init", "--quiet", tree], check=True, stdin=subprocess.DEVNULL)
    return tree

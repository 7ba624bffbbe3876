# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks the documentation and builds the site: docs/build/html/index.html."""

from __future__ import annotations

import re
import shutil
import zlib
from pathlib import Path

from common import COLLECTION, ROOT, run, say
from environments import Environment

DOCS = ROOT / "docs"
BUILD = DOCS / "build"
#: What the pages that antsibull-docs writes refer to in Ansible's own documentation. Its whole inventory would have to
#: be downloaded for each build.
ELSEWHERE = {
    "action_plugins": ("plugins/action.html", "Action plugins"),
    "ansible_configuration_settings": ("reference_appendices/config.html", "Ansible Configuration Settings"),
    "common_return_values": ("reference_appendices/common_return_values.html", "Return Values"),
}


#: antsibull-docs puts the path of a temporary folder into the pages that it checks. Where its random name ends with an
#: underscore, one time in 37, reStructuredText takes it for a reference to nothing. So: names without any.
LINT = """
import sys, tempfile
tempfile._RandomNameSequence.characters = "abcdefghijklmnopqrstuvwxyz"
from antsibull_docs.cli.antsibull_docs import main
sys.exit(main())
"""


def docs(environment: Environment) -> None:
    """Lint, then build. A warning is a failure."""
    antsibull_docs = environment.bin / "antsibull-docs"
    switches = ["--plugin-docs", "--validate-collection-refs=all"]
    lint = [environment.bin / "python", "-c", LINT, "lint-collection-docs"]
    run([*lint, *switches, "."], env=environment.variables(), quiet=True)
    say("antsibull-docs: good")

    shutil.rmtree(BUILD, ignore_errors=True)
    pages = BUILD / "rst"
    pages.mkdir(parents=True)
    # antsibull-docs refuses a folder that others may write to.
    pages.chmod(0o755)
    switches = ["--use-current", "--squash-hierarchy", "--fail-on-error", "--cleanup", "everything"]
    run(
        [antsibull_docs, "collection", *switches, "--dest-dir", pages, COLLECTION],
        env=environment.variables(),
        quiet=True,
    )
    for page in pages.rglob("*.rst"):
        # The theme has a table of contents at the side.
        text = re.sub(r"^\.\. contents::.*\n(?: +:.*\n)*", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        # antsibull-docs writes the name with capitals: Capacityops.Bmc_Helix.
        text = re.sub(r"^.+ Release Notes$", "Release notes", text, count=1, flags=re.MULTILINE)
        page.write_text(text, encoding="utf-8")
    # Our own first page: the one that antsibull-docs wrote has neither captions nor short names for the side bar.
    index = (DOCS / "sphinx" / "index.rst").read_text(encoding="utf-8")
    index = index.replace(".. guides\n", guides()).replace(".. reference\n", reference(pages))
    (pages / "index.rst").write_text(index, encoding="utf-8")
    shutil.copytree(DOCS / "images", BUILD / "images")
    (BUILD / "ansible.inv").write_bytes(inventory())

    sphinx = [environment.bin / "sphinx-build", "-b", "html", "-c", DOCS / "sphinx", "-d", BUILD / "doctrees"]
    run([*sphinx, "-W", "--keep-going", "-q", pages, BUILD / "html"], env=environment.variables(), quiet=True)
    count = len(list((BUILD / "html").rglob("*.html")))
    say(f"sphinx: good, {count} pages: {(BUILD / 'html' / 'index.html').relative_to(ROOT)}")


def guides() -> str:
    """The guides of docs/docsite/extra-docs.yml, each section as a part of the side bar."""
    text = []
    for line in (DOCS / "docsite" / "extra-docs.yml").read_text(encoding="utf-8").splitlines():
        title = re.fullmatch(r"  - title: (.+)", line)
        guide = re.fullmatch(r"      - (\w+)", line)
        if title:
            text.append(f"\n.. toctree::\n   :caption: {title[1]}\n   :maxdepth: 1\n")
        elif guide:
            text.append(f"   docsite/{guide[1]}")
    return "\n".join(text) + "\n"


def reference(pages: Path) -> str:
    """Modules, lookup and roles: short names for the side bar, and what they do for the page itself."""
    toctree = [".. toctree::", "   :caption: Reference", "   :hidden:", ""]
    listed = []
    for kind in ("module", "lookup", "role"):
        for page in sorted(pages.glob(f"*_{kind}.rst")):
            name = page.stem.removesuffix(f"_{kind}")
            found = re.search(
                rf"^{re.escape(COLLECTION)}\.{name} {kind} -- (.+)$", page.read_text("utf-8"), re.MULTILINE
            )
            toctree.append(f"   {kind} {name} <{page.stem}>")
            listed.append(f"* {kind} :doc:`{name} <{page.stem}>`: {found[1] if found else ''}")
    toctree += ["   Environment variables <environment_variables>", "   Release notes <changelog>", ""]
    return "\n".join([*toctree, *listed]) + "\n"


def inventory() -> bytes:
    """A list of foreign labels, as sphinx's intersphinx reads it."""
    head = "# Sphinx inventory version 2\n# Project: Ansible\n# Version: devel\n"
    head += "# The remainder of this file is compressed using zlib.\n"
    lines = [
        f"{label} std:label -1 {page}#{label.replace('_', '-')} {title}" for label, (page, title) in ELSEWHERE.items()
    ]
    return head.encode() + zlib.compress(("\n".join(lines) + "\n").encode())

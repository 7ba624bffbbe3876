# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sphinx, for `make docs`, which puts index.rst beside the pages that antsibull-docs wrote."""

from __future__ import annotations

import re
import runpy
import zlib
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes

project = "capacityops.bmc_helix"
copyright = "2026, CapacityOps"  # noqa: A001 - the name is Sphinx's
release = yaml.safe_load(Path(__file__).parents[2].joinpath("galaxy.yml").read_text("utf-8"))["version"]
html_title = f"BMC Helix ETLs with Ansible {release}"

extensions = ["sphinx.ext.intersphinx", "sphinx_antsibull_ext"]
# The labels of Ansible's documentation that the pages of plugins refer to. Its inventory would have to be downloaded.
LABELS = """\
ansible_collections.ansible.builtin.slurp_module std:label -1 collections/ansible/builtin/slurp_module.html#$ slurp
ansible_collections.ansible.builtin.stat_module std:label -1 collections/ansible/builtin/stat_module.html#$ stat
action_plugins std:label -1 plugins/action.html#action-plugins Action plugins
ansible_configuration_settings std:label -1 reference_appendices/config.html#$ Ansible Configuration Settings
common_return_values std:label -1 reference_appendices/common_return_values.html#$ Return Values
"""
HEAD = "# Sphinx inventory version 2\n# Project: Ansible\n# Version: devel\n# The remainder is compressed using zlib.\n"
_inventory = Path(__file__).parents[1] / "build" / "ansible.inv"
_inventory.write_bytes(HEAD.encode() + zlib.compress(LABELS.encode()))
intersphinx_mapping = {"ansible": ("https://docs.ansible.com/projects/ansible/devel/", str(_inventory))}

default_role = "any"
nitpicky = True
highlight_language = "YAML+Jinja"

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_use_index = False
pygments_style = "ansible"
pygments_dark_style = "monokai"
html_theme_options = {
    "source_repository": "https://github.com/capacityops/bmc_helix/",
    "navigation_with_keys": True,
}


_fragment = runpy.run_path(str(Path(__file__).parents[2] / "plugins" / "doc_fragments" / "_connection.py"))
HINT = """The same for all modules and the lookup. For variables and environment variables, see
:ref:`ansible_collections.capacityops.bmc_helix.docsite.guide_tokens`."""
CONNECTION = set(yaml.safe_load(_fragment["ModuleDocFragment"].DOCUMENTATION)["options"])


def split_options(_app: Any, page: str, source: list[str]) -> None:
    """Put the connection options, which all modules and the lookup share, into a second table."""
    options = re.search(r"^\.\. Options\n(.+?)^\.\. [A-Z]", source[0], flags=re.M | re.S)
    if not options or not page.endswith(("_module", "_lookup")):
        return
    text = options.group(1).rstrip() + "\n"
    head, *rows = re.split(r"^(?=  \* - \.\. raw:: html$)", text, flags=re.M)
    names = [re.findall(r'id="parameter-(\w+)"', row)[:1] for row in rows]
    shared = [row for row, name in zip(rows, names) if CONNECTION & {*name}]
    own = [row for row, name in zip(rows, names) if not CONNECTION & {*name}]
    table = head[head.index(".. tabularcolumns::") :]
    # A module without other options has one table.
    first = "".join([head, *own]) if own else head.replace(table, "")
    heading = f"Connection options\n------------------\n\n{HINT}\n\n" if own else ""
    source[0] = source[0].replace(options.group(1), "".join([first, "\n", heading, table, *shared, "\n\n"]))


def shorten(_app: Any, _page: str, source: list[str]) -> None:
    """Short titles for the side bar, and no table of contents in the text: the theme shows it at the side."""
    text = re.sub(
        r"^capacityops\.bmc_helix\.(\w+ (?:module|lookup|filter|role))\b.*$", r"\1", source[0], count=1, flags=re.M
    )
    text = re.sub(r"^.+ Release Notes$", "Release notes", text, count=1, flags=re.M)
    source[0] = re.sub(r"^\.\. contents::.*\n(?: +:.*\n)*", "", text, flags=re.M)


def anchor(app: Any, doctree: nodes.document) -> None:
    """Give each entry of the troubleshooting page an anchor, made of the first message of its term."""
    if app.env.docname.endswith("guide_troubleshooting"):
        for term in doctree.findall(nodes.term):
            message = next(iter(term.findall(nodes.literal)), term)
            term["ids"].append(nodes.make_id(message.astext()))


def setup(app: Any) -> None:
    app.connect("doctree-read", anchor)
    app.connect("source-read", split_options)
    app.connect("source-read", shorten)

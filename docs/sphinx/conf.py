# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sphinx, for `make docs`. tests/tools/docs.py puts this folder beside the pages that antsibull-docs wrote."""

from __future__ import annotations

project = "capacityops.bmc_helix"
copyright = "2026, CapacityOps"  # noqa: A001 - the name is Sphinx's
html_title = "BMC Helix ETLs by Ansible"

extensions = ["sphinx.ext.intersphinx", "sphinx_antsibull_ext"]
# Written by tests/tools/docs.py: the two labels of Ansible's own documentation that module pages refer to.
intersphinx_mapping = {"ansible": ("https://docs.ansible.com/projects/ansible/devel/", "../ansible.inv")}

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

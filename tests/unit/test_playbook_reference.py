# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of the playbooks has a section for each, with the variables that the comment in the file names."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "docsite" / "rst" / "playbooks.rst"
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))


def sections():
    parts = re.split(r"^``(\w+)``\n-+\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def test_every_playbook_has_a_section():
    assert sorted(sections()) == [path.stem for path in PLAYBOOKS]


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_the_section_has_the_variables_of_the_playbook(path):
    named = re.findall(r"^#   ((?:[a-z]\w+_)(?:\w+|\*)) +\S", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    told = re.findall(r"^   \* - ``([a-z]\S+)``", sections()[path.stem], flags=re.MULTILINE)
    assert told == [name for name in named if name != "helix_*"]

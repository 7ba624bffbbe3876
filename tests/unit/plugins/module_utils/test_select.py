# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which ETLs are meant."""

from __future__ import annotations

import contextlib
from unittest import mock

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._actions import (
    Target,
    _once,
    by_name,
    check_selection,
    select,
)
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._api import Etl
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import EtlNotFoundError, OptionError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._status import matches

ETLS = [
    Etl(53, "VMware - vCenter Extractor Service", []),
    Etl(321, "Nightly import", []),
    Etl(322, "nightly export", []),
    Etl(400, "Twin", []),
    Etl(401, "Twin", []),
    Etl(500, "Padded ", []),
    Etl(9, "Load, all", []),
]
NOTHING = {"etl_id": None, "etl_name": None, "confirm_all": False}


def test_each_once_in_the_order_given():
    warnings = []
    assert _once([7, 3, 7], "etl_id", warnings.append) == [7, 3]
    assert warnings == ["etl_id contains 7 more than once; each ETL is addressed once."]


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        ({}, "No ETL is named"),
        ({"etl_id": []}, "etl_id is empty"),
        ({"etl_id": [5, 0]}, "etl_id is 0"),
        ({"etl_name": ["good", " "]}, "etl_name is empty or contains an empty text"),
        ({"name_pattern": ["a*"], "exclude": [" "]}, "exclude is empty"),
        ({"name_pattern": ["a*", "**?"], "action": "stop"}, "selects every ETL"),
        ({"name_pattern": ["*"], "action": "kill"}, "selects every ETL"),
        ({"name_pattern": ["*"], "action": "run"}, None),
        ({"name_pattern": ["*"], "action": "stop", "confirm_all": True}, None),
        ({"name_pattern": ["a*"], "action": "stop"}, None),
    ],
)
def test_selections_that_can_be_and_that_cannot(selection, words):
    with pytest.raises(OptionError, match=words) if words else contextlib.nullcontext():
        check_selection({**NOTHING, **selection})


def test_names():
    """In their order, each ETL once, and the same letters may be composed or decomposed."""
    names = ["nightly export", ETLS[0].name, "Bu\u0308ro"]
    expected = [Target(322, "nightly export"), Target(53, ETLS[0].name), Target(7, "B\u00fcro")]
    assert by_name(names, [*ETLS, ETLS[0], Etl(7, "B\u00fcro", [])]) == expected


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["Nightly imports"], ["'Nightly imports'", "Nearest: 'Nightly import' (id 321)"]),
        (["NIGHTLY IMPORT"], ["'Nightly import' (id 321)"]),
        (["vcenter"], ["'VMware - vCenter Extractor Service' (id 53)"]),
        (["Twin"], ["several ETLs (ids 400, 401)"]),
        (["zzzzzzzz"], ["None of the 7 visible ETLs"]),
        (["Twin", "Nightly import", "zzzzzzzz"], ["2 of 3 names", "'Twin'", "'zzzzzzzz'"]),
        (["Padded"], ["ETL 500 differs in white space only: 'Padded '"]),
        (["Load", " all"], ["'Load, all' contains a comma: put it into a YAML list"]),
        (["a"], ["No ETLs are visible to this key"]),
    ],
)
def test_names_that_match_none_or_several(names, words):
    with pytest.raises(EtlNotFoundError) as caught:
        by_name(names, [] if names == ["a"] else ETLS)
    assert caught.value.kind == "etl_name"
    assert "Nothing was started" in caught.value.remedy
    for word in words:
        assert word in caught.value.message + caught.value.remedy


@pytest.mark.parametrize(
    ("selection", "ids", "warning"),
    [
        # Ansible splits "A, B" at the comma and keeps the blank.
        ({"name_pattern": ["nightly*", " pad*"]}, [321, 322, 500], None),
        ({"name_pattern": ["nightly*"], "exclude": ["Nightly import", " 322 "]}, [], None),
        ({"name_pattern": ["n*", "p*"], "exclude": ["padded", " nightly export"]}, [321], None),
        ({"name_pattern": ["n*", "typo*"]}, [321, 322], "name_pattern contains 'typo*', which matches no ETL."),
        ({"name_pattern": ["typo*"]}, [], None),
        ({"name_pattern": ["n*"], "exclude": ["Nihgtly*"]}, [321, 322], "exclude contains 'Nihgtly*', which"),
        ({"etl_id": [321, 999], "exclude": ["999"]}, [321], None),
        ({"etl_id": [321, 322], "exclude": ["* import"]}, [322], None),
        ({"etl_name": ["Nightly import", "Padded "], "exclude": ["500"]}, [321], None),
    ],
)
def test_selections(selection, ids, warning):
    api, warnings = mock.Mock(), []
    api.list_etls.return_value = ETLS
    targets = select({**NOTHING, **selection}, api, warnings.append)
    assert [target.etl_id for target in targets] == ids
    assert len(warnings) == (warning is not None)
    assert not warning or warning in warnings[0]


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("nightly*", "Nightly import", True),
        ("bu\u0308*", "B\u00fcro", True),
        ("*SERVICE", ETLS[0].name, True),
        ("x*", "Nightly import", False),
        ("Twi?", "Twin", True),
        # Brackets, dots and backslashes are part of names.
        ("[PROD]*", "[PROD] vCenter", True),
        ("[PROD]*", "Prometheus", False),
        ("a.b", "axb", False),
        ("a\\*", "a\\b", True),
    ],
)
def test_patterns(pattern, name, expected):
    assert matches(pattern, name) is expected

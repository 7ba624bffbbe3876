# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which ETLs are meant."""

from __future__ import annotations

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._api import Etl
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import EtlNotFoundError, OptionError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._select import (
    Target,
    by_id,
    by_name,
    by_pattern,
    check_names,
)

ETLS = [
    Etl(53, "VMware - vCenter Extractor Service", []),
    Etl(321, "Nightly import", []),
    Etl(322, "nightly export", []),
    Etl(400, "Twin", []),
    Etl(401, "Twin", []),
]


@pytest.fixture
def warnings():
    return []


def test_ids_in_their_order_each_once(warnings):
    assert by_id([7, 3, 7], warnings.append) == [Target(7), Target(3)]
    assert warnings == ["etl_id names 7 more than once; each ETL is addressed once."]


@pytest.mark.parametrize("ids", [[], [0], [-1], [5, 0]])
def test_ids_that_cannot_be(ids, warnings):
    with pytest.raises(OptionError):
        by_id(ids, warnings.append)


def test_names_in_their_order_each_once(warnings):
    names = ["nightly export", ETLS[0].name, "nightly export"]
    assert by_name(names, ETLS, warnings.append) == [Target(322, "nightly export"), Target(53, ETLS[0].name)]
    assert len(warnings) == 1


def test_an_etl_that_the_list_tells_of_twice_is_one(warnings):
    assert by_name(["Nightly import"], [*ETLS, ETLS[1]], warnings.append) == [Target(321, "Nightly import")]
    assert warnings == []


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["Nightly imports"], ["'Nightly imports'", "'Nightly import' (id 321)"]),
        (["NIGHTLY IMPORT"], ["'Nightly import' (id 321)"]),
        (["vcenter"], ["'VMware - vCenter Extractor Service' (id 53)"]),
        (["Twin"], ["several ETLs (ids 400, 401)"]),
        (["zzzzzzzz"], ["None of the 5 visible names"]),
        (["Twin", "Nightly import", "zzzzzzzz"], ["2 of 3 names", "'Twin'", "'zzzzzzzz'"]),
    ],
)
def test_names_that_fit_none_or_several(names, words, warnings):
    with pytest.raises(EtlNotFoundError) as caught:
        by_name(names, ETLS, warnings.append)
    assert caught.value.kind == "etl_name"
    assert "Nothing was started" in caught.value.remedy
    for word in words:
        assert word in caught.value.message


def test_an_empty_list_is_said(warnings):
    with pytest.raises(EtlNotFoundError, match="sees no ETL at all"):
        by_name(["a"], [], warnings.append)


@pytest.mark.parametrize("names", [[], [""], ["good", " "]])
def test_names_that_cannot_be(names):
    with pytest.raises(OptionError):
        check_names(names)


@pytest.mark.parametrize(
    ("pattern", "ids"),
    [("*", [53, 321, 322, 400, 401]), ("nightly*", [321, 322]), ("*SERVICE", [53]), ("x*", [])],
)
def test_patterns(pattern, ids):
    assert [etl.etl_id for etl in by_pattern(pattern, ETLS)] == ids

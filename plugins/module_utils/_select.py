# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which ETLs are meant: ids and names against the list of the server.

Private to this collection. Pure: no input, no output.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import Callable, NamedTuple

from ansible_collections.capacityops.bmc_helix.plugins.module_utils._api import Etl
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import EtlNotFoundError, OptionError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._options import check_number


class Target(NamedTuple):
    """An ETL to act on. The name is None where the user gave an id."""

    etl_id: int
    name: str | None = None


def by_id(ids: Sequence[int], warn: Callable[[str], None]) -> list[Target]:
    """The ids in the given order, each once.

    :raises OptionError: none, or an id below 1.
    """
    if not ids:
        raise OptionError("etl_id is an empty list.", remedy="Give at least one id.")
    for etl_id in ids:
        check_number("etl_id", etl_id, 1)
    return [Target(etl_id) for etl_id in _once(ids, "etl_id", warn)]


def by_name(names: Sequence[str], etls: Sequence[Etl], warn: Callable[[str], None]) -> list[Target]:
    """The ETLs with exactly these names, in the given order, each once.

    :raises EtlNotFoundError: a name fits none, or several; the nearest names are listed with their ids.
    """
    targets: list[Target] = []
    problems: list[str] = []
    for name in _once(names, "etl_name", warn):
        # A list that tells of the same ETL twice does not make two of it.
        fitting = list(dict.fromkeys(etl.etl_id for etl in etls if etl.name == name))
        if len(fitting) == 1:
            targets.append(Target(fitting[0], name))
        elif fitting:
            ids = ", ".join(map(str, fitting))
            problems.append(f"{name!r} is the name of several ETLs (ids {ids}): give etl_id instead.")
        else:
            problems.append(f"there is no ETL named {name!r}. {_nearest(name, etls)}")
    if problems:
        raise EtlNotFoundError(
            f"{len(problems)} of {len(names)} names cannot be resolved: " + " ".join(problems)
            if len(problems) > 1
            else f"Name not resolved: {problems[0]}",
            kind="etl_name",
            remedy="Names must match exactly; a key sees only the ETLs of its task groups. Nothing was started.",
        )
    return targets


def check_names(names: Sequence[str]) -> None:
    """Refuse what cannot be a name, before any request.

    :raises OptionError: no name, or an empty one.
    """
    if not names or not all(str(name).strip() for name in names):
        raise OptionError("etl_name is empty or holds an empty name.", remedy="Give at least one name.")


def by_pattern(pattern: str, etls: Sequence[Etl]) -> list[Etl]:
    """The ETLs whose name fits a shell-style pattern (C(*), C(?), C([…])), upper and lower case alike."""
    return [etl for etl in etls if fnmatch.fnmatchcase(etl.name.lower(), pattern.lower())]


def _once(given: Sequence[int] | Sequence[str], option: str, warn: Callable[[str], None]) -> list:  # type: ignore[type-arg]
    unique = list(dict.fromkeys(given))
    if len(unique) < len(given):
        twice = sorted({str(item) for item in given if list(given).count(item) > 1})
        warn(f"{option} names {', '.join(twice[:10])} more than once; each ETL is addressed once.")
    return unique


def _nearest(name: str, etls: Sequence[Etl]) -> str:
    # Only needed for an error; the import costs more than the task's own work.
    import difflib

    if not etls:
        return "This key sees no ETL at all."
    folded = {etl.name.lower(): etl for etl in etls}
    close = difflib.get_close_matches(name.lower(), folded, n=5, cutoff=0.4)
    close += [text for text in folded if name.lower() in text and text not in close][:3]
    if not close:
        return f"None of the {len(etls)} visible names is near it."
    return "Nearest: " + ", ".join(f"{folded[text].name!r} (id {folded[text].etl_id})" for text in close) + "."

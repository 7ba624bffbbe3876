# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What `make demo ARGS=WORD` plays: the playbooks of the collection, each by its full name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Play:
    """One run of ansible-playbook, and what has to come of it."""

    playbook: str
    #: Files of tests/demo/vars, and other variables as NAME=VALUE.
    variables: tuple[str, ...]
    #: The exit status that is right, and a text that the output has to have.
    status: int = 0
    says: str = ""


@dataclass(frozen=True)
class Variant:
    """One or more plays on a tenant that is as new."""

    about: str
    plays: tuple[Play, ...]
    #: Whether every ETL has to be in the state in which it was before.
    restores: bool = False
    #: A file below .cache/demo to look at afterwards.
    makes: str = ""
    #: Whether the playbook talks to a controller, which is a fake here.
    awx: bool = False


VARIANTS = {
    "deploy": Variant(
        "ETLs are stopped, your deployment runs, they are put back, a chain refreshes",
        (Play("deploy", ("deploy.yml",), says="Deployed; the ETLs are as they were"),),
        restores=True,
    ),
    "deploy-failing": Variant(
        "the same with a deployment that fails: the run ends red, and the ETLs are put back",
        (
            Play(
                "deploy",
                ("deploy.yml", "deploy_failing.yml"),
                status=2,
                says="there is no space left on the disk of the engine",
            ),
        ),
        restores=True,
    ),
    "etl_action": Variant(
        "two ETLs at once, by name, one of which ends with a warning",
        (Play("etl_action", ("etl_action.yml",), says="ran and ended with exit WARNING"),),
    ),
    "etl_chain": Variant(
        "ETLs in ordered steps; relaunched, the chain has nothing to repeat",
        (
            Play("etl_chain", ("etl_chain.yml",), says="The chain succeeded"),
            Play("etl_chain", ("etl_chain.yml",), says="changed=0 "),
        ),
    ),
    "chain-failing": Variant(
        "a chain with an ETL that fails: red, and what it started is stopped",
        (Play("etl_chain", ("chain_failing.yml",), status=2, says="Ended by the clean-up"),),
    ),
    "etl_maintenance": Variant(
        "maintenance entered by one job and left by another",
        (
            Play("etl_maintenance", ("etl_maintenance.yml", "etl_maintenance_state=entered"), says="is entered"),
            Play("etl_maintenance", ("etl_maintenance.yml", "etl_maintenance_state=left"), says="is left"),
        ),
        restores=True,
    ),
    "etl_report": Variant(
        "states and ages as a table, and as an HTML page with the last chain",
        (
            Play("etl_chain", ("chain_failing.yml",), status=2, says="The chain failed"),
            Play("etl_report", ("etl_report.yml",), says="6 ETLs:"),
        ),
        makes="report.html",
    ),
    "etl_stop_all": Variant(
        "emergency: everything that executes is ended; the second time nothing is left",
        (
            Play("etl_stop_all", ("etl_stop_all.yml",), says="The service ETL 53 is off."),
            Play("etl_stop_all", ("etl_stop_all.yml",), says="Nothing executes."),
        ),
    ),
    "awx_setup": Variant(
        "objects of AWX, in a fake of it; the second run changes nothing",
        (Play("awx_setup", ("awx_setup.yml",)), Play("awx_setup", ("awx_setup.yml",), says="changed=0 ")),
        awx=True,
    ),
}


def listing() -> str:
    """The variants, for the person at the keyboard."""
    lines = [f"  {name:<16} {variant.about}" for name, variant in VARIANTS.items()]
    lines.append(f"  {'all':<16} all of these, one after the other")
    return "\n".join(["make demo ARGS=WORD plays, on a simulated tenant that is as new:", *lines])

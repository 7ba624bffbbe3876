# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role etl_chain, played with the real ansible-playbook."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret

from tests.functional.support import Played, rescued
from tests.simulator.client import SimulatorProcess

pytestmark = pytest.mark.full

ROLE = "capacityops.bmc_helix.etl_chain"
SECRET = "secret-property-5rT0qZ-not-a-word"


def outcomes(result: dict[str, Any]) -> list[str]:
    return [step["outcome"] for step in result["steps"]]


@pytest.mark.smoke
def test_steps_run_in_order_and_their_secrets_may_be_vaulted_and_are_not_shown(
    play: Callable[..., Played], simulator: SimulatorProcess, tmp_path: Path
) -> None:
    """Up to ansible-core 2.18, a vaulted value is an object that not every filter and module argument can take."""
    control = simulator.control
    for etl_id, duration, exit_code in ((1, 1.5, "OK"), (2, 1.5, "OK"), (3, 0.2, "ERROR"), (4, 0.2, "OK")):
        control.put_etl(etl_id, name=f"Import {etl_id}", duration=duration, exit=exit_code)
    password = tmp_path / "vault-password"
    password.write_text("vault-password-for-tests", encoding="utf-8")
    vault = VaultLib([("default", VaultSecret(b"vault-password-for-tests"))])

    def vaulted(value: str) -> str:
        return "!vault " + json.dumps(vault.encrypt(value).decode())

    # In a file, because the command line itself is in the output of -vvv.
    variables = tmp_path / "variables.yml"
    variables.write_text(
        f"""
bmc_helix_connection:
  url: {simulator.url}
  ca_path: {simulator.ca_file}
  access_key: {simulator.access_key}
  access_secret_key: {vaulted(simulator.access_secret_key)}
plain_step:
  etl_name: Import 3
  name: by name
  secret_run_execution_properties: {{password: {SECRET}}}
vaulted_step:
  etl_id: 4
  run_execution_properties: {{n: 1, flag: "true", day: "1", plain: {vaulted("visible")}}}
  secret_run_execution_properties: {{password: {vaulted(SECRET)}}}
""",
        encoding="utf-8",
    )
    imports, skipped = {"name": "imports", "etl_id": [1, 2]}, {"etl_id": 5, "when": False}
    more = {
        "etl_chain_steps": [imports, "{{ plain_step }}", "{{ vaulted_step }}", skipped],
        "etl_chain_defaults": {"poll_interval": 1},
        "etl_chain_on_failure": "continue",
        "etl_chain_result_file": "~/result.json",
        "etl_chain_set_stats": True,
        # AWX hands stats of an earlier node on as extra variables, which win over facts.
        "etl_chain_summary": {"outcome": "succeeded", "steps": []},
    }
    names = ("HELIX_URL", "HELIX_ACCESS_KEY", "HELIX_ACCESS_SECRET_KEY", "HELIX_CA_PATH")
    # In the containers of AWX, HOME is not the home folder of the user.
    env = {**dict.fromkeys(names), "ANSIBLE_SHOW_CUSTOM_STATS": "true", "HOME": str(tmp_path)}
    arguments = ("--extra-vars", f"@{variables}", "--vault-password-file", str(password))
    done = play(f"- ansible.builtin.import_playbook: {ROLE}\n", extra=more, env=env, verbosity=4, arguments=arguments)
    assert done.rc == 2, done.output
    file = tmp_path / "result.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    result = json.loads(file.read_text())
    assert (result["outcome"], result["changed"]) == ("failed", True)
    assert [step["name"] for step in result["steps"]] == ["imports", "by name", "run 4", "run 5"]
    assert outcomes(result) == ["succeeded", "failed", "succeeded", "skipped"]
    assert [etl["etl_id"] for etl in result["steps"][0]["etls"]] == [1, 2]
    assert isinstance(result["elapsed_seconds"], float)
    assert isinstance(result["steps"][0]["etls"][0]["task_execution_request_id"], int)
    assert "1. imports: succeeded" in done.stdout
    [stats] = [task["ansible_stats"]["data"] for task in done.tasks if "ansible_stats" in task]
    assert list(stats) == ["etl_chain_summary"]
    assert [step["outcome"] for step in stats["etl_chain_summary"]["steps"]] == outcomes(result)

    first, second, third, fourth = sorted(control.executions(), key=lambda execution: execution["etl_id"])
    assert first["started_at"] < second["ended_at"]
    assert second["started_at"] < first["ended_at"]
    assert (
        max(first["ended_at"], second["ended_at"]) <= third["started_at"] <= third["ended_at"] <= fourth["started_at"]
    )
    assert third["properties"] == {"password": SECRET}
    assert fourth["properties"] == {"password": SECRET, "plain": "visible", "n": "1", "flag": "true", "day": "1"}
    assert SECRET not in done.output + file.read_text()
    assert simulator.access_key not in done.output


def test_chains_that_fail_are_cleaned_up_and_are_launched_again(
    play: Callable[..., Played], simulator: SimulatorProcess
) -> None:
    control = simulator.control
    for etl_id in (1, 2, 3, 4, 12, 13):
        control.put_etl(etl_id, name=f"Import {etl_id}", duration=0.2)
    for etl_id in (5, 7, 8, 10):
        control.put_etl(etl_id, duration=None)
    control.patch_etl(2, exits=["ERROR"])
    # A text of the server is never evaluated; before ansible-core 2.19, a template could make one of it.
    body = {"error": "{{ 'eval' ~ 'uated' }} {% raw %}"}
    control.fault({"exchange": "run", "etl_id": 8}, {"kind": "status", "code": 400, "body": body})
    control.put_etl(11, duration=None, state="RUNNING")  # somebody else's: followed only
    control.patch_etl(12, kind="periodic", state="WAITING")  # its run ends before the cleanup
    control.patch_etl(13, exit="ERROR")
    three = [{"etl_id": 1}, {"etl_id": 2}, {"etl_id": 5, "wait": False}]
    fresh = {"steps": three, "cleanup": "stop", "defaults": {"poll_interval": 1, "max_age": 600}}
    going = [{"etl_id": etl_id, "wait": False} for etl_id in (7, 10, 11)]
    chains: dict[str, dict[str, Any]] = {
        "leave": {"steps": [going[0], {"name": "bad", "etl_id": [8, 3]}, {"name": "last", "etl_id": 4}]},
        "first": fresh,
        "second": fresh,
        "stop": {"steps": [*going[1:], {"etl_id": 12}, {"name": "bad", "etl_id": 13}], "cleanup": "stop"},
        "name": {"steps": [{"etl_id": 9}, {"etl_name": "Import 33"}, {"etl_name": "nowhere", "when": False}]},
        "nothing": {"steps": [], "result_file": "/nowhere/x"},
        "option": {"steps": [{"etl_id": 9, "acton": "run", "when": "etl_ready == 1"}]},
    }
    common = {"defaults": {"poll_interval": 1}, "secure_logging": False}
    tasks = [
        rescued(number, ROLE, {f"etl_chain_{key}": value for key, value in {**common, **given}.items()})
        for number, given in enumerate(chains.values())
    ]
    done = play(tasks)
    assert done.rc == 0, done.output
    facts = [task.result.get("ansible_facts", {}) for task in done.tasks]
    results = [fact["etl_chain_result"] for fact in facts if "etl_chain_result" in fact]
    result = dict(zip(chains, results))
    told = {name: done.task(f"Told {number}")["msg"] for number, name in enumerate(chains) if name != "second"}

    failed = result["leave"]
    assert outcomes(failed) == ["succeeded", "failed", "not_reached"]
    assert failed["failed_steps"] == ["bad"]
    # Both ETLs of the failed step were brought to their end, and nothing is cleaned up unless requested.
    assert [etl["outcome"] for etl in failed["steps"][1]["etls"]] == ["failed", "succeeded"]
    assert (control.status(7)["state"], failed["ended_early"]) == ("RUNNING", [])
    assert "Step 2 (bad):" in told["leave"]
    assert told["leave"].endswith("Not reached: last.")
    assert "'eval' ~ 'uated'" in failed["steps"][1]["error"]["server_message"]
    assert "evaluated" not in done.output

    assert outcomes(result["first"]) == ["succeeded", "failed", "not_reached"]
    again = [etl["outcome"] for step in result["second"]["steps"] for etl in step["etls"]]
    assert again == ["fresh", "succeeded", "accepted"]
    # A chain that succeeds is not cleaned up.
    assert (result["second"]["outcome"], result["second"]["ended_early"]) == ("succeeded", [])
    assert control.status(5)["state"] == "RUNNING"

    assert [control.status(etl_id)["state"] for etl_id in (10, 11, 12)] == ["ENDED", "RUNNING", "WAITING"]
    assert [entry["etl_id"] for entry in control.requests() if entry["exchange"] in ("stop", "kill")] == [10]
    assert [etl["etl_id"] for etl in result["stop"]["ended_early"]] == [10]
    assert "Ended by the cleanup:" in told["stop"]

    # What is wrong with any step that is wanted is reported before the first one runs.
    assert outcomes(result["name"]) == ["not_reached", "not_reached", "skipped"]
    assert "no ETL named 'Import 33'" in told["name"]
    assert "nowhere" not in told["name"]
    assert "etl_chain_steps is empty" in told["nothing"]
    assert "There is no folder /nowhere" in told["nothing"]
    assert {"acton", "when"} <= set(re.findall(r"\w+", told["option"]))
    assert control.counters()["launches_by_etl"] == {1: 1, 2: 2, 3: 1, 5: 1, 7: 1, 10: 1, 12: 1, 13: 1}

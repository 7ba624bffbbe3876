# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role etl_chain, played with the real ansible-playbook."""

from __future__ import annotations

import json
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
PLAYBOOK = f"- ansible.builtin.import_playbook: {ROLE}\n"
PUBLISH = f"{ROLE} : Publish the summary for a workflow"
SECRET = "secret-property-5rT0qZ-not-a-word"
POLLS = {"etl_chain_defaults": {"poll_interval": 1}, "etl_chain_secure_logging": False}


@pytest.fixture
def chains(play: Callable[..., Played], simulator: SimulatorProcess) -> Callable[..., Played]:
    """Run the role with each of these variables in one play, whatever becomes of the others. `Told N` has the end."""
    for etl_id in range(1, 10):
        simulator.control.put_etl(etl_id, name=f"Import {etl_id}", duration=0.2)

    def run(*given: dict[str, Any], **keywords: Any) -> Played:
        tasks = [rescued(number, ROLE, {**POLLS, **variables}) for number, variables in enumerate(given)]
        done = play(tasks, **keywords)
        assert done.rc == 0, done.output
        return done

    return run


def results(played: Played) -> list[dict[str, Any]]:
    facts = [task["ansible_facts"] for task in played.tasks if task.task == f"{ROLE} : Set the fact etl_chain_result"]
    return [fact["etl_chain_result"] for fact in facts]


def outcomes(result: dict[str, Any]) -> list[str]:
    return [step["outcome"] for step in result["steps"]]


@pytest.mark.smoke
def test_steps_run_in_order_and_etls_of_a_step_together(
    play: Callable[..., Played], simulator: SimulatorProcess, tmp_path: Path
) -> None:
    """Also: in the containers of AWX, HOME is not the home folder of the user."""
    for etl_id, duration in ((1, 1.5), (2, 1.5), (3, 0.2), (4, 0.2)):
        simulator.control.put_etl(etl_id, name=f"Import {etl_id}", duration=duration)
    properties = {"n": 1, "flag": "true", "day": "1"}
    steps = [
        {"name": "imports", "etl_id": [1, 2]},
        {"name": "by name", "etl_name": "Import 3", "run_execution_properties": properties},
        {"etl_id": 4, "when": False},
    ]
    variables = {**POLLS, "etl_chain_result_file": "~/result.json", "etl_chain_set_stats": True}
    env = {"ANSIBLE_SHOW_CUSTOM_STATS": "true", "HOME": str(tmp_path)}
    done = play(PLAYBOOK, extra={**variables, "etl_chain_steps": steps}, env=env)
    assert done.rc == 0, done.output
    [result] = results(done)
    assert (result["outcome"], result["changed"]) == ("succeeded", True)
    assert [step["name"] for step in result["steps"]] == ["imports", "by name", "run 4"]
    assert outcomes(result) == ["succeeded", "succeeded", "skipped"]
    assert [etl["etl_id"] for etl in result["steps"][0]["etls"]] == [1, 2]
    assert isinstance(result["elapsed_seconds"], float)
    assert isinstance(result["steps"][0]["etls"][0]["task_execution_request_id"], int)
    first, second, third = sorted(simulator.control.executions(), key=lambda execution: execution["etl_id"])
    assert first["started_at"] < second["ended_at"]
    assert second["started_at"] < first["ended_at"]
    assert third["started_at"] >= max(first["ended_at"], second["ended_at"])
    assert third["properties"] == {"n": "1", "flag": "true", "day": "1"}
    written = tmp_path / "result.json"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert json.loads(written.read_text()) == result
    assert "1. imports: succeeded" in done.stdout
    stats = done.task(PUBLISH)["ansible_stats"]["data"]
    assert list(stats) == ["etl_chain_summary"]
    assert stats["etl_chain_summary"]["outcome"] == "succeeded"


def test_the_first_failure_ends_the_chain_and_a_relaunch_repeats_only_what_is_not_fresh(
    chains: Callable[..., Played], simulator: SimulatorProcess
) -> None:
    simulator.control.patch_etl(2, exit="ERROR")
    simulator.control.patch_etl(5, exits=["ERROR"])
    simulator.control.patch_etl(7, duration=None)
    failing = [{"etl_id": 7, "wait": False}, {"name": "bad", "etl_id": [2, 3]}, {"name": "last", "etl_id": 4}]
    fresh = {
        "etl_chain_steps": [{"etl_id": 1}, {"etl_id": 5}, {"etl_id": 6}],
        "etl_chain_defaults": {"poll_interval": 1, "max_age": 600},
    }
    done = chains({"etl_chain_steps": failing}, fresh, fresh, fresh)
    failed, *launches = results(done)
    assert outcomes(failed) == ["succeeded", "failed", "not_reached"]
    assert failed["failed_steps"] == ["bad"]
    # Both ETLs of the failed step were brought to their end, and nothing is cleaned up unless requested.
    assert [etl["outcome"] for etl in failed["steps"][1]["etls"]] == ["failed", "succeeded"]
    assert failed["steps"][1]["error"]["kind"] == "exit_error"
    assert (simulator.control.status(7)["state"], failed["ended_early"]) == ("RUNNING", [])
    assert "Step 2 (bad):" in done.task("Told 0")["msg"]
    assert "Not reached: last." in done.task("Told 0")["msg"]
    assert "End the runs in progress" not in done.output
    assert [outcomes(result) for result in launches] == [
        ["succeeded", "failed", "not_reached"],
        ["succeeded"] * 3,
        ["succeeded"] * 3,
    ]
    etls = [[etl["outcome"] for step in result["steps"] for etl in step["etls"]] for result in launches]
    assert etls[1:] == [["fresh", "succeeded", "succeeded"], ["fresh"] * 3]
    assert [result["changed"] for result in launches] == [True, True, False]
    assert simulator.control.counters()["launches_by_etl"] == {1: 1, 2: 1, 3: 1, 5: 2, 6: 1, 7: 1}


def test_cleanup_ends_what_the_chain_started_and_only_that(
    chains: Callable[..., Played], simulator: SimulatorProcess
) -> None:
    control = simulator.control
    control.put_etl(1, duration=None)  # started without waiting: goes on
    control.put_etl(2, duration=None, state="RUNNING")  # somebody else's: followed only
    control.put_etl(3, kind="periodic", duration=0.2)  # ended and waits for its next time
    control.put_etl(4, exit="ERROR", duration=0.2)
    control.put_etl(5, duration=None)  # started by a chain that succeeds
    good = {"etl_chain_steps": [{"etl_id": 5, "wait": False}], "etl_chain_cleanup": "stop"}
    going = [{"etl_id": etl_id, "wait": False} for etl_id in (1, 2)]
    steps = [*going, {"etl_id": 3}, {"name": "bad", "etl_id": 4}]
    done = chains(good, {"etl_chain_steps": steps, "etl_chain_cleanup": "stop"})
    assert [control.status(etl_id)["state"] for etl_id in (1, 2, 3, 5)] == ["ENDED", "RUNNING", "WAITING", "RUNNING"]
    sent = [(entry["exchange"], entry["etl_id"]) for entry in control.requests() if entry["write"]]
    assert sent == [("run", 5), ("run", 1), ("run", 3), ("run", 4), ("stop", 1)]
    assert [etl["etl_id"] for etl in results(done)[1]["ended_early"]] == [1]
    assert "Ended by the cleanup:" in done.task("Told 1")["msg"]


def test_check_mode_walks_the_whole_chain_and_sends_nothing(
    chains: Callable[..., Played], simulator: SimulatorProcess, tmp_path: Path
) -> None:
    simulator.control.put_etl(4, state="RUNNING", duration=None)
    steps = [{"etl_id": [1, 2]}, {"etl_name": ["Import 3"]}, {"etl_id": 4, "action": "stop"}]
    file = tmp_path / "result.json"
    more = {"etl_chain_set_stats": True, "etl_chain_cleanup": "kill", "etl_chain_result_file": str(file)}
    done = chains({"etl_chain_steps": steps, **more}, check=True)
    [result] = results(done)
    assert (result["outcome"], result["check_mode"]) == ("planned", True)
    assert outcomes(result) == ["planned"] * 3
    etls = [etl for step in result["steps"] for etl in step["etls"]]
    assert [etl["outcome"] for etl in etls] == ["would_run"] * 3 + ["would_stop"]
    assert {etl["task_execution_request_id"] for etl in etls} == {None}
    assert simulator.control.counters()["writes"] == 0
    assert not file.exists()
    assert done.task(PUBLISH).status == "skipped"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"etl_chain_steps": []}, "etl_chain_steps is empty"),
    ({"etl_chain_steps": [{"etl_id": 1, "acton": "run"}]}, "acton"),
    ({"etl_chain_steps": [{"etl_id": 1, "when": "etl_ready == 1"}]}, "when"),
    ({"etl_chain_steps": [{"etl_id": 1}], "etl_chain_result_file": "/nowhere/x"}, "There is no folder /nowhere"),
]


def test_what_is_wrong_with_the_steps_is_told_before_the_first_one(
    chains: Callable[..., Played], simulator: SimulatorProcess
) -> None:
    """And a text of the server is never evaluated; before ansible-core 2.19, a template could make one of it."""
    done = chains(*(variables for variables, _message in WRONG))
    for number, (_variables, message) in enumerate(WRONG):
        assert message in done.task(f"Told {number}")["msg"]
    assert simulator.control.requests() == []

    body = {"error": "{{ 'eval' ~ 'uated' }} {% raw %}"}
    simulator.control.fault({"exchange": "run", "etl_id": 1}, {"kind": "status", "code": 400, "body": body})
    unknown = [{"etl_id": 2}, {"etl_name": "Import 33"}, {"etl_name": "nowhere", "when": False}]
    done = chains({"etl_chain_steps": unknown}, {"etl_chain_steps": [{"name": "one", "etl_id": 1}]})
    message = done.task("Told 0")["msg"]
    assert "no ETL named 'Import 33'" in message
    assert "'Import 3' (id 3)" in message
    assert "nowhere" not in message
    first, second = results(done)
    assert outcomes(first) == ["not_reached", "not_reached", "skipped"]
    assert simulator.control.executions() == []
    assert "evaluated" not in done.output
    assert "'eval' ~ 'uated'" in second["steps"][0]["error"]["server_message"]


def test_secrets_of_steps_and_connection_are_not_shown_and_may_be_vaulted(
    play: Callable[..., Played], simulator: SimulatorProcess, tmp_path: Path
) -> None:
    """Up to ansible-core 2.18, such a value is an object that not every filter and module argument can take."""
    for etl_id, exit_code in ((1, "ERROR"), (2, "OK")):
        simulator.control.put_etl(etl_id, duration=0.2, exit=exit_code)
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
  etl_id: 1
  secret_run_execution_properties: {{password: {SECRET}}}
vaulted_step:
  etl_id: 2
  run_execution_properties: {{plain: {vaulted("visible")}}}
  secret_run_execution_properties: {{password: {vaulted(SECRET)}}}
""",
        encoding="utf-8",
    )
    more = {"etl_chain_steps": ["{{ plain_step }}", "{{ vaulted_step }}"], "etl_chain_set_stats": True}
    more |= {"etl_chain_defaults": {"poll_interval": 1}, "etl_chain_on_failure": "continue"}
    more |= {"etl_chain_result_file": str(tmp_path / "result.json")}
    # AWX hands stats of an earlier node on as extra variables, which win over facts.
    more |= {"etl_chain_summary": {"outcome": "succeeded", "steps": []}}
    names = ("HELIX_URL", "HELIX_ACCESS_KEY", "HELIX_ACCESS_SECRET_KEY", "HELIX_CA_PATH")
    done = play(
        PLAYBOOK,
        extra=more,
        env={**dict.fromkeys(names), "ANSIBLE_SHOW_CUSTOM_STATS": "true"},
        verbosity=4,
        arguments=("--extra-vars", f"@{variables}", "--vault-password-file", str(password)),
    )
    assert done.rc == 2, done.output
    assert len(done.task(PUBLISH)["ansible_stats"]["data"]["etl_chain_summary"]["steps"]) == 2
    first, second = (simulator.control.executions(etl_id)[0]["properties"] for etl_id in (1, 2))
    assert first == {"password": SECRET}
    assert second == {"password": SECRET, "plain": "visible"}
    assert SECRET not in done.output
    assert simulator.access_key not in done.output
    assert SECRET not in (tmp_path / "result.json").read_text()

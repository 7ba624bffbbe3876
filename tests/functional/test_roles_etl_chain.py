# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role etl_chain, played with the real ansible-playbook."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret

from tests.functional.support import Played
from tests.simulator.client import SimulatorProcess

pytestmark = pytest.mark.full

Chain = Callable[..., Played]
PLAYBOOK = "- ansible.builtin.import_playbook: capacityops.bmc_helix.etl_chain\n"
SECRET = "secret-property-5rT0qZ-not-a-word"


@pytest.fixture
def chain(play: Callable[..., Played], simulator: SimulatorProcess, tmp_path: Path) -> Chain:
    """Run the playbook with these steps and variables; the result is in `result.json` of the test's folder."""
    for etl_id in (1, 2, 3, 4):
        simulator.control.put_etl(etl_id, name=f"Import {etl_id}", duration=0.3)

    def run(steps: Any, *, etl_chain_defaults: Optional[Mapping[str, Any]] = None, **other: Any) -> Played:
        keywords = {name: other.pop(name) for name in ("check", "verbosity", "env", "arguments") if name in other}
        extra = {
            "etl_chain_steps": steps,
            "etl_chain_defaults": {"poll_interval": 1, **(etl_chain_defaults or {})},
            "etl_chain_result_file": str(tmp_path / "result.json"),
            **other,
        }
        return play(PLAYBOOK, extra=extra, **keywords)

    return run


def result_of(played: Played) -> dict[str, Any]:
    facts = played.task("capacityops.bmc_helix.etl_chain : Set the fact etl_chain_result")["ansible_facts"]
    result: dict[str, Any] = facts["etl_chain_result"]
    return result


SHOW = {"etl_chain_secure_logging": False}


@pytest.mark.smoke
def test_steps_run_in_order_and_etls_of_a_step_together(
    chain: Chain, simulator: SimulatorProcess, tmp_path: Path
) -> None:
    for etl_id in (1, 2):
        simulator.control.patch_etl(etl_id, duration=1.5)
    done = chain(
        [
            {"name": "imports", "etl_id": [1, 2]},
            {
                "name": "by name",
                "etl_name": "Import 3",
                "run_execution_properties": {"n": 1, "flag": "true", "day": "1"},
            },
            {"etl_id": 4, "when": False},
        ],
        **SHOW,
    )
    assert done.rc == 0, done.output
    result = result_of(done)
    assert result["outcome"] == "succeeded"
    assert result["changed"] is True
    assert [(step["name"], step["outcome"]) for step in result["steps"]] == [
        ("imports", "succeeded"),
        ("by name", "succeeded"),
        ("run 4", "skipped"),
    ]
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


def test_the_first_failure_ends_the_chain(chain: Chain, simulator: SimulatorProcess) -> None:
    simulator.control.patch_etl(2, exit="ERROR")
    done = chain([{"etl_id": 1}, {"name": "bad", "etl_id": [2, 3]}, {"name": "last", "etl_id": 4}], **SHOW)
    assert done.rc == 2, done.output
    result = result_of(done)
    assert [step["outcome"] for step in result["steps"]] == ["succeeded", "failed", "not_reached"]
    assert result["failed_steps"] == ["bad"]
    # Both ETLs of the failed step were brought to their end.
    assert [etl["outcome"] for etl in result["steps"][1]["etls"]] == ["failed", "succeeded"]
    assert result["steps"][1]["error"]["kind"] == "exit_error"
    assert simulator.control.executions(4) == []
    assert "Step 2 (bad):" in done.task()["msg"]
    assert "Not reached: last." in done.task()["msg"]


def test_a_relaunch_repeats_only_what_is_not_fresh(chain: Chain, simulator: SimulatorProcess) -> None:
    simulator.control.patch_etl(2, exits=["ERROR"])
    steps = [{"etl_id": 1}, {"etl_id": 2}, {"etl_id": 3}]
    assert chain(steps, etl_chain_defaults={"max_age": 600}).rc == 2
    done = chain(steps, etl_chain_defaults={"max_age": 600}, **SHOW)
    assert done.rc == 0, done.output
    etls = [step["etls"][0] for step in result_of(done)["steps"]]
    assert [etl["outcome"] for etl in etls] == ["fresh", "succeeded", "succeeded"]
    assert simulator.control.counters()["launches_by_etl"] == {1: 1, 2: 2, 3: 1}
    third = chain(steps, etl_chain_defaults={"max_age": 600}, **SHOW)
    assert result_of(third)["changed"] is False
    assert "changed=0 " in third.stdout


@pytest.mark.parametrize("cleanup", ["leave", "stop"])
def test_cleanup_ends_what_the_chain_started_and_only_that(
    chain: Chain, simulator: SimulatorProcess, cleanup: str
) -> None:
    control = simulator.control
    control.put_etl(1, duration=None)  # started without waiting: goes on
    control.put_etl(2, duration=None, state="RUNNING")  # somebody else's: followed only
    control.put_etl(3, kind="periodic", duration=0.2)  # ended and waits for its next time
    control.put_etl(4, exit="ERROR", duration=0.2)
    done = chain(
        [
            {"etl_id": 1, "wait": False},
            {"etl_id": 2, "wait": False},
            {"etl_id": 3},
            {"name": "bad", "etl_id": 4},
        ],
        etl_chain_cleanup=cleanup,
        **SHOW,
    )
    assert done.rc == 2, done.output
    assert control.status(2)["state"] == "RUNNING"
    assert control.status(3)["state"] == "WAITING"
    sent = {
        (entry["exchange"], entry["etl_id"]) for entry in control.requests() if entry["exchange"] in ("stop", "kill")
    }
    if cleanup == "leave":
        assert control.status(1)["state"] == "RUNNING"
        assert sent == set()
        assert result_of(done)["ended_early"] == []
    else:
        assert control.status(1)["state"] == "ENDED"
        assert sent == {(cleanup, 1)}
        assert [etl["etl_id"] for etl in result_of(done)["ended_early"]] == [1]
        assert "Ended by the cleanup:" in done.task()["msg"]


def test_check_mode_walks_the_whole_chain_and_sends_nothing(
    chain: Chain, simulator: SimulatorProcess, tmp_path: Path
) -> None:
    simulator.control.put_etl(4, state="RUNNING", duration=None)
    steps = [{"etl_id": [1, 2]}, {"etl_name": ["Import 3"]}, {"etl_id": 4, "action": "stop"}]
    done = chain(steps, check=True, etl_chain_set_stats=True, etl_chain_cleanup="kill", **SHOW)
    assert done.rc == 0, done.output
    result = result_of(done)
    assert result["outcome"] == "planned"
    assert result["check_mode"] is True
    assert [step["outcome"] for step in result["steps"]] == ["planned"] * 3
    assert [etl["outcome"] for step in result["steps"] for etl in step["etls"]] == ["would_run"] * 3 + ["would_stop"]
    assert {etl["task_execution_request_id"] for step in result["steps"] for etl in step["etls"]} == {None}
    assert [entry for entry in simulator.control.requests() if entry["exchange"] in ("run", "stop", "kill")] == []
    assert not (tmp_path / "result.json").exists()
    assert done.task("capacityops.bmc_helix.etl_chain : Publish the summary for a workflow").status == "skipped"


def test_a_folder_that_is_not_there_starts_nothing(chain: Chain, simulator: SimulatorProcess, tmp_path: Path) -> None:
    done = chain([{"etl_id": 1}], etl_chain_result_file=str(tmp_path / "nowhere" / "result.json"))
    assert done.rc == 2
    assert f"There is no folder {tmp_path}/nowhere" in done.task()["msg"]
    assert simulator.control.requests() == []


def test_the_home_folder_of_the_result_file_is_that_of_the_environment(chain: Chain, tmp_path: Path) -> None:
    """In the containers of AWX, HOME is not the home folder of the user."""
    done = chain([{"etl_id": 1}], env={"HOME": str(tmp_path)}, etl_chain_result_file="~/by-name.json")
    assert done.rc == 0, done.output
    assert json.loads((tmp_path / "by-name.json").read_text(encoding="utf-8"))["outcome"] == "succeeded"


def test_stats_are_for_workflows_and_do_not_spoil_the_next_chain(chain: Chain) -> None:
    env = {"ANSIBLE_SHOW_CUSTOM_STATS": "true"}
    done = chain([{"etl_id": 1}], etl_chain_set_stats=True, env=env, **SHOW)
    stats = done.task("capacityops.bmc_helix.etl_chain : Publish the summary for a workflow")["ansible_stats"]["data"]
    assert list(stats) == ["etl_chain_summary"]
    assert stats["etl_chain_summary"]["outcome"] == "succeeded"
    # AWX hands stats to later nodes as extra variables, which win over facts.
    again = chain([{"name": "second", "etl_id": 2}], etl_chain_set_stats=True, **stats, **SHOW)
    assert [step["name"] for step in result_of(again)["steps"]] == ["second"]
    later = again.task("capacityops.bmc_helix.etl_chain : Publish the summary for a workflow")["ansible_stats"]["data"]
    assert [step["name"] for step in later["etl_chain_summary"]["steps"]] == ["second"]


def test_a_wrong_name_is_told_before_the_first_step(chain: Chain, simulator: SimulatorProcess) -> None:
    done = chain([{"etl_id": 1}, {"etl_name": "Import 33"}, {"etl_name": "nowhere", "when": False}], **SHOW)
    assert done.rc == 2
    message = done.task()["msg"]
    assert "no ETL named 'Import 33'" in message
    assert "'Import 3' (id 3)" in message
    assert "nowhere" not in message
    assert simulator.control.executions() == []
    assert [step["outcome"] for step in result_of(done)["steps"]] == ["not_reached", "not_reached", "skipped"]


WRONG: list[tuple[list[dict[str, Any]], str]] = [
    ([], "etl_chain_steps is empty"),
    ([{"etl_id": 1, "acton": "run"}], "acton"),
    ([{"etl_id": 1, "when": "etl_ready == 1"}], "when"),
]


def test_what_is_wrong_with_the_steps_is_said_first(play: Callable[..., Played], simulator: SimulatorProcess) -> None:
    tasks: list[dict[str, Any]] = []
    for number, (steps, _message) in enumerate(WRONG):
        include = {"name": "capacityops.bmc_helix.etl_chain"}
        tell = {"name": f"Told {number}", "ansible.builtin.debug": {"msg": "{{ ansible_failed_result.msg }}"}}
        block = [{"ansible.builtin.include_role": include, "vars": {"etl_chain_steps": steps}}]
        tasks.append({"block": block, "rescue": [tell]})
    done = play(tasks)
    for number, (_steps, message) in enumerate(WRONG):
        assert message in done.task(f"Told {number}")["msg"]
    assert simulator.control.requests() == []


def test_secrets_of_steps_and_connection_are_not_shown(
    chain: Chain, simulator: SimulatorProcess, tmp_path: Path
) -> None:
    simulator.control.patch_etl(2, exit="ERROR")
    connection = {
        "url": simulator.url,
        "access_key": simulator.access_key,
        "access_secret_key": simulator.access_secret_key,
        "ca_path": simulator.ca_file,
    }
    steps = [{"etl_id": etl_id, "secret_run_execution_properties": {"password": SECRET}} for etl_id in (1, 2)]
    # In a file, for the command line itself is in the output of -vvv.
    variables = tmp_path / "secrets.json"
    variables.write_text(json.dumps({"bmc_helix_connection": connection, "secret_steps": steps}))
    names = ("HELIX_URL", "HELIX_ACCESS_KEY", "HELIX_ACCESS_SECRET_KEY", "HELIX_CA_PATH")
    done = chain(
        "{{ secret_steps }}",
        env={**dict.fromkeys(names), "ANSIBLE_SHOW_CUSTOM_STATS": "true"},
        verbosity=4,
        arguments=("--extra-vars", f"@{variables}"),
        etl_chain_set_stats=True,
        etl_chain_on_failure="continue",
    )
    assert done.rc == 2, done.output
    assert [execution["properties"] for execution in simulator.control.executions()] == [{"password": SECRET}] * 2
    assert SECRET not in done.output
    assert simulator.access_key not in done.output
    assert SECRET not in (tmp_path / "result.json").read_text()


def test_text_of_the_server_is_never_evaluated(chain: Chain, simulator: SimulatorProcess) -> None:
    """On ansible-core before 2.19 a value that went through a template can become a template itself."""
    body = {"error": "{{ 'eval' ~ 'uated' }} {% raw %}"}
    simulator.control.fault({"exchange": "run", "etl_id": 1}, {"kind": "status", "code": 400, "body": body})
    done = chain([{"name": "one", "etl_id": 1}], **SHOW)
    assert done.rc == 2, done.output
    assert "evaluated" not in done.output
    assert "'eval' ~ 'uated'" in result_of(done)["steps"][0]["error"]["server_message"]


def test_vaulted_values_in_the_arguments_of_the_role(
    play: Callable[..., Played], simulator: SimulatorProcess, tmp_path: Path
) -> None:
    """Up to ansible-core 2.18, such a value is an object that not every filter and module argument can take."""
    simulator.control.put_etl(1, name="Import", duration=0.2)
    secret = Vault(tmp_path)
    steps = f"""
- name: Run the chain
  ansible.builtin.include_role:
    name: capacityops.bmc_helix.etl_chain
  vars:
    etl_chain_steps:
      - etl_id: 1
        run_execution_properties:
          plain: {secret.text("visible")}
        secret_run_execution_properties:
          password: {secret.text(SECRET)}
    etl_chain_connection:
      access_secret_key: {secret.text(simulator.access_secret_key)}
"""
    done = play(steps, arguments=("--vault-password-file", str(secret.file)), env={"HELIX_ACCESS_SECRET_KEY": None})
    assert done.rc == 0, done.output
    assert simulator.control.executions(1)[0]["properties"] == {"plain": "visible", "password": SECRET}
    assert SECRET not in done.output


class Vault:
    """A vault password in a file, and values encrypted with it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "vault-password"
        self.file.write_text("vault-password-for-tests", encoding="utf-8")
        self._vault = VaultLib([("default", VaultSecret(b"vault-password-for-tests"))])

    def text(self, value: str) -> str:
        return "!vault " + json.dumps(self._vault.encrypt(value).decode())

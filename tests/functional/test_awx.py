# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role awx_resources makes, against AWX's rules (tests/awx/rules.py) and a fake of its API
(tests/awx/fake_awx.py).

The tests that play the role need the collection awx.awx (in the package `ansible`, up to version 13) in this
environment.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.awx import rules
from tests.awx.fake_awx import TOKEN, FakeAwxServer
from tests.functional.support import ROOT, SITE_PACKAGES, ModuleRun, Played
from tests.simulator.client import SimulatorProcess

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]
HAS_AWX = (SITE_PACKAGES / "ansible_collections" / "awx" / "awx").exists()
needs_awx = pytest.mark.skipif(not HAS_AWX, reason="the collection awx.awx is not in this environment")
GALAXY = Path(sys.executable).with_name("ansible-galaxy")
KEYS = {"url": "https://helix.example", "access_key": "AWXKEY8Zq2mP", "access_secret_key": "awx-secret-5Tg9Lw2"}
VARIABLES: dict[str, Any] = {
    "awx_resources_credential_inputs": KEYS,
    "awx_resources_execution_environment_image": "registry.example/helix-ee:1",
    "awx_resources_chain_steps": [{"etl_id": [1, 2]}, {"name": "last", "etl_name": "Import"}],
    "awx_resources_maintenance": {"etl_maintenance_name_pattern": "*"},
    "awx_resources_deploy_template": "My deployment",
}
DUMP = """
- name: Read the role's variables
  ansible.builtin.include_vars:
    dir: "{role}/{{{{ folder }}}}"
  loop: [defaults, vars/main]
  loop_control:
    loop_var: folder
- name: Show them
  ansible.builtin.debug:
    msg:
      inputs: "{{{{ __awx_resources_inputs }}}}"
      injectors: "{{{{ __awx_resources_injectors }}}}"
      localhost: "{{{{ __awx_resources_localhost }}}}"
      templates: "{{{{ __awx_resources_job_templates }}}}"
      nodes: "{{{{ __awx_resources_nodes }}}}"
"""


_SHOWN: dict[str, Any] = {}


# ---- the rules themselves


GOOD_FIELD = {"id": "url", "label": "Address"}


@pytest.mark.parametrize(
    "field",
    [
        {"id": "tower", "label": "x"},
        {"id": "1st", "label": "x"},
        {"id": "x"},
        {"id": "x", "label": "x", "type": "integer"},
        {"id": "x", "label": "x", "type": "boolean", "secret": True},
        {"id": "x", "label": "x", "type": "boolean", "default": "true"},
        {"id": "x", "label": "x", "choices": []},
        {"id": "x", "label": "x", "choices": ["a", "a"]},
        {"id": "x", "label": "x", "placeholder": "y"},
        {"id": "x", "label": "x", "format": "email"},
    ],
)
def test_rules_refuse_what_awx_refuses_in_a_field(field: dict[str, Any]) -> None:
    assert rules.credential_type("cloud", {"fields": [GOOD_FIELD]}, {}) == []
    assert rules.credential_type("cloud", {"fields": [field]}, {}) != []


@pytest.mark.parametrize(
    "injectors",
    [
        {"env": {"ANSIBLE_X": "{{ url }}"}},
        {"env": {"PATH": "{{ url }}"}},
        {"env": {"X": "é"}},
        {"env": {"X": "{{ nothing }}"}},
        {"env": {"X": "{% if nothing %}a{% endif %}"}},
        {"env": {"X": "{{ url"}},
        {"env": {"X": 1}},
        {"file": {"template": "a", "template.b": "c"}},
        {"file": {"template.ca": "{{ url }}"}, "env": {"X": "{{ tower.filename }}{{ tower.filename.other }}"}},
        {"headers": {}},
    ],
)
def test_rules_refuse_what_awx_refuses_in_injectors(injectors: dict[str, Any]) -> None:
    assert rules.credential_type("cloud", {"fields": [GOOD_FIELD]}, injectors) != []


def test_rules_refuse_other_things() -> None:
    assert rules.credential_type("ssh", {"fields": [GOOD_FIELD]}, {}) != []
    assert rules.credential_type("cloud", {"fields": [GOOD_FIELD], "dependencies": {}}, {}) != []
    question = {"type": "integer", "question_name": "?", "variable": "v", "required": False}
    survey = {"name": "", "description": ""}
    assert rules.survey({**survey, "spec": [question]}) == []
    for wrong in (
        {"type": "number"},
        {"default": "3600"},
        {"min": "1"},
        {"max": 5, "default": 6},
        {"required": "no"},
        {"type": "multiplechoice"},
        {"type": "multiplechoice", "choices": ["a"], "default": "b"},
    ):
        assert rules.survey({**survey, "spec": [{**question, **wrong}]}) != [], wrong
    assert rules.survey({**survey, "spec": [question, question]}) != []
    assert rules.survey({"name": "", "spec": [question]}) != []
    assert rules.node_prompts({"job_type": "check"}, {}) != []
    assert rules.node_prompts({"job_type": "check"}, {"ask_job_type_on_launch": True}) == []


# ---- what the role would make


@pytest.fixture
def objects(play: Callable[..., Played]) -> dict[str, Any]:
    """The role's data as Ansible templates it. Read once; nobody changes it."""
    if not _SHOWN:
        _SHOWN.update(dumped(play, VARIABLES))
    return _SHOWN


def dumped(play: Callable[..., Played], variables: Mapping[str, Any]) -> dict[str, Any]:
    done = play(DUMP.format(role=ROOT / "roles" / "awx_resources"), extra=variables)
    assert done.rc == 0, done.output
    shown: dict[str, Any] = done.task("Show them")["msg"]
    return shown


def test_all_objects_are_acceptable(objects: dict[str, Any]) -> None:
    assert rules.credential_type("cloud", objects["inputs"], objects["injectors"]) == []
    assert [template["name"] for template in objects["templates"] if not template["wanted"]] == []
    names = [template["name"] for template in objects["templates"]]
    assert names[:4] == ["action", "chain", "report", "stop"]
    for template in objects["templates"]:
        assert (ROOT / "playbooks" / template["playbook"]).exists()
        if "survey" in template:
            assert rules.survey(template["survey"]) == [], template["name"]
            for question in template["survey"]["spec"]:
                # A launch by API has to send a required answer even if the question has a default.
                assert not (question["required"] and question["type"] != "multiplechoice" and question.get("default"))


def test_tls_and_files_are_safe_when_left_out(objects: dict[str, Any]) -> None:
    fields = {field["id"]: field for field in objects["inputs"]["fields"]}
    assert fields["validate_certs"].get("type", "string") == "string"
    assert fields["validate_certs"]["choices"][0] == "true"
    assert all(fields[name]["secret"] for name in ("access_key", "access_secret_key", "proxy", "client_cert"))
    env = environment_of(objects, KEYS, {"ca": "/tmp/ca", "client": "/tmp/client"})
    left_out = {name for name, value in env.items() if value == ""}
    assert left_out == set(env) - {"HELIX_URL", "HELIX_ACCESS_KEY", "HELIX_ACCESS_SECRET_KEY"}
    env = environment_of(objects, {**KEYS, "ca_cert": "PEM"}, {"ca": "/tmp/ca", "client": "/tmp/client"})
    assert (env["HELIX_CA_PATH"], env["HELIX_CLIENT_CERT"]) == ("/tmp/ca", "")


def environment_of(objects: Mapping[str, Any], inputs: Mapping[str, str], files: Mapping[str, str]) -> dict[str, str]:
    """The variables that a job gets from a credential with these fields."""
    ids = [field["id"] for field in objects["inputs"]["fields"]]
    return {
        name: rules.rendered(template, inputs, ids, files) for name, template in objects["injectors"]["env"].items()
    }


@pytest.mark.parametrize(
    ("verify", "with_ca", "kind"),
    [("", False, "tls"), ("true", False, "tls"), ("", True, None), ("false", False, None)],
)
def test_a_credential_verifies_certificates_unless_told_not_to(
    objects: dict[str, Any],
    module: Callable[..., ModuleRun],
    simulator: SimulatorProcess,
    verify: str,
    with_ca: bool,
    kind: Any,
) -> None:
    inputs = {
        "url": simulator.url,
        "access_key": simulator.access_key,
        "access_secret_key": simulator.access_secret_key,
        **({"validate_certs": verify} if verify else {}),
        **({"ca_cert": "PEM"} if with_ca else {}),
    }
    env = environment_of(objects, inputs, {"ca": str(simulator.ca_file), "client": "/nowhere"})
    done = module("etl_info", env=env)
    assert done.result.get("error", {}).get("kind") == kind, done.stdout


def test_every_environment_variable_is_one_that_the_collection_reads(objects: dict[str, Any]) -> None:
    from ansible_collections.capacityops.bmc_helix.plugins.module_utils._options import CONNECTION

    assert set(objects["injectors"]["env"]) <= {option.env for option in CONNECTION.values()}


def test_no_default_is_a_text_that_ansible_cannot_read_from_awx(objects: dict[str, Any]) -> None:
    for template in objects["templates"]:
        for question in template.get("survey", {"spec": []})["spec"]:
            assert question.get("default") not in ("*", "&", "!", "=", "<<"), question["variable"]


def test_a_task_gives_up_before_its_job_is_terminated(objects: dict[str, Any]) -> None:
    waits = {
        template["name"]: question["max"]
        for template in objects["templates"]
        for question in template.get("survey", {"spec": []})["spec"]
        if question["variable"].endswith("wait_timeout")
    }
    assert waits == {"action": 6000, "chain": 6000}
    templates = {template["name"]: template for template in objects["templates"]}
    assert templates["action"]["extra_vars"]["etl_action_time_limit"] == 86400 - 300


def test_an_action_that_may_outlast_its_job_does_not_begin(
    play: Callable[..., Played], simulator: SimulatorProcess
) -> None:
    for number in range(1, 10):
        simulator.control.put_etl(number, name=f"ETL {number}", duration=0.1)
    answers: dict[str, Any] = {
        "etl_action_action": "run",
        "etl_action_etl_id": ",".join(str(number) for number in range(1, 10)),
        "etl_action_time_limit": 6900,
    }
    playbook = "- ansible.builtin.import_playbook: capacityops.bmc_helix.etl_action\n"
    done = play(playbook, extra=answers)
    assert done.rc == 2
    assert done.task()["msg"] == (
        "9 ETLs, 8 at a time, each followed for up to 3600 seconds, may take 7200 seconds, and the job has 6900. "
        "Wait for at most 3450 seconds for each, or select fewer ETLs."
    )
    assert simulator.control.counters()["writes"] == 0
    assert play(playbook, extra={**answers, "etl_action_wait_timeout": 3450, "etl_action_poll_interval": 1}).rc == 0
    assert play(playbook, extra={**answers, "etl_action_wait": "false"}).rc == 0


def test_every_failure_in_the_workflow_ends_red(objects: dict[str, Any]) -> None:
    nodes = {node["identifier"]: node for node in objects["nodes"]}
    assert list(nodes) == ["enter", "deploy", "leave", "refresh", "restore"]
    for name, node in nodes.items():
        after = [
            link["identifier"]
            for kind in ("failure_nodes", "always_nodes")
            for link in node.get("related", {}).get(kind, [])
        ]
        # A failed node without such a link makes the workflow red itself.
        assert after in ([], ["restore"]), name
    # What ran shortly before the deployment has not seen it, and is no refresh.
    assert nodes["refresh"]["extra_data"] == {"etl_chain_answer_max_age": 1}
    restore = nodes["restore"]["unified_job_template"]["name"].partition(": ")[2]
    template = next(template for template in objects["templates"] if template["name"] == restore)
    assert template["extra_vars"]["etl_maintenance_state"] == "left"
    assert template["extra_vars"]["etl_maintenance_then_fail"]
    assert "related" not in nodes["restore"]


def test_the_last_job_of_the_failure_path_fails_on_purpose(
    play: Callable[..., Played], simulator: SimulatorProcess, tmp_path: Path
) -> None:
    simulator.control.put_etl(1, name="Service", kind="service", state="SERVICE_OFF")
    etl = {"etl_id": 1, "etl_name": "Service", "was": "SERVICE_ON", "service": True}
    etl |= dict.fromkeys(("scheduled", "interrupted", "schedule_unknown", "restored"), False)
    done = play(
        "- ansible.builtin.import_playbook: capacityops.bmc_helix.etl_maintenance\n",
        extra={
            "etl_maintenance_state": "left",
            "etl_maintenance_record": {"format": 1, "state": "entered", "entered_at": "now", "etls": [etl]},
            "etl_maintenance_record_file": str(tmp_path / "none.json"),
            "etl_maintenance_then_fail": "The deployment failed.",
        },
    )
    assert done.rc == 2
    assert done.task()["msg"] == "The deployment failed."
    assert simulator.control.status(1)["state"] == "SERVICE_ON"


# ---- the role, played


@pytest.fixture
def fake() -> Iterator[FakeAwxServer]:
    with FakeAwxServer() as server:
        yield server


@pytest.fixture
def set_up(play: Callable[..., Played], fake: FakeAwxServer) -> Callable[..., Played]:
    """Play awx_setup against the fake."""

    def run(*, check: bool = False, verbosity: int = 0, **variables: Any) -> Played:
        return play(
            "- ansible.builtin.import_playbook: capacityops.bmc_helix.awx_setup\n",
            extra=variables,
            check=check,
            verbosity=verbosity,
            env={"CONTROLLER_HOST": fake.url, "CONTROLLER_OAUTH_TOKEN": TOKEN},
            timeout=250,
            # The modules of awx.awx use what newer versions of ansible-core call deprecated.
            allow_warnings=True,
        )

    return run


@needs_awx
def test_set_up_makes_everything_and_a_second_run_changes_nothing(
    set_up: Callable[..., Played], fake: FakeAwxServer, tmp_path: Path
) -> None:
    awx = fake.awx
    awx.create("job_templates", {"name": "My deployment", "organization": 1})
    done = set_up(**VARIABLES)
    assert done.rc == 0, done.output
    assert "is not a valid collection reference" not in done.output

    kind = awx.one("credential_types", name="BMC Helix Continuous Optimization")
    assert kind["injectors"]["env"]["HELIX_URL"] == "{{ url }}", "AWX has to fill it in, not Ansible"
    assert awx.secrets[awx.one("credentials", name="BMC Helix")["id"]] == KEYS
    localhost = json.loads(awx.one("hosts", name="localhost")["variables"])
    assert localhost == {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    templates = {
        template["name"]: template
        for template in awx.objects["job_templates"].values()
        if template["name"].startswith("Helix ETL")
    }
    assert len(templates) == 7
    for template in templates.values():
        assert template["ask_job_type_on_launch"] is True
        assert template["allow_simultaneous"] is False
        assert template["job_slice_count"] == 1
        assert template["timeout"] == 86400
        # AWX drops variables that a template does not ask for; leaving needs the record of the entered window.
        assert template["ask_variables_on_launch"] is ("leave maintenance" in template["name"])
        assert len(awx.links["job_templates", template["id"], "credentials"]) == 1
        assert template["execution_environment"] == awx.one("execution_environments", name="Helix ETL")["id"]
    chain = json.loads(templates["Helix ETL: chain"]["extra_vars"])
    assert chain["etl_chain_steps"] == VARIABLES["awx_resources_chain_steps"]
    assert chain["etl_chain_defaults"]["max_age"].startswith("{{ etl_chain_answer_max_age")
    nodes = {node["identifier"]: node["id"] for node in awx.objects["workflow_job_template_nodes"].values()}
    links = {
        (start, how): others for (what, start, how), others in awx.links.items() if what.endswith("_nodes") and others
    }
    assert links == {
        (nodes["enter"], "success_nodes"): [nodes["deploy"]],
        (nodes["enter"], "failure_nodes"): [nodes["restore"]],
        (nodes["deploy"], "success_nodes"): [nodes["leave"]],
        (nodes["deploy"], "failure_nodes"): [nodes["restore"]],
        (nodes["leave"], "success_nodes"): [nodes["refresh"]],
    }

    before = json.dumps([awx.objects, awx.surveys, sorted(map(str, awx.links.items()))], sort_keys=True, default=str)
    done = set_up(**VARIABLES)
    assert done.rc == 0, done.output
    assert "changed=0 " in done.stdout
    after = json.dumps([awx.objects, awx.surveys, sorted(map(str, awx.links.items()))], sort_keys=True, default=str)
    assert after == before

    # A template that somebody changed by hand is put right, and a check run only says so.
    templates["Helix ETL: stop"]["job_slice_count"] = 3
    done = set_up(check=True, **VARIABLES)
    assert done.rc == 0, done.output
    assert templates["Helix ETL: stop"]["job_slice_count"] == 3
    assert "changed=1 " in done.stdout
    assert set_up(**VARIABLES).rc == 0
    assert templates["Helix ETL: stop"]["job_slice_count"] == 1


@needs_awx
def test_a_new_organization_gets_a_galaxy_credential_and_an_old_one_is_left_alone(
    set_up: Callable[..., Played], fake: FakeAwxServer
) -> None:
    awx = fake.awx
    done = set_up(awx_resources_organization="New")
    assert done.rc == 0, done.output
    new = awx.one("organizations", name="New")["id"]
    galaxy = awx.one("credentials", name="Ansible Galaxy")["id"]
    assert awx.links["organizations", new, "galaxy_credentials"] == [galaxy]
    assert ("organizations", 1, "galaxy_credentials") not in awx.links
    # Little was given, so little was made; no credential is attached that does not exist.
    assert [template["name"] for template in awx.objects["job_templates"].values()] == [
        "Helix ETL: action",
        "Helix ETL: report",
        "Helix ETL: stop",
    ]
    assert awx.objects["workflow_job_templates"] == {}
    assert not any(others for (kind, _id, _how), others in awx.links.items() if kind == "job_templates")


@needs_awx
@pytest.mark.parametrize(("given", "kept"), [(False, "false"), ("no", "false"), (True, "true"), ("true", "true")])
def test_a_boolean_for_the_tls_field_becomes_its_word(
    set_up: Callable[..., Played], fake: FakeAwxServer, given: Any, kept: str
) -> None:
    """AWX takes `false` in a field with choices for "nothing", and keeps the first choice: true."""
    variables = {"awx_resources_credential_inputs": {**KEYS, "validate_certs": given}}
    done = set_up(**variables)
    assert done.rc == 0, done.output
    credential = fake.awx.one("credentials", name="BMC Helix")
    assert credential["inputs"]["validate_certs"] == kept
    done = set_up(**variables)
    assert "changed=0 " in done.stdout, done.output


@needs_awx
def test_a_field_that_was_left_empty_is_not_off(set_up: Callable[..., Played], fake: FakeAwxServer) -> None:
    done = set_up(awx_resources_credential_inputs={**KEYS, "validate_certs": ""})
    assert done.rc == 0, done.output
    assert fake.awx.one("credentials", name="BMC Helix")["inputs"].get("validate_certs", "") in ("", "true")


def test_a_field_that_does_not_exist_is_named(set_up: Callable[..., Played], fake: FakeAwxServer) -> None:
    done = set_up(awx_resources_credential_inputs={**KEYS, "acces_key": "x"}, verbosity=3)
    assert done.rc == 2
    assert "acces_key" in done.output
    assert not any(secret in done.output for secret in (KEYS["access_key"], KEYS["access_secret_key"]))
    assert fake.awx.writes == []


@needs_awx
def test_without_the_deployment_template_nothing_is_created(set_up: Callable[..., Played], fake: FakeAwxServer) -> None:
    """A workflow without its deployment could be launched, and would stop every ETL and succeed."""
    done = set_up(**VARIABLES)
    assert done.rc == 2
    assert "There is no job template My deployment" in done.task()["msg"]
    assert fake.awx.writes == []


@pytest.mark.smoke
@needs_awx
def test_a_check_run_on_an_empty_controller_says_what_would_be_made(
    set_up: Callable[..., Played], fake: FakeAwxServer
) -> None:
    fake.awx.create("job_templates", {"name": "My deployment", "organization": 1})
    for organization, template in (("Default", "My deployment"), ("New", "")):
        variables = {**VARIABLES, "awx_resources_organization": organization, "awx_resources_deploy_template": template}
        done = set_up(check=True, **variables)
        assert done.rc == 0, done.output
        assert "check mode cannot check" in done.output
    assert fake.awx.writes == []


@needs_awx
def test_the_stop_template_as_a_failure_child_as_in_the_guide(
    set_up: Callable[..., Played], play: Callable[..., Played], fake: FakeAwxServer
) -> None:
    assert set_up(**{**VARIABLES, "awx_resources_deploy_template": ""}).rc == 0
    guide = (ROOT / "docs" / "docsite" / "rst" / "guide_awx.rst").read_text(encoding="utf-8")
    example = guide.partition("   - name: Chain, and stop what it left")[2].partition("\n\n")[0]
    tasks = "- name: Chain, and stop what it left" + example.replace("\n   ", "\n")
    done = play(
        tasks,
        env={"CONTROLLER_HOST": fake.url, "CONTROLLER_OAUTH_TOKEN": TOKEN},
        allow_warnings=True,
    )
    assert done.rc == 0, done.output
    node = fake.awx.one("workflow_job_template_nodes", identifier="stop")
    assert node["extra_data"]["etl_stop_all_confirm"] == "yes"
    survey = fake.awx.surveys[fake.awx.one("job_templates", name="Helix ETL: stop")["id"]]
    assert set(node["extra_data"]) <= {question["variable"] for question in survey["spec"]}


def test_the_stop_playbook_fails_at_its_end_if_told(play: Callable[..., Played], simulator: SimulatorProcess) -> None:
    """Else a workflow whose failed node has it as a child would end green."""
    simulator.control.put_etl(1, name="Import", state="RUNNING", duration=600)
    done = play(
        "- ansible.builtin.import_playbook: capacityops.bmc_helix.etl_stop_all\n",
        extra={
            "etl_stop_all_name_pattern": "Import",
            "etl_stop_all_confirm": "yes",
            "etl_stop_all_then_fail": "The chain was canceled.",
        },
    )
    assert done.rc == 2
    assert done.task()["msg"] == "The chain was canceled."
    assert simulator.control.status(1)["state"] != "RUNNING"


def test_a_project_of_this_repository_brings_the_collection(environment: dict[str, str], tmp_path: Path) -> None:
    """AWX calls ansible-galaxy in the folder of the project. Nothing may come from elsewhere."""
    project = tmp_path / "project"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git repository")
    for name in listed.stdout.splitlines():
        if name.partition("/")[0] in ("collections", "meta", "playbooks", "plugins", "roles") or "/" not in name:
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_bytes((ROOT / name).read_bytes())
    target = tmp_path / "requirements_collections"
    done = subprocess.run(
        [GALAXY, "collection", "install", "-r", project / "collections" / "requirements.yml", "--force"],
        cwd=project,
        env={**environment, "ANSIBLE_COLLECTIONS_PATH": str(target), "ANSIBLE_GALAXY_SERVER": "http://127.0.0.1:9"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    installed = target / "ansible_collections" / "capacityops" / "bmc_helix"
    assert (installed / "plugins" / "modules" / "etl_action.py").exists()
    assert not (installed / "collections").exists()


@needs_awx
def test_the_keys_are_not_shown(play: Callable[..., Played], fake: FakeAwxServer, tmp_path: Path) -> None:
    variables = tmp_path / "keys.yml"
    variables.write_text(yaml.safe_dump({"awx_resources_credential_inputs": KEYS}))
    for secure in (True, False):
        done = play(
            "- ansible.builtin.import_playbook: capacityops.bmc_helix.awx_setup\n",
            arguments=("--extra-vars", f"@{variables}"),
            extra={"awx_resources_secure_logging": secure, "awx_resources_update_secrets": True},
            verbosity=4,
            env={"CONTROLLER_HOST": fake.url, "CONTROLLER_OAUTH_TOKEN": TOKEN},
            timeout=250,
            allow_warnings=True,
        )
        assert done.rc == 0, done.output
        for secret in (KEYS["access_key"], KEYS["access_secret_key"], TOKEN):
            assert secret not in done.output


def test_a_missing_collection_is_named(set_up: Callable[..., Played]) -> None:
    done = set_up(awx_resources_collection="ansible.controller")
    assert done.rc == 2
    assert "The collection ansible.controller is not installed." in done.task()["msg"]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"awx_resources_wait_timeout": 86400}, "must be larger than awx_resources_wait_timeout"),
        ({"awx_resources_deploy_template": "Mine"}, "needs awx_resources_maintenance"),
        ({"awx_resources_maintenance": {"etl_maintenance_set_stats": False}}, "must be true"),
    ],
)
def test_what_cannot_work_is_refused_first(
    set_up: Callable[..., Played], fake: FakeAwxServer, variables: dict[str, Any], message: str
) -> None:
    done = set_up(**variables)
    assert done.rc == 2
    assert message in done.task()["msg"]
    assert fake.awx.writes == []

# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role awx_resources creates, against the rules of AWX (tests/awx/rules.py) and a fake of its API
(tests/awx/fake_awx.py), and the playbooks with answers as AWX writes them.

Tests that run the role need the collection awx.awx (in the package `ansible`, up to version 13) in this environment.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from tests.awx import rules
from tests.awx.fake_awx import TOKEN, FakeAwxServer
from tests.functional.support import ROOT, SITE_PACKAGES, ModuleRun, Played
from tests.simulator.client import SimulatorProcess

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]
HAS_AWX = (SITE_PACKAGES / "ansible_collections" / "awx" / "awx").exists()
needs_awx = pytest.mark.skipif(not HAS_AWX, reason="the collection awx.awx is not in this environment")
Playbook = Callable[..., Played]
KEYS = {"url": "https://helix.example", "access_key": "AWXKEY8Zq2mP", "access_secret_key": "awx-secret-5Tg9Lw2"}
FILES = {"ca": "/tmp/ca", "client": "/tmp/client"}
VARIABLES: dict[str, Any] = {
    "awx_resources_credential_inputs": KEYS,
    "awx_resources_execution_environment_image": "registry.example/helix-ee:1",
    "awx_resources_chain_steps": [{"etl_id": [1, 2]}, {"name": "last", "etl_name": "Import"}],
    "awx_resources_maintenance": {"etl_maintenance_name_pattern": "*"},
    "awx_resources_deploy_template": "My deployment",
}
ALWAYS = ["check tenant", "action", "report", "health", "stop"]
MAINTENANCE = ["enter maintenance", "leave maintenance", "leave maintenance after a failure"]
DUMP = """
- name: Read the variables of the role
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
      templates: "{{{{ __awx_resources_job_templates }}}}"
      nodes: "{{{{ __awx_resources_nodes }}}}"
"""
_DUMPED: dict[str, Any] = {}


# ---- the rules themselves

FIELD = {"id": "url", "label": "Address"}
QUESTION = {"type": "integer", "question_name": "?", "variable": "v", "required": False}
WRONG_FIELDS: list[dict[str, Any]] = [
    {"id": "tower"},
    {"id": "1st"},
    {"label": None},
    {"type": "integer"},
    {"type": "boolean", "secret": True},
    {"type": "boolean", "default": "true"},
    {"choices": []},
    {"choices": ["a", "a"]},
    {"placeholder": "y"},
    {"format": "email"},
]
WRONG_INJECTORS: list[dict[str, Any]] = [
    *({"env": {"X": value}} for value in ("é", "{{ nothing }}", "{% if nothing %}a{% endif %}", "{{ url", 1)),
    {"env": {"ANSIBLE_X": "{{ url }}"}},
    {"env": {"PATH": "{{ url }}"}},
    {"file": {"template": "a", "template.b": "c"}},
    {"file": {"template.ca": "{{ url }}"}, "env": {"X": "{{ tower.filename.other }}"}},
    {"headers": {}},
]
WRONG_QUESTIONS: list[dict[str, Any]] = [
    {"type": "number"},
    {"default": "3600"},
    {"min": "1"},
    {"max": 5, "default": 6},
    {"required": "no"},
    {"type": "multiplechoice"},
    {"type": "multiplechoice", "choices": ["a"], "default": "b"},
]


def test_the_rules_refuse_what_awx_refuses() -> None:
    kind, survey = rules.credential_type, {"name": "", "description": ""}
    assert kind("cloud", {"fields": [FIELD]}, {}) == []
    assert rules.survey({**survey, "spec": [QUESTION]}) == []
    assert rules.node_prompts({"job_type": "check"}, {"ask_job_type_on_launch": True}) == []
    for field in WRONG_FIELDS:
        assert kind("cloud", {"fields": [{**FIELD, **field}]}, {}) != [], field
    for injectors in WRONG_INJECTORS:
        assert kind("cloud", {"fields": [FIELD]}, injectors) != [], injectors
    for question in WRONG_QUESTIONS:
        assert rules.survey({**survey, "spec": [{**QUESTION, **question}]}) != [], question
    assert kind("ssh", {"fields": [FIELD]}, {}) != []
    assert kind("cloud", {"fields": [FIELD], "dependencies": {}}, {}) != []
    assert rules.survey({**survey, "spec": [QUESTION, QUESTION]}) != []
    assert rules.survey({"name": "", "spec": [QUESTION]}) != []
    assert rules.node_prompts({"job_type": "check"}, {}) != []


# ---- what the role would create


@pytest.fixture
def objects(play: Playbook) -> dict[str, Any]:
    """The data of the role, as Ansible templates it. Read once; nobody changes it."""
    if not _DUMPED:
        done = play(DUMP.format(role=ROOT / "roles" / "awx_resources"), extra=VARIABLES)
        assert done.rc == 0, done.output
        _DUMPED.update(done.task("Show them")["msg"])
    return _DUMPED


def questions(template: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(template.get("survey", {"spec": []})["spec"])


def test_all_objects_are_acceptable(objects: dict[str, Any]) -> None:
    from ansible_collections.capacityops.bmc_helix.plugins.module_utils._options import CONNECTION

    assert rules.credential_type("cloud", objects["inputs"], objects["injectors"]) == []
    assert set(objects["injectors"]["env"]) <= {option.env for option in CONNECTION.values()}
    templates = {template["name"]: template for template in objects["templates"] if template["wanted"]}
    assert set(templates) == {*ALWAYS, "chain", *MAINTENANCE}
    for name, template in templates.items():
        assert (ROOT / "playbooks" / template["playbook"]).exists()
        assert "survey" not in template or rules.survey(template["survey"]) == [], name
        for question in questions(template):
            # A launch by API must send a required answer even if the question has a default.
            assert not (question["required"] and question["type"] != "multiplechoice" and question.get("default"))
            assert question.get("default") not in ("*", "&", "!", "=", "<<"), "Ansible cannot read it from AWX"
    # A task fails before its job is terminated.
    waits = {q["variable"]: q["max"] for t in templates.values() for q in questions(t) if "wait" in q["variable"]}
    assert waits == {"etl_action_wait_timeout": 6000, "etl_chain_answer_wait_timeout": 6000}
    assert templates["action"]["extra_vars"]["etl_action_time_limit"] == 86400 - 300


def test_tls_and_files_are_safe_when_left_out(objects: dict[str, Any]) -> None:
    fields = {field["id"]: field for field in objects["inputs"]["fields"]}
    assert fields["validate_certs"].get("type", "string") == "string"
    assert fields["validate_certs"]["choices"][0] == "true"
    assert all(fields[name]["secret"] for name in ("access_key", "access_secret_key", "proxy", "client_cert"))
    env = environment_of(objects, KEYS, FILES)
    left_out = {name for name, value in env.items() if value == ""}
    assert left_out == set(env) - {"HELIX_URL", "HELIX_ACCESS_KEY", "HELIX_ACCESS_SECRET_KEY"}
    env = environment_of(objects, {**KEYS, "ca_cert": "PEM"}, FILES)
    assert (env["HELIX_CA_PATH"], env["HELIX_CLIENT_CERT"]) == ("/tmp/ca", "")


def environment_of(objects: Mapping[str, Any], inputs: Mapping[str, str], files: Mapping[str, str]) -> dict[str, str]:
    """The variables that a job gets from a credential with these fields."""
    ids = [field["id"] for field in objects["inputs"]["fields"]]
    env = objects["injectors"]["env"]
    return {name: rules.rendered(template, inputs, ids, files) for name, template in env.items()}


@pytest.mark.parametrize(
    ("inputs", "kind"),
    [({}, "tls"), ({"validate_certs": "true"}, "tls"), ({"ca_cert": "PEM"}, None), ({"validate_certs": "false"}, None)],
)
def test_a_credential_verifies_certificates_unless_told_not_to(
    objects: dict[str, Any],
    module: Callable[..., ModuleRun],
    simulator: SimulatorProcess,
    inputs: dict[str, str],
    kind: Any,
) -> None:
    keys = {"access_key": simulator.access_key, "access_secret_key": simulator.access_secret_key}
    files = {"ca": str(simulator.ca_file), "client": "/nowhere"}
    done = module("etl_info", env=environment_of(objects, {"url": simulator.url, **keys, **inputs}, files))
    assert done.result.get("error", {}).get("kind") == kind, done.stdout


def test_every_failure_in_the_workflow_fails_it(objects: dict[str, Any]) -> None:
    nodes = {node["identifier"]: node for node in objects["nodes"]}
    assert list(nodes) == ["enter", "deploy", "leave", "refresh", "restore"]
    for name, node in nodes.items():
        links = node.get("related", {})
        after = [link["identifier"] for kind in ("failure_nodes", "always_nodes") for link in links.get(kind, [])]
        # A failed node without such a link fails the workflow itself.
        assert after in ([], ["restore"]), name
    # A run shortly before the deployment is no refresh.
    assert nodes["refresh"]["extra_data"] == {"etl_chain_answer_max_age": 1}
    restore = nodes["restore"]["unified_job_template"]["name"].partition(": ")[2]
    template = next(template for template in objects["templates"] if template["name"] == restore)
    assert template["extra_vars"]["etl_maintenance_state"] == "left"
    assert template["extra_vars"]["etl_maintenance_then_fail"]
    assert "related" not in nodes["restore"]


# ---- the playbooks, with extra variables as AWX writes them

#: Names that ansible-core 2.19 and later reads as another type, and names with special characters. Nobody can help a
#: lone *: AWX cannot pass it at all.
NAMES = ["2024", "2024-01-01", "1e3", "0", "[PROD] a, b: Zürich {{ 6 * 7 }} isn't #1"]
REFUSED = ["Yes", "off"]


def as_awx(folder: Path, answers: Mapping[str, Any], stored: Mapping[str, Any] | None = None) -> tuple[str, str]:
    """Command-line arguments: answers are unsafe texts, and what the template stores is not."""

    def text(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{text(key)}: {text(item)}" for key, item in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(text(item) for item in value) + "]"
        if not isinstance(value, str):
            return json.dumps(value)
        quoted = json.dumps(value, ensure_ascii=False) if "\n" in value else "'" + value.replace("'", "''") + "'"
        return f"!unsafe {quoted}"

    lines = [f"{text(key)}: {text(value)}\n" for key, value in answers.items()]
    lines += [f"{json.dumps(key)}: {json.dumps(value)}\n" for key, value in (stored or {}).items()]
    (folder / "extravars").write_text("".join(lines), encoding="utf-8")
    return "-e", f"@{folder / 'extravars'}"


@pytest.mark.every_core
def test_the_defaults_of_every_survey(
    objects: dict[str, Any], play: Playbook, simulator: SimulatorProcess, tmp_path: Path
) -> None:
    """In check mode, because each template is launched once. A question without a default arrives as null."""
    simulator.control.put_etl(1, name="Import", state="RUNNING", duration=None)
    simulator.control.put_etl(2, name="Second", state="ENDED", exit_code="ERROR")
    needed = {"etl_action_action": "run", "etl_action_etl_id": "1", "etl_stop_all_name_pattern": "all"}
    record = {"format": 1, "state": "entered", "entered_at": "now", "etls": []}
    for template in objects["templates"]:
        answers = {q["variable"]: needed.get(q["variable"], q.get("default")) for q in questions(template)}
        if "maintenance" in template["name"]:
            answers |= {"etl_maintenance_record_file": str(tmp_path / "none.json")}
            answers |= {"etl_maintenance_record": json.dumps(record), "etl_maintenance_name_pattern": "all"}
        stored = {key: value for key, value in template.get("extra_vars", {}).items() if key not in answers}
        text = f"- ansible.builtin.import_playbook: capacityops.bmc_helix.{template['playbook'].removesuffix('.yml')}\n"
        done = play(text, check=True, arguments=as_awx(tmp_path, answers, stored), allow_warnings=True)
        wanted = {"leave maintenance after a failure": 2, "health": 2}.get(template["name"], 0)
        assert done.rc == wanted, template["name"] + done.output
        assert "etl_health" not in answers or "Second" in done.task()["msg"]
    assert simulator.control.counters()["writes"] == 0


@pytest.mark.parametrize("name", [*NAMES[:-1], pytest.param(NAMES[-1], marks=pytest.mark.every_core)])
def test_odd_names_through_every_playbook(
    play: Playbook, simulator: SimulatorProcess, tmp_path: Path, name: str
) -> None:
    control = simulator.control
    control.put_etl(1, name=name, kind="periodic", state="WAITING", duration=0.2)
    control.put_etl(2, name="Service", kind="service", state="SERVICE_ON")
    (tmp_path / "tasks.yml").write_text("- name: Patch\n  ansible.builtin.ping:\n")
    answers = {
        **{f"etl_action_{key}": value for key, value in {"action": "run", "etl_name": name, "max_age": ""}.items()},
        "etl_chain_steps": [{"etl_name": [name], "name": name, "poll_interval": "1"}],
        "etl_report_name_pattern": name,
        "etl_health_name_pattern": name,
        "etl_health_expectations": json.dumps([{"name_pattern": [name], "max_age": "26h"}]),
        "etl_stop_all_name_pattern": name,
        "etl_stop_all_confirm": "yes",
        "etl_stop_all_schedules": "yes",
        "deploy_tasks_file": str(tmp_path / "tasks.yml"),
        "etl_maintenance_name_pattern": name,
        "etl_maintenance_poll_interval": "1",
        "etl_maintenance_record_file": str(tmp_path / "record.json"),
        "check_tenant_probe_write": "no",
    }
    order = ["check_tenant", "etl_action", "deploy", "etl_report", "etl_health", "etl_stop_all"]
    text = "".join(f"- ansible.builtin.import_playbook: capacityops.bmc_helix.{playbook}\n" for playbook in order)
    done = play(text, arguments=as_awx(tmp_path, answers), timeout=290, allow_warnings=True)
    assert done.rc == 0, done.output
    assert control.counters()["launches_by_etl"] == {1: 2}, "by etl_action, and by the chain of the deployment"
    assert [etl["state"] for etl in control.etls()] == ["ENDED", "SERVICE_ON"], "nothing else was stopped"
    assert "Maintenance is left: 1 ETL is as it was." in done.output
    record = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))
    assert [(etl["etl_name"], etl["was"], etl["restored"]) for etl in record["etls"]] == [(name, "WAITING", True)]
    # The record travels to the next job as one text.
    control.patch_etl(1, state="ENDED")
    handed_on = json.dumps({**record, "state": "entered", "etls": [{**record["etls"][0], "restored": False}]})
    (tmp_path / "record.json").unlink()
    answers |= {"etl_maintenance_state": "left", "etl_maintenance_record": handed_on}
    text = "- ansible.builtin.import_playbook: capacityops.bmc_helix.etl_maintenance\n"
    done = play(text, arguments=as_awx(tmp_path, answers), allow_warnings=True)
    assert done.rc == 0, done.output
    assert control.status(1)["state"] == "WAITING"


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_becomes_a_boolean_acts_on_no_other_etl(
    play: Playbook, simulator: SimulatorProcess, tmp_path: Path, name: str
) -> None:
    for number, label in enumerate((name, "Other"), 1):
        simulator.control.put_etl(number, name=label, state="RUNNING", duration=None)
    tries: list[tuple[str, dict[str, str]]] = [
        ("etl_action", {"etl_action_action": "stop", "etl_action_etl_name": name}),
        ("etl_action", {"etl_action_action": "stop", "etl_action_name_pattern": "*h*", "etl_action_exclude": name}),
        ("etl_stop_all", {"etl_stop_all_name_pattern": name, "etl_stop_all_confirm": "yes"}),
    ]
    for playbook, answers in tries:
        text = f"- ansible.builtin.import_playbook: capacityops.bmc_helix.{playbook}\n"
        done = play(text, arguments=as_awx(tmp_path, answers), allow_warnings=True)
        # On ansible-core before 2.19, it is a text.
        assert done.rc == 0 or "is a boolean" in done.task()["msg"], done.output
        other = simulator.control.status(2)["state"]
        assert other == ("ENDED" if done.rc == 0 and "etl_action_exclude" in answers else "RUNNING")
        simulator.control.patch_etl(2, state="RUNNING")


def test_an_action_ends_before_its_job(playbook: Playbook, simulator: SimulatorProcess) -> None:
    for number in (1, 2):
        simulator.control.put_etl(number, name=f"ETL {number}", state="ENDED", duration=1000)
    answers = {"action": "run", "etl_id": "1,2", "max_parallel": "1", "time_limit": 3}
    done = playbook("etl_action", {f"etl_action_{key}": value for key, value in answers.items()})
    assert done.rc == 2
    assert [etl["outcome"] for etl in done.task("Act on the ETLs: run")["etls"]] == ["timed_out", "not_tried"]


def test_the_last_job_of_a_failure_path_fails_on_purpose(
    playbook: Playbook, simulator: SimulatorProcess, tmp_path: Path
) -> None:
    simulator.control.put_etl(1, name="Service", kind="service", state="SERVICE_OFF")
    simulator.control.put_etl(2, name="Import", state="RUNNING", duration=600)
    etl = {"etl_id": 1, "etl_name": "Service", "was": "SERVICE_ON", "service": True}
    etl |= dict.fromkeys(("scheduled", "interrupted", "schedule_unknown", "restored"), False)
    left = {
        "etl_maintenance_state": "left",
        "etl_maintenance_record": {"format": 1, "state": "entered", "entered_at": "now", "etls": [etl]},
        "etl_maintenance_record_file": str(tmp_path / "none.json"),
        "etl_maintenance_then_fail": "The deployment failed.",
    }
    stop = {
        "etl_stop_all_name_pattern": "Import",
        "etl_stop_all_confirm": "yes",
        "etl_stop_all_then_fail": "The chain was canceled.",
    }
    for name, variables in (("etl_maintenance", left), ("etl_stop_all", stop)):
        done = playbook(name, variables)
        assert done.rc == 2
        assert done.task()["msg"] == variables[f"{name}_then_fail"]
    assert [simulator.control.status(number)["state"] for number in (1, 2)] == ["SERVICE_ON", "ENDED"]


# ---- the role, run against the fake


@pytest.fixture
def fake() -> Iterator[FakeAwxServer]:
    with FakeAwxServer() as server:
        yield server


@pytest.fixture
def with_awx(fake: FakeAwxServer) -> dict[str, Any]:
    """Keywords of `play`. The modules of awx.awx use what newer versions of ansible-core call deprecated."""
    return {"env": {"CONTROLLER_HOST": fake.url, "CONTROLLER_OAUTH_TOKEN": TOKEN}, "allow_warnings": True}


@pytest.fixture
def set_up(playbook: Playbook, with_awx: dict[str, Any]) -> Playbook:
    def run(*, check: bool = False, verbosity: int = 0, **variables: Any) -> Played:
        return playbook("awx_setup", variables, check=check, verbosity=verbosity, **with_awx)

    return run


@needs_awx
def test_set_up_creates_everything_and_a_second_run_changes_nothing(set_up: Playbook, fake: FakeAwxServer) -> None:
    awx = fake.awx
    awx.create("job_templates", {"name": "My deployment", "organization": 1})
    done = set_up(**VARIABLES)
    assert done.rc == 0, done.output
    assert "is not a valid collection reference" not in done.output

    kind = awx.one("credential_types", name="BMC Helix Continuous Optimization")
    assert kind["injectors"]["env"]["HELIX_URL"] == "{{ url }}", "AWX must fill it in, not Ansible"
    assert awx.secrets[awx.one("credentials", name="BMC Helix")["id"]] == KEYS
    localhost = json.loads(awx.one("hosts", name="localhost")["variables"])
    python = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    assert localhost == {"ansible_connection": "local", **python}
    own = [item for item in awx.objects["job_templates"].values() if item["name"].startswith("Helix ETL: ")]
    templates = {item["name"].partition(": ")[2]: item for item in own}
    assert set(templates) == {*ALWAYS, "chain", *MAINTENANCE}
    for name, template in templates.items():
        assert template["ask_job_type_on_launch"] is True
        assert template["allow_simultaneous"] is False
        assert (template["job_slice_count"], template["timeout"]) == (1, 86400)
        # AWX drops variables that a template does not ask for; leaving needs the record of the window.
        assert template["ask_variables_on_launch"] is ("leave maintenance" in name)
        assert len(awx.links["job_templates", template["id"], "credentials"]) == 1
        assert template["execution_environment"] == awx.one("execution_environments", name="Helix ETL")["id"]
    chain = json.loads(templates["chain"]["extra_vars"])
    assert chain["etl_chain_steps"] == VARIABLES["awx_resources_chain_steps"]
    assert chain["etl_chain_defaults"]["max_age"].startswith("{{ etl_chain_answer_max_age")
    names = {node["id"]: node["identifier"] for node in awx.objects["workflow_job_template_nodes"].values()}
    links = {
        f"{names[start]} {how.removesuffix('_nodes')} {names[other]}"
        for (what, start, how), others in awx.links.items()
        if what.endswith("_nodes")
        for other in others
    }
    assert links == {
        *("enter success deploy", "enter failure restore", "deploy success leave", "deploy failure restore"),
        "leave success refresh",
    }

    before = awx.state()
    done = set_up(**VARIABLES)
    assert done.rc == 0, done.output
    assert "changed=0 " in done.stdout
    assert awx.state() == before

    # A template that somebody changed by hand is corrected, and a check run only reports it.
    for check, slices in ((True, 3), (False, 1)):
        templates["stop"]["job_slice_count"] = 3
        done = set_up(check=check, **VARIABLES)
        assert done.rc == 0, done.output
        assert "changed=1 " in done.stdout
        assert templates["stop"]["job_slice_count"] == slices


@needs_awx
def test_a_new_organization_gets_a_galaxy_credential_and_an_old_one_is_left_alone(
    set_up: Playbook, fake: FakeAwxServer
) -> None:
    awx = fake.awx
    done = set_up(awx_resources_organization="New")
    assert done.rc == 0, done.output
    new = awx.one("organizations", name="New")["id"]
    galaxy = awx.one("credentials", name="Ansible Galaxy")["id"]
    assert awx.links["organizations", new, "galaxy_credentials"] == [galaxy]
    assert ("organizations", 1, "galaxy_credentials") not in awx.links
    # Little was given, so little was created; no credential is attached that does not exist.
    created = {template["name"] for template in awx.objects["job_templates"].values()}
    assert created == {f"Helix ETL: {name}" for name in ALWAYS}
    assert awx.objects["workflow_job_templates"] == {}
    assert not any(others for (kind, _id, _how), others in awx.links.items() if kind == "job_templates")


@needs_awx
@pytest.mark.parametrize(("given", "kept"), [(False, "false"), ("no", "false"), (True, "true"), ("", "true")])
def test_a_boolean_for_the_tls_field_becomes_its_word(
    set_up: Playbook, fake: FakeAwxServer, given: Any, kept: str
) -> None:
    """AWX takes `false` in a field with choices for "nothing", and keeps the first choice: true."""
    variables = {"awx_resources_credential_inputs": {**KEYS, "validate_certs": given}}
    done = set_up(**variables)
    assert done.rc == 0, done.output
    inputs = fake.awx.one("credentials", name="BMC Helix")["inputs"]
    assert (inputs.get("validate_certs") or "true") == kept
    assert given == "" or "changed=0 " in set_up(**variables).stdout


@pytest.mark.smoke
@needs_awx
def test_a_check_run_on_an_empty_controller_reports_what_would_be_created(
    set_up: Playbook, fake: FakeAwxServer
) -> None:
    fake.awx.create("job_templates", {"name": "My deployment", "organization": 1})
    for organization, template in (("Default", "My deployment"), ("New", "")):
        variables = {**VARIABLES, "awx_resources_organization": organization, "awx_resources_deploy_template": template}
        done = set_up(check=True, **variables)
        assert done.rc == 0, done.output
        assert "check mode cannot check" in done.output
    assert fake.awx.writes == []


@needs_awx
def test_the_examples_of_the_guide(
    set_up: Playbook, play: Playbook, fake: FakeAwxServer, with_awx: dict[str, Any]
) -> None:
    """The template "stop" as a failure node, and a schedule. Each answer must be one that the survey asks for."""
    assert set_up(**{**VARIABLES, "awx_resources_deploy_template": ""}).rc == 0
    guide = (ROOT / "docs" / "docsite" / "rst" / "guide_awx.rst").read_text(encoding="utf-8")
    blocks = [block.splitlines() for block in guide.split(".. code-block:: yaml+jinja\n")[1:]]
    tasks = [line[3:] for lines in blocks for line in takewhile(lambda line: not line or line[0] == " ", lines)]
    done = play("\n".join(tasks), **with_awx)
    assert done.rc == 0, done.output
    node = fake.awx.one("workflow_job_template_nodes", identifier="stop")
    schedule = fake.awx.one("schedules")
    assert "FREQ=DAILY" in schedule["rrule"]
    for template, sent in (("stop", node), ("health", schedule)):
        survey = fake.awx.surveys[fake.awx.one("job_templates", name=f"Helix ETL: {template}")["id"]]
        assert set(sent["extra_data"]) <= {question["variable"] for question in survey["spec"]}
        required = {question["variable"] for question in survey["spec"] if question["required"]}
        assert required <= set(sent["extra_data"])


def test_a_project_of_this_repository_brings_the_collection(environment: dict[str, str], tmp_path: Path) -> None:
    """AWX calls ansible-galaxy in the folder of the project. Nothing may come from elsewhere."""
    project, target = tmp_path / "project", tmp_path / "requirements_collections"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git repository")
    for name in listed.stdout.splitlines():
        if name.partition("/")[0] in ("collections", "meta", "playbooks", "plugins", "roles") or "/" not in name:
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_bytes((ROOT / name).read_bytes())
    galaxy = Path(sys.executable).with_name("ansible-galaxy")
    done = subprocess.run(
        [galaxy, "collection", "install", "-r", "collections/requirements.yml", "--force"],
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
@pytest.mark.parametrize("secure", [True, False])
def test_the_keys_are_not_shown(playbook: Playbook, with_awx: dict[str, Any], tmp_path: Path, secure: bool) -> None:
    (tmp_path / "keys.json").write_text(json.dumps({"awx_resources_credential_inputs": KEYS}))
    variables = {"awx_resources_secure_logging": secure, "awx_resources_update_secrets": True}
    file = ("--extra-vars", f"@{tmp_path / 'keys.json'}")
    done = playbook("awx_setup", variables, arguments=file, verbosity=4, **with_awx)
    assert done.rc == 0, done.output
    assert [secret for secret in (KEYS["access_key"], KEYS["access_secret_key"], TOKEN) if secret in done.output] == []


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        # A workflow without its deployment could be launched, and would stop every ETL and succeed.
        pytest.param(VARIABLES, "There is no job template My deployment", marks=needs_awx),
        ({"awx_resources_collection": "ansible.controller"}, "The collection ansible.controller is not installed."),
        ({"awx_resources_wait_timeout": 86400}, "must be larger than awx_resources_wait_timeout"),
        ({"awx_resources_deploy_template": "Mine"}, "needs awx_resources_maintenance"),
        ({"awx_resources_maintenance": {"etl_maintenance_set_stats": False}}, "must be true"),
        ({"awx_resources_credential_inputs": {**KEYS, "acces_key": "x"}}, "acces_key"),
    ],
)
def test_what_cannot_work_is_refused_first(
    set_up: Playbook, fake: FakeAwxServer, variables: dict[str, Any], message: str
) -> None:
    done = set_up(verbosity=3, **variables)
    assert done.rc == 2
    assert message in str(done.task().result)
    assert KEYS["access_secret_key"] not in done.output
    assert fake.awx.writes == []

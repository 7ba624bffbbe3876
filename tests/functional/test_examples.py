# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every example that a user may copy is extracted from the documentation and played, in check mode."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.functional.support import ROOT, SITE_PACKAGES, Played, run_ansible
from tests.simulator.client import SimulatorProcess

pytestmark = pytest.mark.full

TENANT = "https://acme-itom.onbmc.com"
#: The ETLs that examples name.
SCENE = {
    53: {"name": "VMware - vCenter Extractor Service", "kind": "service", "state": "SERVICE_ON"},
    321: {"name": "Nightly vCenter import", "state": "ENDED"},
    322: {"name": "Oracle - Database Extractor", "state": "ENDED"},
    323: {"name": "Kubernetes - Prometheus Extractor", "kind": "periodic"},
    999: {"name": "[TEST] Oracle", "state": "ENDED"},
}
#: For examples that a play is put around: a keyword of plays or blocks, not a list of tasks.
KEYWORDS = {"environment", "module_defaults", "vars"}


class Example(NamedTuple):
    file: str
    line: int
    text: str
    #: Marked in the source, with the reason: `.. only syntax: ...`
    only_syntax: bool = False


def extracted(path: Path) -> Iterator[Example]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        for node in ast.parse(text).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "EXAMPLES":
                yield Example(str(path.relative_to(ROOT)), node.lineno, ast.literal_eval(node.value))
        return
    if path.suffix == ".md":
        pattern = r"(?P<mark>)^```ya?ml\n(?P<text>.*?)^```$"
    else:
        pattern = (
            r"(?P<mark>^\.\. only syntax: .+\n)?"
            r"^(?P<indent> *)\.\. code-block:: yaml.*\n\n(?P<text>(?:(?P=indent) +.*\n|\n)+)"
        )
    for found in re.finditer(pattern, text, re.MULTILINE | re.DOTALL if path.suffix == ".md" else re.MULTILINE):
        line = text[: found.start()].count("\n") + 1
        yield Example(str(path.relative_to(ROOT)), line, textwrap.dedent(found["text"]), bool(found["mark"]))


FILES = [
    ROOT / "README.md",
    ROOT / "tests" / "simulator" / "README.md",
    *sorted((ROOT / "docs").rglob("*.rst")),
    *sorted((ROOT / "roles").glob("*/README.md")),
    *sorted((ROOT / "plugins" / "modules").glob("*.py")),
    *sorted((ROOT / "plugins" / "lookup").glob("[a-z]*.py")),
]
EXAMPLES = [example for path in FILES if "build" not in path.parts for example in extracted(path)]
BY_FILE = {example.file: [e for e in EXAMPLES if e.file == example.file] for example in EXAMPLES}


def plays(example: Example) -> list[dict[str, Any]]:
    """The example as plays: tasks get one around them, keywords of a play get a task."""
    data = yaml.safe_load(example.text)
    if isinstance(data, dict):
        assert set(data) <= KEYWORDS, (
            f"{example.file}:{example.line} is neither tasks nor keywords of a play: {list(data)}"
        )
        return [play({"tasks": [{"name": "Use it", "capacityops.bmc_helix.etl_info": {}}], **data})]
    assert isinstance(data, list), f"{example.file}:{example.line} is no list"
    done: list[dict[str, Any]] = []
    tasks: list[Any] = []
    for item in data:
        if {"hosts", "import_playbook", "ansible.builtin.import_playbook"} & set(item):
            done.append(item)
        elif tasks:
            tasks.append(item)
        else:
            tasks = [item]
            done.append(play({"tasks": tasks}))
    return done


def play(content: dict[str, Any]) -> dict[str, Any]:
    return {"hosts": "localhost", "gather_facts": False, **content}


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    host = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    hosts = {"localhost": host}
    groups = {"etl_engines": {"hosts": {"engine1": {**host, "etl_of_this_engine": SCENE[53]["name"]}}}}
    path = tmp_path / "inventory.yml"
    path.write_text(yaml.safe_dump({"all": {"hosts": hosts, "children": groups}}), encoding="utf-8")
    return path


def written(folder: Path, examples: list[Example], url: str) -> Path:
    content = [play for example in examples for play in plays(example)]
    path = folder / "examples.yml"
    path.write_text(yaml.safe_dump(content, sort_keys=False).replace(TENANT, url), encoding="utf-8")
    return path


def test_there_are_examples_everywhere() -> None:
    assert len(EXAMPLES) > 20
    modules = {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
    assert {Path(name).stem for name in BY_FILE if name.startswith("plugins/")} == {*modules, "jwt_token"}
    # The uri tasks from before a migration, and a workflow and a schedule of AWX.
    assert sum(example.only_syntax for example in EXAMPLES) <= 3


def test_the_syntax_of_all_examples(environment: dict[str, str], inventory: Path, tmp_path: Path) -> None:
    # Ansible also looks for the modules; those of AWX are not installed everywhere.
    awx = (SITE_PACKAGES / "ansible_collections" / "awx").exists()
    playbook = written(tmp_path, [example for example in EXAMPLES if awx or "awx.awx." not in example.text], TENANT)
    done = run_ansible(["ansible-playbook", "-i", inventory, "--syntax-check", playbook], environment, tmp_path, 100)
    assert done.rc == 0, done.output
    assert done.warnings == []


@pytest.mark.parametrize("file", [name for name, found in BY_FILE.items() if not all(e.only_syntax for e in found)])
def test_the_examples_play(
    file: str, environment: dict[str, str], simulator: SimulatorProcess, inventory: Path, tmp_path: Path
) -> None:
    for etl_id, facts in SCENE.items():
        simulator.control.put_etl(etl_id, **facts)
    keys = {"access_key": simulator.access_key, "access_secret_key": simulator.access_secret_key}
    variables = {f"{prefix}helix_{name}": value for name, value in keys.items() for prefix in ("", "vault_")}
    (tmp_path / "variables.yml").write_text(yaml.safe_dump({"helix_url": simulator.url, **variables}), encoding="utf-8")
    playbook = written(tmp_path, [example for example in BY_FILE[file] if not example.only_syntax], simulator.url)
    command = ["ansible-playbook", "-i", inventory, "--check", "--diff", "-e", "@variables.yml", playbook]
    done: Played = run_ansible(command, environment, tmp_path, 100)
    assert done.rc == 0, done.output
    assert done.warnings == [], done.output
    assert any(task.status in ("ok", "changed") for task in done.tasks), done.output
    assert not any(task.ignored or task.status == "failed" for task in done.tasks), done.output
    counters = simulator.control.counters()
    assert counters["logins"] > 0
    assert counters["writes"] == 0

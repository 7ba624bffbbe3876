# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every example that a user may copy is extracted from the documentation and played, in check mode."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Callable, Iterator
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


def plays(example: Example) -> list[dict[str, Any]]:
    """The example as plays: tasks get one around them, keywords of a play get a task."""
    where = f"{example.file}:{example.line}"
    around = {"name": where, "hosts": "localhost", "gather_facts": False}
    data = yaml.safe_load(example.text)
    if isinstance(data, dict):
        assert set(data) <= KEYWORDS, f"{where} is neither tasks nor keywords of a play: {list(data)}"
        return [{**around, "tasks": [{"name": "Use it", "capacityops.bmc_helix.etl_info": {}}], **data}]
    assert isinstance(data, list), f"{where} is no list"
    done: list[dict[str, Any]] = []
    tasks: list[Any] = []
    for item in data:
        if {"hosts", "import_playbook", "ansible.builtin.import_playbook"} & set(item):
            done.append(item)
        elif tasks:
            tasks.append(item)
        else:
            tasks = [item]
            done.append({**around, "tasks": tasks})
    return done


@pytest.fixture
def run(environment: dict[str, str], simulator: SimulatorProcess, tmp_path: Path) -> Callable[..., Played]:
    """Play these examples with these words on the command line."""
    host = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    engines = {"hosts": {"engine1": {**host, "etl_of_this_engine": SCENE[53]["name"]}}}
    inventory = {"all": {"hosts": {"localhost": host}, "children": {"etl_engines": engines}}}
    keys = {"access_key": simulator.access_key, "access_secret_key": simulator.access_secret_key}
    variables = {f"{prefix}helix_{name}": value for name, value in keys.items() for prefix in ("", "vault_")}

    def run(examples: list[Example], *words: str) -> Played:
        content = yaml.safe_dump([play for example in examples for play in plays(example)], sort_keys=False)
        (tmp_path / "examples.yml").write_text(content.replace(TENANT, simulator.url), encoding="utf-8")
        (tmp_path / "inventory.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
        (tmp_path / "variables.yml").write_text(yaml.safe_dump({"helix_url": simulator.url, **variables}))
        command = ["ansible-playbook", "-i", "inventory.yml", "-e", "@variables.yml", "examples.yml", *words]
        done = run_ansible(command, environment, tmp_path, 280)
        assert done.rc == 0, done.output
        assert done.warnings == [], done.output
        return done

    return run


def test_there_are_examples_everywhere() -> None:
    assert len(EXAMPLES) > 20
    modules = {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
    assert {Path(e.file).stem for e in EXAMPLES if e.file.startswith("plugins/")} == {*modules, "jwt_token"}
    # The uri tasks from before a migration, and a workflow and a schedule of AWX.
    assert sum(example.only_syntax for example in EXAMPLES) <= 3


def test_the_syntax_of_all_examples(run: Callable[..., Played]) -> None:
    # Ansible also looks for the modules; those of AWX are not installed everywhere.
    awx = (SITE_PACKAGES / "ansible_collections" / "awx").exists()
    run([example for example in EXAMPLES if awx or "awx.awx." not in example.text], "--syntax-check")


@pytest.mark.parametrize("folder", sorted({example.file.partition("/")[0] for example in EXAMPLES}))
def test_the_examples_play(folder: str, run: Callable[..., Played], simulator: SimulatorProcess) -> None:
    for etl_id, facts in SCENE.items():
        simulator.control.put_etl(etl_id, **facts)
    examples = [example for example in EXAMPLES if example.file.startswith(folder) and not example.only_syntax]
    done = run(examples, "--check", "--diff")
    assert not any(task.ignored or task.status == "failed" for task in done.tasks), done.output
    counters = simulator.control.counters()
    assert counters["logins"] > 0
    assert counters["writes"] == 0

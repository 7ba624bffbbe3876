# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role etl_health, and the playbooks etl_health and etl_report."""

from __future__ import annotations

import csv
import json
import re
import shutil
import stat
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Optional

import pytest

from tests.functional.support import Played, rescued
from tests.simulator.client import Control, SimulatorProcess

pytestmark = pytest.mark.timeout(300)
Playbook = Callable[..., Played]
ROLE = "capacityops.bmc_helix.etl_health"


def shown(done: Played) -> Any:
    """The lines of the table."""
    return done.task(f"{ROLE} : Show the verdicts")["msg"]


class Page(HTMLParser):
    """Texts of the page, and a check for badly nested tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        if tag not in ("meta", "br", "link", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open[-1] not in ("style", "script"):
            self.texts.append(data.strip())


def a_night(control: Control) -> None:
    control.put_etl(1, name="Good <b>one</b> & more", state="ENDED", last_exec_age=600)
    control.put_etl(2, name="Never ran")
    control.put_etl(3, name="=Failed {{ 6 * 7 }}", state="ENDED", exit_code="ERROR", last_exec_age=600)
    control.put_etl(4, name="[PROD] Old", state="ENDED", last_exec_age=9 * 86400)
    control.put_etl(5, name="Service", kind="service", state="SERVICE_ON")
    control.put_etl(6, name='Scheduled "x" \\ y', kind="periodic", exit_code="WARNING", last_exec_age=600)
    control.put_etl(7, name="Paused", kind="service", state="SERVICE_OFF")
    control.put_etl(1000008, name="Odd", state="HELD", last_exec_age=600)


def test_reports_gate_and_formats(playbook: Playbook, simulator: SimulatorProcess, tmp_path: Path) -> None:
    a_night(simulator.control)
    expectations = [
        {"name_pattern": "[prod]*", "max_age": "2d", "severity": "high", "labels": {"team": "Infra"}},
        {"etl_id": [5, 7], "states": ["SERVICE_ON"]},
        {"name_pattern": ["*fail*", "*ran"]},
        {"name_pattern": "absent*"},
    ]
    given = {"etl_health_expectations": expectations, "etl_health_fail_on": "failed,stale,unexpected_state"}
    names = {"html": "page.html", "text": "table.txt", "csv": "t.csv", "junit": "j.xml", "prometheus": "helix.prom"}
    files = {f"etl_health_{form}": str(tmp_path / name) for form, name in names.items()}
    done = playbook("etl_health", {**given, **files})
    assert done.rc == 2
    assert done.task()["msg"].splitlines() == [
        "ETL 3 '=Failed {{ 6 * 7 }}': failed (last run ended with exit code ERROR)",
        "ETL 7 'Paused': unexpected state (state is SERVICE_OFF, expected SERVICE_ON)",
        "ETL 4 '[PROD] Old': stale (last run is older than 2 days)",
    ]
    lines = shown(done)
    assert [int(line[:7]) for line in lines[1:9]] == [3, 7, 4, 1000008, 6, 5, 1, 2], lines
    assert lines[-1] == "Warning: Expectation 4 (name_pattern 'absent*') matches no ETL."
    counters = simulator.control.counters()
    assert (counters["writes"], counters["lists"]) == (0, 1)

    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "<b>one</b>" not in text
    assert {"Good <b>one</b> & more", "=Failed {{ 6 * 7 }}", "team: Infra"} <= set(page.texts)
    assert page.texts.index("Needs attention") == page.texts.index("Failed") + 2
    assert not re.search(r"(src|href)=|@import|url\(", text), "the page must not need anything else"
    assert (tmp_path / "table.txt").read_text(encoding="utf-8").splitlines() == lines
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()))
    assert rows[0]["name"] == "'=Failed {{ 6 * 7 }}"
    assert [row["matched"] for row in rows] == ["true", "true", "true", "false", "false", "true", "false", "true"]
    suite = ET.parse(tmp_path / "j.xml").getroot()  # noqa: S314 - our own file
    assert [suite.get(key) for key in ("tests", "failures", "errors", "skipped")] == ["9", "3", "1", "4"]
    check_metrics(tmp_path / "helix.prom")
    assert stat.S_IMODE((tmp_path / "helix.prom").stat().st_mode) == 0o644
    assert not (tmp_path / "helix.prom.new").exists()


def check_metrics(path: Path) -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    families = list(parser.text_string_to_metric_families(path.read_text(encoding="utf-8")))
    assert {family.type for family in families} == {"gauge"}
    names = [family.name.removeprefix("helix_etl_") for family in families]
    assert names == ["last_success_age_seconds", "healthy", "state", "info"]
    ages, _healthy, states, infos = ({s.labels["etl_id"]: s for s in family.samples} for family in families)
    assert set(ages) == {"1", "4", "6"}
    assert 600 <= ages["1"].value < 900
    assert [states[etl_id].labels["state"] for etl_id in ("2", "5", "1000008")] == ["none", "SERVICE_ON", "HELD"]
    assert infos["4"].labels["label_team"] == "Infra"
    assert infos["6"].labels["name"] == 'Scheduled "x" \\ y'
    if shutil.which("promtool"):
        with path.open(encoding="utf-8") as handle:
            subprocess.run(["promtool", "check", "metrics"], stdin=handle, check=True, capture_output=True)


BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")


@pytest.mark.full
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome")
def test_the_filter_of_the_page(playbook: Playbook, simulator: SimulatorProcess, tmp_path: Path) -> None:
    a_night(simulator.control)
    page = tmp_path / "page.html"
    assert playbook("etl_health", {"etl_health_html": str(page)}).rc == 0
    typed = ["", "  paused ", "never_ran", "SERVICE_OFF", "prod old", "1000008", "nothing like this"]
    # A window cannot be as narrow as a telephone, but a frame can.
    frame = tmp_path / "frame.html"
    frame.write_text(
        f"""<meta charset="utf-8">
        <iframe id="frame" width="390" height="900" srcdoc="{escape(page.read_text(encoding="utf-8"))}"></iframe>
        <script>
        window.onload = function () {{
          var page = document.getElementById("frame").contentDocument, root = page.documentElement;
          document.title = JSON.stringify({typed}.map(function (text) {{
            page.getElementById("words").value = text;
            page.getElementById("words").dispatchEvent(new Event("input"));
            return page.getElementById("count").textContent;
          }}).concat([root.clientWidth < 400, root.scrollWidth - root.clientWidth]));
        }};
        </script>""",
        encoding="utf-8",
    )
    words = [str(BROWSER), *QUIET, f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom", frame.as_uri()]
    shown = subprocess.run(words, check=True, capture_output=True, text=True, timeout=90)
    found = re.search(r"<title>\[(.*)\]</title>", shown.stdout)
    assert found, shown.stdout[-2000:]
    counts = [f"{number} of 8" for number in (8, 1, 1, 1, 1, 1, 0)]
    assert json.loads(f"[{found[1]}]") == [*counts, True, 0], "narrow, and nothing to scroll sideways"


@pytest.mark.every_core
def test_what_a_survey_sends_and_what_cannot_be_used(
    play: Callable[..., Played], simulator: SimulatorProcess, tmp_path: Path
) -> None:
    """Ansible 2.19 and later read the answers of a survey as YAML: a number, a boolean, and nothing."""
    for etl_id, name, exit_code in ((1, "2024", "OK"), (2, "Other", "OK"), (3, "Failed", "ERROR")):
        simulator.control.put_etl(etl_id, name=name, state="ENDED", exit_code=exit_code, last_exec_age=600)
    metrics = tmp_path / "helix.prom"
    metrics.write_text("old")
    (tmp_path / "helix.prom.new").mkdir()  # so that nothing can be written there
    page, expectations = tmp_path / "page.html", '[{"name_pattern": "2*", "max_age": 60}]'
    answers = {"name_pattern": 2024, "expectations": expectations, "fail_on": "stale", "title": True, "html": str(page)}
    answers |= {"csv": "", "chain_file": "", "prometheus": None}
    cases: list[tuple[dict[str, Any], str]] = [
        (answers, "ETL 1 '2024': stale (last run is older than 60 s)"),
        ({"expectations": [{"name_pattern": "*", "max_agee": 1}]}, "Expectation 1 has unknown keys: max_agee"),
        ({"max_age": "soon"}, "max_age is 'soon', which is not a duration"),
        ({"fail_on": ["late"]}, "fail_on has unknown words: late"),
        ({"prometheus": "/tmp/metrics"}, "must end in .prom"),
        ({"chain_file": "/nowhere"}, "must be a file on the control node"),
        # The reason of a loop is in its items.
        ({"prometheus": str(metrics), "csv": f"{tmp_path}/none/t.csv"}, f"directory {tmp_path}/none does not exist"),
        (dict.fromkeys(("name_pattern", "expectations", "fail_on", "max_age", "title", "all_rows")), ""),
    ]
    tasks = [
        rescued(number, ROLE, {f"etl_health_{key}": value for key, value in given.items()}, "ansible_failed_result")
        for number, (given, _message) in enumerate(cases)
    ]
    done = play(tasks)
    assert done.rc == 0, done.output
    for number, (_given, message) in enumerate(cases[:-1]):
        assert message in str(done.task(f"Told {number}")["msg"])
    assert simulator.control.counters()["lists"] == 3, "of the first case and the last two"
    assert "<h1>True</h1>" in page.read_text(encoding="utf-8")
    assert metrics.read_text() == "old", "metrics are written to another file first"
    assert shown(done)[-1] == "3 ETLs: 1 failed, 2 healthy."
    result = done.task(f"{ROLE} : Publish the result")["ansible_facts"]["etl_health_result"]
    assert (result["etl_ids"]["failed"], result["counts"]["healthy"]) == ([3], 2)


def test_etl_report_shows_the_last_chain_and_fails_if_a_state_is_missing(
    playbook: Playbook, simulator: SimulatorProcess, tmp_path: Path
) -> None:
    a_night(simulator.control)
    simulator.control.fault({"exchange": "status", "etl_id": 2}, {"kind": "status", "code": 403}, times=-1)
    outcomes = {"a <step>": "failed", "<i>off</i>": "skipped", "Export": "not_reached"}
    steps = [
        {"number": number, "name": name, "failed": outcome == "failed", "outcome": outcome, "etls": []}
        for number, (name, outcome) in enumerate(outcomes.items(), 1)
    ]
    chain, html = tmp_path / "chain.json", tmp_path / "report.html"
    chain.write_text(json.dumps({"steps": steps, "msg": "<b>failed</b>"}))
    given = {"etl_report_html": str(html), "etl_report_chain_file": str(chain), "etl_report_stale_after": 700000}
    done = playbook("etl_report", given)
    assert done.rc == 2
    assert "could not be read" in done.task()["msg"]
    lines = "\n".join(shown(done))
    assert re.search(
        r"^ +4  \[PROD\] Old +stale +ENDED +OK +9 days  last run is older than 8 days$", lines, re.MULTILINE
    )
    assert re.search(r"  unknown +The state was not read[.].*capacity_optimization", lines)
    text = html.read_text(encoding="utf-8")
    assert not re.search("<step>|<i>off|<b>failed", text)
    texts = Page(text).texts
    assert any("The key needs capacity_optimization" in line for line in texts)
    told = texts[texts.index("Last chain", texts.index("ETLs")) :]
    for step, outcome in (("1. a <step>", "failed"), ("2. <i>off</i>", "skipped"), ("3. Export", "not reached")):
        assert told[told.index(step) + 1] == outcome

# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that judge ETLs and render the verdicts. Documented in etl_health.yml and the like beside this file."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError

from ..module_utils._status import columns, parse_rfc3339, rfc3339
from ..plugin_utils import _health as health

Verdicts = Sequence[Mapping[str, Any]]


def etl_health(etls: Any, expectations: Any = None, now: Any = None, fail_on: Any = None) -> dict[str, Any]:
    """See etl_health.yml."""
    if isinstance(expectations, str):
        # A survey can only send text.
        try:
            expectations = yaml.safe_load(expectations)
        except yaml.YAMLError:
            raise AnsibleFilterError("etl_health: the expectations are neither a list nor YAML or JSON text.") from None
    try:
        return health.judge(etls, expectations, now=now, fail_on=fail_on)
    except health.HealthError as error:
        raise AnsibleFilterError(f"etl_health: {error}") from None


# -- text -------------------------------------------------------------------------------------------------------------


def table(judged: Mapping[str, Any], most: int | None = 25) -> str:
    """Worst first. With more ETLs than C(most), ETLs that need no attention are only counted."""
    rows = health.worst_first(judged["etls"])
    shown = [r for r in rows if most is None or len(rows) <= most or not _is_quiet(r)]
    cells = [["ID", "NAME", "VERDICT", "STATE", "EXIT", "AGE", "REASON"], *map(_cells, shown)]
    widths = [max(columns(line[column]) for line in cells) for column in range(7)]
    lines = ["  ".join(map(_padded, line, widths, "><<<<><")).rstrip() for line in cells]
    if len(shown) < len(rows):
        lines.append(f"Not shown: {len(rows) - len(shown)} ETLs that need no attention.")
    return "\n".join([*lines[: None if shown else 0], judged["msg"], *(f"Warning: {w}" for w in judged["warnings"])])


def _is_quiet(verdict: Mapping[str, Any]) -> bool:
    """Whether an ETL needs no attention. One that never ran does if an expectation is about it."""
    is_missed = verdict["verdict"] == "never_ran" and verdict["matched"]
    return health.group(verdict) in ("running", "healthy", "off") and not is_missed


def _padded(text: str, width: int, side: str) -> str:
    blanks = " " * (width - columns(text))
    return blanks + text if side == ">" else text + blanks


def _cells(v: Mapping[str, Any]) -> list[str]:
    age = "" if v["age_seconds"] is None else health.span(v["age_seconds"])
    name = v["name"]
    if columns(name) > 40:
        while columns(name) > 39:
            name = name[:-1]
        name += "…"
    reason = "; ".join([*v["reasons"], *([] if v["matched"] else ["no expectation"])])
    return [str(v["etl_id"]), name, v["verdict"], v["status"] or "", _exit_code(v), age, reason]


def _exit_code(v: Mapping[str, Any]) -> str:
    """The exit code; beside RUNNING, it belongs to the previous run."""
    return "" if v["executing"] else v["exit_code"] or ""


# -- files for other tools --------------------------------------------------------------------------------------------

COLUMNS = (
    *("etl_id", "name", "verdict", "reasons", "matched", "severity", "labels"),
    *("status", "exit_code", "last_exec_ts", "age_seconds", "kind"),
)


def as_csv(judged: Mapping[str, Any]) -> str:
    """For spreadsheets. An apostrophe precedes text that a spreadsheet would read as a formula."""
    target = io.StringIO()
    writer = csv.writer(target)
    writer.writerow(COLUMNS)
    for v in health.worst_first(judged["etls"]):
        writer.writerow([_csv_cell(v[column]) for column in COLUMNS])
    return target.getvalue()


def _csv_cell(value: Any) -> Any:
    if isinstance(value, Mapping):
        value = "; ".join(f"{key}={text}" for key, text in value.items())
    elif isinstance(value, list):
        value = "; ".join(value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}" if isinstance(value, str) and value.lstrip()[:1] in tuple("=+-@|%") else value


def as_junit(judged: Mapping[str, Any]) -> str:
    """One test for each ETL and for each expectation that matches none."""
    suite = ET.Element("testsuite", name="etl_health")
    for v in health.worst_first(judged["etls"]):
        case = ET.SubElement(suite, "testcase", classname="etl_health", name=f"{_xml(v['name'])} ({v['etl_id']})")
        told = _xml("; ".join(v["reasons"]))
        kind = "skipped" if not v["matched"] else _JUNIT.get(v["verdict"])
        if kind:
            message = told if v["matched"] else "no expectation matches this ETL"
            ET.SubElement(case, kind, message=message, **({} if kind == "skipped" else {"type": v["verdict"]}))
        elif told:
            ET.SubElement(case, "system-out").text = told
    for text in judged["warnings"]:
        case = ET.SubElement(suite, "testcase", classname="expectations", name=_xml(text))
        ET.SubElement(case, "error", message=_xml(text), type="warning")
    counts = {kind: len(suite.findall(f"testcase/{kind}")) for kind in ("failure", "error", "skipped")}
    suite.set("tests", str(len(suite)))
    for kind, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(name, str(counts[kind]))
    ET.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suite, encoding="unicode") + "\n"


_JUNIT = {
    "failed": "failure",
    "unexpected_state": "failure",
    "stale": "failure",
    "unknown": "error",
    "never_ran": "skipped",
}


def _xml(text: str) -> str:
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", " ", text)


METRICS = {
    "helix_etl_last_success_age_seconds": "Seconds since the last run, if it succeeded. Absent if it did not.",
    "helix_etl_healthy": "Whether the verdict on the ETL is healthy.",
    "helix_etl_state": "The state of the ETL, as the label state. Always 1.",
    "helix_etl_info": "Verdict, expectation, and labels of the ETL. Always 1.",
}


def as_prometheus(judged: Mapping[str, Any]) -> str:
    """The text format for the textfile collector of node_exporter."""
    samples: dict[str, list[str]] = {name: [] for name in METRICS}
    for v in {v["etl_id"]: v for v in judged["etls"]}.values():
        for name, labels, value in _samples(v):
            both = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            samples[name].append(f"{name}{{{both}}} {value}")
    lines = []
    for name, told in METRICS.items():
        lines += [f"# HELP {name} {told}", f"# TYPE {name} gauge", *samples[name]]
    return "\n".join(lines) + "\n"


def _samples(v: Mapping[str, Any]) -> Iterable[tuple[str, dict[str, str], int]]:
    labels = {"etl_id": str(v["etl_id"]), "name": v["name"]}
    succeeded = v["status"] != "ABORTED" and v["exit_code"] in ("OK", "WARNING") and v["kind"] != "service"
    if succeeded and v["age_seconds"] is not None:
        yield "helix_etl_last_success_age_seconds", labels, v["age_seconds"]
    yield "helix_etl_healthy", labels, int(v["verdict"] == "healthy")
    no_state = "none" if v["verdict"] == "never_ran" else "unknown"
    yield "helix_etl_state", {**labels, "state": v["status"] or no_state}, 1
    own = {"label_" + re.sub(r"[^a-zA-Z0-9_]", "_", key): text for key, text in v["labels"].items()}
    about = {"verdict": v["verdict"], "kind": v["kind"], "severity": v["severity"] or ""}
    yield "helix_etl_info", {**labels, **about, "matched": str(v["matched"]).lower(), **own}, 1


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


FORMATS: dict[str, Callable[..., str]] = {
    "table": table,
    "text": lambda judged: table(judged, None) + "\n",
    "csv": as_csv,
    "junit": as_junit,
    "prometheus": as_prometheus,
}


def etl_health_report(judged: Any, form: str) -> str:
    """See etl_health_report.yml."""
    if not isinstance(judged, Mapping) or not {"etls", "msg", "warnings"} <= set(judged):
        raise AnsibleFilterError("etl_health_report needs a result of the filter etl_health.")
    if form not in FORMATS:
        raise AnsibleFilterError(f"etl_health_report: {form!r} is not a format. Valid formats: {', '.join(FORMATS)}.")
    return FORMATS[form](judged)


# -- the page ---------------------------------------------------------------------------------------------------------


def etl_health_page(judged: Mapping[str, Any], chain: Any = None) -> dict[str, Any]:
    """See etl_health_page.yml."""
    rows = health.worst_first(judged["etls"])
    if isinstance(chain, str):
        try:
            chain = json.loads(chain) if chain.strip() else None
        except ValueError:
            raise AnsibleFilterError("etl_health_page: the result file of the chain is not JSON.") from None
    try:
        told = _chain(chain, {v["etl_id"]: v["name"] for v in rows}) if chain else {}
    except (AttributeError, KeyError, TypeError):
        raise AnsibleFilterError("etl_health_page: the chain is not a result of the role etl_chain.") from None
    return {
        "groups": [
            {"key": key, "title": title, "count": sum(health.group(v) == key for v in rows)}
            for key, title in health.GROUPS.items()
        ],
        "rows": [_row(v) for v in rows],
        "warnings": judged["warnings"],
        "chain": told,
    }


def _row(v: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "etl_id": v["etl_id"],
        "name": v["name"],
        "group": health.group(v),
        "verdict": v["verdict"].replace("_", " "),
        "state": (v["status"] or "").replace("_", " "),
        "exit_code": _exit_code(v),
        "time": (v["last_exec_ts"] or "").replace("T", " ")[:16],
        "age": "" if v["age_seconds"] is None else health.span(v["age_seconds"]),
        "reasons": "; ".join(v["reasons"]),
        "labels": [f"{key}: {text}" for key, text in v["labels"].items()],
        "matched": v["matched"],
    }


def _chain(chain: Mapping[str, Any], names: Mapping[int, str]) -> dict[str, Any]:
    """The timeline of a chain: one row for each ETL, and for each step that reached none."""
    steps = chain.get("steps") or []
    times = [_times(etl) for step in steps for etl in step["etls"] if etl.get("timeline")]
    first = min((begin for begin, _work, _end in times), default=0.0)
    last = max((end for _begin, _work, end in times), default=0.0)
    form = slice(11, 16) if last - first > 240 else slice(11, 19)
    lines: list[dict[str, Any]] = []
    for step in steps:
        title = f"{step['number']}. {step['name']}"
        for etl in step["etls"]:
            name = etl.get("etl_name") or names.get(etl["etl_id"]) or f"ETL {etl['etl_id']}"
            group = "failed" if etl["failed"] else "attention" if etl["outcome"] == "warning" else "healthy"
            drawn = _bar(_times(etl), first, last) if etl.get("timeline") else {}
            lines.append({"name": name, "step": title, "outcome": etl["outcome"], "group": group, "bar": drawn})
        if not step["etls"]:
            group = "failed" if step["failed"] else "off"
            lines.append({"name": title, "step": "", "outcome": step["outcome"], "group": group, "bar": {}})
    return {
        "outcome": chain.get("outcome") or "unknown",
        "group": "failed" if chain.get("failed") else "healthy",
        "msg": chain.get("msg") or "",
        "started_at": (chain.get("started_at") or "")[:16].replace("T", " "),
        "took": _took(chain.get("elapsed_seconds") or 0),
        "lines": lines,
        "scale": [rfc3339(first)[form], f"+{_took((last - first) / 2)}", rfc3339(last)[form]],
    }


def _times(etl: Mapping[str, Any]) -> tuple[float, float, float]:
    """When it was requested, when it was first seen running, and when it ended."""
    stamps = [(at, point) for point in etl["timeline"] if (at := parse_rfc3339(point["at"])) is not None]
    begin = parse_rfc3339(etl.get("started_at")) or (stamps[0][0] if stamps else 0.0)
    work = next((at for at, point in stamps if point.get("status") in ("RUNNING", "SERVICE_ON")), begin)
    return begin, work, max(work, stamps[-1][0] if stamps else begin)


def _bar(times: tuple[float, float, float], first: float, last: float) -> dict[str, Any]:
    """Offsets and lengths in hundredths of the whole; a short run is still visible."""
    begin, work, end = times
    scale = 100 / max(last - first, 1)
    wait_left, wait_width = (begin - first) * scale, max(0.0, work - begin) * scale
    return {
        "took": _took(end - begin),
        "wait_left": round(wait_left, 2),
        "wait_width": round(wait_width, 2),
        "left": round(min(wait_left + wait_width, 99.4), 2),
        "width": round(max((end - work) * scale, 0.6), 2),
    }


def _took(seconds: float) -> str:
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


class FilterModule:
    """The filters, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"etl_health": etl_health, "etl_health_report": etl_health_report, "etl_health_page": etl_health_page}

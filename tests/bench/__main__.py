# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make bench`: run the races, print the table, write .cache/reports/bench.json and docs/images/bench.svg."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import time
from pathlib import Path

from tests.bench import chart, races
from tests.bench.contenders import Arena
from tests.functional.support import ROOT

REPORT = ROOT / ".cache" / "reports" / "bench.json"
CHART = ROOT / "docs" / "images" / "bench.svg"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the short races (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="leave out what takes long: 6 minutes in place of 15")
    parser.add_argument("--no-chart", action="store_true", help=f"leave {CHART.relative_to(ROOT)} as it is")
    return parser.parse_args()


def table(sections: list[races.Section]) -> str:
    """All sections, in columns, with the aims beside the values."""
    width = max(len(row.what) for section in sections for row in section.rows)
    lines: list[str] = []
    for section in sections:
        lines += ["", section.title]
        for row in section.rows:
            verdict = {None: "", True: "reached", False: "MISSED"}[row.met]
            lines.append(f"  {row.what:<{width}}  {row.value:<26} {row.aim:<14} {verdict}".rstrip())
    return "\n".join(lines)


def main() -> int:
    options = parse()
    began = time.monotonic()

    def log(text: str) -> None:
        print(f"[{time.monotonic() - began:4.0f} s] {text}", flush=True)

    rounds = max(options.rounds, 1)
    scale = races.Scale(rounds, rounds // 2 + 1, full=not options.quick)
    load = os.getloadavg()[0]
    sections: list[races.Section] = []
    try:
        with Arena.opened() as arena:
            for section in races.all_sections(arena, scale, log):
                sections.append(section)
                log(f"done: {section.title}")
    except RuntimeError:
        # Minutes of measuring are not thrown away because a later race fell.
        print(table(sections))
        raise
    about = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "load_before": round(load, 2),
        "python": platform.python_version(),
        "ansible_core": importlib.metadata.version("ansible-core"),
        "requests": importlib.metadata.version("requests"),
        "seconds": round(time.monotonic() - began),
    }
    print(table(sections))
    print("\n" + ", ".join(f"{name} {value}" for name, value in about.items()))
    _write(REPORT, json.dumps({"about": about, **{s.title: s._asdict() for s in sections}}, indent=1) + "\n")
    if not options.no_chart:
        _write(CHART, chart.draw(sections[0].data, str(about["machine"])))
    return 0


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())

# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The chart for the documentation: one panel for each number of ETLs, bars as long as the wall time."""

from __future__ import annotations

from statistics import median
from typing import Any
from xml.sax.saxutils import escape

#: Visible on white and on near black.
COLOURS = {"ours": "#2f81d8", "bare": "#7d8590", "uri": "#d97c1f"}
LABELS = {"ours": "etl_action", "bare": "bare Python script", "uri": "uri playbook"}
WIDTH, LEFT, LONGEST = 720, 150, 470
BAR, GAP, HEAD, PANEL_GAP = 20, 8, 28, 22


def draw(data: dict[str, Any], machine: str) -> str:
    """An SVG of the races without latency.

    :param data: race name -> contender -> seconds.
    """
    parts: list[str] = []
    y = 34
    for name, race in data.items():
        if not name.endswith(", 0 ms"):
            continue
        seconds = {who: median(race[who]) for who in COLOURS if who in race}
        parts.append(f'<text x="12" y="{y + 16}" class="head">{escape(name.split(",")[0])}</text>')
        y += HEAD
        for who, value in seconds.items():
            length = max(2.0, LONGEST * value / max(seconds.values()))
            parts += [
                f'<text x="{LEFT - 10}" y="{y + 15}" text-anchor="end">{LABELS[who]}</text>',
                f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" fill="{COLOURS[who]}"/>',
                f'<text x="{LEFT + length + 8:.1f}" y="{y + 15}">{value:.1f} s</text>',
            ]
            y += BAR + GAP
        y += PANEL_GAP - GAP
    title = "Run ETLs of one second and wait for their ends: wall time of the whole command"
    note = f"Median of paired runs against the simulator over HTTPS, each panel with its own scale. {machine}."
    size = f'viewBox="0 0 {WIDTH} {y + 22}" width="{WIDTH}" height="{y + 22}"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title">
<title id="title">{escape(title)}</title>
<style>
text {{ font: 14px system-ui, sans-serif; fill: #1f2328; }}
.head {{ font-weight: 600; }}
.note {{ font-size: 12px; fill: #656d76; }}
.ground {{ fill: #ffffff; }}
@media (prefers-color-scheme: dark) {{
text {{ fill: #e6edf3; }} .note {{ fill: #9198a1; }} .ground {{ fill: #0d1117; }}
}}
</style>
<rect class="ground" width="100%" height="100%" rx="6"/>
<text x="12" y="20" class="head">{escape(title)}</text>
{chr(10).join(parts)}
<text x="12" y="{y + 8}" class="note">{escape(note)}</text>
</svg>
"""

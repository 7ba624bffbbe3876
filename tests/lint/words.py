# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find words that documentation, messages, and comments avoid: `python tests/lint/words.py [PATH ...]`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

#: What to avoid, and what to write instead. Case is ignored. A word in quotation marks can be a value of the API.
BANNED = {
    r"\b(whoever|whom|mended|in vain|astray|pretend|goodbye|anew|nonsense|everyday|of worth)\b": "a plain word",
    r"\b(all the same|has to be said|nobody knows|let run|under way)\b": "still, must, unknown, in progress",
    r"\b(of ours|of yours|of its own|fault of)\b": "our, your, its, bug",
    r"\b(is|are|ends?|turns?|goes|stays) (red|green)\b|\b(red|green) (task|run|job)s?\b": "fails, succeeds",
    r"(?<![-\w])(say|says) (`|O\(|V\()": "set",
    r"\b(server|task|message|module|token|tenant)s? (sa(ys?|id)|tells?|told|knows?|looks? at|forgives?)\b": "reports",
    r"(^|[.;] )Where (it|your|you|this|a|an|the)\b": "If",
    r'\b(licences?|(?<!")cancel(?:led|ling)|organisation|behaviour|colour|honour|(recogn|critic)is\w+)\b': "American",
    r"\b(stands? still|put(s|ting)? (it |them )?back|bec(ame|omes?) of|afterwards|nobody|somebody)\b": (
        "idle, restore, result, afterward, another client"
    ),
    r"\b\d(\.\d+)* (or|and) newer\b": "later",
    r"\btime-outs?\b": "timeout",
    r"\b(for ever|time lines?|clean-ups?)\b": "forever, timeline, cleanup",
    r", for (it|they|the|an?|ids|this) \w+ (is|are|has|have|can|may|will)\b": "because",
}
SUFFIXES = {".md", ".rst", ".py", ".yml", ".html"}
#: The list itself, license texts, and tests: what they are called is read by developers only.
LEFT_OUT = ("LICENSES/", "tests/lint/", "tests/unit/", "tests/functional/")


def main(names: list[str]) -> list[str]:
    listed = subprocess.run(["git", "ls-files", "--", *names], capture_output=True, text=True, check=True).stdout
    paths = [Path(n) for n in listed.split("\n") if Path(n).suffix in SUFFIXES and not n.startswith(LEFT_OUT)]
    return [
        f"{path}:{number}: {match.group().strip()!r} (instead: {instead})"
        for path in filter(Path.is_file, paths)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for pattern, instead in BANNED.items()
        for match in re.finditer(pattern, line, re.IGNORECASE)
    ]


if __name__ == "__main__":
    sys.exit("\n".join(main(sys.argv[1:])) or None)

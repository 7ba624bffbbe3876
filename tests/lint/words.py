# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find words that the documentation avoids, in tracked texts: `python tests/lint/words.py [PATH ...]`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

#: What to avoid, and what to write instead. Case is ignored.
BANNED = {
    r"\b(whoever|whom|mended|in vain|astray|pretend|goodbye|anew|nonsense|everyday|of worth)\b": "a plain word",
    r"\b(all the same|has to be said|nobody knows|let run|under way)\b": "still, must, unknown, in progress",
    r"\b(of ours|of yours|of its own|fault of)\b": "our, your, its, bug",
    r"\b(is|are|ends?|turns?|goes|stays) (red|green)\b|\b(red|green) (task|run|job)s?\b": "fails, succeeds",
    r"(?<![-\w])(say|says) (`|O\(|V\()": "set",
    r"\b(server|task|message|module|token|tenant)s? (sa(ys?|id)|tells?|told|knows?|looks? at|forgives?)\b": "reports",
    r"(^|[.;] )Where (it|your|you|this|a|an|the)\b": "If",
    r"\b(licences?|cancelled|cancelling|organisation|behaviour|colour|honour|recognis\w+|criticis\w+)\b": "American",
    r"\btime-outs?\b": "timeout",
    r", for (it|they|the|an?|ids|this) \w+ (is|are|has|have|can|may|will)\b": "because",
}
SUFFIXES = {".md", ".rst", ".py", ".yml", ".html"}
LEFT_OUT = ("changelogs/changelog.yaml", "CHANGELOG.rst", "LICENSES/", "tests/lint/", "tests/unit/", "tests/func")


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

#!/bin/sh
# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Finds a Python that can build the development environment, then hands over to dev.py.
# Every candidate is run, because a name on PATH proves nothing: a pyenv shim exists and fails.

set -u

here=$(cd "$(dirname "$0")" && pwd -P)
found=""

probe='
import sys
version = "%d.%d.%d" % sys.version_info[:3]
if sys.version_info < (3, 11):
    print("old " + version)
else:
    try:
        import venv, ensurepip
        print("good " + version + " " + sys.executable)
    except ImportError:
        print("bare " + version + " " + sys.executable)
'

start() {
    python=$1
    shift
    exec "$python" -B "$here/dev.py" "$@"
}

# try CANDIDATE ARGUMENTS...: does not return if the candidate is good.
try() {
    candidate=$1
    shift
    answer=$("$candidate" -c "$probe" </dev/null 2>/dev/null) || answer=""
    case $answer in
        "good "*)
            rest=${answer#good }
            start "${rest#* }" "$@"
            ;;
        "bare "*)
            rest=${answer#bare }
            # uv makes environments without the standard library's help.
            if uv --version >/dev/null 2>&1; then
                start "${rest#* }" "$@"
            fi
            found="$found
  $candidate (${rest%% *}): cannot make environments; its modules venv and ensurepip are missing"
            ;;
        "old "*)
            found="$found
  $candidate (${answer#old }): too old"
            ;;
        *)
            if command -v "$candidate" >/dev/null 2>&1; then
                found="$found
  $candidate: does not start"
            fi
            ;;
    esac
}

try_pyenv() {
    version=$1
    shift
    root=${PYENV_ROOT:-$(pyenv root 2>/dev/null)}
    if [ -n "$root" ]; then
        for candidate in "$root/versions/$version".*/bin/"python$version"; do
            if [ -x "$candidate" ]; then
                try "$candidate" "$@"
            fi
        done
    fi
}

if [ -n "${PYTHON:-}" ]; then
    try "$PYTHON" "$@"
    echo "dev.sh: PYTHON=$PYTHON is of no use here; looking for another." >&2
fi
for version in 3.13 3.12 3.14; do
    try "python$version" "$@"
    try_pyenv "$version" "$@"
done
try python3 "$@"
try python3.11 "$@"
try_pyenv 3.11 "$@"
try python "$@"

cat >&2 <<EOF
This needs Python 3.11 or newer (3.12 or 3.13 is best) with its venv module. Found:${found:-
  no Python at all}

What to do:
  Debian, Ubuntu   apt install python3 python3-venv
  Fedora, RHEL     dnf install python3.12
  macOS            brew install python@3.13
  elsewhere        install Python from https://www.python.org, or uv from https://docs.astral.sh/uv
If it has an unusual name, say so:  PYTHON=/path/to/python make ${1:-test}
EOF
exit 1

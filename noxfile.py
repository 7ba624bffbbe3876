# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands of this repository. `make` installs nox and runs them; TESTING.md describes them."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import antsibull_nox
import nox
import tomllib

ROOT = Path(__file__).resolve().parent
CACHE, REQUIREMENTS = ROOT / ".cache", ROOT / "tests" / "requirements"
COLLECTION = "capacityops.bmc_helix"
FOLDER = Path("ansible_collections", *COLLECTION.split("."))
UV = shutil.which("uv", path=CACHE / "nox" / "bin") or shutil.which("uv")
#: Each supported ansible-core, and a Python that runs it. 2.22 is its release candidate until the release is offered.
CORES = {
    "2.16": ("ansible-core==2.16.19", "python3.11"),
    "2.17": ("ansible-core==2.17.14", "python3.12"),
    "2.18": ("ansible-core==2.18.19", "python3.12"),
    "2.19": ("ansible-core==2.19.14", "python3.12"),
    "2.20": ("ansible-core==2.20.10", "python3.12"),
    "2.21": ("ansible-core==2.21.5", "python3.13"),
    "2.22": ("ansible-core~=2.22.0rc1", "python3.13"),
}
#: The last community package that contains the collection awx.awx. It requires Python 3.12.
AWX = "ansible==13.8.0"
#: For ansible-test, in place of a script that it downloads from a host that many networks block. ensurepip runs in its
#: own process because it disables pip's configuration.
GET_PIP = """import os, subprocess, sys
env = dict(os.environ)
words = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
subprocess.check_call([sys.executable, "-m", "ensurepip"])
subprocess.check_call([sys.executable, "-m", "pip", "install", *words], env=env)
"""

for _name in [*os.environ]:
    if _name.startswith(("ANSIBLE_", "HELIX_", "COVERAGE_")) or _name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        del os.environ[_name]
# pyenv puts a stand-in for each Python on PATH, and most of them fail. Tools must find the Pythons themselves.
_pythons = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions").glob("3.*/bin")
_others = [folder for folder in os.environ["PATH"].split(os.pathsep) if Path(folder).name != "shims"]
os.environ["PATH"] = os.pathsep.join([*sorted(map(str, _pythons), reverse=True), *_others])
# uv must use the Pythons, certificates, and package index of the machine, as pip does.
os.environ |= {"UV_PYTHON_DOWNLOADS": "never", "UV_SYSTEM_CERTS": "true"}
if "PIP_INDEX_URL" in os.environ:
    os.environ.setdefault("UV_DEFAULT_INDEX", os.environ["PIP_INDEX_URL"])
# Test servers listen on loopback, where a proxy cannot reach them. Ansible requires a UTF-8 locale.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = f"127.0.0.1,localhost,{os.environ.get('no_proxy', '')}"
if sys.platform == "linux":
    os.environ["LC_ALL"] = "C.UTF-8"

nox.options.envdir, nox.options.reuse_venv = ".cache/nox-sessions", "yes"
nox.options.default_venv_backend = "uv|virtualenv"
antsibull_nox.load_antsibull_nox_toml()

Run = Callable[..., Any]
command = nox.session(python=False)
each_core = nox.parametrize("core", [nox.param(name, id=name) for name in CORES])


def call(session: nox.Session, words: list[Any], **keywords: Any) -> Any:
    """Run a program; with silent=True, return its output and print it only after a failure."""
    return session.run(*map(str, words), external=True, log=False, **keywords)


def venv(session: nox.Session, name: str, pins: str = "", core: str = "", python: str = sys.executable) -> Run:
    """Return a function that runs programs of a virtual environment, which is created if its content changed."""
    folder = ROOT / ".venv" if name == "test" else CACHE / name
    base = Path(shutil.which(python) or session.error(f"{name} requires {python}, which is missing.")).resolve()
    wanted = (REQUIREMENTS / f"{pins or name}.txt").read_text(encoding="utf-8")
    if core:
        wanted = re.sub(r"^(ansible-core|resolvelib)==.*\n", "", wanted, flags=re.MULTILINE)
    stamp, content, program = folder / "stamp", "\n".join([str(folder), str(base), core, wanted]), folder / "bin/python"
    if not (program.exists() and stamp.is_file() and stamp.read_text(encoding="utf-8") == content):
        session.log(f"Creating {folder.relative_to(ROOT)} with {'uv' if UV else 'pip'}")
        shutil.rmtree(folder, ignore_errors=True)
        create = [UV, "venv", "--quiet", "--python", base] if UV else [base, "-m", "venv"]
        install = [UV, "pip", "install", "-q", "--python", program] if UV else [program, "-m", "pip", "install", "-qq"]
        call(session, [*create, folder])
        (folder / "pins.txt").write_text(wanted, encoding="utf-8")
        # The pins are complete. Resolving would only reject the tools of a newer ansible-core beside an older one.
        call(session, [*install, "--no-deps", "-r", folder / "pins.txt"])
        if core:
            call(session, [*install, core])
        # Ansible, Python, and linters find the collection by this link, independently of the name of the checkout.
        link = next(folder.glob("lib/python3.*/site-packages")) / FOLDER
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(ROOT)
        if name == "test" and sys.version_info >= (3, 12):
            call(session, [*install, "--no-deps", "--target", CACHE / "awx", AWX])
            shutil.move(CACHE / "awx" / "ansible_collections" / "awx", link.parents[1])
            shutil.rmtree(CACHE / "awx")
        stamp.write_text(content, encoding="utf-8")
    variables = {
        "PATH": os.pathsep.join([str(folder / "bin"), os.environ["PATH"], str(CACHE / "lint" / "bin")]),
        # Neither settings nor a copy of the collection in the user's home may change what is tested.
        "ANSIBLE_CONFIG": str(ROOT / "tests" / "ansible.cfg"),
        "ANSIBLE_HOME": str(CACHE / "ansible-home" / name),
        "ANSIBLE_COLLECTIONS_PATH": str(next(folder.glob("lib/python3.*/site-packages"))),
    }

    def run(command_line: str, *words: object, env: dict[str, str | None] | None = None, **keywords: Any) -> Any:
        program, *switches = command_line.split()
        return call(
            session, [folder / "bin" / program, *switches, *words], env={**variables, **(env or {})}, **keywords
        )

    return run


def core_environment(session: nox.Session, core: str) -> Run:
    """The packages of the tests around another ansible-core."""
    return venv(session, f"core-{core}", "test", *CORES[core])


def copy_of_checkout(session: nox.Session, target: Path) -> Path:
    """Copy the files that git knows or would add: ansible-galaxy and ansible-test take all files in a folder."""
    shutil.rmtree(target, ignore_errors=True)
    listed = call(session, ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], silent=True)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def installed(session: nox.Session, run: Run, name: str) -> tuple[Path, dict[str, str]]:
    """Build the tarball and install it into an empty path; the variables make Ansible use that copy alone."""
    tree, path = copy_of_checkout(session, CACHE / "build"), CACHE / name / "collections"
    for folder in (ROOT / "dist", path):
        shutil.rmtree(folder, ignore_errors=True)
    run("ansible-galaxy collection build --output-path", ROOT / "dist", tree, silent=True)
    (tarball,) = (ROOT / "dist").glob("*.tar.gz")
    only = {"ANSIBLE_COLLECTIONS_PATH": str(path), "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "false"}
    run("ansible-galaxy collection install --offline -p", path, tarball, env=only, silent=True)
    return tarball, only


def ansible_test(session: nox.Session, run: Run, proof: str, words: str) -> None:
    """Run ansible-test without containers; it succeeds if it finds nothing to test, so require a proof."""
    # ansible-test follows no link, and takes the files of the git repository around it.
    tree = copy_of_checkout(session, CACHE / "ansible-test" / FOLDER)
    call(session, ["git", "init", "--quiet", tree])
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "ansible-test-home")
    scripts = home / ".ansible" / "test" / "cache"
    scripts.mkdir(parents=True, exist_ok=True)
    for version in ("23_1_2", "24_2", "25_2"):
        (scripts / f"get_pip_{version}.py").write_text(GET_PIP, encoding="utf-8")
    venv(session, "lint")  # contains shellcheck
    env = {"HOME": str(home), "ANSIBLE_CONFIG": None, "ANSIBLE_HOME": None, "ANSIBLE_COLLECTIONS_PATH": None}
    with session.chdir(tree):
        output = run(f"ansible-test {words} --color=no", *session.posargs, env=env, silent=True)
    print("\n".join(line for line in output.splitlines() if re.match(r"WARNING|Running |=.* (passed|skipped)", line)))
    if proof not in output:
        session.error(f"ansible-test {words} tested nothing.")


def pytest(session: nox.Session, run: Run, *words: str, usual: tuple[str, ...] = ()) -> None:
    """Run pytest in parallel, unless ARGS is for watching a test; without ARGS, on the usual tests."""
    # Tests also wait for other processes, so two processors are idle with two workers.
    workers = f"--numprocesses={max(4, os.cpu_count() or 1)} --dist=worksteal"
    parallel = "" if {"-s", "-n", "--pdb"} & {*session.posargs} else workers
    run(f"python -m pytest {parallel}", *words, *(session.posargs or usual))


@command
def environment(session: nox.Session) -> None:
    """Create .venv, the environment of the tests"""
    venv(session, "test")


@command
def test(session: nox.Session) -> None:
    """Run the tests for every change, in two or three minutes; ARGS goes to pytest and selects from all tests"""
    pytest(session, venv(session, "test"), "--durations=12", "--durations-min=3", usual=("-m", "not full or smoke"))


@command
def test_all(session: nox.Session) -> None:
    """Run all tests"""
    if shutil.which("java") and shutil.which("python3.12"):
        venv(session, "rulebook", python="python3.12")  # for the test with a real ansible-rulebook
    pytest(session, venv(session, "test"), "--durations=12")


@command
@each_core
def matrix(session: nox.Session, core: str) -> None:
    """Run the functional tests that depend on ansible-core with each version, or with CORE"""
    usual = ("tests/functional", "-m", "(not full or smoke or every_core) and not one_core")
    pytest(session, core_environment(session, core), usual=usual)


@command
def demo(session: nox.Session) -> None:
    """Run a playbook of the built tarball against a simulated tenant; ARGS=list lists the others, ARGS=stop ends it"""
    run = venv(session, "test")
    env = {} if session.posargs in (["list"], ["stop"]) else installed(session, run, "demo")[1]
    run("python tests/demo/demo.py", *session.posargs, env=env)


@command
def linters(session: nox.Session) -> None:
    """Check style, types, YAML, shell, spelling, changelog fragments, and licenses"""
    run, link = venv(session, "lint"), CACHE / "tree" / FOLDER
    if not link.exists():
        # mypy does not check installed packages, so it gets the collection from another folder.
        link.parent.mkdir(parents=True)
        link.symlink_to(ROOT)
    packages = [f"plugins.{name}" for name in ("module_utils", "modules", "plugin_utils", "filter")]
    packages += ["tests.simulator", "tests.bench"]
    for line in (
        "ruff check --quiet --output-format=concise",
        "ruff format --check --quiet",
        f"mypy {' '.join(f'-p ansible_collections.{COLLECTION}.{name}' for name in packages)}",
        "mypy --follow-imports=silent tests/demo/demo.py",
        f"mypy --python-executable={sys.executable} noxfile.py",
        *("yamllint --strict .", "shellcheck .ci/run", "codespell", "antsibull-changelog lint", "reuse lint --lines"),
        "ansible-lint --offline --strict --nocolor -q",
    ):
        run(line, env={"MYPYPATH": str(CACHE / "tree")}, silent=True)


@command
def format(session: nox.Session) -> None:  # noqa: A001
    """Format the Python code"""
    run = venv(session, "lint")
    run("ruff check --fix --exit-zero --quiet")
    run("ruff format --quiet")


@command
def docs(session: nox.Session) -> None:
    """Build the documentation in docs/build/html; a warning is a failure"""
    run, build = venv(session, "docs"), ROOT / "docs" / "build"
    shutil.rmtree(build, ignore_errors=True)
    (build / "rst").mkdir(parents=True, mode=0o755)
    switches = "--use-current --squash-hierarchy --fail-on-error --cleanup=everything"
    run(f"antsibull-docs collection {switches} --dest-dir", build / "rst", COLLECTION, silent=True)
    shutil.copy2(ROOT / "docs" / "sphinx" / "index.rst", build / "rst")
    shutil.copytree(ROOT / "docs" / "images", build / "images")
    run("sphinx-build -W --keep-going -q -c docs/sphinx -d", build / "trees", build / "rst", build / "html")


@command
def build(session: nox.Session) -> None:
    """Build the tarball in dist/, install, verify, and document it elsewhere, and check it as Galaxy does"""
    run = venv(session, "test")
    tarball, env = installed(session, run, "installed")
    run("ansible-galaxy collection verify --offline", COLLECTION, env=env, silent=True)
    names = re.findall(rf"^{COLLECTION}\.\w+", run("ansible-doc -l", COLLECTION, env=env, silent=True), re.MULTILINE)
    run("ansible-doc", *(names or session.error("The installed collection has no module.")), env=env, silent=True)
    with session.chdir(CACHE):
        output = venv(session, "importer")("python -m galaxy_importer.main", tarball, silent=True)
    if re.search("^(WARNING|ERROR)", output, re.MULTILINE) or "completed successfully" not in output:
        session.error(output)


@command
@each_core
def sanity(session: nox.Session, core: str) -> None:
    """Run ansible-test sanity with each ansible-core, or with CORE"""
    # The release candidate installs pylint from a source code host. The other versions run the same check.
    words = "sanity --skip-test pylint" if core == "2.22" else "sanity"
    proof = "Running sanity test" if session.posargs else 'Running sanity test "validate-modules"'
    ansible_test(session, core_environment(session, core), proof, words)


@command
def units(session: nox.Session) -> None:
    """Run the unit tests with ansible-test on every Python from 3.9 on"""
    ansible_test(session, venv(session, "test"), " passed", "units --venv --requirements")


@command
def integration(session: nox.Session) -> None:
    """Run the integration targets with ansible-test"""
    words = f"integration --local --python {sys.version_info[0]}.{sys.version_info[1]}"
    ansible_test(session, venv(session, "test"), "integration test role", words)


@command
def changelog(session: nox.Session) -> None:
    """Write CHANGELOG.rst for the version in galaxy.yml"""
    venv(session, "lint")("antsibull-changelog release --reload-plugins", *session.posargs)


@command
def fuzz(session: nox.Session) -> None:
    """Send generated requests to the simulator, and compare its responses with the OpenAPI description"""
    venv(session, "fuzz")
    env = {"SCHEMATHESIS": str(CACHE / "fuzz" / "bin" / "schemathesis")}
    words = session.posargs or ["--max-examples=30", "--seed=1"]
    venv(session, "test")("python -m tests.functional.fuzz_simulator", *words, env=env)


@command
def mutation(session: nox.Session) -> None:
    """Change decisions of the library one at a time, and show the changes that no unit test notices"""
    run, folder, settings = venv(session, "mutation"), CACHE / "mutants", Path("tests", "mutation.toml")
    tree = copy_of_checkout(session, folder / FOLDER)
    first = tomllib.loads(settings.read_text("utf-8"))["cosmic-ray"]["test-command"]
    # Python must find this copy, in which cosmic-ray changes the files. The first run, without a change, compiles all.
    env = {"PYTHONPATH": f"{folder}{os.pathsep}{tree}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    with session.chdir(tree):
        run(first, env=env)
        run("cosmic-ray init", settings, "results")
        run("cr-filter-operators results", settings)
        run("cosmic-ray exec", settings, "results", env=env)
        run("cr-report --surviving-only --show-diff results")
        # It also counts the mutants that the filter skips, two of three: of the others, about 14%.
        run("cr-rate --fail-over=5 results")


@command
def lock(session: nox.Session) -> None:
    """Look for newer versions of the pinned requirements"""
    words = ["--universal", "--python-version=3.11", "--upgrade", "-q", "--no-annotate", "--custom-compile-command"]
    with session.chdir(REQUIREMENTS):
        for name in ("uv", "nox", "test", "lint", "mutation", "fuzz", "docs", "importer"):
            # These environments contain packages of the tests, in the same versions.
            same = ["--constraints=test.txt"] if name in ("lint", "mutation") else []
            call(session, [UV, "pip", "compile", "-o", f"{name}.txt", f"{name}.in", *same, *words, "make lock"])

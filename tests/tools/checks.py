# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run every static check and the unit tests side by side; say of each how long it took and how it ended.

Usage: checks.py [NAME...]. All are run, also after one has failed; the output of those that fail is shown in full.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
COLLECTIONS = ROOT / ".cache" / "collections"
NO_TESTS_COLLECTED = 5
# A check that hangs must not hang the run.
LIMIT = 1200
PYTHON_TESTS = ("unit", "rules", "scenarios", "faults", "lab", "tools", "conftest.py")


@dataclass(frozen=True)
class Check:
    """One command, found in the virtual environment; name is what a person calls it by."""

    name: str
    argv: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """How a check ended. seconds: wall time. output: both streams. skipped: there was nothing for it to look at."""

    name: str
    rc: int
    seconds: float
    output: str
    skipped: bool = False


def shell_scripts() -> tuple[str, ...]:
    """Return the shell scripts of the repository, by their ending or by their first line."""
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.check_output(argv, cwd=ROOT, text=True)
    found = []
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if not path.is_file():
            continue
        with path.open("rb") as file:
            first = file.readline(200)
        words = first[2:].replace(b"/", b" ").split() if first.startswith(b"#!") else []
        if path.suffix in (".sh", ".bash") or {b"sh", b"bash", b"dash"} & set(words):
            found.append(name)
    return tuple(found)


def all_checks() -> list[Check]:
    """Return the checks, the longest first, which keeps the cores busy to the end."""
    python = sys.executable
    plugins = "ansible_collections.rspm.ha.plugins"
    checks = [
        Check("ansible-test sanity", (python, "tests/tools/sanity.py")),
        # More than there are cores: many of them wait for a server or for a deadline.
        Check("unit tests", (python, "-m", "pytest", "-q", "-n4", "--dist=loadfile", "--durations=5", "tests/unit")),
        Check("ansible-lint", ("ansible-lint", "--nocolor")),
        Check("antsibull-docs", ("antsibull-docs", "lint-collection-docs", "--plugin-docs", ".")),
        Check("galaxy-importer", ("tests/tools/artefact.sh",)),
        Check(
            "mypy plugins",
            (
                "mypy",
                *(f"-p{plugins}.{part}" for part in ("module_utils", "modules", "plugin_utils", "action", "lookup")),
            ),
        ),
        # all but the stand-in, which is a program of its own
        Check("mypy tests", ("mypy", *(f"tests/{part}" for part in PYTHON_TESTS), "bench")),
        Check("rules", (python, "-m", "pytest", "-q", "tests/rules")),
        Check("yamllint", ("yamllint", "--strict", ".")),
        Check("shellcheck", ("shellcheck", *shell_scripts())),
        Check("ruff check", ("ruff", "check", "--output-format", "concise", ".")),
        Check("ruff format", ("ruff", "format", "--check", "--diff", ".")),
    ]
    return checks


def run(check: Check) -> Result:
    """Run one check and return how it ended."""
    environment = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
    }
    begun = time.monotonic()
    program = shutil.which(check.argv[0], path=environment["PATH"]) or check.argv[0]
    try:
        done = subprocess.run(
            [program, *check.argv[1:]],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=LIMIT,
            check=False,
        )
        rc, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as error:
        rc, output = 124, f"not finished after {LIMIT} s: {error}"
    except OSError as error:
        rc, output = 127, f"{program}: {error.strerror}"
    skipped = "pytest" in check.argv and rc == NO_TESTS_COLLECTED
    return Result(check.name, 0 if skipped else rc, time.monotonic() - begun, output, skipped)


def main(wanted: list[str]) -> int:
    """Run the checks that are wanted (all without names); return 1 if one failed."""
    checks = [check for check in all_checks() if not wanted or check.name in wanted]
    unknown = set(wanted) - {check.name for check in checks}
    if unknown:
        print(f"there is no check {', '.join(sorted(unknown))}; there are: {', '.join(c.name for c in all_checks())}")
        return 2
    begun = time.monotonic()
    results = []
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        for future in as_completed([pool.submit(run, check) for check in checks]):
            result = future.result()
            results.append(result)
            state = "FAILED" if result.rc else "nothing to check" if result.skipped else "ok"
            print(f"{result.name:<22}{result.seconds:6.1f} s  {state}", flush=True)
    failed = [result for result in results if result.rc]
    for result in failed:
        print(f"\n=== {result.name} (exit status {result.rc}) ===\n{result.output.strip()}")
    skipped = sum(result.skipped for result in results)
    print(f"\nstatic checks and unit tests: {time.monotonic() - begun:.0f} s")
    print(f"{len(results) - len(failed) - skipped} passed, {len(failed)} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

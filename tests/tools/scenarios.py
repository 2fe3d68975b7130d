# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run molecule scenarios side by side, each on a lab of its own; say how every test ended, and how long it all took.

Usage: scenarios.py NAME... All are run, in this order, also after one has failed. What each said is in .cache/logs; of
those that fail the end is shown when all are done, and last the lines that say what failed. Of one that is silent for
long it is told what it is at.
"""

from __future__ import annotations

import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOGS = ROOT / ".cache" / "logs"
# Two leave a third of two cores idle, and more than three have each other's tests run into their time limits.
LABS = 3
# GiB that a lab's machines and the playbooks take.
LAB_MEMORY = 4.0
SHOWN_LINES = 250
SHOWN_FAILURES = 12
# No test takes as long on two cores, but for the stories of faults.
SILENT_SECONDS = 600.0
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# molecule wraps the lines of pytest, so that a test's name and its end may stand on two
_TEST = re.compile(r"(\S+\.py::\S+) (PASSED|FAILED|ERROR|SKIPPED)")
_SUMMARY = re.compile(r"=+ (\d+ (?:passed|failed).* in [\d.]+s)")
_FAILURE = re.compile(r"fatal: \[|FAILED|CRITICAL|ERROR|UNREACHABLE|│ E {3}")
_ACTION = re.compile(r"INFO +\S+ ➜ (\w+): Executing$")


def labs() -> int:
    """Return how many labs this machine has the memory for."""
    found = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(encoding="utf-8"))
    available = int(found[1]) / (1 << 20) if found else 0.0
    return max(1, min(LABS, int(available / LAB_MEMORY)))


def say(text: str) -> None:
    """Tell the person who waits."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def progress(line: str) -> str:
    """Return what a line of molecule tells a person who waits, "" for nothing."""
    text = _COLOUR.sub("", line)
    if found := _TEST.search(text):
        return f"{found[1].rpartition('/')[2]} {found[2].lower()}"
    found = _SUMMARY.search(text) or _ACTION.search(text.strip())
    return found[1] if found else ""


@dataclass
class Told:
    """The last that a scenario said, and when (seconds, monotonic)."""

    text: str
    at: float

    def now(self, text: str) -> None:
        """Remember what was said just now."""
        self.text, self.at = text, time.monotonic()


def runs_of(lab: str) -> list[str]:
    """Return the playbooks that run on a lab now, each with its age (seconds)."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, IndexError):
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
            variables = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
            if words[1].endswith("/ansible-playbook") and f"RSPM_LAB={lab}" in variables:
                found.append((int(time.time() - entry.stat().st_ctime), words[-1].rpartition("/")[2]))
    # the oldest of a playbook is the run itself, the others are its workers
    ages = {playbook: age for age, playbook in sorted(found)}
    return [f"{playbook} for {age} s" for playbook, age in ages.items()]


def remind(scenario: str, lab: str, told: Told, over: threading.Event) -> None:
    """Tell what a scenario is at, each time that it has said nothing for long."""
    shown = told.at
    while not over.wait(10):
        if time.monotonic() - max(told.at, shown) > SILENT_SECONDS:
            shown = time.monotonic()
            silent = round((shown - told.at) / 60)
            say(f"{scenario}: silent for {silent} min after {told.text}; running: {', '.join(runs_of(lab)) or 'none'}")


def run(scenario: str, lab: str) -> bool:
    """Run one scenario on a new lab and return whether it passed."""
    environment = {
        **os.environ,
        "RSPM_LAB": lab,
        # it keeps here whether there are machines, of which each lab has its own
        "MOLECULE_EPHEMERAL_DIRECTORY": str(ROOT / ".cache" / "molecule" / lab),
    }
    log = LOGS / f"{scenario}.log"
    log.write_text("", encoding="utf-8")
    # a run that was killed left its lab, and molecule's belief that there is one
    shutil.rmtree(environment["MOLECULE_EPHEMERAL_DIRECTORY"], ignore_errors=True)
    subprocess.run([str(ROOT / "tests" / "lab" / "lab"), "down"], env=environment, capture_output=True, check=True)
    begun = time.monotonic()
    say(f"{scenario}: begins on lab {lab}")
    argv = ["molecule", "test", "--scenario-name", scenario]
    told, over = Told("its begin", begun), threading.Event()
    threading.Thread(target=remind, args=(scenario, lab, told, over), daemon=True).start()
    with (
        log.open("w", encoding="utf-8") as kept,
        subprocess.Popen(
            argv, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        assert process.stdout
        for line in process.stdout:
            kept.write(line)
            kept.flush()
            if text := progress(line):
                say(f"{scenario}: {text}")
                told.now(text)
    over.set()
    minutes, seconds = divmod(round(time.monotonic() - begun), 60)
    say(f"{scenario}: {'FAILED' if process.returncode else 'passed'} in {minutes} min {seconds} s")
    return process.returncode == 0


def show_failures(failed: list[str]) -> None:
    """Show why scenarios failed; what is most telling comes last, where a log that is cut still has it."""
    logs = {scenario: (LOGS / f"{scenario}.log").read_text(encoding="utf-8").splitlines() for scenario in failed}
    for scenario, lines in logs.items():
        print("\n".join([f"---- the end of {scenario}.log", *lines[-SHOWN_LINES:], "----"]), flush=True)
    for scenario, lines in logs.items():
        telling = dict.fromkeys(text for line in lines if _FAILURE.search(text := _COLOUR.sub("", line)))
        for text in list(telling)[:SHOWN_FAILURES]:
            print(f"{scenario}: {text.strip(' │')[:400]}", flush=True)


def main(scenarios: list[str]) -> int:
    """Run them all; 1 where one failed."""
    LOGS.mkdir(parents=True, exist_ok=True)
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for scenario in scenarios:
        waiting.put(scenario)
    passed: dict[str, bool] = {}

    def work(lab: str) -> None:
        while True:
            try:
                scenario = waiting.get_nowait()
            except queue.Empty:
                return
            passed[scenario] = False
            passed[scenario] = run(scenario, lab)

    base = os.environ.get("RSPM_LAB", "lab")
    workers = [threading.Thread(target=work, args=(base + "2" * number,)) for number in range(labs())]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    failed = [scenario for scenario in scenarios if not passed.get(scenario)]
    show_failures(failed)
    say(
        f"{len(scenarios) - len(failed)} of {len(scenarios)} scenarios passed"
        + (f"; not {', '.join(failed)}" if failed else "")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

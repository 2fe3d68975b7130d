"""What all benchmarks have: the machine's facts, Ansible's settings, and runs that have to succeed."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import records, report
from bench.catalogue import DEFAULTS, PIPELINING, RUNS, SETTINGS, at
from bench.records import Record
from tests.scenarios import support
from tests.scenarios.support import Run
from tests.scenarios.workplace import REPOSITORY, USER

Way = TypeVar("Way")


def in_turn(ways: Sequence[Way], number: int) -> list[Way]:
    """Return the ways of a round, another one first in each: none has always the machine's best moment."""
    turn = number % len(ways)
    return [*ways[turn:], *ways[:turn]]


def settings(chosen: str | None) -> Sequence[str]:
    """Return the settings of Ansible to measure with. chosen: the one that was asked for, None for all."""
    return [chosen] if chosen else SETTINGS


def options(description: str | None) -> argparse.ArgumentParser:
    """Return the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS, help="how often each way is gone (default: %(default)s)")
    return parser


def selection(parser: argparse.ArgumentParser, ways: Sequence[str]) -> None:
    """Add the options that leave a part out: which ways, by a word for each, and which of Ansible's settings."""

    def known(word: str) -> str:
        # argparse's own choices refuse that nothing is given
        if word not in ways:
            raise argparse.ArgumentTypeError(f"{word} is none of {', '.join(ways)}")
        return word

    parser.add_argument("ways", nargs="*", type=known, metavar="WAY", help=f"of {', '.join(ways)} (default: all)")
    parser.add_argument("--setting", choices=SETTINGS, help="of Ansible (default: one after the other)")


def _said(*argv: str) -> str:
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY).stdout


def machine() -> dict[str, str]:
    """Return what the figures depend on, for the page."""
    with support.start(["ansible", "--version"]) as process:
        ansible = process.communicate()[0]
    lab = support.current_lab()
    kernel, debian = lab.ssh("infra", "uname -r; cat /etc/debian_version").split()
    memory = re.findall(r"MemTotal: +(\d+)", Path("/proc/meminfo").read_text())[0]
    changed = "+" if _said("git", "status", "--porcelain", "--untracked-files=no") else ""
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": (re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()) or ["?"])[0],
        "memory": f"{int(memory) / (1 << 20):.0f} GiB",
        "kernel": platform.release(),
        "lab's machines": f"User-mode Linux {kernel}, Debian {debian}",
        "ansible-core": re.findall(r"core ([^\]\s]+)", ansible)[0],
        "Python": re.findall(r"python version = (\S+)", ansible)[0],
        "collection": _said("git", "rev-parse", "--short", "HEAD").strip() + changed,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


class Bench:
    """One benchmark that runs."""

    def __init__(self, name: str) -> None:
        support.person()
        self.name = name
        self.lab = support.current_lab()
        # Which of several collections is run, "" where there is but one.
        self.side = ""
        records.begin(name, machine())
        self._load = 0.0

    def ready(self, setting: str = DEFAULTS) -> None:
        """Set Ansible up for the next run, without an open ssh connection, and look how busy the machine is."""
        environment = support.person().environment
        environment["ANSIBLE_PIPELINING"] = str(setting == PIPELINING)
        environment["ANSIBLE_SSH_CONTROL_PATH_DIR"] = str(support.person().new_folder("ssh-"))
        self._load = round(os.getloadavg()[0], 2)

    def add(self, way: str, setting: str, number: int, figures: dict[str, float], **detail: Any) -> None:
        """Write down a run, and say it."""
        way = at(way, self.side) if self.side else way
        rounded = {name: round(value, 3) for name, value in figures.items()}
        record = Record(self.name, way, setting, number, rounded, self._load, detail)
        records.add(record)
        print(f"{time.strftime('%H:%M:%S')} {way} ({setting or 'by hand'}), round {number + 1}: {rounded}", flush=True)

    def conclude(self) -> int:
        """Say what was missed; return the exit code."""
        return report.conclude(report.judge(records.read().records), [self.name])


def play(name: str, *args: str, good: tuple[int, ...] = (0,), **keywords: Any) -> Run:
    """Run a playbook, which has to succeed."""
    begun = time.monotonic()
    run = support.run_playbook(name, *args, timeout=7200, may_warn=True, **keywords)
    print(f"{time.strftime('%H:%M:%S')} {Path(name).stem} took {time.monotonic() - begun:.0f} s", flush=True)
    if run.code not in good:
        sys.exit(run.output)
    return run


def give_time() -> None:
    """Set up the lab's time server, which a team has."""
    play(str(REPOSITORY / "tests/lab/ntp.yml"))


def cpu() -> float:
    """Return the seconds that the controller's programs have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ping(pattern: str = "all", inventory: str = "inventory") -> float:
    """Return how long Ansible's ping of all hosts takes (seconds)."""
    begun = time.monotonic()
    with support.start(["ansible", "-i", inventory, pattern, "-m", "ansible.builtin.ping"]) as process:
        said = process.communicate()[0]
    if process.returncode:
        sys.exit(said)
    return time.monotonic() - begun


def inventory(nodes: dict[str, dict[str, Any]], balancer: bool = True) -> Path:
    """Return an inventory of other nodes, with all else as in the scenarios'. nodes: their variables by name."""
    folder = support.person().new_folder("inventory-")
    shutil.copytree(support.person().folder / "inventory", folder, dirs_exist_ok=True)
    hosts: dict[str, Any] = {"rspm_nodes": {"hosts": nodes}}
    for group in ("rspm_database", "rspm_nfs_server"):
        hosts[group] = {"hosts": {support.full("infra"): {}}}
    if balancer:
        hosts["rspm_load_balancer"] = {"hosts": {support.full("lb"): {}}}
    (folder / "hosts.yml").write_text(json.dumps(hosts, indent=1), encoding="utf-8")
    subprocess.run(["chown", "-R", f"{USER}:", str(folder)], check=True)
    return folder


def variables_of(machine: str) -> dict[str, Any]:
    """Return how the person's Ansible reaches a machine."""
    told = json.loads((support.person().folder / "inventory" / "machines.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = told["all"]["hosts"][support.full(machine)]
    return found

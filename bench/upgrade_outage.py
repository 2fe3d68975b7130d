"""For how long users are without service during an upgrade of the cluster, seen by one client at the load balancer.

All ways in turn in each round, each from a snapshot:

ours             upgrade.yml with Ansible's defaults and with pipelining: three nodes and six, 300 MiB and 1 MiB
by hand          the guide's steps over ssh, one after the other, downloads included
by hand, early   the same, with all downloads made before the first node is stopped
bare             `systemctl stop; dpkg -i; systemctl start` on one node, the file there, the others stopped before
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import workbench
from bench.catalogue import (
    BARE,
    BY_HAND,
    BY_HAND_EARLY,
    OUTAGE,
    SETTINGS,
    UPGRADE_1,
    UPGRADE_300,
    UPGRADE_SIX,
    WALL,
)
from bench.upgrade_outage_world import Client, WebServer
from bench.workbench import Bench
from tests.scenarios import support
from tests.scenarios.support import lab_module

HERE = Path(__file__).resolve().parent
OLD, NEW = "2025.12.0-14", "2026.04.0"
THREE = ["node1", "node2", "node3"]
SIX = [*THREE, "node4", "node5", "node6"]
# A server that runs for long has these in memory, whichever way it is upgraded; a machine that just came up has not.
WARM = (
    "dpkg -l > /dev/null; apt-mark showhold; dpkg-deb --help > /dev/null; cat /opt/rstudio-pm/lib/payload > /dev/null"
)
SERVED_SECONDS = 3.0
LONGEST, STRETCHES = "longest outage (s)", "outages"


@dataclass(frozen=True)
class Start:
    """What a way begins with. label: of the snapshot. size: of the packages in MiB, and the folder they are in."""

    label: str
    size: str
    nodes: list[str]


STARTS = {
    UPGRADE_300: Start("three", "300", THREE),
    UPGRADE_1: Start("small", "1", THREE),
    UPGRADE_SIX: Start("six", "300", SIX),
    BARE: Start("three", "300", THREE[:1]),
    BY_HAND: Start("three", "300", THREE),
    BY_HAND_EARLY: Start("three", "300", THREE),
}
OURS = (UPGRADE_300, UPGRADE_1, UPGRADE_SIX)


class Upgrades:
    """The lab's cluster, the packages, and the ways to upgrade it."""

    def __init__(self, bench: Bench, folder: Path, web: WebServer) -> None:
        self.bench, self.lab, self.web = bench, bench.lab, web
        self.folder = folder
        self.balancer = support.address(self.lab, "lb")
        self.inventories = {
            len(nodes): workbench.inventory({support.full(node): {} for node in nodes}) for nodes in (THREE, SIX)
        }

    def url(self, version: str, size: str) -> str:
        """Return where a package is."""
        return f"{self.web.url}/{size}/{name_of(version)}"

    def package(self, version: str, size: str) -> dict[str, Any]:
        """Return the variables by which the playbooks get a version."""
        digest = hashlib.sha256((self.folder / size / name_of(version)).read_bytes()).hexdigest()
        return {
            "rspm_version": version,
            "rspm_package_source": "url",
            "rspm_package_url": self.url(version, size),
            "rspm_package_checksum": f"sha256:{digest}",
        }

    def prepare(self) -> None:
        """Keep a snapshot of each cluster that a way begins with."""
        workbench.give_time()
        for node in SIX:
            self.lab.ssh(node, "apt-get update -qq && apt-get install -y -qq curl > /dev/null", timeout=600)
        lab_module.snapshot(self.lab, "new")
        for start in (STARTS[way] for way in OURS):
            lab_module.restore(self.lab, "new")
            inventory = self.inventories[len(start.nodes)]
            self.bench.ready()
            workbench.play("site", inventory=inventory, **self.package(OLD, start.size))
            lab_module.snapshot(self.lab, start.label)

    def settle(self, start: Start) -> None:
        """Put the machines back to a snapshot and wait until every node serves."""
        lab_module.restore(self.lab, start.label)
        served = start.nodes if len(start.nodes) > 1 else THREE
        support.wait_for("the old cluster", lambda: self.versions(served) == {OLD}, 180, pause=1)
        for node in served:
            self.lab.ssh(node, WARM)
        time.sleep(5)

    def versions(self, nodes: list[str]) -> set[str]:
        """Return the versions that the nodes' APIs tell."""
        answers = [support.get(f"{support.address(self.lab, node)}:4242", "/__api__/status") for node in nodes]
        return {json.loads(body)["version"] if code == 200 else "" for code, body in answers}

    def ours(self, start: Start) -> dict[str, float]:
        """Upgrade with the collection; return how long its phases took (seconds)."""
        report = support.person().new_folder("bench-") / "report.json"
        inventory = self.inventories[len(start.nodes)]
        workbench.play("upgrade", inventory=inventory, rspm_report_file=str(report), **self.package(NEW, start.size))
        return {phase["name"]: phase["seconds"] for phase in support.read_json(report)["phases"]}

    def by_hand(self, when: str) -> dict[str, float]:
        """Upgrade as the guide says."""
        argv = [str(HERE / "upgrade_outage_by_hand.sh"), when, self.url(NEW, STARTS[BY_HAND].size)]
        environment = {**os.environ, "SSH": " ".join(["ssh", *lab_module.ssh_options(self.lab.folder)])}
        addresses = [self.lab.spec(node).address for node in THREE]
        done = subprocess.run([*argv, *addresses], check=True, stdout=subprocess.PIPE, text=True, env=environment)
        return {"download": float(re.findall(r"fetched in ([\d.]+) s", done.stdout)[0])}

    def others_stopped(self) -> None:
        """Leave one node alone, with the file there."""
        for node in THREE[1:]:
            self.lab.ssh(node, "systemctl stop rstudio-pm")
        self.lab.ssh("node1", f"curl -fsS -o /root/new.deb {self.url(NEW, STARTS[BARE].size)}", timeout=600)
        time.sleep(5)

    def bare(self) -> dict[str, float]:
        """Upgrade one node with nothing but the commands."""
        command = "systemctl stop rstudio-pm; dpkg -i /root/new.deb; systemctl start rstudio-pm"
        subprocess.run(self.lab.ssh_argv("node1", command), check=True, stdout=subprocess.DEVNULL)
        return {}

    def measure(self, way: str, setting: str, number: int) -> None:
        """Go one way once, and write down what the client saw."""
        start = STARTS[way]
        upgrade: Callable[[], dict[str, float]] = {
            BARE: self.bare,
            BY_HAND: lambda: self.by_hand("fetch-in-turn"),
            BY_HAND_EARLY: lambda: self.by_hand("fetch-first"),
        }.get(way, lambda: self.ours(start))
        self.settle(start)
        if way == BARE:
            self.others_stopped()
        self.bench.ready(setting)
        with Client(self.balancer) as client:
            support.wait_for("service before", lambda: client.served_for(SERVED_SECONDS), 60)
            begun = time.monotonic()
            steps = upgrade()
            wall = time.monotonic() - begun
            support.wait_for("service after", lambda: client.served_for(SERVED_SECONDS), 60)
        support.wait_for("the new version everywhere", lambda: self.versions(start.nodes) == {NEW}, 60)
        seen = client.outage()
        figures = {OUTAGE: seen.total, LONGEST: seen.longest, STRETCHES: seen.count, WALL: wall}
        self.bench.add(way, setting, number, figures, samples=seen.samples, steps=steps)


def name_of(version: str) -> str:
    """Return the file's name of a package."""
    return f"rstudio-pm_{version}_amd64.deb"


def ways() -> list[tuple[str, str]]:
    """Return every way with its setting, those that are compared beside each other."""
    hand = [(way, "") for way in (BARE, BY_HAND, BY_HAND_EARLY)]
    return [*((way, setting) for way in OURS for setting in SETTINGS), *hand]


def main() -> int:
    """Measure, and fail where something that is wanted was missed."""
    parser = workbench.options(__doc__)
    parser.add_argument("--packages", type=Path, required=True, metavar="DIR", help="where 300/ and 1/ are")
    parser.add_argument("--megabits", type=float, default=0, help="of the download link a second; 0: as fast as can be")
    options = parser.parse_args()
    gateway = support.current_lab().network.gateway
    bench = Bench("upgrade_outage")
    with WebServer(options.packages, gateway, options.megabits) as web:
        upgrades = Upgrades(bench, options.packages, web)
        upgrades.prepare()
        for number in range(options.runs):
            turn = 2 * number % len(ways())
            # another one first in each round, so that none has always the machine's best moment
            for way, setting in ways()[turn:] + ways()[:turn]:
                upgrades.measure(way, setting, number)
    return bench.conclude()


if __name__ == "__main__":
    sys.exit(main())

"""For how long users are without service during an upgrade of the cluster, seen by one client at the load balancer.

All ways in turn in each round, each from a snapshot:

three        upgrade.yml with Ansible's defaults and with pipelining, installed before the outage; 3 nodes, 300 MiB
small, six   the same with 1 MiB; with six nodes
downloads    the same as three, while others download slowly
serves       the same as three, but the first node serves until its turn
hand         the guide's steps over ssh, one after the other, downloads included
hand-early   the same, with all downloads made before the first node is stopped
bare         `systemctl stop; dpkg -i; systemctl start` on one node, the file there, the others stopped before
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import workbench
from bench.catalogue import (
    AHEAD,
    BARE,
    BY_HAND,
    BY_HAND_EARLY,
    LONG,
    OUTAGE,
    PIPELINING,
    REFUSED,
    SERVES,
    SHORT,
    UPGRADE_1,
    UPGRADE_300,
    UPGRADE_DOWNLOADS,
    UPGRADE_SERVES,
    UPGRADE_SIX,
    WALL,
    cut,
    finished,
)
from bench.upgrade_outage_world import Client, Downloads, WebServer
from bench.workbench import Bench
from tests.faults.outside import published_file
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
LONGEST, STRETCHES, DOWNLOAD = "longest outage (s)", "outages", "one download of the package (s)"


@dataclass(frozen=True)
class Cluster:
    """What a snapshot holds, and is upgraded with. size: of the packages in MiB, and the folder they are in."""

    size: str
    nodes: list[str]


CLUSTERS = {"three": Cluster("300", THREE), "small": Cluster("1", THREE), "six": Cluster("300", SIX)}


@dataclass(frozen=True)
class Way:
    """One way. word: by which it is asked for. label: of the snapshot it begins with. mode: of ours, "" by hand."""

    word: str
    name: str
    label: str
    mode: str = ""

    @property
    def cluster(self) -> Cluster:
        """Return what it begins with."""
        return CLUSTERS[self.label]


WAYS = [
    Way("three", UPGRADE_300, "three", AHEAD),
    Way("small", UPGRADE_1, "small", AHEAD),
    Way("six", UPGRADE_SIX, "six", AHEAD),
    Way("serves", UPGRADE_SERVES, "three", SERVES),
    Way("downloads", UPGRADE_DOWNLOADS, "three", AHEAD),
    Way("bare", BARE, "three"),
    Way("hand", BY_HAND, "three"),
    Way("hand-early", BY_HAND_EARLY, "three"),
]
# What is downloaded slowly, for the repository a wheel.
SLOW = random.Random(0).randbytes(1 << 20)
# By itself a kernel takes a file of this size at once from who sends it, who could stop then without cutting anything.
SMALL_BUFFERS = (
    "echo 4096 16384 65536 > /proc/sys/net/ipv4/tcp_wmem; echo 4096 32768 65536 > /proc/sys/net/ipv4/tcp_rmem"
)


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

    def prepare(self, labels: set[str]) -> None:
        """Keep a snapshot of each cluster that a way begins with."""
        self.bench.ready(PIPELINING)
        workbench.give_time()
        for node in THREE:
            self.lab.ssh(node, "apt-get update -qq && apt-get install -y -qq curl > /dev/null", timeout=600)
        lab_module.snapshot(self.lab, "new")
        slow = support.person().new_folder("bench-") / "slow-1.0-py3-none-any.whl"
        slow.write_bytes(SLOW)
        for label in sorted(labels):
            cluster = CLUSTERS[label]
            lab_module.restore(self.lab, "new")
            self.bench.ready(PIPELINING)
            inventory = self.inventories[len(cluster.nodes)]
            workbench.play("site", inventory=inventory, **self.package(OLD, cluster.size))
            support.copy(self.lab, "node1", str(slow), "/root/")
            self.lab.ssh("node1", f"/opt/rstudio-pm/bin/rspm add --repo=pypi --path /root/{slow.name}")
            lab_module.snapshot(self.lab, label)

    def settle(self, way: Way) -> None:
        """Put the machines back to a snapshot and wait until every node serves."""
        lab_module.restore(self.lab, way.label)
        nodes = way.cluster.nodes
        support.wait_for("the old cluster", lambda: self.versions(nodes) == {OLD}, 180, pause=1)
        for node in nodes:
            self.lab.ssh(node, WARM)
        time.sleep(5)

    def versions(self, nodes: list[str]) -> set[str]:
        """Return the versions that the nodes' APIs tell."""
        answers = [support.get(f"{support.address(self.lab, node)}:4242", "/__api__/status") for node in nodes]
        return {json.loads(body)["version"] if code == 200 else "" for code, body in answers}

    def ours(self, way: Way) -> dict[str, float]:
        """Upgrade with the collection; return how long its phases took (seconds)."""
        report = support.person().new_folder("bench-") / "report.json"
        told = {"rspm_upgrade_mode": way.mode, "rspm_report_file": str(report), **self.package(NEW, way.cluster.size)}
        workbench.play("upgrade", inventory=self.inventories[len(way.cluster.nodes)], **told)
        return {phase["name"]: phase["seconds"] for phase in support.read_json(report)["phases"]}

    def by_hand(self, way: Way) -> dict[str, float]:
        """Upgrade as the guide says."""
        when = "fetch-first" if way.name == BY_HAND_EARLY else "fetch-in-turn"
        argv = [str(HERE / "upgrade_outage_by_hand.sh"), when, self.url(NEW, way.cluster.size)]
        environment = {**os.environ, "SSH": " ".join(["ssh", *lab_module.ssh_options(self.lab.folder)])}
        addresses = [self.lab.spec(node).address for node in THREE]
        done = subprocess.run([*argv, *addresses], check=True, stdout=subprocess.PIPE, text=True, env=environment)
        return {DOWNLOAD: float(re.findall(r"fetched in ([\d.]+) s", done.stdout)[0])}

    def others_stopped(self, way: Way) -> None:
        """Leave one node alone, with the file there."""
        for node in THREE[1:]:
            self.lab.ssh(node, "systemctl stop rstudio-pm")
        self.lab.ssh("node1", f"curl -fsS -o /root/new.deb {self.url(NEW, way.cluster.size)}", timeout=600)
        time.sleep(5)

    def bare(self, _way: Way) -> dict[str, float]:
        """Upgrade one node with nothing but the commands."""
        command = "systemctl stop rstudio-pm; dpkg -i /root/new.deb; systemctl start rstudio-pm"
        subprocess.run(self.lab.ssh_argv("node1", command), check=True, stdout=subprocess.DEVNULL)
        return {}

    def measure(self, way: Way, setting: str, number: int) -> None:
        """Go one way once, and write down what the clients saw."""
        upgrade = self.ours if way.mode else self.bare if way.name == BARE else self.by_hand
        self.settle(way)
        if way.name == BARE:
            self.others_stopped(way)
        downloads = {}
        if way.name == UPGRADE_DOWNLOADS:
            for machine in ("lb", *way.cluster.nodes):
                self.lab.ssh(machine, SMALL_BUFFERS)
            file = published_file("slow")
            downloads = {seconds: Downloads(self.balancer, file, SLOW, seconds) for seconds in (SHORT, LONG)}
        self.bench.ready(setting)
        with Client(self.balancer) as client, ExitStack() as stack:
            for each in downloads.values():
                stack.enter_context(each)
            support.wait_for("service before", lambda: client.served_for(SERVED_SECONDS), 60)
            support.wait_for("downloads", lambda: all(each.ended["finished"] for each in downloads.values()), 60)
            begun = time.monotonic()
            steps = upgrade(way)
            wall = time.monotonic() - begun
            support.wait_for("service after", lambda: client.served_for(SERVED_SECONDS), 60)
        upgraded = way.cluster.nodes[:1] if way.name == BARE else way.cluster.nodes
        support.wait_for("the new version everywhere", lambda: self.versions(upgraded) == {NEW}, 60)
        seen = client.outage()
        figures = {OUTAGE: seen.total, LONGEST: seen.longest, STRETCHES: seen.count, WALL: wall, **counted(downloads)}
        if DOWNLOAD in steps:
            figures[DOWNLOAD] = steps.pop(DOWNLOAD)
        self.bench.add(way.name, setting, number, figures, samples=seen.samples, steps=steps)


def name_of(version: str) -> str:
    """Return the file's name of a package."""
    return f"rstudio-pm_{version}_amd64.deb"


def counted(downloads: dict[int, Downloads]) -> dict[str, float]:
    """Return how downloads ended. downloads: by their length in seconds."""
    figures: dict[str, float] = {}
    for seconds, each in downloads.items():
        figures |= {finished(seconds): each.ended["finished"], cut(seconds): each.ended["cut"]}
        figures[REFUSED] = figures.get(REFUSED, 0) + each.ended["refused"]
    return figures


def runs(words: Sequence[str], setting: str | None) -> list[tuple[Way, str]]:
    """Return the ways of a round with their settings, those that are compared beside each other; no words: all."""
    ways = [way for way in WAYS if way.word in (words or [each.word for each in WAYS])]
    settings = workbench.settings(setting)
    return [(way, each) for way in ways for each in (settings if way.mode else [""])]


def main() -> int:
    """Measure, and fail where something that is wanted was missed."""
    parser = workbench.options(__doc__)
    workbench.selection(parser, [way.word for way in WAYS])
    parser.add_argument("--packages", type=Path, required=True, metavar="DIR", help="where 300/ and 1/ are")
    parser.add_argument("--megabits", type=float, default=0, help="of the download link a second; 0: as fast as can be")
    options = parser.parse_args()
    chosen = runs(options.ways, options.setting)
    gateway = support.current_lab().network.gateway
    bench = Bench("upgrade_outage")
    with WebServer(options.packages, gateway, options.megabits) as web:
        upgrades = Upgrades(bench, options.packages, web)
        upgrades.prepare({way.label for way, _setting in chosen})
        for number in range(options.runs):
            for way, setting in workbench.in_turn(chosen, 2 * number):
                upgrades.measure(way, setting, number)
    return bench.conclude()


if __name__ == "__main__":
    sys.exit(main())

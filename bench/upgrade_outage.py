"""For how long users are without service during an upgrade of the cluster, seen by one client at the load balancer.

In turn, several times in one run, each from the same snapshot and with the same package:

ours-3, ours-6  upgrade.yml, three nodes and six
by-hand         the guide's steps over ssh, one after the other, downloads included
by-hand-early   the same, with all downloads made before the first node is stopped
bare            `systemctl stop; dpkg -i; systemctl start` on one node, the file there, the others stopped before
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.upgrade_outage_world import Client, WebServer
from tests.scenarios import support
from tests.scenarios.support import lab_module
from tests.scenarios.workplace import REPOSITORY

HERE = Path(__file__).resolve().parent
OLD, NEW = "2025.12.0-14", "2026.04.0"
THREE = ["node1", "node2", "node3"]
SIX = [*THREE, "node4", "node5", "node6"]
SIX_NODES = HERE / "upgrade_outage_six_nodes.yml"
# A server that runs for long has these in memory, whichever way it is upgraded; a machine that just came up has not.
WARM = (
    "dpkg -l > /dev/null; apt-mark showhold; dpkg-deb --help > /dev/null; cat /opt/rstudio-pm/lib/payload > /dev/null"
)
SERVED_SECONDS = 3.0


def more_nodes() -> list[str]:
    """Return the option that makes it a cluster of six."""
    return ["-i", str(support.person().bring(SIX_NODES))]


class Bench:
    """The lab's cluster, the packages, and the ways to upgrade it."""

    def __init__(self, folder: Path, web: WebServer) -> None:
        self.lab = support.current_lab()
        self.web = web
        files = {version: folder / f"rstudio-pm_{version}_amd64.deb" for version in (OLD, NEW)}
        self.digests = {version: hashlib.sha256(file.read_bytes()).hexdigest() for version, file in files.items()}
        self.balancer = support.address(self.lab, "lb")

    def package(self, version: str) -> dict[str, str]:
        """Return the variables by which the playbooks get a version."""
        name = f"rstudio-pm_{version}_amd64.deb"
        return {
            "rspm_version": version,
            "rspm_package_source": "url",
            "rspm_package_url": f"{self.web.url}/{name}",
            "rspm_package_checksum": f"sha256:{self.digests[version]}",
        }

    def play(self, name: str, *args: str, **variables: Any) -> None:
        """Run a playbook, which has to succeed."""
        run = support.run_playbook(name, *args, timeout=1800, **variables)
        if run.code != 0:
            sys.exit(run.output)

    def prepare(self) -> None:
        """Make a cluster of three nodes and one of six, and keep a snapshot of each."""
        self.play(str(REPOSITORY / "tests/lab/ntp.yml"))
        for node in SIX:
            self.lab.ssh(node, "apt-get update -qq && apt-get install -y -qq curl > /dev/null", timeout=300)
        for label, args in {"three": [], "six": more_nodes()}.items():
            self.play("site", *args, **self.package(OLD))
            lab_module.snapshot(self.lab, label)

    def settle(self, label: str, nodes: list[str]) -> None:
        """Put the machines back to a snapshot and wait until every node serves."""
        lab_module.restore(self.lab, label)
        support.wait_for("the old cluster", lambda: self.versions(nodes) == {OLD}, 120, pause=1)
        for node in nodes:
            self.lab.ssh(node, WARM)
        time.sleep(5)

    def versions(self, nodes: list[str]) -> set[str]:
        """Return the versions that the nodes' APIs tell."""
        answers = [support.get(f"{support.address(self.lab, node)}:4242", "/__api__/status") for node in nodes]
        return {json.loads(body)["version"] if code == 200 else "" for code, body in answers}

    def ours(self, *args: str) -> dict[str, float]:
        """Upgrade with the collection; return the seconds of the steps on the first node."""
        report = support.person().new_folder("bench-") / "report.json"
        self.play("upgrade", *args, **self.package(NEW), rspm_report_file=str(report))
        told = support.read_json(report)
        first = next(phase for phase in told["phases"] if phase["name"] == "first")
        return {step["step"]: step["seconds"] for step in first["nodes"][told["first"]]["steps"]}

    def by_hand(self, when: str) -> dict[str, float]:
        """Upgrade as the guide says."""
        argv = [str(HERE / "upgrade_outage_by_hand.sh"), when, self.package(NEW)["rspm_package_url"]]
        environment = {**os.environ, "SSH": " ".join(["ssh", *lab_module.ssh_options(self.lab.folder)])}
        addresses = [self.lab.spec(node).address for node in THREE]
        done = subprocess.run([*argv, *addresses], check=True, stdout=subprocess.PIPE, text=True, env=environment)
        return {"download": float(re.findall(r"fetched in ([\d.]+) s", done.stdout)[0])}

    def others_stopped(self) -> None:
        """Leave one node alone, with the file there."""
        for node in THREE[1:]:
            self.lab.ssh(node, "systemctl stop rstudio-pm")
        self.lab.ssh("node1", f"curl -fsS -o /root/new.deb {self.package(NEW)['rspm_package_url']}", timeout=300)
        time.sleep(5)

    def bare(self) -> dict[str, float]:
        """Upgrade one node with nothing but the commands."""
        command = "systemctl stop rstudio-pm; dpkg -i /root/new.deb; systemctl start rstudio-pm"
        subprocess.run(self.lab.ssh_argv("node1", command), check=True, stdout=subprocess.DEVNULL)
        return {}

    def measured(self, way: str, number: int) -> dict[str, Any]:
        """Go one way once, and return what the client saw."""
        upgrade: Callable[[], dict[str, float]]
        upgrade, label, nodes = {
            "ours-3": (self.ours, "three", THREE),
            "ours-6": (lambda: self.ours(*more_nodes()), "six", SIX),
            "by-hand": (lambda: self.by_hand("fetch-in-turn"), "three", THREE),
            "by-hand-early": (lambda: self.by_hand("fetch-first"), "three", THREE),
            "bare": (self.bare, "three", THREE[:1]),
        }[way]
        self.settle(label, THREE if way == "bare" else nodes)
        if way == "bare":
            self.others_stopped()
        with Client(self.balancer) as client:
            support.wait_for("service before", lambda: client.served_for(SERVED_SECONDS), 60)
            begun = time.monotonic()
            steps = upgrade()
            wall = time.monotonic() - begun
            support.wait_for("service after", lambda: client.served_for(SERVED_SECONDS), 60)
        support.wait_for("the new version everywhere", lambda: self.versions(nodes) == {NEW}, 60)
        outage = client.outage()
        row = {"way": way, "round": number, "outage_s": outage.total, "longest_s": outage.longest}
        row |= {"outages": outage.count, "samples": outage.samples, "wall_s": round(wall, 1)}
        return row | {"load": round(os.getloadavg()[0], 1), "steps": steps}


def verdicts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is wanted, and whether it was seen; all of medians."""
    seen = {way: statistics.median(row["outage_s"] for row in rows if row["way"] == way) for way in WAYS}
    wanted = [
        ("ours-3 at most a third of by-hand", "ours-3", "by-hand", 1 / 3),
        ("ours-3 at most 1.15 of bare", "ours-3", "bare", 1.15),
        ("ours-6 at most 1.10 of ours-3", "ours-6", "ours-3", 1.10),
    ]
    return [
        {"wanted": text, "ratio": round(seen[one] / seen[other], 3), "ok": seen[one] <= limit * seen[other]}
        for text, one, other, limit in wanted
    ]


def break_even(rows: list[dict[str, Any]], size: int) -> float:
    """Return the download link, in megabits a second, up to which ours-3 is at most a third of by-hand.

    By hand the outage has the first node's download in it, and nothing else in either way depends on the link. size:
    of the package in bytes.
    """
    ours = statistics.median(row["outage_s"] for row in rows if row["way"] == "ours-3")
    rest = statistics.median(row["outage_s"] - row["steps"]["download"] for row in rows if row["way"] == "by-hand")
    return round(size * 8 / 1e6 / max(3 * ours - rest, 0.001), 1)


WAYS = ["ours-3", "bare", "by-hand", "ours-6", "by-hand-early"]


def show(rows: list[dict[str, Any]], judged: list[dict[str, Any]]) -> None:
    """Print the table and the verdicts."""
    print(f"{'outage at the balancer, s':<27} {'median':>7} {'min':>7} {'max':>7}   {'wall s':>7}  runs")
    for way in WAYS:
        mine = [row for row in rows if row["way"] == way]
        outages = [row["outage_s"] for row in mine]
        figures = statistics.median(outages), min(outages), max(outages)
        wall = statistics.median(row["wall_s"] for row in mine)
        print(f"{way:<27} " + " ".join(f"{figure:>7.2f}" for figure in figures) + f"   {wall:>7.1f}  {len(mine)}")
    for way in WAYS:
        steps = [row["steps"] for row in rows if row["way"] == way]
        shown = [f"{name} {statistics.median(step[name] for step in steps):.2f}" for name in steps[0]]
        if shown:
            print(f"{way}, on the first node (medians, s): {', '.join(shown)}")
    for verdict in judged:
        print(f"{'ok    ' if verdict['ok'] else 'MISSED'} {verdict['wanted']}: {verdict['ratio']}")


def link_speed(rows: list[dict[str, Any]], size: int) -> float:
    """Return the median speed of by-hand's download in megabits a second."""
    seconds = statistics.median(row["steps"]["download"] for row in rows if row["way"] == "by-hand")
    return round(size * 8 / 1e6 / seconds, 1)


def main() -> int:
    """Measure, print, and fail where something that is wanted was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, required=True, metavar="DIR", help="where both packages are")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabits", type=float, default=0, help="of the download link a second; 0: as fast as can be")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--prepared", action="store_true", help="the lab has the snapshots of an earlier run")
    options = parser.parse_args()
    gateway = support.current_lab().network.gateway
    rows = []
    with WebServer(options.packages, gateway, options.megabits) as web:
        bench = Bench(options.packages, web)
        if not options.prepared:
            bench.prepare()
        for number in range(options.rounds):
            # another one first in each round, so that none has always the machine's best moment
            for way in WAYS[number % len(WAYS) :] + WAYS[: number % len(WAYS)]:
                rows.append(bench.measured(way, number))
                print(json.dumps(rows[-1]), flush=True)
    judged = verdicts(rows)
    show(rows, judged)
    size = (options.packages / f"rstudio-pm_{NEW}_amd64.deb").stat().st_size
    speed, enough = link_speed(rows, size), break_even(rows, size)
    print(f"package {size / 1e6:.0f} MB, came at {speed} Mbit/s; a third of by-hand is reached up to {enough} Mbit/s")
    if options.json:
        setting = {"limit_megabits": options.megabits, "package_bytes": size}
        setting |= {"measured_megabits": speed, "third_reached_at_megabits": enough}
        options.json.write_text(json.dumps({"setting": setting, "verdicts": judged, "runs": rows}, indent=1) + "\n")
    return 0 if all(verdict["ok"] for verdict in judged) else 1


if __name__ == "__main__":
    sys.exit(main())

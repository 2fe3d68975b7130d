"""How soon a new file is seen by another node, and what the NFS client asks the server for, by mount options.

The package itself decides what a request needs: files are published with it and asked for by HTTP. The mount is made
by hand, since the collection does not accept most of these options.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import workbench
from bench.catalogue import FOUND, MISSING, MOUNTS, SEEN
from bench.mountstats import operations, sent
from bench.workbench import Bench
from tests.faults.outside import published_file
from tests.scenarios import support

WRITER, READER = "node1", "node2"
MOUNT_POINT = "/mnt/rstudio-pm"
KNOWN = [f"known{number}" for number in range(20)]
UNKNOWN = [f"unknown{number}" for number in range(20)]
REQUESTS, A_SECOND = 200, 20
# Longer than any of the client's times.
PATIENCE = 180

_REMOUNT = """
set -e
systemctl stop rstudio-pm
source=$(findmnt -n -o SOURCE {mount})
umount {mount}
mount -t nfs -o {options} "$source" {mount}
systemctl start rstudio-pm
findmnt -n -o OPTIONS {mount}
"""


class Visibility:
    """Two nodes of a cluster that share an export."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.lab = bench, bench.lab
        self.reader = f"{support.address(self.lab, READER)}:4242"

    def remount(self, added: str) -> str:
        """Mount the shared data with other options on both nodes; return those that the reader has."""
        options = ",".join(filter(None, ["vers=4.2,hard", added]))
        told = ""
        for node in (WRITER, READER):
            told = self.lab.ssh(node, _REMOUNT.format(mount=MOUNT_POINT, options=options), timeout=120)
            place = f"{support.address(self.lab, node)}:4242"
            support.wait_for(f"{node} serves", lambda place=place: support.get(place)[0] == 200, 60)
        return told.strip()

    def served(self, name: str) -> bool:
        """Return whether the reader has a package."""
        return support.get(self.reader, published_file(name))[0] == 200

    def latency(self, name: str) -> float:
        """Return how long after a file was published the other node serves it (seconds)."""
        if self.served(name):
            sys.exit(f"{name} is there already")
        published = support.publish(self.lab, name, WRITER)
        support.wait_for(f"{name} on {READER}", lambda: self.served(name), PATIENCE, pause=0.02)
        return time.monotonic() - published

    def asked(self, names: list[str], there: bool) -> dict[str, int]:
        """Return what the reader's NFS client sent while it was asked for names in turn."""
        before = self.counters()
        begun = time.monotonic()
        for number, name in enumerate(itertools.islice(itertools.cycle(names), REQUESTS)):
            time.sleep(max(0.0, begun + number / A_SECOND - time.monotonic()))
            if self.served(name) != there:
                sys.exit(f"{name} was {'not ' if there else ''}served")
        return sent(before, self.counters())

    def counters(self) -> dict[str, int]:
        """Return the operations of the reader's NFS client so far."""
        return operations(self.lab.ssh(READER, "cat /proc/self/mountstats"), MOUNT_POINT)

    def measure(self, mount: str, runs: int) -> None:
        """Measure one way to mount."""
        options = self.remount(MOUNTS[mount])
        slug = "".join(filter(str.isalnum, mount))
        for number in range(runs):
            self.bench.ready()
            seen = self.latency(f"new{slug}{number}")
            found, missing = self.asked(KNOWN, True), self.asked(UNKNOWN, False)
            figures = {SEEN: seen, FOUND: sum(found.values()) / REQUESTS, MISSING: sum(missing.values()) / REQUESTS}
            self.bench.add(mount, "", number, figures, options=options, found=found, missing=missing)


def main() -> int:
    """Measure each way to mount in turn."""
    options = workbench.options(__doc__).parse_args()
    bench = Bench("visibility")
    workbench.give_time()
    nodes = workbench.inventory({support.full(node): {} for node in (WRITER, READER)}, balancer=False)
    workbench.play("site", inventory=nodes, rspm_address="http://packages.example.org")
    measured = Visibility(bench)
    for name in KNOWN:
        support.publish(bench.lab, name, WRITER)
    for mount in MOUNTS:
        measured.measure(mount, options.runs)
    return bench.conclude()


if __name__ == "__main__":
    sys.exit(main())

"""Whether the collection takes longer than it did at other commits: each does the same from the same snapshot, in turn.

few, many, large  the migration to one node, of a cluster of that shape
upgrade           upgrade.yml, the first node serving until its turn; 3 nodes, 300 MiB

All are run as an ordinary account, from the collection as it is built and installed, with pipelining unless another
setting is asked for.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import migrate, records, workbench
from bench.catalogue import COPY, OUTAGE, PIPELINING, WALL, at
from bench.plot import number
from bench.records import Record
from bench.report import ratio
from bench.upgrade_outage import WAYS, Upgrades
from bench.upgrade_outage_world import WebServer
from bench.workbench import Bench
from tests.scenarios import support, workplace
from tests.scenarios.support import lab_module

NAME, UPGRADE, HERE = "against", "upgrade", "here"
SERVES = next(way for way in WAYS if way.word == "serves")
SHAPES = {shape.label: shape for shape in migrate.SHAPES}
COMPARED = (OUTAGE, WALL, COPY)
# Two runs of the same differ by as much.
WORSE = 1.10


def installed(commit: str) -> Path:
    """Return the folder with the collection of a commit, installed from what was built of it."""
    place = support.person()
    source = place.new_folder("source-")
    with subprocess.Popen(["git", "archive", commit], stdout=subprocess.PIPE, cwd=workplace.REPOSITORY) as archive:
        subprocess.run(["tar", "-x", "-C", str(source)], stdin=archive.stdout, check=True)
    if archive.returncode:
        sys.exit(f"{commit} is no commit")
    build = ["ansible-galaxy", "collection", "build", str(source), "--output-path", str(source / "dist")]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    (artefact,) = (source / "dist").iterdir()
    folder = place.new_folder("collections-")
    workplace.install_collections(place, artefact, folder)
    return folder


class Sides:
    """The collection here, and those of other commits."""

    def __init__(self, bench: Bench, commits: Sequence[str]) -> None:
        environment = support.person().environment
        self.bench = bench
        self.folders = {HERE: environment["ANSIBLE_COLLECTIONS_PATH"]}
        self.folders |= {commit: str(installed(commit)) for commit in commits}

    def take(self, side: str) -> None:
        """Let what is run next be of a side."""
        support.person().environment["ANSIBLE_COLLECTIONS_PATH"] = self.folders[side]
        self.bench.side = side


def compared(found: Sequence[Record], sides: Sequence[str]) -> list[tuple[str, float]]:
    """Return a line for each figure of each way and other side, and how many times the other's median it is."""
    values: dict[tuple[str, str], list[float]] = {}
    for record in found:
        for figure in record.figures.keys() & set(COMPARED):
            values.setdefault((record.way, figure), []).append(record.figures[figure])
    lines = []
    for way in dict.fromkeys(record.way.rpartition(", ")[0] for record in found):
        for figure in COMPARED:
            ours = values.get((at(way, HERE), figure))
            for side in sides:
                theirs = values.get((at(way, side), figure))
                if ours and theirs:
                    one, other = statistics.median(ours), statistics.median(theirs)
                    times = ratio(one, other)
                    text = f"{way}: {figure} {number(one)}, {number(other)} at {side}: {number(times)} times"
                    lines.append((text, times))
    return lines


def main() -> int:
    """Measure all sides in turn; fail where the one here is worse."""
    parser = workbench.options(__doc__)
    workbench.selection(parser, [*SHAPES, UPGRADE])
    parser.add_argument("--commit", action="append", required=True, help="with which to compare; may be given again")
    parser.add_argument("--packages", type=Path, required=True, metavar="DIR", help="where 300/ is")
    options = parser.parse_args()
    ways, setting = options.ways or [*SHAPES, UPGRADE], options.setting or PIPELINING
    shapes = [SHAPES[way] for way in ways if way != UPGRADE]
    bench = Bench(NAME)
    sides = Sides(bench, options.commit)
    with WebServer(options.packages, bench.lab.network.gateway, 0) as web:
        upgrades = Upgrades(bench, options.packages, web)
        lab_module.snapshot(bench.lab, "bare")
        if UPGRADE in ways:
            upgrades.prepare({SERVES.label})
            lab_module.restore(bench.lab, "bare")
        if shapes:
            migrate.prepare(bench, shapes)
        for round_number in range(options.runs):
            for way in ways:
                for side in workbench.in_turn(list(sides.folders), round_number):
                    sides.take(side)
                    if way == UPGRADE:
                        upgrades.measure(SERVES, setting, round_number)
                    else:
                        migrate.measure(bench, SHAPES[way], SHAPES[way].ours, setting, round_number)
    lines = compared([each for each in records.read().records if each.benchmark == NAME], options.commit)
    for text, _times in lines:
        print(text)
    return int(any(times > WORSE for _text, times in lines))


if __name__ == "__main__":
    sys.exit(main())

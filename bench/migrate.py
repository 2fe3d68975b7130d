"""What a migration to one node costs: time without service, and in all, against the same typed by hand.

ours             the playbook, from clusters of several shapes
remainder        a warm rsync was typed before; then stop, rsync, pg_dump | pg_restore, change the configuration, start
guide            the guide's five lines: stop all, cp -a, pg_dump | psql, change the configuration, start
careful copy     no more than a copy that is read back: caches dropped, cp -a, caches dropped, cmp

In each, service is what the same client gets at the load balancer. All of one shape begin with the same disks, by hand
with PostgreSQL on the node made ready beforehand.
"""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import workbench
from bench.catalogue import (
    CAREFUL_COPY,
    COPY,
    GUIDE,
    MIGRATE_FEW,
    MIGRATE_LARGE,
    MIGRATE_MANY,
    OUTAGE,
    PIPELINING,
    REMAINDER,
    WALL,
)
from bench.upgrade_outage_world import Client
from bench.workbench import Bench
from tests.scenarios import support
from tests.scenarios.migrate import migration
from tests.scenarios.support import Lab, lab_module

TARGET, OTHERS = "node1", ("node2", "node3")
CHOICES = {"target": TARGET, "data": "move", "database": "move"}
# In which what a killed controller has begun on the machines comes to its end
SETTLED_SECONDS = 30
DATABASES = "rstudio_pm rstudio_pm_usage"
# A client that asks more often takes from the copy what the machines have.
INTERVAL = 0.2
SERVED_SECONDS = 3.0


@dataclass(frozen=True)
class Shape:
    """What the cluster has. ours, by_hand: how the page names its migration, and what it is compared with.

    begun: whether a migration that was cut off before its outage has left a whole copy.
    """

    label: str
    files: int
    size: int
    ours: str
    by_hand: tuple[str, ...] = ()
    begun: bool = False


SHAPES = [
    Shape("few", 10_000, 3000, MIGRATE_FEW, (REMAINDER, GUIDE)),
    Shape("many", 100_000, 3000, MIGRATE_MANY, begun=True),
    Shape("large", 8, 64 << 20, MIGRATE_LARGE, (CAREFUL_COPY,)),
]

_FILL = """
import os
root = "/srv/rstudio-pm/data/bench"
os.makedirs(root)
os.chown(root, 940, 940)
for number in range(%d):
    folder = f"{root}/{number // 500}"
    if number %% 500 == 0:
        os.mkdir(folder)
        os.chown(folder, 940, 940)
    with open(f"{folder}/{number}", "wb") as file:
        file.write(os.urandom(%d))
        os.fchown(file.fileno(), 940, 940)
os.sync()
"""

_MAKE_READY = """
systemctl start postgresql
cd /
password=$(sed -n 's/^ *Password *= *"\\(.*\\)"/\\1/p' /etc/rstudio-pm/rstudio-pm.gcfg | head -1)
su postgres -c psql <<END
CREATE ROLE rstudio_pm LOGIN PASSWORD '$password';
CREATE DATABASE rstudio_pm OWNER rstudio_pm;
CREATE DATABASE rstudio_pm_usage OWNER rstudio_pm;
END
"""

_RSYNC = "runuser -u rstudio-pm -- rsync -aH --delete /mnt/rstudio-pm/data/ /var/lib/rstudio-pm/data/"
_WARM = f"install -d -o rstudio-pm -g rstudio-pm /var/lib/rstudio-pm/data && {_RSYNC} && sync"
_COPY = "runuser -u rstudio-pm -- cp -a /mnt/rstudio-pm/data /var/lib/rstudio-pm/data"
_RESTORE = "pg_restore -h %(new)s -U rstudio_pm -d $database --no-owner"
_PSQL = "psql -q -h %(new)s -U rstudio_pm -d $database > /dev/null"

# copy: a command. dump: the format. load: a command that reads it.
_BY_HAND = """
set -e -o pipefail
systemctl stop rstudio-pm
{copy}
sync
export PGPASSWORD=$(sed -n 's/^ *Password *= *"\\(.*\\)"/\\1/p' /etc/rstudio-pm/rstudio-pm.gcfg | head -1)
for database in {databases}; do
  pg_dump {dump} -h %(old)s -U rstudio_pm $database | {load}
done
sed -i 's|/mnt/rstudio-pm/data|/var/lib/rstudio-pm/data|; s|@%(old)s:|@%(new)s:|' /etc/rstudio-pm/rstudio-pm.gcfg
systemctl start rstudio-pm
"""

_CAREFUL = f"""
set -e -o pipefail
echo 3 > /proc/sys/vm/drop_caches
{_COPY}
sync
echo 3 > /proc/sys/vm/drop_caches
runuser -u rstudio-pm -- find /mnt/rstudio-pm/data -type f -printf '%P\\0' \\
  | runuser -u rstudio-pm -- xargs -0 -I FILE cmp /mnt/rstudio-pm/data/FILE /var/lib/rstudio-pm/data/FILE
"""


def serves(lab: Lab, machine: str) -> bool:
    """Return whether a machine answers."""
    return support.get(f"{support.address(lab, machine)}:4242")[0] == 200


def made_ready(lab: Lab, way: str) -> str:
    """Do what a person does while the cluster serves; return what is typed on the target then."""
    lab.ssh(TARGET, _MAKE_READY)
    copy, dump, load = _COPY, "", _PSQL
    if way == REMAINDER:
        lab.ssh(TARGET, _WARM, timeout=7200)
        copy, dump, load = _RSYNC, "-Fc", _RESTORE
    return _BY_HAND.format(copy=copy, dump=dump, load=load, databases=DATABASES)


def typed(lab: Lab, command: str) -> float:
    """Stop the nodes, and type the rest on the target; return how long it took (seconds)."""
    begun = time.monotonic()
    for node in OTHERS:
        lab.ssh(node, "systemctl stop rstudio-pm")
    # a PostgreSQL that was just installed listens on no other
    addresses = {"old": support.address(lab, "infra"), "new": "127.0.0.1"}
    lab.ssh(TARGET, f"bash -c {shlex.quote(command % addresses)}", timeout=7200)
    support.wait_for("the node", lambda: support.get(support.address(lab, "lb"))[0] == 200, 120)
    return time.monotonic() - begun


def careful_copy(lab: Lab) -> float:
    """Return how long a copy takes that is read back, while nothing else is done (seconds)."""
    for node in (TARGET, *OTHERS):
        lab.ssh(node, "systemctl stop rstudio-pm")
    begun = time.monotonic()
    lab.ssh(TARGET, f"bash -c {shlex.quote(_CAREFUL)}", timeout=7200)
    return time.monotonic() - begun


def with_us() -> tuple[dict[str, float], dict[str, float]]:
    """Return what the playbook costs, and how long its phases took (seconds)."""
    folder = support.person().new_folder("bench-")
    begun = time.monotonic()
    given: dict[str, Any] = {f"rspm_migration_{name}": value for name, value in CHOICES.items()}
    given |= {
        "rspm_migration_target": support.full(TARGET),
        "rspm_migration_inventory": f"{folder}/inventory",
        "rspm_report_file": f"{folder}/report.json",
    }
    workbench.play("migrate_to_single_node", **given)
    wall = time.monotonic() - begun
    report = support.read_json(folder / "report.json")
    seconds = {phase["name"]: phase["seconds"] for phase in report["phases"]}
    return {WALL: wall, **copied(report)}, seconds


def copied(report: dict[str, Any]) -> dict[str, float]:
    """Return how long all passes of the copy took on the target: looking at both trees and verifying are in it.

    Nothing where the report is of a collection that did not move everything in one call yet.
    """
    done = {phase["name"]: phase["nodes"][TARGET]["steps"] for phase in report["phases"] if TARGET in phase["nodes"]}
    if "move" not in done:
        return {}
    last = [step for step in done["move"] if step["step"].startswith("data ")]
    return {COPY: sum(step["seconds"] for step in [*done["warm"], *last])}


def measure(bench: Bench, shape: Shape, way: str, setting: str, number: int) -> None:
    """Go one way from a cluster of a shape; setting: "" for by hand."""
    lab = bench.lab
    lab_module.restore(lab, shape.label)
    support.wait_for("the cluster", lambda: all(serves(lab, node) for node in support.NODES), 180)
    bench.ready(setting)
    if way == CAREFUL_COPY:
        bench.add(way, setting, number, {COPY: careful_copy(lab)})
        return
    command = "" if setting else made_ready(lab, way)
    with Client(support.address(lab, "lb"), INTERVAL) as client:
        support.wait_for("service before", lambda: client.served_for(SERVED_SECONDS), 60)
        figures, phases = with_us() if setting else ({WALL: typed(lab, command)}, {})
        support.wait_for("service after", lambda: client.served_for(SERVED_SECONDS), 60)
    figures = {OUTAGE: client.outage().total, **figures}
    bench.add(way, setting, number, figures, phases=phases)


def prepare(bench: Bench, shapes: list[Shape]) -> None:
    """Make a cluster, and keep a snapshot of it with the files of each shape."""
    bench.ready(PIPELINING)
    workbench.give_time()
    workbench.play("site")
    lab_module.snapshot(bench.lab, "empty")
    for shape in shapes:
        lab_module.restore(bench.lab, "empty")
        support.run(
            bench.lab.ssh_argv("infra", "python3", "-"), text_in=_FILL % (shape.files, shape.size), timeout=1800
        )
        if shape.begun:
            support.wait_for("the cluster", lambda: all(serves(bench.lab, node) for node in support.NODES), 180)
            migration.kill_at("serve", migration.new_inventory(), **CHOICES)
            time.sleep(SETTLED_SECONDS)
        lab_module.snapshot(bench.lab, shape.label)


def main() -> int:
    """Measure all ways in turn, in each round."""
    parser = workbench.options(__doc__)
    workbench.selection(parser, [shape.label for shape in SHAPES])
    options = parser.parse_args()
    shapes = [shape for shape in SHAPES if not options.ways or shape.label in options.ways]
    bench = Bench("migrate")
    prepare(bench, shapes)
    settings = workbench.settings(options.setting)
    for number in range(options.runs):
        for shape in shapes:
            ways = [*((way, "") for way in shape.by_hand), *((shape.ours, setting) for setting in settings)]
            for way, setting in workbench.in_turn(ways, number):
                measure(bench, shape, way, setting, number)
    return bench.conclude()


if __name__ == "__main__":
    sys.exit(main())

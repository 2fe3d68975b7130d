"""What site.yml costs: tasks for each host, wall time and the controller's CPU, on new machines and as a no-op.

Beside it, in the same run, what a person's shell costs for the least that a no-op has to find out: one ssh to each
machine, one after the other, that asks for version, service, mount and clock.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import workbench
from bench.catalogue import CHANGES, CPU, DEFAULTS, LOOK, NEW_SITE, NOOP_SITE, PING, PIPELINING, TASKS, WALL
from bench.workbench import Bench
from tests.scenarios import support
from tests.scenarios.support import lab_module

NEW, NOOP = "new", "noop"
_LOOK = "dpkg-query -W rstudio-pm; systemctl is-active rstudio-pm; findmnt -n /mnt/rstudio-pm; chronyc -c tracking"


def site(bench: Bench, way: str, setting: str, number: int) -> None:
    """Run site.yml and write down what it cost; a no-op that changes something ends the benchmark."""
    bench.ready(setting)
    used, begun = workbench.cpu(), time.monotonic()
    run = workbench.play("site")
    wall, used = time.monotonic() - begun, workbench.cpu() - used
    if way == NOOP_SITE and run.changed():
        sys.exit(f"no no-op: {run.changed()}")
    tasks = {host: run.tasks_of(host) for host in sorted({result["host"] for result in run.results})}
    figures = {WALL: wall, CPU: used, TASKS: max(tasks.values()), CHANGES: len(run.changed())}
    bench.add(way, setting, number, figures, tasks=tasks)


def look(bench: Bench, number: int) -> None:
    """Write down what a person's loop over ssh costs."""
    bench.ready()
    begun = time.monotonic()
    for node in support.NODES:
        subprocess.run(bench.lab.ssh_argv(node, _LOOK), check=True, stdout=subprocess.DEVNULL)
    bench.add(LOOK, "", number, {WALL: time.monotonic() - begun})


def noop(bench: Bench, settings: Sequence[str], number: int) -> None:
    """Measure a round of what a no-op costs with each of the settings."""
    for setting in workbench.in_turn(settings, number):
        bench.ready(setting)
        bench.add(PING, setting, number, {WALL: workbench.ping()})
        site(bench, NOOP_SITE, setting, number)
    look(bench, number)


def main() -> int:
    """Measure new machines in turn, and on the last ones the no-op."""
    parser = workbench.options(__doc__)
    workbench.selection(parser, [NEW, NOOP])
    options = parser.parse_args()
    ways = options.ways or [NEW, NOOP]
    bench = Bench("converge")
    workbench.give_time()
    if NEW in ways:
        lab_module.snapshot(bench.lab, "new")
        for number in range(options.runs):
            lab_module.restore(bench.lab, "new")
            site(bench, NEW_SITE, DEFAULTS, number)
    else:
        bench.ready(PIPELINING)
        workbench.play("site")
    if NOOP in ways:
        for number in range(options.runs):
            noop(bench, workbench.settings(options.setting), number)
    return bench.conclude()


if __name__ == "__main__":
    sys.exit(main())

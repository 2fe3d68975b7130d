"""What more inventory names cost: `site` that has nothing to do, `status`, and Ansible's own ping beside them.

For `site` each name is a machine of its own. For `status` and ping the names lead to the same three machines in turn.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import workbench
from bench.catalogue import PIPELINING, SETTINGS, WALL, names
from bench.workbench import Bench
from tests.scenarios import support
from tests.scenarios.support import lab_module

# More at a time would not be up within the lab's patience.
AT_A_TIME = 5


def numbers(text: str) -> list[int]:
    """Return the numbers of a list with commas."""
    return [int(word) for word in text.split(",") if word]


def node(number: int) -> str:
    """Return the lab's name of a node, counted from 0."""
    return f"node{number + 1}"


def aliases(count: int) -> Path:
    """Return an inventory of so many names that lead to the first three machines in turn."""
    nodes: dict[str, dict[str, Any]] = {}
    for number in range(count):
        # the lab has a machine for each of the first names of nodes, and the inventory how that is reached
        name = node(number) if number < 3 else f"alias{number + 1}"
        nodes[support.full(name)] = workbench.variables_of(node(number % 3))
    return workbench.inventory(nodes)


def status(bench: Bench, count: int, setting: str, number: int) -> None:
    """Ask for the status of so many names, and ping them."""
    inventory = aliases(count)
    bench.ready(setting)
    bench.add(names("ping", count), setting, number, {WALL: workbench.ping("rspm_nodes", str(inventory))})
    bench.ready(setting)
    begun = time.monotonic()
    # 2: several names for one machine are no healthy cluster
    run = workbench.play("status", inventory=inventory, good=(0, 2))
    wall = time.monotonic() - begun
    asked = {result["host"] for result in run.results if result["task"].endswith("Read what runs on every node")}
    if len(asked) != count:
        sys.exit(run.output)
    bench.add(names("status", count), setting, number, {WALL: wall}, code=run.code)


def site(bench: Bench, inventory: Path, count: int, setting: str, number: int) -> None:
    """Run `site` on so many machines that need nothing."""
    bench.ready(setting)
    begun = time.monotonic()
    run = workbench.play("site", inventory=inventory)
    wall = time.monotonic() - begun
    if run.changed():
        sys.exit(f"no no-op: {run.changed()}")
    bench.add(names("site", count), setting, number, {WALL: wall}, tasks=run.tasks_of(node(0)))


def grow(bench: Bench, have: int, count: int) -> Path:
    """Make it a cluster of so many machines; return its inventory."""
    for first in range(have, count, AT_A_TIME):
        lab_module.power_on(bench.lab, [node(number) for number in range(first, min(first + AT_A_TIME, count))])
    inventory = workbench.inventory({support.full(node(number)): {} for number in range(count)})
    bench.ready(PIPELINING)
    workbench.play("site", inventory=inventory)
    return inventory


def main() -> int:
    """Measure status and site of three machines, then of a cluster that grows."""
    parser = workbench.options(__doc__)
    parser.add_argument("--names", type=numbers, default=[3, 10, 30, 100], help="for status and ping")
    parser.add_argument("--machines", type=numbers, default=[3, 10, 30], help="for site, in rising order, all off")
    options = parser.parse_args()
    lab = support.current_lab()
    lab_module.power_on(lab, ["infra", "lb"])
    bench = Bench("scale")
    workbench.give_time()
    have = 0
    for count in options.machines:
        inventory = grow(bench, have, count)
        for number in range(options.runs):
            for setting in SETTINGS:
                site(bench, inventory, count, setting, number)
        if not have:
            for number in range(options.runs):
                for setting in SETTINGS:
                    for several in options.names:
                        status(bench, several, setting, number)
        have = count
    return bench.conclude()


if __name__ == "__main__":
    sys.exit(main())

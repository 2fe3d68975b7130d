"""The cells of the migration to one node, by family: each is a test in tests/scenarios/migrate."""

from __future__ import annotations

import itertools

# load balancer, data, database
CHOICES = list(itertools.product(("keep", "route"), ("keep", "move"), ("keep", "move")))
# All but ready_target, which only is where the load balancer keeps users from the target.
PHASES = (
    *("lock", "begin", "warm", "serve", "drain", "stop_others", "move", "route", "retire", "close_databases"),
    *("close_storage", "inventory", "finish", "unlock", "withdraw", "leave"),
)
# In the order in which one migration meets them.
FAULTS = (
    "the target's disk is full before the first copy",
    "power cut of the target in the warm copy",
    "the server of files is away for 30 s in the warm copy",
    "power cut of the target while PostgreSQL is made ready",
    "the target's disk is full when all is stopped and copied",
    "the call on the target is killed when all is stopped and copied",
    "power cut of the target when all is stopped and copied",
    "power cut of the server of files and databases when all is stopped and copied",
    "the server of files and databases is away for 30 s when all is stopped and copied",
    "the call on the target is killed at its start",
    "power cut of the target at its start",
    "power cut of a node that is retired",
)
CONTENTS = (
    "files change between the warm copy and the last pass",
    "a byte of the copy is corrupt",
    "the target has a database of somebody else's",
)
FAMILIES: dict[str, tuple[str, ...]] = {
    "choice": tuple("-".join(choice) for choice in CHOICES),
    # one migration that goes on after each
    "kill": (f"as each phase begins: {', '.join(PHASES).replace('_', ' ')}",),
    "fault": (f"one after another: {'; '.join(FAULTS)}",),
    "content": CONTENTS,
}


def name_of(family: str, text: str) -> str:
    """Return the name of a cell's record."""
    return f"migrate-{family}-{text.partition(':')[0]}".replace(" ", "-").replace("'", "")

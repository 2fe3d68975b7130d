"""The cells of the migration to one node, by family: each is a test in tests/scenarios/migrate."""

from __future__ import annotations

import itertools

# load balancer, data, database
CHOICES = list(itertools.product(("keep", "route"), ("keep", "move"), ("keep", "move")))
PHASES = (
    *("lock", "begin", "warm", "serve", "drain", "stop_others", "stop_target", "data", "databases", "switch"),
    *("configure", "start", "route", "retire", "close_databases", "close_storage", "inventory", "finish", "unlock"),
    *("withdraw", "leave"),
)
# In the order in which one migration meets them.
FAULTS = (
    "the target's disk is full before the first copy",
    "power cut of the target in the warm copy",
    "the server of files is away for 30 s in the warm copy",
    "power cut of the target while PostgreSQL is made ready",
    "the target's disk is full in the last pass",
    "power cut of the target in the last pass",
    "power cut of the server of files and databases in the last pass",
    "the server of files is away for 30 s in the last pass",
    "the target's disk is full when the databases are copied",
    "power cut of the target in the database restore",
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
    "kill": (f"at the begin of each phase: {', '.join(PHASES).replace('_', ' ')}",),
    "fault": (f"one after the other: {'; '.join(FAULTS)}",),
    "content": CONTENTS,
}


def name_of(family: str, text: str) -> str:
    """Return the name of a cell's record."""
    return f"migrate-{family}-{text.partition(':')[0]}".replace(" ", "-").replace("'", "")

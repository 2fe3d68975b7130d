# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What two nodes that change places say to each other on the shared storage, without the controller.

One file, which stays: a block of the node that takes over, then one of the node that gives its place up. Each writes
its own only, in place. Every word names the attempt, so that none of an earlier one counts. The giver stops
only for a taker that waits, and the taker starts only after the giver's own word: that the giver is silent proves
nothing, for it may be back, with what it has installed. So it is the other way round: the giver starts again only after
the taker's own word that it has moved nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import Enum

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import PLAYBOOK, Problem

BLOCK = 4096
TAKER_AT, GIVER_AT = 0, BLOCK


class Said(Enum):
    """What a node says."""

    WAITS = "waits"
    """The taker: it will start as soon as the giver has stopped."""
    STARTS = "starts"
    """The taker: it is at work on its start, said again and again."""
    GONE = "gone"
    """The taker: it is at work no longer. It serves, or the giver is of no help."""
    MOVED_NOTHING = "moved_nothing"
    """The taker: it could not start, is blocked and stopped, nothing was written to the databases since the giver's
    stop, and the restore point is not in use any more."""
    STOPS = "stops"
    """The giver: it has begun to stop."""
    STOPPED = "stopped"
    """The giver: it is blocked, stopped, and has no session; nothing but a person can start it again."""


@dataclass(frozen=True)
class Word:
    """One node's word. attempt: whose word it is. node: by its name in the inventory. boot_id: of its kernel."""

    said: Said
    attempt: str
    node: str
    boot_id: str
    at: str


def render(word: Word) -> bytes:
    """Return the block that says it."""
    return json.dumps({**asdict(word), "said": word.said.value}).encode().ljust(BLOCK - 1) + b"\n"


def parse(block: bytes) -> Word | None:
    """Return the word of a block, None for one that says nothing (yet), or half of something."""
    try:
        said = json.loads(block)
        return Word(Said(said["said"]), *(str(said[name]) for name in ("attempt", "node", "boot_id", "at")))
    except (ValueError, KeyError, TypeError):
        return None


def says(word: Word | None, attempt: str, node: str, *said: Said) -> bool:
    """Whether it is one of these words of this node, in this attempt."""
    return word is not None and (word.attempt, word.node) == (attempt, node) and word.said in said


_GO_ON = f"run the same command again; or go back: {PLAYBOOK}.rollback"


def never_asked(host: str, taker: str, seconds: float, *, gone: bool) -> Problem:
    """Return the problem of a giver whose taker does not wait for it. gone: whether it has said that it gave up."""
    found = "has given up" if gone else f"did not say within {seconds:g} s that it waits"
    return Problem(
        "hand-over",
        f"{taker}, which is to take over, {found}",
        f"{host} was not stopped: nobody would serve in its place",
        f"See what {taker} says, and {_GO_ON}",
    )


def never_said(host: str, giver: str, seconds: float, *, began: bool) -> Problem:
    """Return the problem of a taker that has waited in vain. began: whether the giver had begun to stop."""
    found = (
        f"{giver} began to stop, and did not say within {seconds:g} s that it is stopped"
        if began
        else f"{giver}, which served until now, did not say within {seconds:g} s that it begins to stop"
    )
    return Problem(
        "hand-over",
        found,
        f"Without its own word it may still serve, or come back with the older version: nothing was started on {host}",
        f"See on {giver}: systemctl status rstudio-pm, and whether it reaches the shared storage; then {_GO_ON}",
    )


def serves_again(host: str, version: str, taker: str, newer: str, seconds: float) -> Problem:
    """Return the problem of a giver that serves again. version: its own. seconds: since it had begun to stop."""
    return Problem(
        "hand-over",
        f"{host} serves with {version} again, because {newer} did not start on {taker} and has written nothing to the "
        f"databases; it did not serve for {seconds:.0f} s",
        f"{taker} and the nodes that had been stopped before stay stopped and blocked",
        f"Repair what {taker} says and run the same command again, which goes on with what is installed there. Or give "
        f"it up, which loses nothing: {PLAYBOOK}.rollback starts all nodes with {version}; then a repaired package can "
        "be taken",
    )


def not_served_again(host: str, version: str, taker: str, newer: str, cause: Problem) -> Problem:
    """Return the problem of a giver that was to serve again, and does not."""
    return Problem(
        cause.check,
        f"{newer} did not start on {taker} and has written nothing to the databases, so that {host} was to serve with "
        f"{version} again. {cause.found}",
        cause.why,
        f"{cause.fix}. {PLAYBOOK}.rollback starts all nodes with {version}, and loses nothing",
    )


def in_use_again(host: str) -> Problem:
    """Return the problem of a giver that finds, before it starts again, that the restore point is in use."""
    return Problem(
        "hand-over",
        f"the restore point is in use when {host} is to start again",
        "The schema may have moved since",
        "Run the same command again, which observes every node anew",
    )


def giver_changed(host: str, version: str) -> Problem:
    """Return the problem of a giver that runs the newer version already."""
    return Problem(
        "hand-over",
        f"{host} is to stop for {version}, and has {version} installed itself",
        "It may be moving the schema, and must not be stopped now",
        "Run the same command again, which observes every node anew",
    )


def storage_failed(host: str, path: str, said: str) -> Problem:
    """Return the problem of a file that can't be read or written."""
    return Problem(
        "hand-over",
        f"{path} can't be used on {host}: {said}",
        "The nodes that change places tell each other there that one has stopped",
        f"Bring the shared storage back on {host}, and {_GO_ON}",
    )

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why root refuses to write a copy: places that the service's account could lead elsewhere."""

from __future__ import annotations

import shlex

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem


def owner_problem(host: str, destination: str, owner: int, account: str) -> Problem:
    """Return the problem of a copy that the account, which writes it, does not own."""
    return Problem(
        "tree-copy-destination",
        f"{destination} on {host} belongs to uid {owner}",
        f"The copy is written as {account}: root writes nothing where that account could put a link",
        f"If it is this copy, chown -R -h {account}: {shlex.quote(destination)}, then run the same command again",
    )


def place_problem(host: str, destination: str, said: str) -> Problem:
    """Return the problem of a destination that can't be made or opened. said: the system's words."""
    return Problem(
        "tree-copy-destination",
        f"{destination} on {host} can't be made or opened as a folder ({said})",
        "Only a folder can hold the copy, and a link in the way, which the service's account may have made, is not "
        "followed",
        "Make the folder above it, or move away what is in its place, then run the same command again",
    )


def state_problem(host: str, folder: str, place: str) -> Problem:
    """Return the problem of a folder of root's that is not root's alone."""
    return Problem(
        "tree-copy-state",
        f"the service's account may write to {place} on {host}",
        f"Root writes to {folder}, and could be led elsewhere from there",
        f"See that only root may write there (ls -ld {shlex.quote(place)}), then run the same command again",
    )

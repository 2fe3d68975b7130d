# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can fail while the databases are copied, in the words that a person needs.

Sources: the manual pages of pg_dump and pg_restore, and the appendix on error codes of PostgreSQL's manual.
"""

from __future__ import annotations

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem

CHECK = "database-copy"
_REPEAT = "run the same command again"
_DISK_FULL = "53100"


def judge_space(path: str, free: int, needed: int) -> list[Problem]:
    """Return the problem of a file system that has no room for the dump. free, needed: bytes."""
    if free >= needed:
        return []
    return [
        Problem(
            CHECK,
            f"{path} has {free} bytes free, and the tables of the source have {needed}",
            "The dump lies there until it is restored",
            f"Make room there, or set work_path to a folder on a larger file system, and {_REPEAT}",
        )
    ]


def tool_failed(name: str, rc: int, said: str, work_path: str, host: str, target: str) -> Problem:
    """Return the problem of a tool that did not do its work. rc: 124 out of time. host: where it ran."""
    text = said.strip().replace("\n", "; ") or "it said nothing"
    if "No space left on device" in said and name == "pg_dump":
        return Problem(
            CHECK,
            f"{work_path} on {host} is full: {text}",
            "The dump lies there until it is restored; nothing was changed in the source",
            f"On {host}: df -h {work_path}; make room, or set work_path to a folder on a larger file system, and"
            f" {_REPEAT}",
        )
    if "No space left on device" in said:
        return disk_full(target, text)
    ended = "ran out of time" if rc == 124 else f"ended with {rc}"
    return Problem(
        CHECK,
        f"{name} on {host} {ended} ({target}): {text}",
        "The copy is not complete; nothing was changed in the source",
        f"Repair what it says (a right, a full disk, a server that was stopped), and {_REPEAT}",
    )


def disk_full(address: str, said: str) -> Problem:
    """Return the problem of a server that has no room left."""
    return Problem(
        CHECK,
        f"the file system of {address} is full: {said}",
        "The copy is not complete; nothing was changed in the source",
        "On the host of that database: df -h $(sudo -u postgres psql -Atc 'SHOW data_directory'); make room there, and"
        f" {_REPEAT}, which empties the unfinished copy and fills it anew",
    )


def failed(address: str, said: str, sqlstate: str = "") -> Problem:
    """Return the problem of a statement that a database did not do. said: its words, or those of the network."""
    if sqlstate == _DISK_FULL:
        return disk_full(address, said)
    return Problem(
        CHECK,
        f"{address} did not do what it was asked for ({said})",
        "Whether the copy is complete is not known; nothing was changed in the source",
        f"See the log of that database server, and {_REPEAT}",
    )

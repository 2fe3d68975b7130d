# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Renewing the lease of a lock for as long as a run lives, and ending the run when that is no longer possible."""

from __future__ import annotations

from typing import Callable, Protocol

from ansible_collections.rspm.ha.plugins.module_utils._lock.lease import ENDED, patience, renewal

RENEWED = "renewed"
OVER = "over"
TAKEN = "taken"

# What runs on the node for each renewal: as the service's account, since root may be squashed. It writes no time of its
# own: utime without one has the storage take its clock's. A lease that has ended stays so.
RENEW = """
import os, sys
folder, number, uid, gid, word = sys.argv[1:]
if (os.geteuid(), os.getegid()) != (int(uid), int(gid)):
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))
os.umask(0o027)
name = os.path.join(folder, "%06d.")
if os.path.exists(name % (int(number) + 1) + "json"):
    print("taken")
elif os.path.exists(name % int(number) + "released") or not os.path.exists(name % int(number) + "json"):
    print("over")
else:
    file = os.open(name % int(number) + "alive", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o640)
    if os.read(file, 16).strip() == b"ended":
        print("over")
    else:
        os.pwrite(file, word.ljust(9).encode() + b"\\n", 0)
        os.utime(file)
        os.close(file)
        print("renewed")
"""


class Attempt(Protocol):
    """One try to renew the lease, which may take long."""

    def poll(self) -> str | None:
        """Return what came of it ("" for a failure), None while it lasts."""

    def kill(self) -> None:
        """Give it up."""


def answer_of(output: str) -> str:
    """Return what the node said, "" for anything else."""
    words = {line.strip() for line in output.splitlines()}
    return next((word for word in (TAKEN, OVER, RENEWED) if word in words), "")


def keep(
    lease: float,
    lives: Callable[[], bool],
    attempt: Callable[[str], Attempt],
    clock: Callable[[], float],
    pause: Callable[[float], None],
) -> str:
    """Renew the lease until the run is gone; return why the run must be ended, "" where it is over.

    lives: whether the run does. attempt: begins to write a word into the lease. clock: also goes on in a suspended
    machine.
    """
    last: float | None = None
    begun = due = clock()
    current: Attempt | None = None
    while lives():
        now = clock()
        # without one success there is no lease that could run out
        if last is not None and now - last >= patience(lease):
            return f"the lock's lease could not be renewed for {now - last:.0f} s, and another run may take it over"
        if current is None and now >= due:
            current, begun = attempt(f"{lease:g}"), now
        said = current.poll() if current else None
        if said is not None:
            current, due = None, begun + renewal(lease)
            if said == TAKEN:
                return "another run has taken the lock over"
            if said == OVER:
                return ""
            # the lease is not younger than the moment before it was asked for
            last = begun if said == RENEWED else last
        elif current and now - begun >= lease / 6:
            current.kill()
            current = None
        pause(min(0.5, renewal(lease) / 2))
    if current:
        current.kill()
    ending, until = attempt(ENDED), clock() + lease / 6
    while ending.poll() is None and clock() < until:
        pause(0.1)
    return ""

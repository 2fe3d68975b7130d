# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rows that nodes keep of themselves, and the offline switch."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

from . import facts
from .database import Session

STALE = 20.0  # seconds without a sign of life


@dataclass(frozen=True)
class Node:
    """A row of the table of nodes."""

    name: str
    version: str
    address: str
    wanted: str
    state: str
    last_seen: float

    @property
    def status(self) -> str:
        """What a person is told: online, offline, stopped or unreachable."""
        if self.state != "stopped" and time.time() - self.last_seen > STALE:
            return "unreachable"
        return self.state

    def to_dict(self) -> dict[str, object]:
        """Return the row as a mapping, with the status."""
        return {**asdict(self), "status": self.status}


def register(session: Session, address: str) -> None:
    """Enter this node as online; a start ends an earlier offline switch."""
    session.run(
        """INSERT INTO nodes (name, version, address, wanted, state, last_seen)
           VALUES (%s, %s, %s, 'online', 'online', %s)
           ON CONFLICT (name) DO UPDATE SET version = excluded.version, address = excluded.address,
           wanted = excluded.wanted, state = excluded.state, last_seen = excluded.last_seen""",
        facts.node_name(),
        facts.VERSION,
        address,
        time.time(),
    )
    if facts.SCHEMA >= 48:
        session.run("UPDATE nodes SET started = %s WHERE name = %s", time.time(), facts.node_name())


def beat(session: Session, state: str) -> None:
    """Leave a sign of life with the state of this node."""
    session.run("UPDATE nodes SET state = %s, last_seen = %s WHERE name = %s", state, time.time(), facts.node_name())


def wanted(session: Session) -> str:
    """Return what this node is told to be: online or offline."""
    rows = session.run("SELECT wanted FROM nodes WHERE name = %s", facts.node_name())
    return str(rows[0][0]) if rows else "online"


def want(session: Session, names: list[str], state: str) -> None:
    """Tell nodes to be online or offline, and wake them."""
    for name in names:
        session.run("UPDATE nodes SET wanted = %s WHERE name = %s", state, name)
    session.notify()


def every(session: Session) -> list[Node]:
    """Return all rows by name."""
    rows = session.run("SELECT name, version, address, wanted, state, last_seen FROM nodes ORDER BY name")
    return [Node(*row) for row in rows]

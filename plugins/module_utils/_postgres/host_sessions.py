# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Watch, over one session, who else is connected to the databases. sessions decides what counts."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._core.host_sockets import load_name, load_owners, load_sockets
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem, raise_any
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import Connection, require_session
from ansible_collections.rspm.ha.plugins.module_utils._postgres.node_sessions import (
    End,
    judge_left,
    left_by_the_dead,
    plain_address,
)
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import Database
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import ConnectFailed, Rows, ServerRefused
from ansible_collections.rspm.ha.plugins.module_utils._postgres.sessions import (
    ADDRESS_QUERY,
    Session,
    database_unreachable,
    judge_sessions,
    parse_sessions,
    sessions_of,
    sessions_query,
    terminate_query,
)

_LOGIN_TIMEOUT = 10.0
_POLL_INTERVAL = 0.05
# a session ends with its process; one that is there longer was left by a power cut or a dead connection
_GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class SessionWatch:
    """An open session that tells where else its role is connected. timeout: seconds to wait for the last one to end."""

    connection: Connection
    where: str
    databases: tuple[str, ...]
    timeout: float

    def ask(self, statement: str) -> Rows:
        """Run a statement; raises DomainError where there is no answer."""
        try:
            return self.connection.query(statement)
        except (ServerRefused, ConnectFailed) as error:
            raise DomainError(database_unreachable(self.where, str(error))) from error

    def own_end(self) -> End:
        """Return this session's end as the server sees it."""
        row = self.ask(ADDRESS_QUERY).as_dicts()[0]
        return End(row["address"] or "", int(row["port"] or 0))

    def wait(self, timeout: float, *, of: str | None = None, not_of: str | None = None) -> tuple[Session, ...]:
        """Return the role's sessions as soon as there are none, or after timeout seconds. of, not_of: addresses."""
        deadline = time.monotonic() + timeout
        while True:
            everyone = parse_sessions(self.ask(sessions_query(self.databases)))
            left = sessions_of(everyone, of=of, not_of=not_of)
            if not left or time.monotonic() >= deadline:
                return left
            time.sleep(_POLL_INTERVAL)

    def prove_own_gone(self) -> int:
        """Wait for this node's sessions to end, end those that a dead process left, and return how many those were.

        Only for a node that is proved stopped. Raises DomainError while one is left from this node's address. Ends no
        session that may be another machine's, or a living program's.
        """
        there, here = self.own_end(), local_end(self.connection.fileno())
        left = self.wait(min(_GRACE_SECONDS, self.timeout), of=there.address)
        ended = self._end_left(left, here, there)
        if left:
            left = self.wait(self.timeout, of=there.address)
            raise_any(judge_left(left, self.where, here, there, load_open_ports()))
        return ended

    def end_left(self) -> int:
        """End the sessions that a dead process of this node left, and return how many those were.

        For a node that runs: what was locked before a power cut stays so until the server misses that process, hours
        later with its defaults.
        """
        there, here = self.own_end(), local_end(self.connection.fileno())
        return self._end_left(self.wait(0, of=there.address), here, there)

    def _end_left(self, left: tuple[Session, ...], here: End, there: End) -> int:
        stale = left_by_the_dead(left, here, there, load_open_ports()) if left else ()
        if stale:
            self.ask(terminate_query(stale))
        return len(stale)

    def prove_others_gone(self) -> None:
        """Raise DomainError while any other node has a session."""
        raise_any(judge_sessions(self.wait(self.timeout, not_of=self.own_end().address), self.where))

    def close(self) -> None:
        """End the session."""
        self.connection.close()


def open_watch(database: Mapping[str, Any]) -> SessionWatch:
    """Log in as the server does. database: as SESSION_OPTIONS has it. Raises DomainError."""
    names = tuple(dict.fromkeys(database["databases"]))
    connection = require_session(
        database["host"],
        database["port"],
        names[0],
        database["user"],
        database["password"],
        database["sslmode"],
        _LOGIN_TIMEOUT,
        database["options"],
    )
    where = f"{database['host']}:{database['port']}"
    return SessionWatch(connection, where, names, database["timeout"])


def watch_over(connection: Connection, database: Database, timeout: float) -> SessionWatch:
    """Watch over a session that is open already."""
    names = tuple(dict.fromkeys((database.name, database.usage_name)))
    return SessionWatch(connection, f"{database.host}:{database.port}", names, timeout)


def judge_left_sessions(watch: SessionWatch) -> list[Problem]:
    """Return the problem of the role's sessions that have not ended after the watch's timeout."""
    return judge_sessions(watch.wait(watch.timeout), watch.where)


def load_left_sessions(database: Database, timeout: float) -> list[Problem]:
    """Log in for that alone. Raises DomainError."""
    account = (database.user, database.password, database.sslmode)
    connection = require_session(
        database.host, database.port, database.name, *account, _LOGIN_TIMEOUT, database.options
    )
    with closing(connection):
        return judge_left_sessions(watch_over(connection, database, timeout))


def local_end(descriptor: int) -> End:
    """Return the end of a connection on this node."""
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        if connection.family not in (socket.AF_INET, socket.AF_INET6):
            return End("", 0)
        address, port = connection.getsockname()[:2]
    return End(plain_address(address), port)


def load_open_ports() -> dict[int, str]:
    """Return the TCP ports that processes of this node have open, each with the process for a person."""
    inodes = {found.port: found.inode for found in load_sockets() if found.inode}
    owners = load_owners(set(inodes.values()))
    names = {inode: f"{load_name(pids[0]) or 'a process'} (pid {pids[0]})" for inode, pids in owners.items()}
    return {port: names.get(inode, "a process") for port, inode in inodes.items()}

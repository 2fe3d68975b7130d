# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is connected to the databases: the statement that asks, and what its answer means.

Before a schema may move, every other node has to be proved stopped, and a session that is left is a node that is not.
Whoever asks has logged in as the nodes' role, and only that role's sessions count: a monitoring role's is no node. The
server shows every role who a session belongs to, and its own sessions whole; only of others it hides the address.
Source: PostgreSQL's manual (pg_stat_activity, inet_client_addr, pg_terminate_backend).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import APPLICATION, Rows, literal

ADDRESS_QUERY = "SELECT host(inet_client_addr()) AS address, inet_client_port()::text AS port"
_OWN_SOCKET = "the server's own socket"


@dataclass(frozen=True)
class Session:
    """One client session, as pg_stat_activity shows it.

    client_address, client_port: empty and 0 for a session through the server's own socket. state: idle, active, idle in
    transaction, ... or empty. since: the time of the last change of state, connected: of the login; both UTC in ISO
    8601, empty where not shown.
    """

    pid: int
    database: str
    user: str
    application: str
    client_address: str
    state: str
    since: str
    connected: str
    client_port: int = 0

    def to_dict(self) -> dict[str, object]:
        """Return the session as a plain mapping for a module result."""
        return asdict(self)


def sessions_query(databases: Sequence[str]) -> str:
    """Return the statement that lists the client sessions of the asking role in the databases.

    Without those of this collection. Where the kind of a session is not told, it counts as a client's. The role is the
    one that the server logged in, which a map of names or a proxy may have made of another name.
    """
    names = ", ".join(literal(name) for name in databases)
    moment = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
    return (
        "SELECT pid, datname, usename, application_name, host(client_addr) AS client_addr, client_port, state, "
        f"{moment.format('state_change')} AS since, {moment.format('backend_start')} AS connected "
        f"FROM pg_catalog.pg_stat_activity WHERE datname IN ({names}) "
        f"AND usename = session_user AND application_name <> {literal(APPLICATION)} "
        "AND coalesce(backend_type, 'client backend') = 'client backend' ORDER BY datname, pid"
    )


def parse_sessions(rows: Rows) -> tuple[Session, ...]:
    """Return the sessions of the statement's answer."""
    return tuple(
        Session(
            pid=int(row["pid"] or 0),
            database=row["datname"] or "",
            user=row["usename"] or "",
            application=row["application_name"] or "",
            client_address=row["client_addr"] or "",
            state=row["state"] or "",
            since=row["since"] or "",
            connected=row["connected"] or "",
            client_port=max(int(row["client_port"] or 0), 0),
        )
        for row in rows.as_dicts()
    )


def judge_sessions(sessions: Sequence[Session], where: str) -> list[Problem]:
    """Return the problem of sessions where none may be left. where: address of the database server, host:port."""
    if not sessions:
        return []
    shown = "; ".join(
        f"{session.application or 'unnamed'} from {session.client_address or _OWN_SOCKET}"
        f" as {session.user} on {session.database} (pid {session.pid}, {session.state or 'state not shown'}"
        f"{' since ' + session.since if session.since else ''})"
        for session in sessions
    )
    return [
        Problem(
            "database-sessions",
            f"{len(sessions)} session{'s are' if len(sessions) > 1 else ' is'} left at {where}: {shown}",
            "A node that still works on the old schema can corrupt data while the schema changes",
            "Stop what holds the session on the host that is named, then run this again",
        )
    ]


def sessions_of(
    sessions: Iterable[Session], *, of: str | None = None, not_of: str | None = None
) -> tuple[Session, ...]:
    """Return the sessions by their addresses, all of them where neither is given; "" is the server's own socket.

    of: only those from this address. not_of: those from this address don't count.
    """
    return tuple(
        session
        for session in sessions
        if of in (None, session.client_address) and (not_of is None or session.client_address != not_of)
    )


def database_unreachable(where: str, said: str) -> Problem:
    """Return the problem of a database that answers no question. where: host:port."""
    return Problem(
        "database-sessions",
        f"{where} could not be asked for its sessions ({said})",
        "Who still works on the database is not known, so that its schema may not move",
        "See the log of the database server, then run the same command again",
    )


def terminate_query(sessions: Iterable[Session]) -> str:
    """Return the statement that ends the sessions, which a role may do with its own."""
    pids = ", ".join(str(session.pid) for session in sessions)
    return f"SELECT pg_terminate_backend(pid)::text AS ended FROM pg_catalog.pg_stat_activity WHERE pid IN ({pids})"

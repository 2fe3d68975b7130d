# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which sessions in the databases are certainly this node's own, and left by a process that is gone.

An address alone does not tell: behind NAT, PgBouncer or a TCP proxy several machines share one. The session that asks
is the measure. Where the server sees it with the very address and port that it has on this node, nothing translates in
between, so that each session from this address began at a port of this node. If no process here has that port open,
whoever opened it is gone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem
from ansible_collections.rspm.ha.plugins.module_utils._postgres.sessions import Session, judge_sessions


@dataclass(frozen=True)
class End:
    """The client's end of a connection. Address "" and port 0 for a local socket."""

    address: str
    port: int

    def __str__(self) -> str:
        """Return it for a person."""
        return f"{self.address}:{self.port}" if self.address else "a local socket"


def plain_address(text: str) -> str:
    """Return an address as the server writes it: without zone, and IPv4 as IPv4."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return str(getattr(address, "ipv4_mapped", None) or address)


def is_direct(here: End, there: End) -> bool:
    """Whether nothing translates addresses. here: this session's end on the node; there: as the server has it."""
    return bool(here.address) and here == there


def left_by_the_dead(
    sessions: Iterable[Session], here: End, there: End, open_ports: Mapping[int, str]
) -> tuple[Session, ...]:
    """Return the sessions that were begun on this node by a process that is gone. open_ports: as load_open_ports."""
    if not is_direct(here, there):
        return ()
    return tuple(
        session
        for session in sessions
        if session.client_address == there.address and session.client_port and session.client_port not in open_ports
    )


def judge_left(
    sessions: Sequence[Session], where: str, here: End, there: End, open_ports: Mapping[int, str]
) -> list[Problem]:
    """Return the problem of sessions that were not ended, or that did not end. where: of the server, host:port."""
    problems = judge_sessions(sessions, where)
    if not problems:
        return []
    found, pids = problems[0].found, ", ".join(str(session.pid) for session in sessions)
    if not is_direct(here, there):
        return [
            Problem(
                problems[0].check,
                f"{found}; whose they are can't be told: what is {here} on this node is {there or 'unknown'} there",
                problems[0].why + ". They may be another machine's behind the same proxy, so none was ended",
                "Stop what holds them. If they were left by a node that is gone, have the database's administrator run "
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid IN ({pids}); then run this again",
            )
        ]
    holders = sorted({open_ports[each.client_port] for each in sessions if each.client_port in open_ports})
    if not holders:
        return problems
    return [
        Problem(
            problems[0].check,
            f"{found}; on this node {', '.join(holders)} has them open",
            problems[0].why,
            "End that program, which uses the service's database account, then run this again",
        )
    ]

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What HAProxy's runtime API says about a node, and how to change the node's state.

Sources: HAProxy Management Guide, "CSV format", "show servers state" (version 1) and "set server".
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem

READY = "ready"
DRAIN = "drain"
MAINTENANCE = "maintenance"
STATES = (DRAIN, MAINTENANCE, READY)
AWAITED = "awaited"
OBSERVED = "observed"

# srv_admin_state is a mask; an operator's, an inherited and a resolver's maintenance all keep requests away.
ADMIN_MAINTENANCE = 0x01 | 0x02 | 0x20 | 0x40
ADMIN_DRAIN = 0x08 | 0x10

STATE_FILE_VERSION = "1"
# What changes by itself, as HAProxy has it for a server that it has just begun to check. With a check status of 0 it
# would never check again, and 2.6 would crash when the server is to be ready.
VOLATILE = {
    "srv_op_state": "2",
    "srv_time_since_last_change": "0",
    "srv_check_status": "1",
    "srv_check_result": "0",
    "srv_check_health": "2",
    "srv_check_state": "6",
}


@dataclass(frozen=True)
class Member:
    """A node as the load balancer sees it.

    state: what an operator wants of it, one of STATES. status: what it is, as HAProxy words it: UP, DOWN, DRAIN, MAINT,
    "no check", or with a fraction while checks turn it. sessions: requests on it now, and waiting for it.
    check: result of the last health check, as L7OK or L4CON; empty without checks.
    """

    state: str
    status: str
    sessions: int
    check: str

    def to_dict(self) -> dict[str, object]:
        """Return the member as a plain mapping for a module result."""
        return asdict(self)


def parse_table(text: str, header: str, separator: str) -> list[dict[str, str]]:
    """Return the rows of a runtime answer whose columns are named by the line that begins with header."""
    lines = [line for line in text.splitlines() if line.strip()]
    starts = [index for index, line in enumerate(lines) if line.startswith(header)]
    if not starts:
        return []
    names = lines[starts[0]][len("# ") :].split(separator)
    rows = csv.reader(lines[starts[0] + 1 :], delimiter=separator)
    return [dict(zip(names, row)) for row in rows]


def members_of(servers_state: str, stat: str, backend: str) -> dict[str, Member]:
    """Return the backend's servers by name out of the answers to "show servers state" and "show stat"."""
    lines = {row.get("svname"): row for row in parse_table(stat, "# pxname,", ",") if row.get("pxname") == backend}
    members = {}
    for row in _servers(servers_state, backend):
        line = lines.get(row["srv_name"])
        if line is None:
            continue
        members[row["srv_name"]] = Member(
            state=_wanted(int(row["srv_admin_state"])),
            status=line["status"],
            sessions=int(line["scur"] or 0) + int(line["qcur"] or 0),
            # A star in front marks a check under way; what follows is the last result.
            check=line.get("check_status", "").lstrip("* "),
        )
    return members


def member_of(servers_state: str, stat: str, backend: str, node: str) -> Member:
    """Return the node's state out of the same answers. Raises DomainError where HAProxy has no such node."""
    member = members_of(servers_state, stat, backend).get(node)
    if member is None:
        names = [row["srv_name"] for row in _servers(servers_state, backend)]
        known = f"its servers are {', '.join(names)}" if names else "it has no servers"
        raise DomainError(_unknown(f"HAProxy has no server {node} in backend {backend}; {known}"))
    return member


def judge_members(members: Mapping[str, Member], backend: str) -> list[Problem]:
    """Return the problem of a backend that is not there, or has no servers."""
    return [] if members else [_unknown(f"HAProxy has no backend {backend} with servers")]


def _servers(servers_state: str, backend: str) -> list[dict[str, str]]:
    return [row for row in parse_table(servers_state, "# be_id ", " ") if row.get("be_name") == backend]


def _wanted(admin_state: int) -> str:
    """Return which of STATES an operator wants. admin_state: of show servers state."""
    if admin_state & ADMIN_MAINTENANCE:
        return MAINTENANCE
    return DRAIN if admin_state & ADMIN_DRAIN else READY


def _unknown(found: str) -> Problem:
    return Problem(
        "load-balancer-member",
        found,
        "A node that can't be taken out of service can't be stopped without failing requests",
        "Run site.yml, which writes the nodes of the inventory into the load balancer's configuration",
    )


def change_command(backend: str, node: str, state: str) -> str:
    """Return the runtime command that gives the node one of STATES."""
    word = "maint" if state == MAINTENANCE else state
    return f"set server {backend}/{node} state {word}"


def settled(member: Member, state: str) -> bool:
    """Tell whether nothing is left to wait for: no request on a node that leaves, sound checks on one that comes back.

    A node out of maintenance counts as up at once, but shows a fraction until all checks that make it so went well. One
    that is awaited has to be found down: before that it would get requests at once.
    """
    if state == AWAITED:
        return member.status.startswith("DOWN")
    if member.state != state:
        return False
    if state == READY:
        return member.status in ("UP", "no check")
    return member.sessions == 0


def judge_change(answer: str, backend: str, node: str, state: str) -> list[Problem]:
    """Return the problem of a "set server" that HAProxy did not take; it answers nothing when it did."""
    said = answer.strip()
    if not said:
        return []
    return [
        Problem(
            "load-balancer-command",
            f"HAProxy answered {said!r} to the change of {backend}/{node} to {state}",
            "The node's traffic is not where the run needs it",
            "See that the socket has 'level admin' and the server its name from the inventory; site.yml writes both",
        )
    ]


def in_service(members: Mapping[str, Member], servers_state: str, kept: str) -> list[str]:
    """Return the nodes for which "ready" has nothing to do. kept: what HAProxy would load at its next start."""
    if kept != state_file(servers_state):
        return []
    return [name for name, member in members.items() if member.state == READY and settled(member, READY)]


def judge_ready(member: Member, node: str, waited: float) -> list[Problem]:
    """Return the problem of a node that is to take requests, but that HAProxy finds unhealthy after waited seconds."""
    if settled(member, READY):
        return []
    return [
        Problem(
            "load-balancer-health",
            f"Node {node} is {member.status} at the load balancer after {waited:.0f} s"
            f" (last health check: {member.check or 'none'})",
            "It is in service for the load balancer, but gets no requests until its health checks succeed",
            f"See on {node}: systemctl status rstudio-pm, and what /__ping__ answers there and from the load balancer",
        )
    ]


def judge_awaited(member: Member, node: str, waited: float) -> list[Problem]:
    """Return the problem of a node that is stopped, but that HAProxy's checks still find sound after waited seconds."""
    if settled(member, AWAITED):
        return []
    return [
        Problem(
            "load-balancer-awaited",
            f"Node {node}, which is to be stopped, is {member.status} at the load balancer after {waited:.0f} s"
            f" (last health check: {member.check or 'none'})",
            "It would get requests before it is to serve",
            f"See on {node} what listens on its port, and run the playbook again",
        )
    ]


def state_file(servers_state: str) -> str:
    """Return what HAProxy has to load at its start so that a node that is out of service stays out.

    Only nodes that are not ready are in it: the others are to start as the configuration and the checks say. What
    changes by itself is left at its beginning, so that the same nodes out of service make the same file.
    """
    rows = parse_table(servers_state, "# be_id ", " ")
    if not rows:
        return f"{STATE_FILE_VERSION}\n"
    kept = [row for row in rows if int(row["srv_admin_state"]) & (ADMIN_MAINTENANCE | ADMIN_DRAIN)]
    lines = [" ".join({**row, **VOLATILE}.values()) for row in kept]
    return "\n".join([STATE_FILE_VERSION, "# " + " ".join(rows[0]), *lines]) + "\n"


def fill(command: list[str], node: str, state: str) -> list[str]:
    """Return a team's own command with {node} and {state} filled in."""
    return [part.replace("{node}", node).replace("{state}", state) for part in command]

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The settings that the nodes need of PostgreSQL. Others may use the server too, so no setting is ever lowered."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem

EVERYWHERE = "*"


@dataclass(frozen=True)
class Setting:
    """A setting of the server. running: its value now; on_disk: the one after the next start."""

    running: str
    on_disk: str


@dataclass(frozen=True)
class Wanted:
    """What the nodes need. connections: the least that is accepted. addresses: where they come to. tls: by TLS."""

    connections: int
    addresses: tuple[str, ...]
    tls: bool


@dataclass(frozen=True)
class Change:
    """A setting that has to become another. write: it is not on disk yet. restart: or else the server reloads it."""

    name: str
    old: str
    new: str
    write: bool
    restart: bool

    def __str__(self) -> str:
        """Return the change for a person."""
        return f"{self.name} from {self.old or 'nothing'} to {self.new}"


def decide_settings(
    settings: Mapping[str, Setting], wanted: Wanted, resolved: Mapping[str, Sequence[str]], shared: bool
) -> list[Change]:
    """Return what has to change. resolved: addresses of names in listen_addresses. shared: others have databases."""
    changes = []
    enough, now = str(wanted.connections), settings["max_connections"]
    later = now.on_disk if int(now.on_disk) >= wanted.connections else enough
    if int(now.running) < wanted.connections or later != now.on_disk:
        short = int(now.running) < wanted.connections
        changes.append(Change("max_connections", now.running, later, later != now.on_disk, short))
    listen = settings["listen_addresses"]
    later = listening(listen.on_disk, wanted.addresses, resolved, shared)
    deaf = listening(listen.running, wanted.addresses, resolved, shared) != listen.running
    if deaf or later != listen.on_disk:
        changes.append(Change("listen_addresses", listen.running, later, later != listen.on_disk, deaf))
    if wanted.tls and settings["ssl"].running != "on":
        changes.append(Change("ssl", "off", "on", settings["ssl"].on_disk != "on", False))
    return changes


def listening(setting: str, addresses: Iterable[str], resolved: Mapping[str, Sequence[str]], shared: bool) -> str:
    """Return a value of listen_addresses with which the server is met at the addresses.

    It is the present one where that is enough. A server that is the nodes' alone listens everywhere, so that it starts
    before its network is there; where others have databases only what lacks is added.
    """
    parts = [part.strip() for part in setting.split(",") if part.strip()]
    there = {address for part in parts for address in resolved.get(part, [part])}
    lacking = [address for address in addresses if not _covered(address, there)]
    if not lacking:
        return setting
    return ", ".join([*parts, *lacking]) if shared else EVERYWHERE


def _covered(address: str, there: set[str]) -> bool:
    if EVERYWHERE in there or address in there:
        return True
    return ("::" if ipaddress.ip_address(address).version == 6 else "0.0.0.0") in there


def names_in(setting: str) -> list[str]:
    """Return the entries of listen_addresses that may be names."""
    return [part.strip() for part in setting.split(",") if part.strip() not in ("", EVERYWHERE)]


def judge_clients(clients: Sequence[str]) -> list[Problem]:
    """Return why a list of clients can't be right."""
    if not clients:
        return [
            Problem(
                check="database-clients",
                found="There is no node to let in to the databases",
                why="A list without nodes would shut out those that run",
                fix="Give the group rspm_nodes its hosts",
            )
        ]
    wrong = []
    for client in clients:
        try:
            ipaddress.ip_network(client, strict=False)
        except ValueError:
            wrong.append(client)
    if not wrong:
        return []
    return [
        Problem(
            check="database-clients",
            found=f"{', '.join(wrong)} is no address, and this host can't resolve it",
            why="PostgreSQL lets in addresses; of a name it would ask a resolver at each login, and back again",
            fix="Set rspm_node_address of that host to its address as the database server sees it",
        )
    ]


def judge_owners(foreign: Mapping[str, str], user: str, port: int) -> list[Problem]:
    """Return the problem of databases that are there and are somebody else's. foreign: owner by database."""
    if not foreign:
        return []
    command = "; ".join(f'ALTER DATABASE "{name}" OWNER TO "{user}"' for name in sorted(foreign))
    return [
        Problem(
            check="database-owner",
            found="; ".join(
                f"the database {name} is there already and belongs to {owner}, not to {user}"
                for name, owner in sorted(foreign.items())
            ),
            why="Another application may use it, which a new owner would lock out",
            fix="Give rspm_database_name and rspm_database_usage_name other names; or, if it is Package Manager's own, "
            f"type on that host: sudo -u postgres psql -p {port} -c '{command}'",
        )
    ]


def kept_clients(before: Iterable[str], after: Iterable[str], live: Iterable[str]) -> list[str]:
    """Return addresses that are let in no more but have a session of the nodes' role: a live node is not shut out.

    before, after: networks; live: addresses.
    """
    old = [ipaddress.ip_network(each) for each in before]
    new = [ipaddress.ip_network(each) for each in after]
    found = [ipaddress.ip_address(each) for each in live]
    lost = [each for each in found if any(each in net for net in old) and not any(each in net for net in new)]
    return [str(each) for each in sorted(set(lost), key=lambda each: (each.version, int(each)))]

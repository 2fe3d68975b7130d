# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""At which address a host of the inventory is met by the others."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

DATABASE = "database"
STORAGE = "storage"


@dataclass(frozen=True)
class Host:
    """A host of the inventory.

    given: its rspm_node_address, "" for none. connection: where Ansible connects to: ansible_host, or its name.
    What the host itself told, empty where it was not asked: own: which addresses of the connection it has itself.
    primary: its address towards the rest of the world. sources: its addresses towards DATABASE and STORAGE.
    """

    name: str
    given: str = ""
    connection: str = ""
    own: tuple[str, ...] = ()
    primary: str = ""
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def is_address(text: str) -> bool:
    """Return whether a text is an address, and no name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def server_address(host: Host) -> str:
    """Return what nodes connect to, where the host is their database or file server.

    What Ansible connects to is taken where the host has it itself: behind a translation of addresses, or by a name that
    means the loopback there, others would not come in. A name that was given stays one, for each node to resolve.
    """
    return host.given or next(iter(host.own), host.primary) or host.connection or host.name


def node_addresses(host: Host, towards: str, resolved: Mapping[str, Sequence[str]]) -> list[str]:
    """Return where a node comes from.

    towards: DATABASE or STORAGE; "" is where the other machines of the cluster meet it, which is one address.
    resolved: what names are on the machine that uses the answer. A name that is unknown there stays a name.
    """
    if host.given:
        found = [host.given] if is_address(host.given) else list(resolved.get(host.given) or [host.given])
        return found if towards else found[:1]
    if towards and host.sources.get(towards):
        return list(host.sources[towards])
    used = (address for kind in (DATABASE, STORAGE) for address in host.sources.get(kind, ()))
    # What a node that is itself the server uses there is of no use to another machine.
    met = next((address for address in used if not ipaddress.ip_address(address).is_loopback), "")
    address = met or server_address(host)
    return [address] if is_address(address) else list(resolved.get(address) or [address])[: None if towards else 1]


def names_to_resolve(hosts: Sequence[Host]) -> list[str]:
    """Return the names that were given in place of addresses."""
    return sorted({host.given for host in hosts if host.given and not is_address(host.given)})

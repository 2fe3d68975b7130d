# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which addresses this machine has and uses. Nothing is sent: the kernel is asked for its routes."""

from __future__ import annotations

import ipaddress
import socket

# Reserved (RFC 1112, RFC 3849): nobody has these, so the route to them is the default route.
_ELSEWHERE = ("240.0.0.1", "2001:db8::1")
# A connected socket of UDP needs a port, which is never used.
_PORT = 9


def resolve(name: str) -> list[str]:
    """Return the addresses of a name as this machine knows it, an address as it is; [] for an unknown name."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def source_of(address: str) -> str:
    """Return the own address that a connection to an address would come from, "" where there is no route."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, _PORT))
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def is_own(address: str) -> bool:
    """Return whether this machine has an address, beside those of its loopback."""
    if ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        return False
    # A way to an address of one's own begins there; one that is merely routed comes from another.
    return source_of(address) == address


def primary_address() -> str:
    """Return the own address that is used towards the rest of the world, "" where there is no way to it."""
    return next((source for source in map(source_of, _ELSEWHERE) if source), "")

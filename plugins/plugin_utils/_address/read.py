# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the inventory and what the hosts told to the hosts of the rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.rspm.ha.plugins.plugin_utils._address.rules import Host

FACT = "cluster_addresses"


def read_host(name: str, variables: Mapping[str, Any]) -> Host:
    """Return a host. variables: those of hostvars."""
    told = read_fact(variables)
    return Host(
        name=name,
        given=str(variables.get("rspm_node_address") or ""),
        connection=str(variables.get("ansible_host") or name),
        own=tuple(told.get("own", ())),
        primary=told.get("primary", ""),
        sources={kind: tuple(addresses) for kind, addresses in told.get("sources", {}).items()},
    )


def read_fact(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a host told of its addresses, {} where it was not asked."""
    told: Mapping[str, Any] = (variables.get("ansible_facts") or {}).get(FACT) or {}
    return told

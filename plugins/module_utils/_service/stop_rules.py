# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stopping a node: what has to be done, and what shows that it is not stopped yet.

Source: ss(8) for the listeners.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ansible_collections.rspm.ha.plugins.module_utils._config.gcfg import Document, last
from ansible_collections.rspm.ha.plugins.module_utils._config.rules import LISTENERS, port_of
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem
from ansible_collections.rspm.ha.plugins.module_utils._core.product import UNIT
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import UnitState

_DEFAULT_LISTEN = ":4242"
_WILDCARDS = ("", "*", "0.0.0.0", "::")
# for the processes that a stop leaves where the unit says so (KillMode=process); systemd ends none but the unit's
_SIGNALS = ("SIGTERM", "SIGKILL")


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket. address: as ss writes it ("*:4242"). owner: name and pid of its process, "" if hidden."""

    address: str
    owner: str


@dataclass(frozen=True)
class Remains:
    """What is left of the server on a node. unit: as systemd has it. processes: ids. listeners: at its addresses."""

    unit: UnitState
    processes: tuple[int, ...]
    listeners: tuple[Listener, ...]

    @property
    def alive(self) -> bool:
        """Whether the server is, or is about to be, there."""
        return bool(self.processes or self.listeners) or self.unit.running


@dataclass(frozen=True)
class StopPlan:
    """The steps that stop and block the node. block comes first: anybody might start a node that is only stopped."""

    block: bool
    stop: bool

    @property
    def changes(self) -> bool:
        """Whether anything is to be done."""
        return self.block or self.stop


def plan_stop(remains: Remains, purpose: str) -> StopPlan:
    """Return what is to be done. purpose: the playbook that may start the node again, "upgrade" or "rollback"."""
    return StopPlan(block=remains.unit.blocked_for != purpose, stop=bool(remains.processes) or remains.unit.running)


def signal_due(remains: Remains, sent: int, left: float) -> str:
    """Return the signal that what the stop has left is to get now, "" for none.

    sent: how many it got. left: the share of the time for it to end that is still left, from 1 to 0.
    """
    # a server that systemd could not stop is a person's to look at
    if sent == len(_SIGNALS) or not remains.processes or remains.unit.running:
        return ""
    return _SIGNALS[sent] if left <= 1 - sent / len(_SIGNALS) else ""


def listen_addresses(document: Document) -> list[str]:
    """Return the addresses that the configuration has the server listen at, ":4242" where it has none."""
    found = [last(document, *setting.split(".")) for setting in LISTENERS]
    return [address for address in found if port_of(address)] or [_DEFAULT_LISTEN]


def parse_listeners(text: str, addresses: Iterable[str]) -> tuple[Listener, ...]:
    """Return the sockets, from `ss -Hltnp`, that take one of the addresses, so that the server could not."""
    wanted = [_split(address) for address in addresses]
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 4:
            continue
        host, port = _split(words[3])
        if any(port == other and (host == name or "" in (host, name)) for name, other in wanted):
            owners = re.findall(r'"([^"]*)",pid=(\d+)', line)
            found.append(Listener(words[3], ", ".join(f"{name} (pid {pid})" for name, pid in owners)))
    return tuple(found)


def _split(address: str) -> tuple[str, str]:
    """Return host and port; the host is "" for every address of the machine."""
    host, _colon, port = address.rpartition(":")
    host = host.strip("[]").partition("%")[0]
    return ("" if host in _WILDCARDS else host), port


def judge_stopped(host: str, remains: Remains, said: str = "") -> list[Problem]:
    """Return why the node is not stopped. said: what systemctl printed."""
    words = f" (systemctl said: {said})" if said else ""
    if remains.processes or remains.unit.running:
        shown = f"process {', '.join(map(str, remains.processes))}" if remains.processes else "its unit"
        state = f"{remains.unit.active_state} ({remains.unit.sub_state})"
        return [
            Problem(
                "node-stopped",
                f"rstudio-pm still runs on {host}: {shown} is left, the unit is {state}{words}",
                "A node that runs while the schema changes can corrupt data",
                f"On {host} see systemctl status {UNIT}, end what is left, then run the same command again",
            )
        ]
    return [
        Problem(
            "node-stopped",
            f"{listener.owner or 'a process that is not shown'} still listens at {listener.address} on {host}{words}",
            "That is the server's address: something serves there that is not recognised as the server",
            f"On {host} end it, then run the same command again",
        )
        for listener in remains.listeners
    ]


def judge_blocked(host: str, remains: Remains) -> list[Problem]:
    """Return why a node that is stopped does not stay so: somebody has unblocked it while it was being stopped."""
    if remains.unit.blocked_for:
        return []
    return [
        Problem(
            "node-stopped",
            f"rstudio-pm on {host} is stopped, and not blocked any more: somebody has unblocked it meanwhile",
            "Whatever starts it now works beside what relies on it being stopped",
            "Find out who starts it, then run the same command again",
        )
    ]


def state_text(running: bool, blocked: bool, version: str = "") -> str:
    """Return the node's state as a line of a diff."""
    words: Sequence[str] = (
        f"rstudio-pm {version}".strip(),
        "running" if running else "stopped",
        "blocked" if blocked else "not blocked",
    )
    return ", ".join(words) + "\n"

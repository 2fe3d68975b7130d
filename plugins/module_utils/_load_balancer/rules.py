# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What else runs on a load balancer's host, and whether ours can run beside it.

Ours is a HAProxy process of its own, with a configuration and a unit of its own. A second file for the process that
haproxy.service runs would need its restart: a reload executes the master anew with the arguments that it had before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem

UNIT = "rspm-haproxy.service"
PACKAGE_UNIT = "haproxy.service"
PACKAGE_CONFIG = "/etc/haproxy/haproxy.cfg"
# First words of what the role writes; older versions of it wrote the package's own file.
WRITTEN = "# Written by Ansible (rspm.ha, role load_balancer)"
LEFT = "# Left by Ansible (rspm.ha, role load_balancer)"


@dataclass(frozen=True)
class Listener:
    """A process that listens on the port; the unit is empty where systemd runs none for it."""

    name: str
    pid: int
    unit: str

    def __str__(self) -> str:
        """Return it for a person."""
        return f"{self.name or 'a process'} (pid {self.pid}{', ' if self.unit else ''}{self.unit})"


def bound_ports(text: str) -> set[int]:
    """Return the TCP ports that a configuration of HAProxy binds, with those of a range."""
    ports: set[int] = set()
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if len(words) < 2 or words[0] != "bind":
            continue
        for address in words[1].split(","):
            match = re.search(r":(\d+)(?:-(\d+))?$", address)
            if match:
                ports.update(range(int(match.group(1)), int(match.group(2) or match.group(1)) + 1))
    return ports


def is_old_layout(config: str, listeners: Sequence[Listener]) -> bool:
    """Tell whether haproxy.service still is what an older version of the role made it.

    config: of the package's haproxy.cfg. Where that was replaced already, the process may not know yet.
    """
    if config.startswith(WRITTEN):
        return True
    return config.startswith(LEFT) and any(listener.unit == PACKAGE_UNIT for listener in listeners)


def judge_host(
    port: int, listeners: Sequence[Listener], configs: Mapping[str, str], own: Mapping[str, str]
) -> list[Problem]:
    """Return why the load balancer can't run on this host without taking something from somebody else.

    configs: text of what haproxy.service reads, by path. own: text of what is at the paths that the role writes.
    """
    old = is_old_layout(configs.get(PACKAGE_CONFIG, ""), listeners)
    problems = [
        Problem(
            check="load-balancer-file",
            found=f"{path} is there, and was not written by rspm.ha",
            why="The load balancer's own file would take its place",
            fix=f"Move it away if nobody needs it, and run the playbook again: mv {path} {path}.before-rspm-ha",
        )
        for path, text in sorted(own.items())
        if text and not text.startswith(WRITTEN)
    ]
    ours = (UNIT, PACKAGE_UNIT) if old else (UNIT,)
    others = [listener for listener in listeners if listener.unit not in ours]
    binding = [] if old else [path for path, text in sorted(configs.items()) if port in bound_ports(text)]
    if others:
        found = f"Port {port} is taken by {', '.join(map(str, others))}"
    elif binding:
        found = f"Port {port} is bound in {', '.join(binding)}"
    else:
        return problems
    return [
        *problems,
        Problem(
            check="load-balancer-port",
            found=found,
            why="Users of Package Manager come in at this port, and each of the two would get requests of the other's",
            fix="Set rspm_load_balancer_port to one that is free on this host, or give the other one another port",
        ),
    ]

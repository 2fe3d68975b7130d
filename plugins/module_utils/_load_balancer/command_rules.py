# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages about a team's own command for its load balancer never show its arguments, which may be secret."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ansible_collections.rspm.ha.plugins.module_utils._config.gcfg import hide
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem

# as short as a secret may be: a program that names its options, and they are many, stays readable
_SHORTEST = 4
_LONGEST = 1000


def parts_of(arguments: Sequence[str]) -> set[str]:
    """Return what may be a secret in arguments: each as a whole, and its words."""
    words = {word for argument in arguments for word in (argument, *re.split(r"[\s=:;,/@&?\"']+", argument))}
    return {word for word in words if len(word) >= _SHORTEST}


def failed(command: Sequence[str], node: str, state: str, rc: int, said: str) -> Problem:
    """Return the problem of a command that ended with rc. command: as the team wrote it. said: what it printed."""
    shown = hide(" ".join(said.split()), parts_of(command[1:]))[-_LONGEST:]
    return Problem(
        "load-balancer-command",
        f"{command[0]}, which is to bring {node} to {state}, ended with {rc}: {shown or 'it said nothing'}",
        "The load balancer may still send requests to a node that is about to stop, or none to one that is back",
        "Run rspm_load_balancer_command by hand on the controller, with its arguments, repair what it says, and run "
        "the playbook again",
    )

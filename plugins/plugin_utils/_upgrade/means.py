# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a plan needs of the storage and of the controller, and what to type where they can't give it."""

from __future__ import annotations

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.space import Space
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.refuse import AGAIN
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.model import Action, Plan

MIB = 1024 * 1024
# What the nodes write to the shared storage while the run lasts.
_LIVE_DATA = 512 * MIB


def refuse_forks(plan: Plan, forks: int) -> list[Problem]:
    """Return why two nodes can't change places; none = they can, or need not. forks: hosts that work at once."""
    changing = [step.host for phase in plan.phases for step in phase.steps if step.action is Action.HAND_OVER]
    if forks >= len(changing):
        return []
    return [
        Problem(
            check="forks",
            found=f"Ansible works on {forks} host at once, while {' and '.join(changing)} are to change places",
            why="Each would wait for the other, and neither would serve",
            fix="Let it work on more (--forks 5, or forks in ansible.cfg), or take an order that does without: "
            "-e rspm_upgrade_mode=first_serves_until_its_turn",
        )
    ]


def refuse_space(space: Space, times: int) -> list[Problem]:
    """Return why the shared storage can't take what a run saves so many times; none = it can.

    A new restore point is complete before the older one goes.
    """
    why = "A full disk would stop the run in the middle, and the nodes that write there"
    if space.says:
        return [
            Problem(
                check="restore-point-space",
                found=f"how much the restore point needs is not known: {space.says}",
                why=why,
                fix=f"Repair what it says, and {AGAIN}",
            )
        ]
    needed = space.dump * times + _LIVE_DATA
    if space.free >= needed:
        return []
    return [
        Problem(
            check="restore-point-space",
            found=f"{space.path} has {space.free // MIB} MiB free, and {needed // MIB} MiB are needed: "
            f"{times} x {-(-space.dump // MIB)} MiB for the dumps of the databases with the package, and "
            f"{_LIVE_DATA // MIB} MiB for what the nodes write meanwhile",
            why=why,
            fix=f"Make room on the shared storage, or enlarge it, and {AGAIN}",
        )
    ]

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Judges what earlier runs have left on the nodes, with what this controller knows of the holder of a lock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem
from ansible_collections.rspm.ha.plugins.module_utils._lock.host_lease import identify
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.left import Settings, judge_left, judge_lock, left_of

# The others see the lock in their plan.
_LOCK_IS_TOLD = ("preflight", "site")


def left_behind(found: Mapping[str, Mapping[str, Any]], verb: str, settings: Settings) -> list[Problem]:
    """Return why the inventory must not be used, by what a migration, or another run with its lock, has left.

    found: what each node tells, {} for nothing. One node that can tell is enough.
    """
    problems = judge_left(left_of(found), settings, verb)
    locked: Mapping[str, Any] = next((result for result in found.values() if result.get("lock")), {})
    if locked and verb in _LOCK_IS_TOLD and not problems:
        me = identify(str(locked["lock"]["holder"]))
        problems = judge_lock(locked["lock"], me["holder"], me["holder_gone"], bool(locked.get("over")))
    return problems

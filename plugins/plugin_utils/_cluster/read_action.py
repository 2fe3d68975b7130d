# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the actions have in common that look at all hosts at once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.report import left_to_do

ROLE = Path(__file__).resolve().parents[3] / "roles" / "rspm"
"""The role that has every variable."""


class ControllerAction(ActionBase):  # type: ignore[misc] # Ansible has no types
    """An action that runs on the controller, once for all hosts of the play, in check mode too, and asks no machine."""

    BYPASS_HOST_LOOP = True
    _requires_connection = False
    _supports_check_mode = True

    def defaults(self) -> Mapping[str, Any]:
        """Return the defaults of the variables, as templates that nothing was put into yet."""
        found: Mapping[str, Any] = self._loader.load_from_file(
            str(ROLE / "defaults" / "main.yml"), trusted_as_template=True
        )
        return found


def plan_result(
    plan: Mapping[str, Any], lock: Mapping[str, Any], finished: bool, lines: Iterable[str], what: str, it: str
) -> dict[str, Any]:
    """Return the result of an action that plans; it fails where something is in the way, or left to do.

    lock: cluster_lock's result. finished: whether all was done before. lines, what, it: as of left_to_do.
    """
    why = left_to_do(plan, lines, what, it) if finished else "\n".join(plan["problems"])
    return {
        **plan,
        "changed": False,
        "holder_gone": lock.get("holder_gone", ""),
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **({"failed": True, "msg": why} if why else {}),
    }

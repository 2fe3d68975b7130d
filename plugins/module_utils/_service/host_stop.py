# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Block and stop the node, and find what is left of it. stop_rules decides what counts."""

from __future__ import annotations

import time

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_process import load_processes
from ansible_collections.rspm.ha.plugins.module_utils._core.host_timeline import Timeline
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import raise_any
from ansible_collections.rspm.ha.plugins.module_utils._core.product import UNIT
from ansible_collections.rspm.ha.plugins.module_utils._service.host import block, load_document, load_unit
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import UnitState
from ansible_collections.rspm.ha.plugins.module_utils._service.stop_rules import (
    Remains,
    judge_blocked,
    judge_stopped,
    listen_addresses,
    parse_listeners,
    plan_stop,
    signal_due,
)

_POLL_INTERVAL = 0.05
# systemctl stop waits for the unit's own processes; others may need a moment more
_LINGER_SECONDS = 10.0


def load_remains(runner: Runner, control_group: str = "", unit: UnitState | None = None) -> Remains:
    """Return what is left of the server on this node.

    control_group: of the unit while it ran, "" for the present. unit: where it was just looked at.
    """
    unit = unit or load_unit(runner)
    sockets = runner(["ss", "--no-header", "--listening", "--tcp", "--numeric", "--processes"], check=True, timeout=30)
    listeners = parse_listeners(sockets.stdout, listen_addresses(load_document()))
    return Remains(unit, load_processes(unit.control_group or control_group), listeners)


def stop_and_prove(
    runner: Runner, timeline: Timeline, host: str, before: Remains, purpose: str, timeout: float
) -> Remains:
    """Block the node, stop it, and prove it: no process, no listening port; returns what is left: nothing.

    timeout: seconds for systemd's stop. Raises DomainError while anything is left, or where it is not blocked any more.
    """
    plan = plan_stop(before, purpose)
    said, sent = "", 0
    if plan.block:
        with timeline.step("block"):
            block(runner, purpose)
    if plan.stop:
        with timeline.step("stop"):
            done = runner(["systemctl", "stop", UNIT], timeout=timeout)
            slow = f"nothing within {timeout:g} s" if done.rc == 124 else done.stderr.strip()
            said = "" if done.rc == 0 else slow
    with timeline.step("prove"):
        deadline = time.monotonic() + (_LINGER_SECONDS if plan.stop else 0)
        while True:
            remains = load_remains(runner, before.unit.control_group)
            left = deadline - time.monotonic()
            if not remains.alive or left <= 0:
                break
            signal = signal_due(remains, sent, left / _LINGER_SECONDS)
            if signal:
                runner(["systemctl", "kill", f"--signal={signal}", UNIT], timeout=30)
                sent += 1
            time.sleep(_POLL_INTERVAL)
        raise_any(judge_stopped(host, remains, said) or judge_blocked(host, remains))
    return remains

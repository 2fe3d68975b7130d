# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who asks for the lock, and what the controller knows of its holder."""

from __future__ import annotations

from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._lock import host
from ansible_collections.rspm.ha.plugins.module_utils._lock.lease import LIVES
from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import Request, holder_pid, is_gone


def identify(holder: str) -> dict[str, str]:
    """Return this controller's run (holder, operator), and holder_gone: what it knows of the holder of a lock."""
    pid = holder_pid(holder)
    kernel = host.this_kernel()
    gone = is_gone(holder, kernel, host.start_time(pid)) and not host.is_hidden(pid)
    known = gone or (holder.partition("/")[0] == kernel != "" and host.start_time(pid) is not None)
    return {
        "holder": str(host.this_run()),
        "holder_gone": holder if gone else LIVES if known else "",
        "operator": host.this_operator(),
    }


def make_request(given: dict[str, Any], node: str) -> Request:
    """Return what this run wants of the lock."""
    return Request(
        run_id=given["run_id"] or host.new_run_id(),
        holder=given["holder"],
        operator=given["operator"],
        verb=given["verb"],
        target=given["target"],
        phase=given["phase"],
        node=node,
        gone=given["holder_gone"],
        keeps=given["run_id"],
    )

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a task failed."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.failure import failure_reason

# what ansible-core 2.19 registers where the module's interpreter wrote no result
FULL = """Traceback (most recent call last):
  File "<stdin>", line 107, in <module>
OSError: [Errno 28] No space left on device: '/x'
"""


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({"msg": "[node-health] it does not start"}, "[node-health] it does not start"),
        (
            {"msg": "Module result deserialization failed: No start of json char found", "module_stderr": FULL},
            "no module can run there, since its disk is full (OSError: [Errno 28] No space left on device: '/x')",
        ),
        (
            {"msg": "Task failed: failed to transfer file to /x:\ndd: error writing '/x': No space left on device\n2"},
            "no module can run there, since its disk is full (dd: error writing '/x': No space left on device)",
        ),
        ({"msg": "[tree-copy] rsync: No space left on device"}, "[tree-copy] rsync: No space left on device"),
        ({"msg": "Failed to connect", "unreachable": True}, "Failed to connect"),
        ({"msg": "x", "module_stderr": "\n"}, "x"),
        ({}, ""),
    ],
)
def test_the_reason_is_the_one_that_helps(result: dict[str, Any], reason: str) -> None:
    assert failure_reason(result) == reason

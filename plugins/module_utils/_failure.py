# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a task failed, in the words that help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# what python says on a disk without room
_FULL = ("No space left on device", "No usable temporary directory found")


def failure_reason(result: Mapping[str, Any]) -> str:
    """Return the reason of a task's failure from its result, "" where it has none.

    Of a module that could not even begin, as on a full disk, Ansible only says that its result is no JSON; what keeps
    it from beginning is the last line of module_stderr.
    """
    lines = [line.strip() for line in str(result.get("module_stderr") or "").splitlines() if line.strip()]
    if lines:
        full = any(sign in lines[-1] for sign in _FULL)
        return f"no module can run there{', since its disk is full' if full else ''} ({lines[-1]})"
    return str(result.get("msg") or "")

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a task failed, in the words that help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# what python says on a disk without room
_FULL = ("No space left on device", "No usable temporary directory found")
# Ansible's own words for a module that it could not bring to the machine.
_OUTSIDE = ("failed to transfer file", "Failed to create temporary directory")


def failure_reason(result: Mapping[str, Any]) -> str:
    """Return the reason of a task's failure from its result, "" where it has none.

    Of a module that could not even begin, as on a full disk, Ansible only says that its result is no JSON; what keeps
    it from beginning is the last line of module_stderr. Without pipelining the module does not even get there, and what
    the transfer said is in the message.
    """
    lines = _lines(result.get("module_stderr"))
    message = str(result.get("msg") or "")
    outside = any(sign in message for sign in _OUTSIDE)
    said = next((line for line in _lines(message) if outside and any(sign in line for sign in _FULL)), "")
    if lines or said:
        why = lines[-1] if lines else said
        full = any(sign in why for sign in _FULL)
        return f"no module can run there{', since its disk is full' if full else ''} ({why})"
    return message


def _lines(text: object) -> list[str]:
    return [line.strip() for line in str(text or "").splitlines() if line.strip()]

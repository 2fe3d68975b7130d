# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a pass of copying has found and done, as the result of a module."""

from __future__ import annotations

from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.compare import Mismatch
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host import Outcome

SHOWN = 20


def listed(found: list[Mismatch]) -> list[dict[str, str]]:
    """Return the first mismatches as plain mappings."""
    return [each.to_dict() for each in found[:SHOWN]]


def result_of(outcome: Outcome, check_mode: bool) -> dict[str, Any]:
    """Return what a module returns of a pass that succeeded."""
    work, totals = outcome.work, outcome.work.totals
    files, size, deleted = outcome.copied_files, outcome.copied_bytes, outcome.deleted
    if check_mode:
        files, size, deleted = work.to_copy.files, work.to_copy.size, work.to_delete
    before = totals.files - work.to_copy.files, totals.size - work.to_copy.size
    return {
        "changed": bool(work.different) if check_mode else outcome.changes > 0,
        "files": totals.files,
        "bytes": totals.size,
        "folders": totals.folders,
        "links": totals.links,
        "copied_files": files,
        "copied_bytes": size,
        "deleted": deleted,
        "verified": outcome.verified if not check_mode else work.equal,
        "read_bytes": outcome.read_bytes,
        "remaining": outcome.left,
        "free_bytes": outcome.room.size,
        "mismatches": listed(outcome.corrupt),
        "diff": {
            "before": f"{before[0]} files, {before[1]} bytes in place, {work.to_delete} paths too many\n",
            "after": f"{totals.files} files, {totals.size} bytes in place, 0 paths too many\n",
        },
    }


def warnings_of(outcome: Outcome, destination: str) -> list[str]:
    """Return what a person should know of a pass that succeeded. destination: as it was given."""
    return [f"{each.path} in {destination} {each.what}; it was copied again" for each in outcome.corrupt[:SHOWN]]

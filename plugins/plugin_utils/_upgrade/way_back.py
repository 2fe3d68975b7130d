# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What going back to the restore point gives up: from when until when, in words that a person can weigh."""

from __future__ import annotations

import math
from datetime import datetime, timezone

from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockView
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.model import Observations, RestorePoint, same


def seconds_of(moment: str) -> float:
    """Return the seconds since the epoch of a moment in UTC, written in ISO 8601; 0 for ""."""
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp() if moment else 0.0


def moment_of(seconds: float) -> str:
    """Return a moment in UTC as the restore point has its own."""
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


def duration(seconds: float) -> str:
    """Return how long that is, rounded up: "1 minute", "119 minutes", "47 hours", "12 days"."""
    minutes = max(1, math.ceil(seconds / 60))
    if minutes < 120:
        return f"{minutes} minute{'' if minutes == 1 else 's'}"
    hours = math.ceil(minutes / 60)
    return f"{hours} hours" if hours < 48 else f"{math.ceil(hours / 24)} days"


def is_finished(observed: Observations) -> bool:
    """Whether the upgrade of the restore point has come to its end, so that people rely on what was written since.

    A node that the upgrade has stopped is blocked. A lock is left by a run that has not come to its end; where all is
    well in spite of it, that was one of a later run. The newer version may also have been brought back by hand.
    """
    point = observed.restore_point
    if point.state is RestoreState.RESTORING:
        return False
    if any(node.blocked_for or not node.has(point.to_version) for node in observed.nodes):
        return False
    well = all(node.healthy and node.runs(point.to_version) for node in observed.nodes)
    return well or (point.state is RestoreState.IN_USE and observed.lock.view is LockView.FREE)


def is_saved(observed: Observations) -> bool:
    """Whether a way back from the finished upgrade has begun, which saves what is there before it stops a node."""
    point, saved = observed.restore_point, observed.saved
    return (
        point.state is RestoreState.IN_USE
        and saved.state is RestoreState.COMPLETE
        and same(saved.from_version, point.to_version)
        and same(saved.to_version, point.from_version)
        # what was saved before a restore must not be replaced by what that has brought back
        and saved.created > max(point.created, point.restored)
    )


def given_up(observed: Observations) -> str:
    """Return a sentence on the writes that a restore takes back."""
    made = seconds_of(observed.restore_point.created)
    if any(node.process for node in observed.nodes):
        until, known = observed.now, True
    else:
        ends = [node.stopped_at for node in observed.nodes]
        known = all(ends)
        until = max(ends) if known else observed.now
    if known and until <= made:
        return f"Nothing was written since the restore point was made at {observed.restore_point.created}"
    text = f"Gives up what was written since the restore point was made at {observed.restore_point.created}"
    if known:
        return f"{text}, until {moment_of(until)}: {duration(until - made)}"
    return f"{text}, until the nodes stopped, of which nobody knows when: at most {duration(until - made)}"


def lost_by_upgrade(point: RestorePoint, stopped: str) -> str:
    """Return what going back to this point would lose of what was written before the first node's upgrade.

    stopped: when the last node of the older version ended, "" where this run does not know.
    """
    if not point.created:
        return "what was written since the restore point is lost"
    if not stopped:
        return f"what was written since the restore point of {point.created} is lost"
    between = seconds_of(stopped) - seconds_of(point.created)
    if between <= 0:
        return (
            f"the restore point was made at {point.created}, when all nodes had stopped: only what the newer version "
            "wrote is lost"
        )
    return (
        f"what was written since the restore point is lost: made at {point.created}, the last node stopped at "
        f"{moment_of(seconds_of(stopped))}, {duration(between)} of writes"
    )

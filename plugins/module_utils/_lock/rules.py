# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may hold the cluster lock.

A lock outlives the process that took it, so the question is when its holder is gone. Age is no answer: a dump of a
large database is silent for as long as it takes, and a second run beside it would do harm. So a holder is gone only
where that can be known: its controller's kernel still runs and says that the process has ended; or its lease, which is
renewed beside the run for as long as it lives, is certainly over (_lock.lease). Else a person has to break the lock,
and is told how.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import PLAYBOOK, DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._lock.lease import LEASE


class LockView(Enum):
    """The cluster lock as this run sees it (decided by may_take)."""

    FREE = "free"
    OURS = "ours"
    TAKEABLE = "takeable"
    """A run of the same work holds it, and is gone."""
    HELD = "held"
    """Not to be taken: its holder lives, may live, or did something else."""


# what may follow a run whose holder is gone, beside the same verb: the way back from an upgrade
_SUCCESSORS = {("upgrade", "rollback")}
# which leaves nothing that it would have to finish itself
_ANYBODYS = "site"


@dataclass(frozen=True)
class LockRecord:
    """What the lock says.

    run_id: of the work; a take-over keeps it, so that a restore point of the same work is known as such.
    holder: the process on the controller, as ProcessId writes it. operator: user@host for people.
    verb, target: the work and the version it leads to (a rollback: the version whose upgrade it undoes).
    since, updated: UTC, YYYY-mm-ddTHH:MM:SSZ; when it was taken (over), and the last sign of its holder.
    phase: the last that its holder has named. node: on which node it was written.
    """

    run_id: str
    holder: str
    operator: str
    verb: str
    target: str
    since: str
    updated: str
    phase: str
    node: str

    def to_dict(self) -> dict[str, str]:
        """Return the record as a plain mapping."""
        return asdict(self)


@dataclass(frozen=True)
class Request:
    """What a run wants.

    run_id: the id of the work if it is new. gone: the holder that the controller has found to have ended, LIVES where
    it has found it alive, "" where it can't tell.
    keeps: the run_id that this run already holds the lock for; then it must still be so. "" for a first request.
    """

    run_id: str
    holder: str
    operator: str
    verb: str
    target: str
    phase: str = ""
    node: str = ""
    gone: str = ""
    keeps: str = ""


@dataclass(frozen=True)
class Decision:
    """view: what may be done. record: what is to be written for it, None where nothing is. says: for a person."""

    view: LockView
    record: LockRecord | None
    says: str


def how_lost(current: LockRecord | None, holder: str, run_id: str) -> str:
    """Return what became of a lock that a run has held, "" where it still does. current: what is held."""
    if current is not None and (current.holder, current.run_id) == (holder, run_id):
        return ""
    now = "free" if current is None else describe(current)
    return f"no longer this run's: it was broken or taken over, and is now {now}"


def may_take(current: LockRecord | None, request: Request, now: str, over: bool = False) -> Decision:
    """Return whether the lock is free, ours, to be taken over, or not to be had.

    current: what is held, None for nothing. now: UTC, as in LockRecord. over: whether its lease is.
    """
    lost = how_lost(current, request.holder, request.keeps) if request.keeps else ""
    if lost:
        return Decision(LockView.HELD, None, lost)
    fresh = LockRecord(
        request.run_id,
        request.holder,
        request.operator,
        request.verb,
        request.target,
        now,
        now,
        request.phase,
        request.node,
    )
    if current is None:
        return Decision(LockView.FREE, fresh, "free")
    says = describe(current)
    same_work = (current.verb, current.target) == (request.verb, request.target)
    if current.holder == request.holder and same_work:
        moved = request.phase not in ("", current.phase)
        renewed = replace(current, phase=request.phase, updated=now, node=request.node) if moved else None
        return Decision(LockView.OURS, renewed, says)
    follows = same_work or ((current.verb, request.verb) in _SUCCESSORS and current.target == request.target)
    follows = follows or current.verb == _ANYBODYS
    gone = request.gone == current.holder if request.gone else over
    if follows and gone:
        taken = replace(
            current,
            holder=request.holder,
            operator=request.operator,
            verb=request.verb,
            since=now,
            updated=now,
            phase=request.phase or current.phase,
            node=request.node,
        )
        return Decision(LockView.TAKEABLE, taken if current.verb != _ANYBODYS or same_work else fresh, says)
    return Decision(LockView.HELD, None, says)


def describe(record: LockRecord) -> str:
    """Return the holder's details, and how to break the lock, as part of a sentence."""
    return (
        f"locked by {record.operator} since {_readable(record.since)} for {_work(record)}, phase '{record.phase}' "
        f"(last sign {_readable(record.updated)}, on {record.node}); to break it: "
        f"{PLAYBOOK}.unlock -e rspm_unlock_run_id={record.run_id}"
    )


def _work(record: LockRecord) -> str:
    if not record.target:
        return record.verb
    return f"{record.verb} {'of the upgrade ' if record.verb == 'rollback' else ''}to {record.target}"


def _readable(time: str) -> str:
    return f"{time[:10]} {time[11:16]} UTC"


def refusal(says: str) -> DomainError:
    """Return the error of a lock that isn't to be had."""
    return DomainError(
        Problem(
            check="cluster-lock",
            found=f"The cluster is {says}",
            why="Two runs at once would stop, start and upgrade nodes against each other",
            fix="Wait for its end. If its run is gone, the same command takes the lock over: at once on the controller "
            f"that held it, from anywhere else {LEASE * 4 // 180} minutes after the last sign of the run; or break it "
            "as shown, after making sure that nothing runs",
        )
    )


def render(record: LockRecord) -> str:
    """Return the record as the text that lies on the storage."""
    return json.dumps(record.to_dict(), indent=1) + "\n"


def parse(text: str) -> LockRecord:
    """Return the record of a text. Raises DomainError for anything that render didn't write."""
    try:
        data = json.loads(text)
        return LockRecord(**{field.name: str(data[field.name]) for field in fields(LockRecord)})
    except (ValueError, KeyError, TypeError) as error:
        raise DomainError(
            Problem(
                check="cluster-lock",
                found=f"The lock can't be read: {error!r}",
                why="Whether another run is at work isn't known",
                fix="Look at the newest file in the lock's folder; if nothing runs, remove that file",
            )
        ) from error


@dataclass(frozen=True)
class ProcessId:
    """A process that no other can be taken for.

    kernel: the boot id of its kernel and its pid namespace; "" where the controller has none (then it never counts as
    gone). pid and started: from /proc/PID/stat, started in clock ticks since boot.
    """

    kernel: str
    pid: int
    started: int

    def __str__(self) -> str:
        """Return it as a record's holder."""
        return f"{self.kernel}/{self.pid}/{self.started}"


def is_gone(holder: str, kernel: str, started: int | None) -> bool:
    """Whether a holder is known to have ended.

    kernel: of the controller that asks. started: of the process that has the holder's pid there now, None for none.
    """
    where, _slash, process = holder.partition("/")
    if not kernel or where != kernel:
        return False
    return started is None or process != f"{holder_pid(holder)}/{started}"


def holder_pid(holder: str) -> int:
    """Return the process number of a holder, 0 where it has none."""
    parts = holder.split("/")
    return int(parts[1]) if len(parts) == 3 and parts[1].isdigit() else 0

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One pass of copying a tree: look, copy what differs, look again. What is refused is decided elsewhere.

Nothing is believed of an earlier run: every pass looks at both trees. The one thing that it takes over is evidence that
two files, which have not changed since, have the same content.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from operator import itemgetter

from ansible_collections.rspm.ha.plugins.module_utils._account_files.host import find_account
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import make_folder, read_text
from ansible_collections.rspm.ha.plugins.module_utils._core.host_timeline import Timeline
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem, raise_any
from ansible_collections.rspm.ha.plugins.module_utils._core.product import ACCOUNT
from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import mount_of, parse_mountinfo
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy import plan, shares
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.compare import Mismatch
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_place import (
    load_room,
    load_target,
    make_destination,
    require_apart,
)
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_rsync import Command, run_all
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_spool import Sorter, Spool
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_state import State
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_survey import Trees
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_work import Result, Sent, Work, with_parents
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_worker import Worker
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.plan import Room, TargetFacts
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.progress import Progress

# Seconds without a question after which the one who followed the copy is gone, and for which its end is waited for
_ABANDONED = 30.0
_PATIENCE = 45.0
_REPORT_INTERVAL = 1.0
_COMMAND_TIMEOUT = 60
# A folder that the account may enter; the mount itself is seen by this process and its children only
_SECOND_MOUNT = "/run/rspm-ha-tree-copy"
_CLONE_NEWNS = 0x00020000
_ROUNDS = 3
# Gives paths in order, each time anew
Paths = Callable[[], Iterator[bytes]]


@dataclass
class Outcome:
    """What a pass found and did. corrupt: contents that were wrong though size and time were right, and were replaced.

    left: number of paths that differ at the end, which after a warm pass is what changed meanwhile. remaining: the
    first of them. sent: what the last copying read of files, each with its MD5 and when it began.
    """

    work: Work
    room: Room
    copied_files: int = 0
    copied_bytes: int = 0
    deleted: int = 0
    changes: int = 0
    verified: int = 0
    read_bytes: int = 0
    left: int = 0
    remaining: list[Mismatch] = field(default_factory=list)
    corrupt: list[Mismatch] = field(default_factory=list)
    sent: Sorter | None = field(default=None, repr=False)


class MismatchError(DomainError):
    """Raised where the copy is not equal; carries what was done."""

    def __init__(self, problem: Problem, outcome: Outcome) -> None:
        super().__init__(problem)
        self.outcome = outcome


def mount_alone(runner: Runner, argv: list[str]) -> bool:
    """Mount something that this process and its children alone see, and that goes with them; return whether it is."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
        return False
    make_folder(argv[-1])
    return (
        runner(["mount", "--make-rprivate", "/"], timeout=_COMMAND_TIMEOUT).rc == 0
        and runner(argv, timeout=_COMMAND_TIMEOUT).rc == 0
    )


class TreeCopy:
    """Copies the source to the destination, both folders of this host. pass_name: "warm" or "last"."""

    def __init__(
        self,
        runner: Runner,
        timeline: Timeline,
        host: str,
        source: str,
        destination: str,
        pass_name: str,
        follower: str = "",
        patience: float = _PATIENCE,
    ) -> None:
        self.runner, self.timeline, self.host, self.pass_name = runner, timeline, host, pass_name
        self.source, self.destination = os.path.normpath(source), os.path.normpath(destination)
        self.state = State(plan.state_folder(self.destination), host, follower)
        self._patience, self._account = patience, find_account(ACCOUNT)
        self._progress, self._stage_begun, self._reported = Progress(pass_name, "compare"), time.monotonic(), 0.0
        # a file server is waited for most of the time, however few processors there are
        self._workers = max(4, min(8, os.cpu_count() or 4))

    def observe(self) -> Outcome:
        """Return what a pass would do, without writing anything."""
        self._judge_places()
        with closing(self._trees(self.source)) as trees, self.timeline.step("compare"):
            work = self._survey(trees)
        room = load_room(self.destination)
        raise_any(plan.judge_room(self.host, self.destination, work.need, room))
        return Outcome(work, room)

    def run(self) -> Outcome:
        """Do the pass. Raises DomainError where it can't be done or, the last one, does not end in an equal copy."""
        self._judge_places()
        require_apart(self.host, self.state.folder, self._account)
        self.state.lock(self._patience)
        try:
            # another run may have been at work until now
            real = self._judge_places()
            with closing(self._trees(self._reading_place(real))) as trees:
                return self._pass(trees)
        finally:
            self.state.unlock()

    def _pass(self, trees: Trees) -> Outcome:
        with self.timeline.step("compare"):
            work = self._survey(trees)
        outcome = Outcome(work, load_room(self.destination), verified=work.equal)
        raise_any(plan.judge_room(self.host, self.destination, work.need, outcome.room))
        everything = self._takes_everything(work)
        scope: Paths | None = work.all_paths if work.paths.count else None
        different: Paths | None = work.to_copy_paths if work.different else None
        corrupt: Paths | None = None
        result = trees.nothing()
        if not self.state.read_marker()[0]:
            self.state.write_marker(self.source, 0)
        for number in range(_ROUNDS):
            if different or corrupt:
                self._copy(trees, outcome, different, corrupt, everything)
            if everything or scope:
                result = self._compare(trees, outcome, None if everything else scope)
            outcome.verified = result.equal if everything else work.totals.entries - len(result.different)
            outcome.left, outcome.remaining = len(result.different) + len(result.corrupt), result.mismatches()
            outcome.corrupt += result.corrupt.first
            if result.clean or (self.pass_name == "warm" and not result.corrupt):
                break
            different = result.different.paths if result.different else None
            corrupt = result.corrupt.paths if result.corrupt else None
            scope = result.paths
            # what a copy of some paths does not mend, one of all may; and reading one name anew parts hard links
            everything = corrupt is not None or number > 0
        if self.pass_name == "last":
            if outcome.left:
                raise MismatchError(
                    plan.mismatch_problem(self.host, self.destination, outcome.left, outcome.remaining),
                    outcome,
                )
            if not self.state.read_marker()[1]:
                self.state.write_marker(self.source, time.time_ns())
        return outcome

    def _takes_everything(self, work: Work) -> bool:
        entries = work.totals.entries + work.to_delete
        return self._target().kind == "absent" or plan.takes_everything(work.different, entries, work.linked)

    def _survey(self, trees: Trees) -> Work:
        self._begin("compare", 0, 0)
        finished_ns = self.state.read_marker()[1]
        there = self._target()
        # an empty one may be root's yet, where the account sees nothing
        work = trees.survey(there.kind == "folder" and not there.empty, finished_ns)
        if work.used:
            raise DomainError(plan.used_problem(self.host, self.destination, work.used))
        return work

    def _compare(self, trees: Trees, outcome: Outcome, scope: Paths | None) -> Result:
        work = outcome.work
        files, size = work.totals.files, work.totals.size
        if scope is not None:
            files, size = work.to_copy.files + work.unproved, work.to_copy.size + work.unproved_size
        self._begin("verify", files, size)
        with self.timeline.step("verify"):
            sent = Sent(outcome.sent, work) if outcome.sent else None
            result = trees.compare((lambda: with_parents(scope())) if scope else None, sent)
        outcome.read_bytes += result.read_bytes
        return result

    def _copy(
        self, trees: Trees, outcome: Outcome, different: Paths | None, corrupt: Paths | None, everything: bool
    ) -> None:
        """Let rsync copy what differs, and wait until it is on the disk."""
        self.state.write_marker(self.source, 0)
        work = outcome.work
        if outcome.sent is not None:
            outcome.sent.close()
        outcome.sent = Sorter(self.state.folder)
        self._begin("copy", work.to_copy.files, work.to_copy.size)
        make_destination(self.host, self.destination, self._account)
        with self.timeline.step("copy"):
            trees.open_folders(work)
            if corrupt:
                self._write_list(0, corrupt())
                self._rsync(trees, outcome, [self._listed(trees, work, 0, reread=True)])
            if everything:
                places = Spool(self.state.folder)
                lists = self._share_out(work, places) if outcome.changes == 0 else 0
                if lists:
                    self._rsync(
                        trees, outcome, [self._listed(trees, work, number, below=True) for number in range(lists)]
                    )
                if lists and not work.linked:
                    # all that is left are folders, links, and what is to be deleted
                    paths = with_parents(different()) if different else iter(())
                    self._write_list(0, shares.left_over(paths, (path for path, _cost in places)))
                    self._rsync(trees, outcome, [self._listed(trees, work, 0)])
                else:
                    self._rsync(trees, outcome, [Command(self._argv(trees, work))])
            elif different:
                self._write_list(0, with_parents(different()))
                self._rsync(trees, outcome, [self._listed(trees, work, 0)])
            trees.close_folders(work)
        with self.timeline.step("sync"):

            def tick(_files: int, _size: int) -> None:
                self._tick()

            command = Command(["sync", "-f", self.destination])
            (run,) = run_all([command], self.state.lock_descriptor, tick, self._account)
            if run.rc:
                raise DomainError(plan.sync_problem(self.host, run.rc, run.said, self.destination))

    def _share_out(self, work: Work, places: Spool) -> int:
        """Write the lists of what several rsyncs copy; returns how many. places: gets what is in them."""
        shares.find_places(work.to_place(), shares.largest_place(work.file_cost, self._workers), places)
        count = 0
        for number, dealt in groupby(shares.deal(places, work.file_cost, self._workers), key=itemgetter(0)):
            self._write_list(number, (path for _number, path in dealt))
            count = number + 1
        return count

    def _write_list(self, number: int, paths: Iterable[bytes]) -> None:
        with open(self.state.list_path(number), "wb") as file:
            # without it a name that begins with # would be a comment
            file.writelines(b"./" + path + b"\0" for path in paths)

    def _listed(
        self,
        trees: Trees,
        work: Work,
        number: int,
        *,
        below: bool = False,
        reread: bool = False,
    ) -> Command:
        """Return the command that copies the paths of a list."""
        return Command(self._argv(trees, work, listed=True, below=below, reread=reread), self.state.list_path(number))

    @cached_property
    def _digests(self) -> bool:
        """Whether rsync says what it read."""
        return plan.gives_digests(self.runner(["rsync", "--version"], timeout=_COMMAND_TIMEOUT).stdout)

    def _argv(
        self, trees: Trees, work: Work, *, listed: bool = False, below: bool = False, reread: bool = False
    ) -> list[str]:
        return plan.rsync_argv(
            trees.source,
            self.destination,
            digests=self._digests,
            large=work.need.largest >= plan.LARGE_FILE,
            listed=listed,
            below=below,
            reread=reread,
            opened=self._account is not None,
        )

    def _rsync(self, trees: Trees, outcome: Outcome, commands: list[Command]) -> None:
        files, size, sent, begun_ns = outcome.copied_files, outcome.copied_bytes, outcome.sent, time.time_ns()
        runs = run_all(
            commands,
            self.state.lock_descriptor,
            lambda more_files, more_size: self._report(files + more_files, size + more_size),
            self._account,
            lambda path, text: sent.add(path, b"%b %d" % (text.encode("ascii"), begun_ns)) if sent else None,
        )
        for run in runs:
            outcome.copied_files += run.files
            outcome.copied_bytes += run.size
            outcome.deleted += run.deleted
            outcome.changes += run.changed
        for run in runs:
            if plan.is_full(run.said):
                raise DomainError(self._full(trees))
            problem = plan.rsync_problem(self.host, run.rc or 0, run.said, self.source)
            if problem is not None:
                raise DomainError(problem)

    def _full(self, trees: Trees) -> Problem:
        """Return the problem of a disk that became full, with what is still missing."""
        need, room = self._survey(trees).need, load_room(self.destination)
        lacking = max(1, plan.missing_bytes(need, room))
        more = f"it became full while copying; {room.size} are free, {need.size} more are needed"
        return plan.space_problem(self.host, self.destination, lacking, more)

    def _judge_places(self) -> str:
        """Return the source without symlinks; raises DomainError where the one may not be copied to the other."""
        if shutil.which("rsync") is None:
            raise DomainError(plan.rsync_missing(self.host))
        with closing(Worker("source", self.host, self._account)) as reader:
            here = reader.facts(self.source, lambda: None)
        raise_any(plan.judge_places(self.host, self.source, self.destination, here, self._target()))
        return here.real

    def _target(self) -> TargetFacts:
        return load_target(self.destination, self.state.read_marker()[0])

    def _reading_place(self, real: str) -> str:
        """Return where the source is read: for the last pass where nothing stale can be seen of it."""
        if self.pass_name == "warm":
            return real
        entry = mount_of(parse_mountinfo(read_text("/proc/self/mountinfo") or ""), real)
        second = plan.second_mount(entry, real, _SECOND_MOUNT) if entry else None
        if entry is None or second is None:
            return real
        argv, place = second
        with self.timeline.step("mount"):
            if mount_alone(self.runner, argv) and self._same_folder(real, place):
                return place
        with self.timeline.step("wait"):
            deadline = time.monotonic() + plan.attribute_seconds(entry) + 1
            while time.monotonic() < deadline:
                time.sleep(0.5)
                self._tick()
        return real

    def _same_folder(self, real: str, place: str) -> bool:
        """Return whether a place that the account reads is the source."""
        with closing(Worker("source", self.host, self._account)) as reader:
            if not reader.facts(place, self._tick).is_folder:
                return False
            ((one,), (other,)) = (reader.look(root, [b""], self._tick) for root in (real, place))
        return one.inode == other.inode

    def _trees(self, reading: str) -> Trees:
        places = (reading, self.destination)
        return Trees(self.host, places, self._account, self._workers, self.state, self._report)

    def _begin(self, stage: str, files: int, size: int) -> None:
        self._progress = Progress(self.pass_name, stage, files_total=files, size_total=size)
        self._stage_begun = time.monotonic()
        self._report(0, 0)

    def _report(self, files: int, size: int) -> None:
        self._progress = replace(self._progress, files=files, size=size)
        self._tick()

    def _tick(self) -> None:
        """Show how far it is; raises DomainError where the one who began it is gone."""
        now = time.monotonic()
        if self.state.lock_descriptor < 0 or now - self._reported < _REPORT_INTERVAL:
            return
        self._reported = now
        self.state.write_progress(replace(self._progress, seconds=now - self._stage_begun))
        if self.state.abandoned(_ABANDONED):
            raise DomainError(plan.abandoned_problem(self.host, _ABANDONED))

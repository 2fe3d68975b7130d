# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Move everything to this node and start it on that, in one call; move_rules decides what is left to do.

Nothing here waits for the controller or another node. Killed anywhere, it is called again: what was copied is looked
at, what is equal stays, and from the switch on only what comes after it is done.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._config.host import folder_answers, load_file
from ansible_collections.rspm.ha.plugins.module_utils._config.rules import KEY_PATH, ClusterSettings
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_timeline import Timeline
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem, raise_any
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.host import Copier, Found
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.report import report
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.rules import TargetState
from ansible_collections.rspm.ha.plugins.module_utils._lock.host import LockFolder
from ansible_collections.rspm.ha.plugins.module_utils._migration.host_beside import Beside
from ansible_collections.rspm.ha.plugins.module_utils._migration.host_left import read
from ansible_collections.rspm.ha.plugins.module_utils._migration.host_lookout import Lookout
from ansible_collections.rspm.ha.plugins.module_utils._migration.host_record import RecordStore
from ansible_collections.rspm.ha.plugins.module_utils._migration.move_rules import (
    PURPOSE,
    MovePlan,
    copying_killed,
    judge_lock,
    judge_sessions_left,
    judge_still,
    plan_move,
    start_after,
    switched_record,
)
from ansible_collections.rspm.ha.plugins.module_utils._migration.record import Written
from ansible_collections.rspm.ha.plugins.module_utils._node.change_rules import UpgradeRequest
from ansible_collections.rspm.ha.plugins.module_utils._node.host_change import NodeUpgrade
from ansible_collections.rspm.ha.plugins.module_utils._package.host import PackageTool, load_host
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host_sessions import SessionWatch, open_watch
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import Database
from ansible_collections.rspm.ha.plugins.module_utils._service.host_apply import Apply
from ansible_collections.rspm.ha.plugins.module_utils._service.host_stop import load_remains, stop_and_prove
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import ApiState
from ansible_collections.rspm.ha.plugins.module_utils._service.stop_rules import Remains
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host import TreeCopy
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_result import result_of, warnings_of

_SESSION_TIMEOUT = 30.0
_LOCK_TIMEOUT = 60.0


@dataclass(frozen=True)
class Wanted:
    """What is asked for. source: the databases of the cluster; target: those of the node, None where they are kept.

    data: source and destination of the data, None where it is kept. settings: the configuration then. lock: path, uid
    and gid of the cluster's lock, with holder and run_id that this run has it with. stop_timeout, health_timeout:
    seconds. work_path: folder for the dump. follower: of the data's progress, as TreeCopy has it.
    """

    version: str
    record_path: str
    lock: Mapping[str, Any]
    source: Database
    target: Database | None
    data: Mapping[str, str] | None
    settings: ClusterSettings
    allow_unlicensed: bool
    stop_timeout: float
    health_timeout: float
    work_path: str
    follower: str


@dataclass
class Move:
    """The work on one node. What it has come to is kept here, also where it fails.

    record: what is written down of the migration. data, databases: what was copied. configured: what was written.
    start: what starts the node. notes: what a person should know.
    """

    runner: Runner
    host: str
    wanted: Wanted
    timeline: Timeline = field(default_factory=Timeline)
    record: Written | None = None
    data: dict[str, Any] = field(default_factory=dict)
    databases: dict[str, Any] = field(default_factory=dict)
    configured: dict[str, Any] = field(default_factory=dict)
    start: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._store = RecordStore(self.wanted.record_path)
        self._apply = Apply(self.runner, self.wanted.settings)

    def observe(self, *, planning: bool) -> tuple[MovePlan, Remains]:
        """Return what is left to do, and what there is of the server. planning: check mode."""
        self.record = read(self._store)
        remains = load_remains(self.runner)
        plan = plan_move(
            self.record,
            remains,
            move_data=self.wanted.data is not None,
            move_databases=self.wanted.target is not None,
            planning=planning,
        )
        return plan, remains

    def predict(self, plan: MovePlan) -> None:
        """Find what would be configured and started. Raises DomainError where that can't be."""
        settings = self.wanted.settings
        # a key that is not in the variables is compared with that in the data, which may not be copied yet
        comparable = settings.encryption_key or load_file(KEY_PATH).content is None
        if comparable or folder_answers(self.runner, settings.data_dir):
            self.configured = self._apply.run(check_mode=True)
        needs_restart = bool(self.configured.get("needs_restart"))
        self.start = start_after(plan, needs_restart, self._node_start().observe(planning=True).plan.actions())

    def carry_out(self, plan: MovePlan, remains: Remains) -> ApiState:
        """Do the work, and return the node's last answer. Raises DomainError where it is not as wanted."""
        if not plan.switched:
            # while the node still serves
            self.predict(plan)
            with self._databases() if plan.copy_databases else nullcontext() as copy_databases:
                self._stop(remains)
                self._copy(plan, copy_databases)
            self._switch()
        self._configure()
        return self._start()

    def _node_start(self) -> NodeUpgrade:
        """Return what starts the installed version."""
        return NodeUpgrade(
            runner=self.runner,
            tool=PackageTool(self.runner, load_host()),
            host=self.host,
            request=UpgradeRequest(
                self.wanted.version, path="", purpose=PURPOSE, allow_unlicensed=self.wanted.allow_unlicensed
            ),
            database=None,
            stop_timeout=self.wanted.stop_timeout,
            health_timeout=self.wanted.health_timeout,
        )

    def _stop(self, remains: Remains) -> None:
        """Prove that no node works on the old databases, this one, which it stops, last."""
        # log in before anything stops: an unreachable database is found now
        with closing(self._watch()) as watch:
            with self.timeline.step("others_gone"):
                _judged(watch.prove_others_gone)
            stop_and_prove(self.runner, self.timeline, self.host, remains, PURPOSE, self.wanted.stop_timeout)
            with self.timeline.step("sessions"):
                _judged(watch.prove_own_gone)
                _judged(watch.prove_others_gone)

    def _watch(self) -> SessionWatch:
        source = self.wanted.source
        return open_watch(
            {
                "host": source.host,
                "port": source.port,
                "databases": [source.name, source.usage_name],
                "user": source.user,
                "password": source.password,
                "sslmode": source.sslmode,
                "options": source.options,
                "timeout": _SESSION_TIMEOUT,
            }
        )

    def _copy(self, plan: MovePlan, copy_databases: Callable[[], None] | None) -> None:
        """Copy and verify what moves, data and databases at the same time: each waits for a server now and then.

        Neither is cut for the other's failure: what was copied counts for the next call, and all is told at once. What
        another node has written meanwhile, however short, may be missing.
        """
        # a process of its own in any case: it mounts what no later step may see
        beside = Beside(self._copy_data) if plan.copy_data else None
        lookout = Lookout(self._watch)
        problems: list[Problem] = []
        try:
            try:
                if copy_databases:
                    copy_databases()
            except DomainError as error:
                problems += error.problems
            if beside:
                problems = [*self._take_data(beside), *problems]
        finally:
            if beside:
                beside.end()
            problems += judge_sessions_left(lookout.end())
            self.timeline.steps.sort(key=lambda step: str(step["at"]))
        raise_any(problems)

    def _copy_data(self) -> dict[str, Any]:
        """Copy the rest of the data, and return what came of it as plain data."""
        wanted, timeline = self.wanted.data or {}, Timeline().of("data")
        copy = TreeCopy(
            self.runner, timeline, self.host, wanted["source"], wanted["destination"], "last", self.wanted.follower
        )
        made: dict[str, Any] = {"problems": [], "data": {}, "notes": []}
        try:
            outcome = copy.run()
            made["data"], made["notes"] = result_of(outcome, False), warnings_of(outcome, wanted["destination"])
        except DomainError as error:
            made["problems"] = [problem.to_dict() for problem in error.problems]
        return {**made, "timeline": timeline.steps}

    def _take_data(self, beside: Beside) -> list[Problem]:
        """Wait for the data, and return what is wrong with its copy."""
        made = beside.result()
        if made is None:
            return [copying_killed(self.host)]
        self.data, self.notes = made["data"], [*self.notes, *made["notes"]]
        self.timeline.steps += made["timeline"]
        return [Problem(**problem) for problem in made["problems"]]

    @contextmanager
    def _databases(self) -> Iterator[Callable[[], None]]:
        """Find out that both databases can be copied, and give what copies them once all is stopped."""
        if self.wanted.target is None:
            raise TypeError("databases are copied where there is a target")
        copier = Copier(
            runner=self.runner,
            timeline=self.timeline.of("databases"),
            source=self.wanted.source,
            target=self.wanted.target,
            work_path=self.wanted.work_path,
            jobs=len(os.sched_getaffinity(0)),
            host=self.host,
        )
        with copier.prepared() as found:
            yield partial(self._copy_databases, copier, found)

    def _copy_databases(self, copier: Copier, found: Found) -> None:
        steps = copier.copy(found)
        self.databases = report(copier.parts, found.observed, steps, copier.contents, copier.sent, TargetState.FINISHED)

    def _switch(self) -> None:
        """Look at everything once more, and write down that there is only forward from here."""
        with self.timeline.step("still_stopped"):
            raise_any(judge_still(self.host, load_remains(self.runner)))
            with closing(self._watch()) as watch:
                _judged(watch.prove_own_gone)
                _judged(watch.prove_others_gone)
            lock = self.wanted.lock
            judge_lock(LockFolder(lock["path"], lock["uid"], lock["gid"], _LOCK_TIMEOUT).read().record, lock)
        with self.timeline.step("switch"):
            written = switched_record(read(self._store), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
            self._store.write(written)
            self.record = written

    def _configure(self) -> None:
        """Have the configuration name the new data and databases, and no process that was started with another one."""
        with self.timeline.step("configure"):
            self.configured = self._apply.run(check_mode=False, reload_later=True)
        if self.configured["needs_restart"]:
            found = load_remains(self.runner)
            stop_and_prove(self.runner, self.timeline, self.host, found, PURPOSE, self.wanted.stop_timeout)

    def _start(self) -> ApiState:
        node = self._node_start()
        observed = node.observe(planning=False)
        self.start = observed.plan.actions()
        return node.carry_out(observed, self.timeline)


def _judged(prove: Callable[[], object]) -> None:
    """Do what proves something of sessions, with why it matters to a migration."""
    try:
        prove()
    except DomainError as error:
        raise DomainError(*judge_sessions_left(error.problems)) from error

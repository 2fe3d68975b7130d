# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carry out on one node what change_rules decided. Nothing here waits for controller, network or another node."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_timeline import Timeline
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem, raise_any
from ansible_collections.rspm.ha.plugins.module_utils._core.product import UNIT
from ansible_collections.rspm.ha.plugins.module_utils._node.change_rules import (
    AfterFailure,
    UpgradePlan,
    UpgradeRequest,
    after_failure,
    left_alone,
    moved_nothing,
    plan_giver,
    plan_node,
    start_undone,
    unpack_refused,
)
from ansible_collections.rspm.ha.plugins.module_utils._node.hand_over import (
    Said,
    in_use_again,
    not_served_again,
    serves_again,
)
from ansible_collections.rspm.ha.plugins.module_utils._node.host import ServiceState, load_service
from ansible_collections.rspm.ha.plugins.module_utils._node.host_hand_over import HandOver
from ansible_collections.rspm.ha.plugins.module_utils._package.apart import brings_others, failed_apart
from ansible_collections.rspm.ha.plugins.module_utils._package.host import (
    PackageTool,
    install_package,
    read_ahead,
    require_apart,
)
from ansible_collections.rspm.ha.plugins.module_utils._package.host_apart import load_places, open_apart
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host_sessions import SessionWatch, open_watch
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host_writes import Witness
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.host_state import StateFile
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState, take_back
from ansible_collections.rspm.ha.plugins.module_utils._service.host import (
    be_patient,
    begin,
    block,
    daemon_reload,
    enable,
    unblock,
    wait_for_health,
)
from ansible_collections.rspm.ha.plugins.module_utils._service.host_stop import load_remains, stop_and_prove
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import ApiState
from ansible_collections.rspm.ha.plugins.module_utils._service.stop_rules import Remains

_HEALTH_INTERVAL = 0.2
# A process that fails again and again ends sooner; one that migrates the schema lives longer
_LAST_LIFE_SECONDS = 10.0


@dataclass(frozen=True)
class Observed:
    """What a plan is made from, and the plan. tool: what installs."""

    service: ServiceState
    remains: Remains
    plan: UpgradePlan
    tool: PackageTool


@dataclass(frozen=True)
class NodeUpgrade:
    """One node's change of version. stop_timeout, health_timeout: seconds. database: as SESSION_OPTIONS has it.

    hand_over: where this node and another change places, None where nobody serves meanwhile.
    """

    runner: Runner
    tool: PackageTool
    host: str
    request: UpgradeRequest
    database: Mapping[str, Any] | None
    stop_timeout: float
    health_timeout: float
    hand_over: HandOver | None = None

    @property
    def gives_way(self) -> bool:
        """Whether this node stops for another one to take over."""
        return self.hand_over is not None and not self.request.first

    def observe(self, *, planning: bool) -> Observed:
        """Return what is there and what is to be done; raises DomainError where the work would be wrong.

        planning: check mode, in which nothing was staged or stopped before.
        """
        service = load_service(self.runner)
        remains = load_remains(self.runner, unit=service.unit)
        request = self.request
        if request.path and not planning and not os.path.isfile(request.path):
            request = replace(request, path="")
        running = bool(remains.processes) or service.unit.running
        if self.gives_way:
            plan = plan_giver(service.package, service.unit, running, request, self.host)
        else:
            plan = plan_node(service.package, service.unit, service.api, running, request, planning=planning)
        tool = self.tool
        if plan.install and request.path:
            require_apart(request.path)
        if plan.install and request.apart:
            places = load_places(service.config.data_dir, [request.path])
            tool = replace(tool, runner=open_apart(self.runner, self.host, places))
            if planning and os.path.isfile(request.path):
                others = self.tool.simulate(request.path).also_installs
                raise_any([brings_others(self.host, others)] if others else [])
        return Observed(service, remains, plan, tool)

    def carry_out(self, observed: Observed, timeline: Timeline) -> ApiState:
        """Do the work and return the node's last answer; raises DomainError where it is not as wanted."""
        plan = observed.plan
        if self.hand_over and self.gives_way:
            return self._give_way(observed, self.hand_over, timeline)
        if self.database and plan.wait and not plan.start:
            # it may wait itself for what its life before a power cut has locked
            with timeline.step("sessions"), closing(open_watch(self.database)) as left:
                left.end_left()
        # log in before anything stops: an unreachable database is found now, and the outage is shorter
        watch = open_watch(self.database) if self.database and plan.prove else None
        witness = Witness(self.database) if self.database and self.hand_over else None
        if plan.install:
            # it may have been staged days ago; read it now, not while the node is down
            read_ahead(self.request.path)
        with ExitStack() as ends:
            if witness:
                ends.enter_context(closing(witness))
            with (
                self.hand_over.announced() if self.hand_over else nullcontext(),
                closing(watch) if watch else nullcontext(),
            ):
                stopped_well = self._prove(observed, watch, timeline)
                if witness:
                    witness.begin()
            last_word = ends.enter_context(self.hand_over.at_work()) if self.hand_over else []
            if plan.install:
                self._change_package(observed, timeline)
            return self._start(observed, timeline, witness, last_word, forget=not stopped_well)

    def _change_package(self, observed: Observed, timeline: Timeline) -> None:
        """Install the package, or have it unpacked."""
        if self.request.unpack:
            with timeline.step("unpack"):
                self._unpack(observed.service.package.version)
            return
        with timeline.step("install"):
            self._install(observed)
        if self.request.apart:
            # what scripts would tell systemd they could not
            with timeline.step("reload"):
                daemon_reload(self.runner)

    def _give_way(self, observed: Observed, hand_over: HandOver, timeline: Timeline) -> ApiState:
        """Stop for another node that waits for that, prove it, and say so; return that nothing answers here."""
        with nullcontext() if self.database is None else closing(open_watch(self.database)) as watch:
            with timeline.step("asked"):
                hand_over.await_taker()
            hand_over.say(Said.STOPS)
            began = time.monotonic()
            stop_and_prove(self.runner, timeline, self.host, observed.remains, self.request.purpose, self.stop_timeout)
            if watch:
                with timeline.step("sessions"):
                    watch.prove_own_gone()
            hand_over.say(Said.STOPPED)
        with timeline.step("watched"):
            moved_nothing_there = hand_over.await_end()
        if moved_nothing_there:
            raise DomainError(self._serve_again(observed, hand_over, timeline, began))
        return replace(observed.service.api, health_code=0, version="")

    def _serve_again(self, observed: Observed, hand_over: HandOver, timeline: Timeline, began: float) -> Problem:
        """Start the older version, as the taker says that it may, and return the problem that this was needed.

        began: when this node began to stop.
        """
        version, newer = observed.service.package.version, self.request.version
        try:
            # who was held up for long may find another run's work
            if StateFile(self.runner, hand_over.restore_point).read().state is not RestoreState.COMPLETE:
                raise DomainError(in_use_again(self.host))
            plan = UpgradePlan(unblock=True, start=True, wait=True)
            self._begin(plan, observed.service.api, version, timeline, forget=True)
            with timeline.step("reload"):
                daemon_reload(self.runner)
        except DomainError as error:
            return not_served_again(self.host, version, hand_over.taker, newer, error.problems[0])
        return serves_again(self.host, version, hand_over.taker, newer, time.monotonic() - began)

    def _prove(self, observed: Observed, watch: SessionWatch | None, timeline: Timeline) -> bool:
        """Stop the node and prove it; return whether it ended without a failure."""
        if not observed.plan.prove:
            return False
        if watch and self.request.first and not self.hand_over:
            # checked while this node still serves
            with timeline.step("others_gone"):
                watch.prove_others_gone()
        if self.request.first:
            be_patient()
            if not observed.plan.block:
                daemon_reload(self.runner)  # else blocking does it
        purpose = (
            self.request.purpose if self.request.start else observed.service.unit.blocked_for or self.request.purpose
        )
        remains = stop_and_prove(self.runner, timeline, self.host, observed.remains, purpose, self.stop_timeout)
        if self.hand_over:
            with timeline.step("handed_over"):
                self.hand_over.await_giver()
        if watch:
            with timeline.step("sessions"):
                watch.prove_own_gone()
                if self.request.first:
                    watch.prove_others_gone()
        return remains.unit.active_state != "failed"

    def _start(
        self,
        observed: Observed,
        timeline: Timeline,
        witness: Witness | None,
        last_word: list[Said],
        *,
        forget: bool,
    ) -> ApiState:
        """Start the node as planned, or undo that. witness, last_word: where another node may serve again then."""
        plan = observed.plan
        try:
            api = self._begin(plan, observed.service.api, self.request.version, timeline, forget=forget)
        except DomainError as error:
            cause = error.problems[0]
            raise DomainError(self._give_up(plan, cause, timeline, witness, last_word)) from error
        if plan.unblock or plan.wait:
            # block and patience are gone as files, and systemd still has them
            with timeline.step("reload"):
                daemon_reload(self.runner)
        return api

    def _begin(self, plan: UpgradePlan, api: ApiState, version: str, timeline: Timeline, *, forget: bool) -> ApiState:
        """Do what a plan says from the unblocking on, and return the last answer, which was api before."""
        if plan.unblock:
            with timeline.step("unblock"):
                unblock()
        if plan.enable:
            with timeline.step("enable"):
                enable(self.runner)
        if plan.start:
            with timeline.step("start"):
                begin(self.runner, "start", forget=forget)
        if plan.wait:
            with timeline.step("healthy"):
                api, _seconds = wait_for_health(
                    self.runner,
                    self.host,
                    version,
                    allow_unlicensed=self.request.allow_unlicensed,
                    timeout=self.health_timeout,
                    interval=_HEALTH_INTERVAL,
                )
        return api

    def _install(self, observed: Observed) -> None:
        try:
            # the dry run of the staging found the dependencies to be there
            install_package(
                observed.tool,
                self.request.path,
                self.request.version,
                repair=observed.plan.repair,
                quick=True,
                before=observed.service.package,
            )
        except DomainError as error:
            if self.request.apart:
                raise DomainError(*map(failed_apart, error.problems)) from error
            raise

    def _unpack(self, installed: str) -> None:
        """Have the package's files, and its scripts so far, put in place; raises DomainError where they refuse."""
        if refused := self.tool.unpack(self.request.path):
            raise DomainError(unpack_refused(self.host, self.request, installed, refused))

    def _give_up(
        self, plan: UpgradePlan, cause: Problem, timeline: Timeline, witness: Witness | None, last_word: list[Said]
    ) -> Problem:
        """Block and stop the node after a failed start where that is safe, and return the problem."""
        found = load_remains(self.runner)
        alive = bool(found.processes)
        way = after_failure(plan, self.request, found.unit.restarts, alive=alive)
        if way is AfterFailure.LEAVE:
            return left_alone(cause, self.host, self.request) if alive else cause
        with timeline.step("block_again"):
            block(self.runner, self.request.purpose)
        if way is AfterFailure.BLOCK and self._outlives():
            return left_alone(cause, self.host, self.request)
        with timeline.step("stop_again"):
            self.runner(["systemctl", "stop", UNIT], timeout=self.stop_timeout)
        moved = ""
        if witness and self.hand_over:
            with timeline.step("writes"):
                moved = self._take_back(witness, self.hand_over, timeline)
            if not moved:
                with timeline.step("given_back"):
                    last_word.append(Said.MOVED_NOTHING)
                return moved_nothing(cause, self.host, self.request, self.hand_over.giver)
        return start_undone(cause, self.host, self.request, not load_remains(self.runner).alive, moved)

    def _take_back(self, witness: Witness, hand_over: HandOver, timeline: Timeline) -> str:
        """Return why the schema may have moved, "" where it has not, and the restore point is not in use any more."""
        try:
            # blocked, no process, no listener: only then are the sessions the last ones
            remains, purpose = load_remains(self.runner), self.request.purpose
            stop_and_prove(self.runner, timeline, self.host, remains, purpose, self.stop_timeout)
            if moved := witness.doubt():
                return moved
            point = StateFile(self.runner, hand_over.restore_point)
            point.write(take_back(point.read(), self.request.version))
        except DomainError as error:
            return str(error)
        return ""

    def _outlives(self) -> bool:
        """Whether the last process of a blocked unit lives on."""
        deadline = time.monotonic() + _LAST_LIFE_SECONDS
        while load_remains(self.runner).processes:
            if time.monotonic() >= deadline:
                return True
            time.sleep(_HEALTH_INTERVAL)
        return False

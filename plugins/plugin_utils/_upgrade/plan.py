# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ordered upgrade and the way back: from what is observed to the phases that remain.

Nothing here remembers: the same command, run again after whatever happened, gets the rest of the work.

What the order rests on (tests/unit/plugin_utils/_upgrade/test_search.py looks through all states for a breach):
1. Before the first node of the newer version can start, every other node is blocked and proved stopped, and the restore
   point says IN_USE. Whoever finds IN_USE treats the schema as moved, whatever else is observed. A newer package on a
   node that the upgrade has stopped and blocked has moved nothing while the restore point says COMPLETE: it has not
   run, or the call that let it run has blocked and stopped it again, has then seen by the databases' own counters that
   nothing was written since before its start, and has taken IN_USE back.
2. A node of another version than the one that runs stays blocked until its own package is changed.
3. A restore point that is IN_USE is never made anew, and the older version starts only while it says RESTORED, or
   COMPLETE, with every node of the newer version blocked. That IN_USE is taken back to COMPLETE is no phase of a plan:
   only that call does it, and the node that served until then starts again in its own call of the same step, after the
   other one's word. Whatever is cut off on the way, IN_USE means moved, and COMPLETE that the older version may serve.
4. What was written since an upgrade was finished is given up only by name, and is saved twice: before anything stops,
   which shows that it can be, and after the proof that all are stopped, which loses nothing. So is the restore point
   where all nodes stop first.
Sources: the vendor's guide ("Updating HA Nodes"): stop all, upgrade one, it moves the schema, then the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockView
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.space import Space
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import (
    Balancer,
    Package,
    Phase,
    Refusal,
    Step,
    once,
    to_data,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.means import refuse_forks, refuse_space
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.model import (
    DEFAULT_OPTIONS,
    Action,
    Mode,
    NodeObservation,
    Observations,
    Options,
    Outcome,
    PhaseName,
    Plan,
    phase,
    same,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.observe import judge_drift, observe
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.refuse import (
    continues_run,
    refuse_rollback,
    refuse_upgrade,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.way_back import given_up, is_finished, is_saved

# Ansible's own
DEFAULT_FORKS = 5
_KEPT_OUT = (Balancer.DRAIN, Balancer.MAINT)
_Nodes = list[NodeObservation]
_Phase = Optional[Phase[PhaseName, Action]]
_Phases = list[_Phase]


def make_plan(
    found: Mapping[str, Any],
    purpose: str,
    target: str = "",
    options: Options = DEFAULT_OPTIONS,
    phase: str = "",
    planned: Sequence[Mapping[str, Any]] = (),
    forks: int = DEFAULT_FORKS,
) -> dict[str, Any]:
    """Return the plan as plain data, with the problems that are in its way.

    found: as observe takes it. purpose: upgrade, to the target, or rollback. phase: the one that is about to begin, ""
    before all. planned: the phases of a plan made before, from which those from that phase on must not differ. forks:
    on how many hosts at once Ansible works.
    """
    observed = observe(found)
    options = replace(options, serves=_serves(planned, options.first))
    outcome = plan_rollback(observed, options) if purpose == "rollback" else plan_upgrade(observed, target, options)
    if isinstance(outcome, Refusal):
        return {**Plan().to_dict(), "problems": [str(problem) for problem in outcome.problems]}
    if problems := refuse_forks(outcome, forks):
        return {**outcome.to_dict(), "problems": [str(problem) for problem in problems]}
    names = [each["name"] for each in planned]
    left = planned[names.index(phase) :] if phase else []
    drift = judge_drift(phase, left, to_data(outcome.phases)) if phase else []
    return {**outcome.to_dict(), "problems": [str(problem) for problem in drift]}


def _serves(planned: Sequence[Mapping[str, Any]], first: str) -> str:
    """Return the node that hands over to the first in a plan that was made before, "" for none."""
    opening = [each["steps"].items() for each in planned if each["name"] == PhaseName.FIRST.value]
    giving = [host for steps in opening for host, action in steps if action == Action.HAND_OVER.value and host != first]
    return next(iter(giving), "")


def plan_upgrade(observed: Observations, target: str, options: Options = DEFAULT_OPTIONS) -> Outcome:
    """Return the phases that lead from what is observed to target running on every node, or why none may be taken.

    target: product version, in full. A cluster that is there already gets an empty plan, or repairs: nodes left
    blocked, disabled, drained or not held by a run that died, and the lock that it left.
    """
    problems = refuse_upgrade(observed, target, options)
    if problems:
        return Refusal(tuple(problems))
    behind = [node for node in observed.nodes if not node.has(target) or node.runs_other_than(target)]
    started = [node for node in observed.nodes if node.process and node not in behind]
    first = _choose_first(observed, target, options, behind, started)
    giver = None if started else _choose_giver(observed, target, options, behind, first)
    spared = None if started or options.mode is Mode.STOP_ALL else giver or first
    parts = _Parts(behind, started, first, giver, spared)
    phases = _before_first(observed, target, options, parts) + _first_and_rest(observed, target, parts)
    origin = observed.restore_point.from_version if continues_run(observed, target) else _origin(behind)
    plan = _finish(observed, phases, first, origin, target)
    return _with_space(observed, replace(plan, serves=spared.name) if spared and plan.phases else plan)


@dataclass(frozen=True)
class _Parts:
    """Which part each node has in an upgrade.

    behind: those that are not at the target; started: those that run it, or whatever is installed with it. giver: the
    one that goes on serving until it hands over to the first. spared: the one that is stopped in the first's step only.
    """

    behind: _Nodes
    started: _Nodes
    first: NodeObservation
    giver: NodeObservation | None
    spared: NodeObservation | None


def _with_space(observed: Observations, plan: Plan) -> Outcome:
    """Return the plan, or the refusal where the shared storage has no room for what it saves."""
    saves = {Action.CREATE_RESTORE_POINT, Action.SAVE_PRESENT}
    times = sum(step.action in saves for phase in plan.phases for step in phase.steps)
    problems = refuse_space(observed.space or Space(), times) if times and observed.space else []
    return Refusal(tuple(problems)) if problems else plan


def _origin(behind: _Nodes) -> str:
    # one whose installation was cut says which version that was
    return next((node.installed_version for node in behind if node.package is Package.INSTALLED), "")


def _choose_first(
    observed: Observations, target: str, options: Options, behind: _Nodes, started: _Nodes
) -> NodeObservation:
    """Return the node that goes, or went, first.

    What has begun decides before the wish does: a node that runs the target, then one that has it installed (before all
    the one that a reboot would start), then one whose installation was cut. Otherwise the wanted one, then the one that
    serves; or, where one goes on serving, one that an earlier run has stopped.
    """
    spare = options.mode is Mode.INSTALL_BEFORE and any(node.process and node.healthy for node in behind)

    def rank(node: NodeObservation) -> int:
        if node in started:
            return 0 if node.healthy and node.runs(target) else 1
        if node not in behind:
            return 3 if node.blocked else 2
        if node.package is not Package.INSTALLED:
            return 4
        if node.name == options.first or (spare and not options.first and node.waits):
            return 5
        return 6 if node.process and node.healthy else 7 if node.process else 8

    return min(observed.nodes, key=rank)


def _choose_giver(
    observed: Observations, target: str, options: Options, behind: _Nodes, first: NodeObservation
) -> NodeObservation | None:
    """Return the node that goes on serving until it hands over to the first, None where none does.

    Once the schema may have moved, no older node is trusted but the one that this very run has left serving.
    """
    serving = [node for node in behind if node is not first and node.process and node.healthy]
    if options.mode is not Mode.INSTALL_BEFORE or _is_unsure(observed, target):
        return None
    if continues_run(observed, target):
        return next((node for node in serving if node.name == options.serves and first.has(target)), None)
    # what is blocked already would not come back by itself
    return min(serving, key=lambda node: node.blocked, default=None)


def _is_unsure(observed: Observations, target: str) -> bool:
    """Whether a node has, or half has, the target and may have run it although the restore point is not in use yet."""
    return not continues_run(observed, target) and any(
        not node.waits and (node.has(target) or node.package is not Package.INSTALLED) for node in observed.nodes
    )


def _before_first(observed: Observations, target: str, options: Options, parts: _Parts) -> _Phases:
    """Return the phases up to the point where only the spared node is left to stop."""
    behind, first = parts.behind, parts.first
    to_stop = [node for node in behind if not node.stays_stopped and node is not parts.spared]
    staging = phase(PhaseName.STAGE, Action.STAGE, _to_stage(behind, target))
    stopping = phase(PhaseName.STOP, Action.STOP_AND_BLOCK, to_stop)
    proving = once(PhaseName.PROVE, Action.PROVE_STOPPED) if behind and not parts.started else None
    if not behind or continues_run(observed, target):
        # the schema may have moved: what is old stops before anything else, without waiting for its connections
        return [stopping, staging, proving]
    marking = once(PhaseName.COMMIT, Action.MARK_RESTORE_POINT_IN_USE)
    if _is_unsure(observed, target):
        # what shows that the schema may have moved ends with a stop, so it is written down before
        return [marking, stopping, staging, proving]
    point = observed.restore_point
    last = options.mode is Mode.STOP_ALL
    ours = (
        point.state is RestoreState.COMPLETE
        and same(point.from_version, _origin(behind))
        and same(point.to_version, target)
        and observed.lock.view is not LockView.FREE
        and point.run_id == observed.lock.run_id
        # who served since an earlier run was interrupted has written what that restore point does not hold
        and not any(node.process for node in observed.nodes)
    )
    saving = once(PhaseName.RESTORE_POINT, Action.CREATE_RESTORE_POINT)
    # the balancer's own checks tell it when the first is back, so that nobody waits for a word of ours to it; where a
    # command has to tell it, the first isn't drained
    awaited = bool(parts.giver) and not first.by_command
    leaving = [node for node in to_stop if awaited or not (parts.giver and node is first)]
    serving = [node for node in leaving if node.process and node.balancer is Balancer.READY]
    installing = [first] if parts.giver and not first.has(target) else []
    waiting = [first] if awaited and (first in serving or first.balancer in _KEPT_OUT) else []
    return [
        staging,
        # where all is stopped and blocked already, the last one is enough
        None if ours or (last and not to_stop) else saving,
        phase(PhaseName.DRAIN, Action.LB_DRAIN, serving),
        stopping,
        proving,
        once(PhaseName.FINAL_RESTORE_POINT, Action.CREATE_RESTORE_POINT) if last else None,
        phase(PhaseName.INSTALL, Action.INSTALL_NEXT, installing),
        phase(PhaseName.FIRST_AWAITED, Action.LB_AWAIT, waiting),
        marking,
    ]


def _to_stage(nodes: _Nodes, version: str) -> _Nodes:
    return [node for node in nodes if not node.has(version) and not node.staged]


def _first_and_rest(observed: Observations, target: str, parts: _Parts) -> _Phases:
    """Return the first node's call, the rest's, and what follows each."""
    behind, started, first = parts.behind, parts.started, parts.first
    unproven = [node for node in started if not (node.runs(target) and node.healthy)]
    # a process of unknown version, or one not healthy yet, is waited for before another starts
    leading = unproven if started else [first]
    if parts.giver:
        opening = phase(PhaseName.FIRST, Action.HAND_OVER, [first, parts.giver])
    else:
        opening = phase(PhaseName.FIRST, Action.START if started else Action.UPGRADE_FIRST, leading)
    upgrades = [node for node in behind if node not in leading]
    starts = [
        node for node in observed.nodes if node not in behind and node not in leading and not _is_settled(node, target)
    ]
    rest = [Step(node.name, Action.UPGRADE) for node in upgrades] + [Step(node.name, Action.START) for node in starts]
    return [
        opening,
        _back(PhaseName.FIRST_BACK, leading, [node for node in started if node not in unproven]),
        Phase(PhaseName.REST, tuple(rest)) if rest else None,
        _back(PhaseName.REST_BACK, upgrades + starts, []),
        _hold(observed.nodes, behind),
    ]


def plan_rollback(observed: Observations, options: Options = DEFAULT_OPTIONS) -> Outcome:
    """Return the phases that lead back to the restore point's version on every node, or why none may be taken.

    While the newer version can't have run (restore point complete, not in use), nothing is restored: the nodes are only
    started again, one that has the newer package already with the previous one. Otherwise databases, key, configuration
    and package are those of the restore point before any starts.
    """
    problems = refuse_rollback(observed, options)
    if problems:
        return Refusal(tuple(problems))
    point = observed.restore_point
    previous = point.from_version
    changed = [node for node in observed.nodes if not node.has(previous) or node.runs_other_than(previous)]
    restore = _needs_restore(observed, changed)
    running = [node for node in observed.nodes if node.process and node not in changed]
    if restore:
        running, installing = [], list(observed.nodes)
        phases = _before_restore(observed, previous, changed)
    else:
        # whichever of them is blocked may still lack the restore point's configuration
        restored = point.state is RestoreState.RESTORED
        installing = [node for node in observed.nodes if node.stays_stopped] if restored else changed
        phases = [
            phase(PhaseName.STAGE, Action.STAGE, _to_stage(changed, previous)),
            phase(PhaseName.INSTALL, Action.INSTALL_PREVIOUS, installing),
        ]
    first = _first_back(observed, options, previous)
    phases += _start_previous(observed, previous, running, first, installing)
    plan = _finish(observed, phases, first, point.to_version, previous, given_up(observed) if restore else "")
    return _with_space(observed, plan)


def _needs_restore(observed: Observations, changed: _Nodes) -> bool:
    """Whether the databases may hold what the newer version, or half a restore, wrote."""
    point = observed.restore_point
    if point.state is RestoreState.COMPLETE:
        return any(not node.waits for node in changed)
    if point.state is RestoreState.RESTORED:
        # a newer version that isn't blocked may have been started since the restore, and have moved the schema again
        return any(not node.stays_stopped for node in changed)
    return True


def _before_restore(observed: Observations, previous: str, changed: _Nodes) -> _Phases:
    """Return the phases after which every node is stopped, restored and of the previous version, and blocked."""
    live = [node for node in observed.nodes if node.process]
    to_stop = [node for node in observed.nodes if not node.stays_stopped]
    staging = phase(PhaseName.STAGE, Action.STAGE, _to_stage(changed, previous))
    stopping = phase(PhaseName.STOP, Action.STOP_AND_BLOCK, to_stop)
    mixed = any(node in changed for node in live) and any(node not in changed for node in live)
    draining = phase(PhaseName.DRAIN, Action.LB_DRAIN, [node for node in live if node.balancer is Balancer.READY])
    marking = once(PhaseName.COMMIT, Action.MARK_RESTORE_POINT_IN_USE)
    finished = is_finished(observed)
    saving = once(PhaseName.SAVE, Action.SAVE_PRESENT) if finished else None
    return [
        # what shows that the schema has moved ends with the stop, so it is written down before
        marking if observed.restore_point.state in (RestoreState.COMPLETE, RestoreState.RESTORED) else None,
        *([stopping, staging] if mixed else [staging, saving, draining, stopping]),
        once(PhaseName.PROVE, Action.PROVE_STOPPED),
        once(PhaseName.FINAL_SAVE, Action.SAVE_PRESENT) if finished or is_saved(observed) else None,
        once(PhaseName.RESTORE, Action.RESTORE),
        phase(PhaseName.INSTALL, Action.INSTALL_PREVIOUS, list(observed.nodes)),
    ]


def _first_back(observed: Observations, options: Options, previous: str) -> NodeObservation:
    """Return the node that starts the previous version first: one that runs it, else the wanted one."""

    def rank(node: NodeObservation) -> tuple[bool, bool]:
        return not node.runs(previous), node.name != options.first

    return min(observed.nodes, key=rank)


def _start_previous(
    observed: Observations, previous: str, running: _Nodes, first: NodeObservation, installing: _Nodes
) -> _Phases:
    """Return the start of the first node, of the rest, and what follows each."""
    proven = [node for node in running if node.runs(previous) and node.healthy]
    leading = [] if proven else [first]
    settled = [node for node in proven if _is_settled(node, previous)]
    rest = [node for node in observed.nodes if node not in leading and node not in settled]
    return [
        phase(PhaseName.FIRST, Action.START, leading),
        _back(PhaseName.FIRST_BACK, leading, settled),
        phase(PhaseName.REST, Action.START, rest),
        _back(PhaseName.REST_BACK, rest, []),
        _hold(observed.nodes, installing),
    ]


def _is_settled(node: NodeObservation, version: str) -> bool:
    """Whether the node runs the version healthily, and will after a reboot."""
    return node.runs(version) and node.healthy and node.enabled and not node.blocked


def _back(name: PhaseName, changed: _Nodes, unchanged: _Nodes) -> _Phase:
    """Return the phase in which nodes come back into the load balancer: those just started, and leftovers."""
    left = [node for node in unchanged if node.balancer in _KEPT_OUT]
    return phase(name, Action.LB_READY, [node for node in changed if node.balancer is not Balancer.UNMANAGED] + left)


def _hold(nodes: Iterable[NodeObservation], installed: _Nodes) -> _Phase:
    """Return the phase in which packages are held: those just installed, and those that lost it."""
    return phase(PhaseName.HOLD, Action.HOLD, [node for node in nodes if node in installed or not node.held])


def _finish(
    observed: Observations, phases: _Phases, first: NodeObservation, origin: str, target: str, gives_up: str = ""
) -> Plan:
    """Return the plan with the lock around its phases; no work and no lock left over is no plan."""
    work = [each for each in phases if each is not None]
    if not work and observed.lock.view is LockView.FREE:
        return Plan(from_version=origin, to_version=target)
    if observed.lock.view is not LockView.OURS:
        work.insert(0, once(PhaseName.LOCK, Action.TAKE_LOCK))
    work.append(once(PhaseName.UNLOCK, Action.RELEASE_LOCK))
    return Plan(tuple(work), first.name, origin, target, gives_up)

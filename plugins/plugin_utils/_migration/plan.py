# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From HA to one node: from what is observed to the phases that remain, forwards or, before the switch, back.

Nothing here remembers: the same command, run again after whatever happened, gets the rest of the work.

What the order rests on (tests/unit/plugin_utils/_migration/test_search.py looks through all states for a breach):
1. Until SWITCHED is written no configuration names the new home, and nothing of the old one was changed: starting the
   old cluster is the way back.
2. Before SWITCHED is written every node is blocked and proved stopped, and what moves was copied and verified since.
   That, and all that no node may serve during, is one call on the target (_migration/host_move).
3. Once it is written no node but the target starts again, and the target only with the new home in its configuration.
Sources: the vendor's guide (from HA to a single node): stop all, route, copy, start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockView
from ansible_collections.rspm.ha.plugins.module_utils._migration.rules import Options, RecordState
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import Balancer, Phase, Refusal, Step, once
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.model import (
    VERB,
    Action,
    NodeObservation,
    Observations,
    Outcome,
    PhaseName,
    Plan,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.observe import observe, options_of
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.refuse import refuse_abort, refuse_migration

_Phase = Optional[Phase[PhaseName, Action]]
_Phases = list[_Phase]


def make_plan(found: Mapping[str, Any], choices: Mapping[str, Any], abort: bool = False) -> dict[str, Any]:
    """Return the plan, or that of the way back, as plain data, with the problems that are in its way.

    found: as observe takes it. choices: as options_of takes them.
    """
    observed = observe(found)
    outcome = plan_abort(observed) if abort else plan_migration(observed, options_of(choices))
    record = observed.record.state.value
    if isinstance(outcome, Refusal):
        return {**Plan().to_dict(), "record": record, "problems": [str(problem) for problem in outcome.problems]}
    was = observed.record.options if abort else None
    copied = {"data_dir": was.data_dir if was and was.move_data else "", "databases": bool(was and was.move_databases)}
    return {**outcome.to_dict(), "record": record, "copied": copied, "problems": []}


def plan_migration(observed: Observations, options: Options) -> Outcome:
    """Return the phases that lead from what is observed to the target alone, or why none may be taken."""
    problems = refuse_migration(observed, options)
    if problems:
        return Refusal(tuple(problems))
    if observed.record.state is RecordState.FINISHED:
        return _finish(observed, [], options, _leave(observed, options))
    phases: _Phases = [] if observed.record.state is RecordState.SWITCHED else _before_switch(observed, options)
    return _finish(observed, phases + _after_switch(observed, options), options, _leave(observed, options))


def plan_abort(observed: Observations) -> Outcome:
    """Return the phases after which the old cluster serves as it did, or why that may not be any more."""
    problems = refuse_abort(observed)
    if problems:
        return Refusal(tuple(problems))
    ours = [node for node in observed.nodes if node.blocked_for == VERB]
    begun = observed.record.state is RecordState.BEGUN
    down = [node for node in observed.nodes if node in ours or (begun and not (node.process and node.healthy))]
    ready = [
        node
        for node in observed.nodes
        if (node in down and node.balancer is not Balancer.UNMANAGED)
        or node.balancer in (Balancer.DRAIN, Balancer.MAINT)
    ]
    phases: _Phases = [
        _on(PhaseName.START_AGAIN, Action.START_AGAIN, down),
        _on(PhaseName.READY, Action.LB_READY, ready if begun or ours else []),
        once(PhaseName.FORGET, Action.FORGET) if begun else None,
    ]
    return _finish(observed, phases, observed.record.options or Options(""), [])


def _before_switch(observed: Observations, options: Options) -> _Phases:
    """Return the phases up to the one within which there is only forward."""
    target = [node for node in observed.nodes if node.name == options.target]
    others = [node for node in observed.nodes if node.name != options.target]
    serving = [node for node in others if node.process and node.balancer is Balancer.READY]
    # while nothing runs, the last copy does it all
    warm = options.move_data and any(node.process for node in observed.nodes)
    return [
        once(PhaseName.BEGIN, Action.BEGIN) if observed.record.state is RecordState.ABSENT else None,
        _on(PhaseName.WARM, Action.WARM_COPY, target if warm else []),
        _on(PhaseName.SERVE, Action.SERVE_DATABASES, target if options.move_databases else []),
        # it alone serves while the others stop, and is sent its users again as soon as it is healthy
        _on(PhaseName.READY_TARGET, Action.LB_READY, [node for node in target if _is_out(node)]),
        _on(PhaseName.DRAIN, Action.LB_DRAIN, serving),
        # the target serves meanwhile; this is done also where all is stopped, since it proves that
        _on(PhaseName.STOP_OTHERS, Action.STOP_AND_BLOCK, others),
    ]


def _is_out(node: NodeObservation) -> bool:
    """Whether the load balancer keeps users from a node that could serve them."""
    return node.process and node.healthy and node.balancer in (Balancer.DRAIN, Balancer.MAINT)


def _after_switch(observed: Observations, options: Options) -> _Phases:
    """Return the phases from the one that writes the switch on. All are repeated until the end is written down."""
    target = [node for node in observed.nodes if node.name == options.target]
    others = [node for node in observed.nodes if node.name != options.target]
    # one that somebody started by hand since
    loose = [node for node in others if not node.stays_stopped] if observed.record.state is RecordState.SWITCHED else []
    return [
        _on(PhaseName.STOP_OTHERS, Action.STOP_AND_BLOCK, loose),
        _on(PhaseName.MOVE, Action.MOVE, target),
        _at(PhaseName.ROUTE, Action.ROUTE, observed.balancer_hosts),
        _on(PhaseName.RETIRE, Action.RETIRE, others),
        _close(
            PhaseName.CLOSE_DATABASES,
            *(Action.CLOSE_DATABASES, observed.database_hosts, Action.RETIRE_DATABASES),
            options.target if options.move_databases else "",
        ),
        _close(
            PhaseName.CLOSE_STORAGE,
            *(Action.CLOSE_STORAGE, observed.storage_hosts, Action.PROTECT_DATA),
            options.target if options.move_data else "",
        ),
        once(PhaseName.INVENTORY, Action.WRITE_INVENTORY),
        _on(PhaseName.FINISH, Action.FINISH, target),
    ]


def _leave(observed: Observations, options: Options) -> _Phases:
    """Return what is done when all is done, and the lock with all else on the old storage is needed no more."""
    target = [node for node in observed.nodes if node.name == options.target and node.mounted]
    if not options.move_data or not target or not observed.mount_is_ours:
        return []
    return [
        _at(PhaseName.WITHDRAW, Action.WITHDRAW, observed.storage_hosts),
        _on(PhaseName.LEAVE, Action.LEAVE_STORAGE, target),
    ]


def _on(name: PhaseName, action: Action, nodes: Iterable[NodeObservation]) -> _Phase:
    return _at(name, action, [node.name for node in nodes])


def _at(name: PhaseName, action: Action, hosts: Sequence[str]) -> _Phase:
    return Phase(name, tuple(Step(host, action) for host in hosts)) if hosts else None


def _close(name: PhaseName, action: Action, hosts: Sequence[str], leaving: Action, target: str) -> _Phase:
    """Return the phase in which hosts of ours let nobody else in, and the target what it has left behind be."""
    steps = [Step(host, action) for host in hosts]
    if target and target not in hosts:
        steps.append(Step(target, leaving))
    return Phase(name, tuple(steps)) if steps else None


def _finish(observed: Observations, phases: _Phases, options: Options, afterwards: _Phases) -> Plan:
    """Return the plan with the lock around its phases; no work and no lock left over is no plan."""
    work = [each for each in phases if each is not None]
    if work or observed.lock.view is not LockView.FREE:
        if observed.lock.view is not LockView.OURS:
            work.insert(0, once(PhaseName.LOCK, Action.TAKE_LOCK))
        work.append(once(PhaseName.UNLOCK, Action.RELEASE_LOCK))
    work += [each for each in afterwards if each is not None]
    versions = [node.installed_version for node in observed.nodes if node.name == options.target]
    return Plan(tuple(work), options.target, versions[0] if versions else "")

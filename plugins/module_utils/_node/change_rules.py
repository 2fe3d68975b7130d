# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changing the version of one node: what has to be done, in which order, and what a failure means.

The order is what keeps two versions apart: blocked before stopped, stopped and proved before the package changes, and
unblocked only when the package is installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import PLAYBOOK, DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._core.product import UNIT
from ansible_collections.rspm.ha.plugins.module_utils._core.version import reports_version, same_version
from ansible_collections.rspm.ha.plugins.module_utils._node.hand_over import giver_changed
from ansible_collections.rspm.ha.plugins.module_utils._package.rules import PackageState
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import ApiState, UnitState


@dataclass(frozen=True)
class UpgradeRequest:
    """What is wanted. first: this node moves the schema, so no node at all may have a session in the databases.

    start: False to install only, on a node that is stopped and blocked already; unpack: not even that in full, so
    that a script that refuses the package is known. path: the staged file, "" for none.
    purpose: the playbook that asks, "upgrade" or "rollback". apart: the package's scripts reach no network, no service
    and no shared data, because another node serves.
    """

    version: str
    path: str
    purpose: str
    first: bool = False
    start: bool = True
    allow_unlicensed: bool = False
    unpack: bool = False
    apart: bool = False


@dataclass(frozen=True)
class UpgradePlan:
    """What is to be done, in the order of the fields. prove: that the node, and whoever else must, is stopped.

    repair: the installation finishes first what was cut off.
    """

    block: bool = False
    stop: bool = False
    prove: bool = False
    install: bool = False
    unblock: bool = False
    enable: bool = False
    start: bool = False
    wait: bool = False
    repair: bool = False

    @property
    def changes(self) -> bool:
        """Whether anything is to be changed; proving and waiting change nothing."""
        return self.block or self.stop or self.install or self.unblock or self.enable or self.start

    def actions(self) -> list[str]:
        """Return what is to be done by name, in that order."""
        names = ("block", "stop", "prove", "install", "unblock", "enable", "start", "wait")
        return [name for name in names if getattr(self, name)]


def plan_node(
    package: PackageState, unit: UnitState, api: ApiState, running: bool, request: UpgradeRequest, *, planning: bool
) -> UpgradePlan:
    """Return what brings the node to the wanted version. running: whether there is any process of the server.

    planning: check mode, in which the node was not stopped before. A process of the wanted version is never stopped:
    it may be moving the schema. Raises DomainError where the work would be wrong.
    """
    current = package.installed and same_version(package.version, request.version)
    if not current and not request.path:
        raise _refused(
            "package-staged",
            f"rstudio-pm {request.version} is neither installed nor staged on this node",
            "Nothing was stopped: a node that has to fetch its package while it is down is down for longer",
            "Run the same command again, which stages it first",
        )
    repair = not current and not package.absent and not package.installed
    if not request.start:
        if not planning:
            _require_stopped(unit, running)
        return UpgradePlan(prove=not current, install=not current, repair=repair)
    if unit.masked:
        raise _refused(
            "node-start",
            "the unit rstudio-pm is masked, by somebody else",
            "Nothing was changed: it could not be started afterwards",
            "If the reason is over, run systemctl unmask rstudio-pm on this node and the same command again",
        )
    blocked, disabled = bool(unit.blocked_for), not unit.enabled
    if running and current and not (api.version and not reports_version(api.version, request.version)):
        healthy = api.healthy(request.allow_unlicensed)
        return UpgradePlan(unblock=blocked, enable=disabled, wait=not healthy)
    guarded = request.first or running or not current
    return UpgradePlan(
        block=guarded and unit.blocked_for != request.purpose,
        stop=running,
        prove=guarded,
        install=not current,
        unblock=guarded or blocked,
        enable=disabled,
        start=True,
        wait=True,
        repair=repair,
    )


def plan_giver(
    package: PackageState, unit: UnitState, running: bool, request: UpgradeRequest, host: str
) -> UpgradePlan:
    """Return what makes the node give its place up to one of the wanted version.

    Raises DomainError where it has that version itself, and may be moving the schema.
    """
    if same_version(package.version, request.version):
        raise DomainError(giver_changed(host, request.version))
    return UpgradePlan(block=unit.blocked_for != request.purpose, stop=running, prove=True)


def _require_stopped(unit: UnitState, running: bool) -> None:
    """Raise DomainError unless the node is stopped and blocked."""
    if running or not (unit.masked or unit.blocked_for):
        raise _refused(
            "node-stopped",
            "rstudio-pm runs" if running else "rstudio-pm is not blocked, so that anything may have started it",
            "It may have moved the schema since the node was stopped, which has to be looked at anew",
            "Run the same command again, which observes, stops and blocks every node first",
        )


def _refused(check: str, found: str, why: str, fix: str) -> DomainError:
    return DomainError(Problem(check=check, found=found, why=why, fix=fix))


class AfterFailure(Enum):
    """What becomes of a node that did not get healthy."""

    LEAVE = "leave"
    """It is left alone: its process may be migrating the schema, and must not be killed."""
    BLOCK = "block"
    """It is not started once more; a process that lives then is left alone for the same reason."""
    STOP = "stop"
    """It is blocked and stopped: another node has moved the schema."""


def after_failure(plan: UpgradePlan, request: UpgradeRequest, restarts: int, *, alive: bool) -> AfterFailure:
    """Return what to do. restarts: how often it ended by itself. alive: whether there is a process of the server."""
    if not plan.start:
        return AfterFailure.LEAVE
    if not request.first:
        return AfterFailure.STOP
    return AfterFailure.LEAVE if alive and not restarts else AfterFailure.BLOCK


def left_alone(cause: Problem, host: str, request: UpgradeRequest) -> Problem:
    """Return the problem of a node that is not healthy while its process lives."""
    back = f", or go back with {PLAYBOOK}.rollback, which stops it" if request.purpose == "upgrade" else ""
    return Problem(
        check=cause.check,
        found=f"rstudio-pm {request.version} runs on {host} and is not healthy yet; it was left alone, since it may be "
        f"moving the schema. {cause.found}",
        why="A move of the schema that is cut may leave databases that no version can use. No node that is stopped now "
        "starts before this one is healthy",
        fix=f"Watch it on {host}: journalctl --follow --unit {UNIT}. Then run the same command again: it goes on where "
        f"the node is healthy, and else waits for it once more (rspm_health_timeout seconds){back}",
    )


def unpack_refused(host: str, request: UpgradeRequest, installed: str, said: str) -> Problem:
    """Return the problem of a package that would not replace the installed one; nothing was restored yet."""
    return Problem(
        check="package-refused",
        found=f"the package manager on {host} does not put rstudio-pm {request.version} in the place of {installed}. "
        f"It said: {said}",
        why="Nothing was restored, so that the databases are still those of the newer version; every node is stopped "
        "and blocked",
        fix=f"To stay with the newer version: {PLAYBOOK}.unlock, which shows how to end this rollback's lock, then "
        f"{PLAYBOOK}.upgrade -e rspm_version={installed}. To go back all the same, "
        f"remove what refuses on {host} (where it is the package's own script: dpkg --remove rstudio-pm, or rpm "
        f"--erase rstudio-pm), and run {PLAYBOOK}.rollback again",
    )


def start_undone(cause: Problem, host: str, request: UpgradeRequest, stopped: bool, moved: str = "") -> Problem:
    """Return the problem of a node that was started and did not get healthy.

    stopped: whether it is stopped again. moved: why the schema may have moved, so that the node that served before was
    not started again; "" where there is none.
    """
    state = "stopped and blocked again" if stopped else "blocked again, but a process is left that would not stop"
    back = (
        "Run the same command again once the cause is repaired"
        if request.purpose != "upgrade"
        else (
            f"Go back with {PLAYBOOK}.rollback. Or repair the cause (where the schema needed longer, raise "
            f"rspm_health_timeout) and go on with {PLAYBOOK}.upgrade"
        )
    )
    told = f". The older version was not started again, as the schema may have moved: {moved}" if moved else ""
    return Problem(
        check=cause.check,
        found=f"rstudio-pm {request.version} was started and failed, and is {state}. {cause.found}{told}",
        why=f"No other node may follow {host} to a version that does not run",
        fix=back,
    )


def moved_nothing(cause: Problem, host: str, request: UpgradeRequest, giver: str) -> Problem:
    """Return the problem of a node that was started, failed, and has certainly moved nothing."""
    return Problem(
        check=cause.check,
        found=f"rstudio-pm {request.version} was started and failed, and is stopped and blocked again. {cause.found}. "
        f"Nothing was written to the databases, so that the restore point is not in use any more, and {giver} is to "
        "serve again",
        why=f"No other node may follow {host} to a version that does not run",
        fix=f"Repair the cause and go on with {PLAYBOOK}.upgrade. Or give it up, which loses nothing: "
        f"{PLAYBOOK}.rollback",
    )

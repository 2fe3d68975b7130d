# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what the modules found to what an upgrade and a migration both observe: package, sessions, balancer, lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockView
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.failure import failure_reason
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import Balancer, LockObservation, Package

_MEMBERS = {"ready": Balancer.READY, "drain": Balancer.DRAIN, "maintenance": Balancer.MAINT}


@dataclass(frozen=True)
class Sessions:
    """Who has sessions in the databases.

    own: how many, by node; one that could not ask has none here. foreign: addresses of what is no node, "" for the
    server's own socket.
    shared: addresses that the server sees several nodes with, each with those nodes.
    says: why a node could not ask, "" where all could.
    """

    own: Mapping[str, int]
    foreign: tuple[str, ...]
    shared: tuple[tuple[str, tuple[str, ...]], ...]
    says: str


def observe_sessions(results: Mapping[str, Any]) -> Sessions:
    """Return who has sessions. results: of database_sessions, by node; {} for one that could not be reached."""
    answers = {name: result for name, result in results.items() if result and "sessions" in result}
    addresses = {name: answer["own_address"] for name, answer in answers.items()}
    # every node sees all of them
    observed = [session["client_address"] for session in next(iter(answers.values()), {"sessions": []})["sessions"]]
    foreign = sorted(set(observed) - set(addresses.values()))
    users = {
        address: tuple(name for name, own in addresses.items() if own == address) for address in addresses.values()
    }
    silent = [f"{host}: {said['msg']}" for host, said in results.items() if said and "msg" in said]
    return Sessions(
        own={name: observed.count(address) for name, address in addresses.items()},
        foreign=tuple(foreign),
        shared=tuple((address, names) for address, names in sorted(users.items()) if len(names) > 1),
        says="; ".join(silent),
    )


NodeT = TypeVar("NodeT", bound="ClusterNode")


@dataclass(frozen=True)
class ClusterNode:
    """What an upgrade and a migration both observe of a node, as it is now.

    name: inventory name. reachable: False means that nothing else here is known; says: then why, as far as it is known.
    package, installed_version: of the package manager; the version is "" where there is none.
    process: a process of the service is there, whatever its unit says. healthy: by its health address.
    blocked: nothing can start it, because the collection blocks it or somebody masked the unit. blocked_for: why the
        collection blocks it, "" where it does not. enabled: of the unit.
    busy: a step of an earlier run is still at work on the node.
    sessions: of this node in the databases.
    """

    name: str
    reachable: bool = True
    says: str = ""
    package: Package = Package.INSTALLED
    installed_version: str = ""
    process: bool = False
    healthy: bool = False
    blocked: bool = False
    blocked_for: str = ""
    enabled: bool = True
    busy: bool = False
    sessions: int = 0
    balancer: Balancer = Balancer.UNMANAGED

    @classmethod
    def from_result(
        cls: type[NodeT], name: str, result: Mapping[str, Any], allow_unlicensed: bool, **known: Any
    ) -> NodeT:
        """Return what node_info's result says of a node.

        allow_unlicensed: whether 402 is healthy. known: what others say of it, if it could be reached.
        """
        info = result.get("node")
        if not info:
            return cls(name, reachable=False, says=failure_reason(result))
        return cls(
            name,
            package=Package(info["package"]["status"]),
            installed_version=info["package"]["version"],
            process=info["running"],
            blocked=info["masked"],
            blocked_for=info["unit"]["blocked_for"],
            enabled=info["unit"]["file_state"] == "enabled",
            healthy=info["api"]["health_code"] in ((200, 402) if allow_unlicensed else (200,))
            and not info["api"]["starting"],
            busy=bool(info["busy"]),
            **known,
        )

    @property
    def stays_stopped(self) -> bool:
        """Whether nothing runs and neither a person's start, a reboot nor a package's script can change that."""
        return self.blocked and not self.process


def observe_balancer(name: str, found: Mapping[str, Any], interrupted: bool) -> Balancer:
    """Return what the load balancers do with a node: where they differ, what keeps requests from it.

    found: balancers: of each load balancer lb_member's members, {} for one that did not answer.
      balancer_command: whether the team's own command does that instead.
    interrupted: whether an earlier run may have left it drained.
    """
    if found["balancer_command"]:
        # a command tells nothing of what is; what a run that was cut off drained is brought back
        return Balancer.DRAIN if interrupted else Balancer.READY
    observed = [_MEMBERS[each[name]["state"]] if name in each else Balancer.UNKNOWN for each in found["balancers"]]
    if not observed:
        return Balancer.UNMANAGED
    return next(
        state for state in (Balancer.UNKNOWN, Balancer.MAINT, Balancer.DRAIN, Balancer.READY) if state in observed
    )


def observe_lock(result: Mapping[str, Any]) -> LockObservation:
    """Return the lock. result: of cluster_lock; {}, or that of a skipped task, where it could not be asked."""
    if "view" not in result:
        return LockObservation()
    return LockObservation(LockView(result["view"]), result["lock"].get("run_id", ""), result["says"])

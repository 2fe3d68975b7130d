# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the modules' results to observations, and what a run says when the cluster changed under it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockView
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import Balancer, Package
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.model import NodeObservation, Plan
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.observe import judge_drift, observe
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.plan import make_plan, plan_rollback, plan_upgrade
from tests.unit.worlds.upgrade_clusters import NEW, OLD, OURS, cluster, halted, serving


def info(version: str = OLD, **changed: Any) -> dict[str, Any]:
    return {
        "package": {"status": "installed", "version": version, "held": True},
        "running": True,
        "running_version": version,
        "masked": False,
        "unit": {"file_state": "enabled", "blocked_for": "", "stopped_at": 0},
        "api": {"health_code": 200, "starting": False, "error": ""},
        "busy": "",
        **changed,
    }


def found(**nodes: dict[str, Any]) -> dict[str, Any]:
    """Return what a healthy cluster of the old version gives; nodes: their node_info."""
    nodes = nodes or {"node1": info(), "node2": info()}
    addresses = {name: f"192.0.2.{number}" for number, name in enumerate(nodes, 1)}
    sessions = [{"client_address": address} for address in addresses.values()]
    return {
        "nodes": {name: {"node": each} if each else {} for name, each in nodes.items()},
        "sessions": {name: {"sessions": sessions, "own_address": address} for name, address in addresses.items()},
        "asked_versions": dict.fromkeys(nodes, NEW),
        "package_sources": dict.fromkeys(nodes, "url"),
        "staged": dict.fromkeys(nodes, ""),
        "balancers": [{name: {"state": "ready"} for name in nodes}],
        "balancer_command": False,
        "database": "db1",
        "allow_unlicensed": False,
        "lock": {"view": "free", "lock": {}, "says": "free"},
        "restore_point": {
            "state": "absent",
            "from_version": "",
            "to_version": "",
            "run_id": "",
            "created": "",
            "restored": "",
        },
        "saved": {},
        "space": {},
        "now": 0,
    }


def test_a_healthy_cluster() -> None:
    observed = observe(found())
    assert [node.name for node in observed.nodes] == ["node1", "node2"]
    for node in observed.nodes:
        assert node.reachable and node.process and node.healthy and node.held and node.enabled
        assert node.sessions == 1 and node.balancer is Balancer.READY and node.package is Package.INSTALLED
        assert not node.staged and not node.blocked and not node.busy
    assert observed.database.reachable and observed.database.foreign_sessions == ()
    assert observed.lock.view is LockView.FREE and observed.restore_point.state is RestoreState.ABSENT


@pytest.mark.parametrize("skipped", [{}, {"changed": False, "skipped": True, "skip_reason": "a node is away"}])
def test_a_node_that_could_not_be_reached(skipped: dict[str, Any]) -> None:
    given = found(node1=info(), node2={})
    given["sessions"] = {"node1": skipped, "node2": skipped}
    given["lock"], given["restore_point"] = skipped, skipped
    assert "node2 is unreachable. " in make_plan(given, "upgrade", target=NEW)["problems"][0]
    given["nodes"]["node2"] = {"msg": "its disk is full"}
    assert "node2 is unreachable: its disk is full. " in make_plan(given, "upgrade", target=NEW)["problems"][0]
    observed = observe(given)
    assert [node.reachable for node in observed.nodes] == [True, False]
    assert observed.database.reachable


def test_the_sessions_of_a_node_that_could_not_be_reached_are_no_strangers() -> None:
    given = found(node1=info(), node2=info())
    given["nodes"]["node2"] = given["sessions"]["node2"] = {}
    (problem,) = make_plan(given, "upgrade", target=NEW)["problems"]
    assert "node2 is unreachable" in problem


def test_a_database_that_one_node_can_not_reach_is_named_with_that_node() -> None:
    given = found()
    given["sessions"]["node2"] = {"msg": "connection refused"}
    database = observe(given).database
    assert not database.reachable and database.says == "node2: connection refused"


def test_sessions_of_nobody_are_foreign() -> None:
    given = found()
    for result in given["sessions"].values():
        result["sessions"] = [*result["sessions"], {"client_address": "192.0.2.99"}, {"client_address": ""}]
    assert observe(given).database.foreign_sessions == ("", "192.0.2.99")


@pytest.mark.parametrize(("address", "shown"), [("192.0.2.1", "192.0.2.1"), ("", "its own socket")])
@pytest.mark.parametrize("verb", ["upgrade", "rollback"])
def test_nodes_behind_one_address_are_refused_while_observing(address: str, shown: str, verb: str) -> None:
    given = found(node1=info(), node2=info(), node3=info())
    for name in ("node1", "node3"):
        given["sessions"][name]["own_address"] = address
    for result in given["sessions"].values():
        result["sessions"] = [{"client_address": each} for each in (address, "192.0.2.2", address)]
    assert observe(given).database.shared_addresses == ((address, ("node1", "node3")),)
    planned = make_plan(given, verb, target=NEW if verb == "upgrade" else "")
    assert planned["phases"] == []
    assert f"db1 sees node1, node3 with the same address, {shown}" in planned["problems"][0]


@pytest.mark.parametrize(
    ("balancers", "state"),
    [
        ([], Balancer.UNMANAGED),
        ([{"node1": {"state": "ready"}}, {"node1": {"state": "drain"}}], Balancer.DRAIN),
        ([{"node1": {"state": "maintenance"}}, {"node1": {"state": "drain"}}], Balancer.MAINT),
        ([{"node1": {"state": "ready"}}, {}], Balancer.UNKNOWN),
        ([{"other": {"state": "ready"}}], Balancer.UNKNOWN),
    ],
)
def test_what_keeps_requests_from_a_node_counts(balancers: list[dict[str, Any]], state: Balancer) -> None:
    given = found(node1=info())
    given["balancers"] = balancers
    assert observe(given).nodes[0].balancer is state


def test_a_command_can_not_tell_so_what_a_dead_run_drained_is_brought_back() -> None:
    given = found()
    given["balancer_command"] = True
    assert observe(given).nodes[0].balancer is Balancer.READY
    given["lock"] = {"view": "takeable", "lock": {"run_id": "r"}, "says": "x"}
    assert observe(given).nodes[0].balancer is Balancer.READY
    given["restore_point"] = {
        "state": "in_use",
        "from_version": OLD,
        "to_version": NEW,
        "run_id": "r",
        "created": "",
        "restored": "",
    }
    assert observe(given).nodes[0].balancer is Balancer.DRAIN


def test_402_is_healthy_only_where_that_is_allowed() -> None:
    given = found(node1=info(api={"health_code": 402, "starting": False, "error": ""}))
    assert not observe(given).nodes[0].healthy
    given["allow_unlicensed"] = True
    assert observe(given).nodes[0].healthy


def test_plain_data_of_a_plan_of_a_refusal_and_of_a_way_back() -> None:
    plan = make_plan(found(), "upgrade", target=NEW)
    assert plan["problems"] == [] and plan["first"] == "node1"
    assert [each["name"] for each in plan["phases"]][:3] == ["lock", "stage", "restore_point"]
    refused = make_plan(found(node1=info(), node2={}), "upgrade", target=NEW)
    assert refused["phases"] == [] and "node2 is unreachable" in refused["problems"][0]
    assert "nothing to go back to" in make_plan(found(), "rollback")["problems"][0]


def in_the_middle() -> dict[str, Any]:
    """Return what is found just before the rest follows the first node."""
    api = {"health_code": 0, "starting": False, "error": "refused"}
    stopped = info(running=False, running_version="", masked=True, api=api)
    given = found(node1=info(NEW), node2=stopped, node3=stopped)
    given["lock"] = {"view": "ours", "lock": {"run_id": "r"}, "says": "x"}
    given["restore_point"] = {
        "state": "in_use",
        "from_version": OLD,
        "to_version": NEW,
        "run_id": "r",
        "created": "",
        "restored": "",
    }
    return given


def test_a_run_goes_on_where_nothing_but_itself_changed_the_cluster() -> None:
    planned = make_plan(found(node1=info(), node2=info(), node3=info()), "upgrade", target=NEW)["phases"]
    assert make_plan(in_the_middle(), "upgrade", target=NEW, phase="rest", planned=planned)["problems"] == []


def test_a_node_that_was_started_by_hand_stops_the_run() -> None:
    planned = make_plan(found(node1=info(), node2=info(), node3=info()), "upgrade", target=NEW)["phases"]
    given = in_the_middle()
    given["nodes"] = copy.deepcopy(given["nodes"])
    given["nodes"]["node3"] = {"node": info()}
    problems = make_plan(given, "upgrade", target=NEW, phase="rest", planned=planned)["problems"]
    assert len(problems) == 1
    assert "before phase rest, node3 was found changed by somebody else" in problems[0]
    assert "phase stop was nothing and is now stop_and_block on node3" in problems[0]


def test_what_is_only_further_on_is_no_change() -> None:
    planned = [{"name": "rest", "steps": {"b": "upgrade"}}, {"name": "hold", "steps": {"a": "hold", "b": "hold"}}]
    now = [{"name": "prove", "steps": {"": "prove_stopped"}}, {"name": "rest", "steps": {"b": "upgrade"}}]
    assert judge_drift("rest", planned, now) == []
    assert judge_drift("rest", planned, [{"name": "rest", "steps": {"b": "start"}}]) != []
    assert judge_drift("rest", planned, []) != []


def test_a_start_that_came_to_its_end_by_itself_is_no_change() -> None:
    planned = [{"name": "first", "steps": {"a": "start", "b": "start"}}, {"name": "rest", "steps": {"c": "upgrade"}}]
    rest = {"name": "rest", "steps": {"c": "upgrade"}}
    assert judge_drift("first", planned, [rest]) == []
    assert judge_drift("first", planned, [{"name": "first", "steps": {"b": "start"}}, rest]) == []
    assert judge_drift("first", planned, [{"name": "rest", "steps": {"a": "start", "c": "upgrade"}}]) == []
    assert "before phase first, c was found changed" in str(judge_drift("first", planned, [])[0])
    (problem,) = judge_drift("first", planned, [{"name": "first", "steps": {"a": "upgrade_first"}}, rest])
    assert "before phase first, a was found changed" in problem.found
    assert "phase first was start on a, start on b and is now upgrade_first on a" in problem.found
    (problem,) = judge_drift("rest", [rest], [{"name": "first", "steps": {"a": "start"}}, rest])
    assert "phase first was nothing and is now start on a" in problem.found and "phase rest was" not in problem.found


STARTING: list[dict[str, Any]] = [
    {"running_version": ""},
    {"healthy": False},
    {"running_version": "", "healthy": False, "enabled": False},
]


@given(st.data(), st.booleans(), st.sampled_from([RestoreState.COMPLETE, RestoreState.IN_USE, RestoreState.RESTORED]))
def test_a_node_that_was_found_starting_may_come_up_at_any_time(
    data: st.DataObject, rollback: bool, state: RestoreState
) -> None:
    version, other = (OLD, NEW) if rollback else (NEW, OLD)
    kinds: list[Callable[[str, str], NodeObservation]] = [
        serving,
        halted,
        *(partial(serving, **starting) for starting in STARTING),
    ]
    nodes = [data.draw(st.sampled_from(kinds))(name, data.draw(st.sampled_from([version, other]))) for name in "abc"]
    nodes.append(serving("d", version, **data.draw(st.sampled_from(STARTING))))

    def plan(*nodes: NodeObservation) -> tuple[Any, set[str]]:
        observed = cluster(*nodes, point=(state, "run1"), lock=OURS)
        outcome = plan_rollback(observed) if rollback else plan_upgrade(observed, NEW)
        phases: Any = outcome.to_dict()["phases"] if isinstance(outcome, Plan) else []
        return phases, {host for phase in phases for host, action in phase["steps"].items() if action == "start"}

    before, to_start = plan(*nodes)
    starting = [node for node in nodes if node.process and node.name in to_start]
    event(f"{len(starting)} starting")
    up = [node.name for node in starting if data.draw(st.booleans())]
    after, _left = plan(
        *(replace(node, running_version=version, healthy=True) if node.name in up else node for node in nodes)
    )
    assert judge_drift("first", before, after) == []

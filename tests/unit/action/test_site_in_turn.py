# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which nodes site.yml goes through one after the other, in real runs of ansible-playbook."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.action.test_preflight_run import PLAYBOOKS, play

PLAYS = {each["name"]: each for each in yaml.safe_load((PLAYBOOKS / "site.yml").read_text())}
MARK = PLAYS["Mark the nodes that have to be started, restarted or put back into service"]
IN_TURN = PLAYS["Start the wanted version on one node after the other, where it is needed"]
AGAIN = PLAYS["Read again what runs on every node, where one has been started"]
NODES = ["node1", "node2", "node3"]


def in_turn(folder: Path, *args: str, balancers: dict[str, Any] | None = None, **nodes: dict[str, Any]) -> list[str]:
    """Return the nodes in the order in which they are gone through. nodes: what differs from a node that serves."""
    state = {"start_needed": False, "api": {"health_code": 200}}
    common = {"rspm_allow_unlicensed": False, "rspm_load_balancer_command": []}
    hosts = {
        name: {**common, **nodes.get(name, {}), "status_node": {"node": {**state, **nodes.get(name, {})}}}
        for name in NODES
    }
    show = {"name": "Show", "ansible.builtin.debug": {"msg": "SHOWN {{ inventory_hostname }} {{ ansible_play_batch }}"}}
    marks = [task for task in MARK["tasks"] if "ansible.builtin.group_by" in task]
    (folder / "plays.yml").write_text(
        yaml.safe_dump(
            [
                {**MARK, "tasks": marks},
                {**IN_TURN, "tasks": [show]},
                {**AGAIN, "tasks": [{"name": "Show", "ansible.builtin.debug": {"msg": "AGAIN"}}]},
            ]
        )
    )
    lbs = {name: {"site_members": found} for name, found in (balancers or {}).items()}
    done = play(folder, folder / "plays.yml", {"rspm_nodes": hosts, "rspm_load_balancer": lbs}, *args)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr and "changed=1" not in done.stdout
    shown = re.findall(r"SHOWN (\w+) \['(\w+)'\]", done.stdout)
    assert all(name == alone for name, alone in shown) and done.stdout.count("SHOWN") == len(shown)
    assert ("AGAIN" in done.stdout) == bool(shown)
    return [name for name, _alone in shown]


def test_nothing_is_done_in_turn_where_nothing_is_needed(tmp_path: Path) -> None:
    assert in_turn(tmp_path, balancers={"lb1": {"in_service": NODES}, "lb2": {"in_service": NODES}}) == []
    assert in_turn(tmp_path) == []


@pytest.mark.parametrize(
    "needs",
    [
        {"start_needed": True},
        {"api": {"health_code": 402}},
        {"rspm_load_balancer_command": ["/usr/local/bin/member", "{node}"]},
    ],
)
def test_a_node_that_needs_it_is_gone_through_alone(tmp_path: Path, needs: dict[str, Any]) -> None:
    assert in_turn(tmp_path, node1=needs) == ["node1"]
    assert in_turn(tmp_path, **dict.fromkeys(NODES, needs)) == NODES


def test_a_server_without_a_licence_may_be_wanted(tmp_path: Path) -> None:
    assert in_turn(tmp_path, node2={"api": {"health_code": 402}, "rspm_allow_unlicensed": True}) == []


def test_a_node_that_is_out_of_service_at_one_load_balancer_is_put_back(tmp_path: Path) -> None:
    assert in_turn(tmp_path, balancers={"lb1": {"in_service": NODES}, "lb2": {"in_service": NODES[1:]}}) == ["node1"]


def test_a_load_balancer_that_tells_nothing_leaves_no_node_out(tmp_path: Path) -> None:
    assert in_turn(tmp_path, balancers={"lb1": {"in_service": NODES}, "lb2": {"failed": True, "msg": "x"}}) == NODES


def test_a_check_asks_every_node(tmp_path: Path) -> None:
    assert in_turn(tmp_path, "--check") == NODES

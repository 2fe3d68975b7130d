# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The phases of upgrade and migration on several hosts, in real runs of ansible-playbook with steps that say lines."""

from __future__ import annotations

import json
import os
import re
import shutil
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.rspm.ha.plugins.plugin_utils._migration import model as migration_model
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade import model as upgrade_model
from tests.unit.action.test_preflight_run import CANARY, LOST, REPOSITORY, play

NODES = ["node1", "node2", "node3"]
TIMELINE = {"step": "work", "at": "2026-11-28T04:00:00.123Z", "seconds": 1.5}


def line(text: str) -> dict[str, Any]:
    """Return a task with which a host says a line."""
    return {"name": "Say a line", "ansible.builtin.debug": {"msg": f"line: {text}"}}


def step(role: str, name: str) -> list[dict[str, Any]]:
    """Return the tasks of a step, which fails on the host that fails_on names."""
    told = {"timeline": [{**TIMELINE, "step": f"{name}_{{{{ inventory_hostname }}}}"}]}
    return [
        line(f"{{{{ phases_phase.name }}}} {name} {{{{ inventory_hostname }}}} {{{{ {role}_purpose }}}}"),
        {
            "name": "Fail",
            "ansible.builtin.fail": {"msg": "it broke"},
            "when": f"inventory_hostname ~ ' {name}' == fails_on",
        },
        {"name": "Register what was done", "ansible.builtin.set_fact": {f"{role}_step": told}},
    ]


class Cluster:
    """A copy of the collection whose verbs plan what a test says, and its hosts, all on this machine."""

    def __init__(self, folder: Path, role: str, phases: list[dict[str, Any]]) -> None:
        self.folder, self.role, self.lines = folder, role, [""]
        self.report: dict[str, Any] = {}
        collection = folder / "collections" / "ansible_collections" / "rspm" / "ha"
        for name in ("plugins", "roles", "meta"):
            shutil.copytree(REPOSITORY / name, collection / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(REPOSITORY / "galaxy.yml", collection)
        # the ids of whoever runs the tests may be root's
        (collection / "roles" / "rspm" / "tasks" / "main.yml").write_text("[]\n")
        self.tasks = collection / "roles" / role / "tasks"
        plan: dict[str, Any] = {
            "phases": phases,
            "holder_gone": "",
            "began": "2026-11-28T03:59:00Z",
            "gives_up": "",
            "problems": [],
        }
        plan |= {"first": "node1", "from_version": "2026.04.0", "to_version": "2026.08.0", "versions": {}}
        plan |= {"target": "node1", "version": "2026.04.0", "record": "absent", "written": {}}
        self.write("plan", [{"name": "Plan", "ansible.builtin.set_fact": {f"{role}_planned": plan}}])
        for name in ("prepare", "check", "verify"):
            self.write(name, [line(f"{name} {{{{ inventory_hostname }}}}")])
        for action in {action for phase in phases for action in phase["steps"].values()} - {
            "take_lock",
            "release_lock",
        }:
            self.write(f"steps/{action}", step(role, action))

    def write(self, name: str, tasks: list[dict[str, Any]]) -> None:
        """Replace a file of tasks of the verb's role."""
        (self.tasks / f"{name}.yml").write_text(yaml.safe_dump(tasks))

    def run(self, *args: str, groups: dict[str, list[str]] | None = None, code: int = 2, **changed: Any) -> str:
        """Run the verb; returns what it printed, and keeps its report and the lines that its hosts said."""
        book: dict[str, Any] = {
            "name": "Run the verb",
            "hosts": "all",
            "gather_facts": False,
            "any_errors_fatal": True,
            "roles": [{"role": f"rspm.ha.{self.role}", "vars": {"upgrade_purpose": "rollback"}}],
        }
        if self.role != "upgrade":
            del book["roles"][0]["vars"]
        (self.folder / "play.yml").write_text(yaml.safe_dump([book]))
        variables = {
            "fails_on": "",
            "rspm_storage_path": str(self.folder / "storage"),
            "rspm_uid": os.getuid(),
            "rspm_gid": os.getgid(),
            "rspm_address": "",
            "rspm_report_file": "report.json",
            **changed,
        }
        hosts = {
            group: {name: LOST if name == "lost" else {} for name in names}
            for group, names in (groups or {"rspm_nodes": NODES}).items()
        }
        done = play(
            self.folder,
            self.folder / "play.yml",
            hosts,
            *("-e", json.dumps(variables), *args),
            collections=self.folder / "collections",
        )
        assert done.returncode == code, done.stdout + done.stderr
        self.lines = re.findall(r'"msg": "line: (.*)"', done.stdout)
        if (self.folder / "report.json").exists():
            self.report = json.loads((self.folder / "report.json").read_text())
        return done.stdout

    def lock(self) -> str:
        """Return what is in the folder of the lock."""
        found = sorted((self.folder / "storage" / ".rspm-ha" / "lock").iterdir())
        return " ".join(f"{path.name} {path.read_text()}" for path in found)


LOCK = {"name": "lock", "steps": {"": "take_lock"}}
STAGE = {"name": "stage", "steps": dict.fromkeys(NODES, "stage")}
FIRST = {"name": "first", "steps": {"node1": "upgrade_first"}}
REST = {"name": "rest", "steps": {"node2": "hold", "node3": "restore"}}
UNLOCK = {"name": "unlock", "steps": {"": "release_lock"}}


@pytest.mark.parametrize(
    ("role", "actions"), [("upgrade", upgrade_model.Action), ("migration", migration_model.Action)]
)
def test_each_action_of_a_plan_is_a_step(role: str, actions: type[Enum]) -> None:
    shared = yaml.safe_load((REPOSITORY / "roles/phases/vars/main.yml").read_text())["phases_steps"]
    for action in actions:
        own = REPOSITORY / "roles" / role / "tasks" / "steps" / f"{action.value}.yml"
        if action.value in shared:
            assert (REPOSITORY / "roles/phases/tasks/steps" / f"{shared[action.value]}.yml").is_file()
        assert own.is_file() != (action.value in shared), action


def upgrade(folder: Path) -> Cluster:
    """Return a cluster whose phases have one step for all, for one, and different ones."""
    (folder / "storage" / ".rspm-ha" / "lock").mkdir(parents=True)
    return Cluster(folder, "upgrade", [LOCK, STAGE, FIRST, REST, UNLOCK])


def hook(folder: Path, name: str) -> str:
    """Return the path of a hook."""
    path = folder / f"{name}.yml"
    path.write_text(yaml.safe_dump([line(f"{name} {{{{ upgrade_phase.name }}}} {{{{ upgrade_purpose }}}}")]))
    return str(path)


def test_one_phase_after_another_on_each_host_its_step(tmp_path: Path) -> None:
    cluster = upgrade(tmp_path)
    hooks = {"before_first": [hook(tmp_path, "one"), hook(tmp_path, "two")], "after_rest": [hook(tmp_path, "three")]}
    printed = cluster.run(code=0, rspm_upgrade_hooks=hooks)
    told = cluster.lines
    parts = [told[:3], told[3:6], told[6:9], told[9:12], told[12:15], [told[15]], told[16:19], told[19:21], told[21:24]]
    assert [sorted(part) for part in parts] == [
        [f"prepare {node}" for node in NODES],
        [f"stage stage {node} rollback" for node in NODES],
        [f"check {node}" for node in NODES],
        ["one first rollback"] * 3,
        ["two first rollback"] * 3,
        ["first upgrade_first node1 rollback"],
        [f"check {node}" for node in NODES],
        ["rest hold node2 rollback", "rest restore node3 rollback"],
        ["three rest rollback"] * 3,
    ]
    assert sorted(told[24:]) == [f"verify {node}" for node in NODES]
    assert '"how": "ended"' in cluster.lock()
    assert cluster.report["outcome"] == "done" and cluster.report["failures"] == {}
    # what a host did before is not told again of a phase in which it has nothing to do
    nodes = [
        {name: [each["step"] for each in node["steps"]] for name, node in phase["nodes"].items()}
        for phase in cluster.report["phases"]
    ]
    assert nodes == [
        {"cluster": []},
        {node: [f"stage_{node}"] for node in NODES},
        {"node1": ["upgrade_first_node1"]},
        {"node2": ["hold_node2"], "node3": ["restore_node3"]},
        {"cluster": []},
    ]
    assert CANARY not in printed


def test_a_phase_without_hooks_has_four_tasks_around_its_step(tmp_path: Path) -> None:
    printed = upgrade(tmp_path).run(code=0)
    tasks = re.findall(r"^TASK \[(.*)\] \*", printed, re.M)
    begin, end = (
        next(i for i, task in enumerate(tasks) if task.endswith(f"begins - {name}")) for name in ("stage", "first")
    )
    # of which the three last are the step's own
    assert len(tasks[begin:end]) == 4 + 3, tasks


def test_nodes_that_change_places_are_at_work_at_the_same_time(tmp_path: Path) -> None:
    (tmp_path / "storage" / ".rspm-ha" / "lock").mkdir(parents=True)
    pair = {"name": "first", "steps": {"node1": "hand_over", "node2": "hand_over"}}
    cluster = Cluster(tmp_path, "upgrade", [LOCK, pair, UNLOCK])
    other = "{{ {'node1': 'node2', 'node2': 'node1'}[inventory_hostname] }}"
    wait = f"timeout 20 sh -c 'until [ -e {tmp_path}/{other} ]; do sleep 0.1; done'"
    meet = f"touch {tmp_path}/{{{{ inventory_hostname }}}}; {wait}"
    cluster.write("steps/hand_over", [{"name": "Meet", "ansible.builtin.shell": meet, "changed_when": True}])
    cluster.run(code=0)
    assert cluster.report["outcome"] == "done"
    # of two tasks each node would have to end the first before either begins the second
    own = yaml.safe_load((REPOSITORY / "roles/upgrade/tasks/steps/hand_over.yml").read_text())
    assert len(own) == 1 and "loop" not in own[0] and "when" not in own[0]


@pytest.mark.parametrize(
    ("fails_on", "phase", "lock"), [("node2 stage", "stage", "free"), ("node1 upgrade_first", "first", "left")]
)
def test_a_step_that_fails_ends_the_run_everywhere_with_a_report(
    tmp_path: Path, fails_on: str, phase: str, lock: str
) -> None:
    cluster = upgrade(tmp_path)
    printed = cluster.run(fails_on=fails_on)
    host = fails_on.partition(" ")[0]
    assert cluster.lines[-1].startswith(f"{phase} ") and not any("rest" in told for told in cluster.lines)
    assert cluster.report["outcome"] == "stopped" and cluster.report["stopped_in"] == phase
    assert cluster.report["failures"] == {host: "it broke"}
    assert f"The rollback from 2026.04.0 to 2026.08.0 stopped in phase {phase}." in printed
    assert ('"how": "ended"' in cluster.lock()) == (lock == "free"), cluster.lock()
    assert ("000001.alive ended" in cluster.lock()) == (lock == "left"), cluster.lock()


def test_a_host_that_is_lost_is_told_by_those_that_are_left(tmp_path: Path) -> None:
    cluster = upgrade(tmp_path)
    cluster.write("steps/stage", [{"name": "Ask", "ansible.builtin.ping": {}}])
    cluster.write("prepare", [])
    printed = cluster.run(groups={"rspm_nodes": ["node1", "lost"]}, code=4)
    assert cluster.report["failures"] == {"lost": "it can not be reached any more"}, printed


def test_a_migration_works_at_its_home_and_reports_where_it_was_prepared(tmp_path: Path) -> None:
    (tmp_path / "storage" / ".rspm-ha" / "lock").mkdir(parents=True)
    phases = [
        LOCK,
        {"name": "warm", "steps": {"node1": "warm_copy"}},
        {"name": "retire", "steps": {"node2": "retire", "db": "withdraw"}},
    ]
    cluster = Cluster(tmp_path, "migration", [*phases, UNLOCK])
    cluster.write("steps/warm_pass", step("migration", "warm_copy"))
    cluster.write("databases", [line("databases {{ inventory_hostname }}")])
    beside = ["warm_pass.yml", "../databases.yml"]
    cluster.write("steps/warm_copy", [{"name": "Include", "ansible.builtin.include_tasks": name} for name in beside])
    groups = {"rspm_database": ["db"], "rspm_nodes": ["node1", "node2"]}
    target = {"rspm_migration_target": "node1"}
    printed = cluster.run(groups=groups, code=0, **target)
    assert cluster.lines[3] == "warm warm_copy node1 migrate"
    assert cluster.lines[4] == "databases node1"
    assert sorted(cluster.lines[5:7]) == ["retire retire node2 migrate", "retire withdraw db migrate"]
    assert "check" not in " ".join(cluster.lines) and re.search(r"\[db -> node1", printed)
    assert set(cluster.report["phases"][2]["nodes"]) == {"node2", "db"}
    cluster.write(
        "prepare",
        [{"name": "Refuse", "ansible.builtin.fail": {"msg": "no room"}, "when": "inventory_hostname == 'node1'"}],
    )
    cluster.run(groups=groups, code=2, **target)
    assert cluster.report["outcome"] == "stopped" and cluster.report["failures"] == {"node1": "no room"}

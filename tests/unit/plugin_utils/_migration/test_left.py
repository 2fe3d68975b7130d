# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Inventories of a cluster that a migration has left: refused by what any one node can tell, after each kind."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockRecord
from ansible_collections.rspm.ha.plugins.module_utils._migration import host_left, host_record
from ansible_collections.rspm.ha.plugins.module_utils._migration.record import Written, advance, render, retire
from ansible_collections.rspm.ha.plugins.module_utils._migration.rules import RETIRED, RecordState
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import block_text
from ansible_collections.rspm.ha.plugins.modules import migration_record
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.left import Left, Settings, judge_left, judge_lock
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.read_left import left_behind
from tests.unit.action.test_preflight_run import PLAYBOOKS, play

VERBS = ("preflight", "site", "upgrade", "rollback", "status", "unlock")
KINDS = list(itertools.product(("keep", "route"), ("keep", "move"), ("keep", "move")))
OLD = Settings("/mnt/rstudio-pm", "/mnt/rstudio-pm/data", "db1")
FOLDER = "/home/anna/single-node-inventory"
AT = "2026-11-28T04:00:00Z"
NODES = ("node1", "node2", "node3")


def new_settings(kind: tuple[str, str, str]) -> Settings:
    """Return what the inventory says that the migration wrote."""
    _balancer, data, database = kind
    moved = Settings("/var/lib/rstudio-pm", "/var/lib/rstudio-pm/data", "10.0.0.11")
    return replace(moved if data == "move" else OLD, database=moved.database if database == "move" else OLD.database)


def record_of(kind: tuple[str, str, str], state: RecordState = RecordState.FINISHED) -> Written:
    """Return what is written down in the end, or before."""
    balancer, data, database = kind
    choices = {"load_balancer": balancer, "data": data, "database": database, "data_dir": "/var/lib/rstudio-pm/data"}
    old = {"old_data_dir": OLD.data_dir, "old_database": OLD.database}
    new = Written("", "run", "node1", begun="", inventory=FOLDER, operator="anna@ops1", **choices, **old)
    now: Written | None = None
    for each in (RecordState.BEGUN, RecordState.SWITCHED, RecordState.FINISHED):
        now = advance(now, each, new, "2026-11-28T04:00:00Z")
        if each is state:
            break
    assert now is not None
    return now


def nodes_of(kind: tuple[str, str, str]) -> list[Left]:
    """Return what each node tells after a migration of this kind."""
    out = retire(record_of(kind, RecordState.SWITCHED), FOLDER, "anna@ops1")
    others = [Left(name, out, "retired", RETIRED) for name in NODES[1:]]
    return [Left("node1", record_of(kind), "stays"), *others]


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
@pytest.mark.parametrize("told", [NODES, *((name,) for name in NODES)], ids="+".join)
def test_the_old_inventory_is_refused_by_whoever_can_tell(kind: tuple[str, str, str], told: tuple[str, ...]) -> None:
    nodes = [node if node.name in told else Left(node.name) for node in nodes_of(kind)]
    for verb in VERBS:
        problems = judge_left(nodes, OLD, verb)
        if verb == "unlock" and "node1" not in told:
            # whether the migration is finished is not known, and its lock may have to be broken
            assert problems == []
            continue
        assert [problem.check for problem in problems] == [
            "migration-finished" if "node1" in told else "migration-switched"
        ]
        assert f"-i {FOLDER} (by anna@ops1)" in problems[0].fix and "Nothing was changed" in problems[0].why


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_the_new_inventory_is_not(kind: tuple[str, str, str]) -> None:
    for verb in VERBS:
        assert judge_left(nodes_of(kind)[:1], new_settings(kind), verb) == []
    # nor under another name, nor where only the storage tells
    node = nodes_of(kind)[0]
    assert judge_left([replace(node, name="packages")], new_settings(kind), "site") == []
    assert judge_left([replace(node, own="")], new_settings(kind), "site") == []


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_an_old_inventory_with_the_one_node_alone_is_refused_where_something_was_moved(
    kind: tuple[str, str, str],
) -> None:
    problems = judge_left(nodes_of(kind)[:1], OLD, "site")
    assert bool(problems) == ("move" in kind[1:])
    text = "".join(map(str, problems))
    assert (f"rspm_data_dir {OLD.data_dir}, from where the data was moved" in text) == (kind[1] == "move")
    assert (f"rspm_database_host {OLD.database}, from where" in text) == (kind[2] == "move")


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_a_node_that_is_out_is_never_the_one_node(kind: tuple[str, str, str]) -> None:
    for node in nodes_of(kind)[1:]:
        # its record was removed by hand, or its block was
        for less in (node, replace(node, record=None, own=""), replace(node, blocked_for="")):
            assert judge_left([less], OLD, "site") != [], less
    stranger = Left("node4", record_of(kind))
    assert "has node4 in its place" in str(judge_left([stranger], new_settings(kind), "site")[0])


@pytest.mark.parametrize(
    ("state", "check", "fix"),
    [
        (
            RecordState.BEGUN,
            "migration-begun",
            "or give it up: ansible-playbook -i <inventory> rspm.ha.mi",
        ),
        (RecordState.SWITCHED, "migration-switched", "Finish it: ansible-playbook -i <inventory> rspm.ha.mi"),
    ],
)
def test_a_migration_under_way_is_finished_first(state: RecordState, check: str, fix: str) -> None:
    nodes = [Left("node1", record_of(KINDS[-1], state)), Left("node2"), Left("node3")]
    for verb in VERBS:
        problems = judge_left(nodes, OLD, verb)
        assert [problem.check for problem in problems] == ([] if verb == "unlock" else [check])
        assert all(fix in problem.fix for problem in problems)


def test_a_cluster_without_a_migration_is_left_alone() -> None:
    assert judge_left([Left(name) for name in NODES], OLD, "site") == []
    assert left_behind({"node1": {}, "node2": {"failed": True, "msg": "x"}}, "site", OLD) == []


def test_the_lock_of_another_run_is_told_to_those_who_plan_nothing() -> None:
    lock = LockRecord("id", "boot/1/1", "ben@ops2", "upgrade", "2026.08.0", AT, AT, "stage", "n")
    for verb in ("preflight", "site"):
        (problem,) = left_behind({"node1": {"lock": lock.to_dict()}, "node2": {}}, verb, OLD)
        assert "locked by ben@ops2" in problem.found
    assert left_behind({"node1": {"lock": lock.to_dict()}}, "upgrade", OLD) == []
    assert judge_lock({}, "me", "") == []
    # what a site that is over has left is anybody's; what an upgrade has left is not
    assert judge_lock({**lock.to_dict(), "verb": "site", "target": ""}, "me", "boot/1/1") == []
    assert judge_lock({**lock.to_dict(), "verb": "site", "target": ""}, "me", "") != []
    assert judge_lock({**lock.to_dict(), "verb": "site", "target": ""}, "me", "", over=True) == []
    assert judge_lock(lock.to_dict(), "me", "boot/1/1") != []


def test_a_node_that_is_out_keeps_what_the_other_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own" / "migration.json"
    monkeypatch.setattr(host_record, "LOCAL_PATH", str(own))
    monkeypatch.setattr(host_record, "write_file", lambda path, text, _mode: Path(path).write_text(text))
    store = host_record.RecordStore(str(tmp_path))
    given = {"record": record_of(KINDS[0], RecordState.SWITCHED).to_dict(), "inventory": FOLDER, "operator": "a@b"}
    assert migration_record.put_out(store, given, False)["changed"] and not own.exists()
    assert [migration_record.put_out(store, given, True)["changed"] for _time in range(2)] == [True, False]
    told = json.loads(own.read_text())
    assert (told["here"], told["state"], told["inventory"]) == ("retired", "switched", FOLDER)


@pytest.mark.parametrize("verb", ["preflight", "site", "upgrade", "rollback", "unlock"])
def test_every_verb_refuses_in_a_real_run_and_changes_nothing(tmp_path: Path, verb: str) -> None:
    storage = tmp_path / "share"
    folder = storage / ".rspm-ha" / "migration"
    folder.mkdir(parents=True)
    (folder / "migration.json").write_text(render(record_of(KINDS[-1])))
    variables = {"rspm_storage_path": str(storage), "rspm_data_dir": f"{storage}/data", "rspm_storage_kind": "nfs"}
    hosts: dict[str, dict[str, Any]] = {"node1": variables, "node2": variables}
    before = sorted(storage.rglob("*"))
    done = play(tmp_path, PLAYBOOKS / f"{verb}.yml", {"rspm_nodes": hosts})
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    assert "[migration-finished] The cluster became the single node node1" in said, said
    assert f"-i {FOLDER} (by anna@ops1)" in said
    assert "changed=0" in said and "changed=1" not in said
    assert sorted(storage.rglob("*")) == before


def test_every_verb_looks_before_all_else() -> None:
    for verb in ("upgrade", "rollback", "unlock"):
        plays = yaml.safe_load((PLAYBOOKS / f"{verb}.yml").read_text())
        assert plays[1]["ansible.builtin.import_playbook"] == "parts/left.yml"
        assert plays[1]["vars"] == {"left_verb": verb}


@pytest.mark.parametrize("locked", [True, False])
def test_a_node_tells_all_in_one_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locked: bool) -> None:
    monkeypatch.setattr(host_record, "LOCAL_PATH", str(tmp_path / "own.json"))
    monkeypatch.setattr(host_left, "BLOCK_PATH", str(tmp_path / "block.conf"))
    (tmp_path / "block.conf").write_text(block_text(RETIRED))
    (tmp_path / "own.json").write_text(render(retire(record_of(KINDS[0], RecordState.SWITCHED), FOLDER, "a@b")))
    folder = tmp_path / "share" / ".rspm-ha"
    given: dict[str, Any] = {"folder": str(folder), "storage_path": str(tmp_path / "share"), "kind": "local"}
    given |= {"uid": os.geteuid(), "gid": os.getegid()}
    monkeypatch.setattr(host_record, "in_child", lambda *_arguments, **_options: None)

    def runner(argv: list[str], **_options: Any) -> CompletedCommand:
        return CompletedCommand(0 if "test" in argv else 124, "", "")

    if locked:
        lock = LockRecord("id", "boot/1/1", "ben@ops2", "upgrade", "1", AT, AT, "stage", "n")
        (folder / "lock").mkdir(parents=True)
        (folder / "lock" / "000001.json").write_text(json.dumps(lock.to_dict()))
    left = host_left.load_left(runner, given)
    # what this node has itself counts also where the storage does not answer
    assert (left["own"], left["blocked_for"], left["record"]["here"]) == ("retired", RETIRED, "retired")
    assert left["ready"] and left["lock"].get("operator", "") == ("ben@ops2" if locked else "") and not left["over"]
    (tmp_path / "own.json").unlink()
    assert "can't be read: no answer within 15 s" in host_left.load_left(runner, given)["says"]

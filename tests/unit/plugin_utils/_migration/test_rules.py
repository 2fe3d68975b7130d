# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a migration refuses, writes down, says, and leaves as an inventory."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockView
from ansible_collections.rspm.ha.plugins.module_utils._migration.host_record import RecordStore
from ansible_collections.rspm.ha.plugins.module_utils._migration.record import (
    Written,
    advance,
    further,
    parse,
    render,
    to_record,
)
from ansible_collections.rspm.ha.plugins.module_utils._migration.rules import Options, Record, RecordState
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.plan import state_folder
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import Balancer, LockObservation, Package, Refusal
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.model import (
    VERB,
    Action,
    NodeObservation,
    Observations,
    Outcome,
    Plan,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.observe import observe, options_of
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.plan import make_plan, plan_abort, plan_migration
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.report import estimate, left_behind, outline, report

MOVE = Options("a")
NODE = NodeObservation(
    "a", installed_version="2026.08.0", process=True, healthy=True, balancer=Balancer.READY, sessions=2
)
OBSERVED = Observations(
    nodes=(NODE, replace(NODE, name="b"), replace(NODE, name="c")),
    database_hosts=("db",),
    storage_hosts=("nfs",),
    balancer_hosts=("lb",),
)


def checks(outcome: Outcome) -> list[str]:
    assert isinstance(outcome, Refusal)
    return [problem.check for problem in outcome.problems]


def first(**changes: Any) -> Observations:
    """Return what is observed with something else on the first node."""
    return replace(OBSERVED, nodes=(replace(OBSERVED.nodes[0], **changes), *OBSERVED.nodes[1:]))


REFUSED = {
    "no target": (OBSERVED, replace(MOVE, target=""), "migration-target"),
    "another target": (OBSERVED, replace(MOVE, target="z"), "migration-target"),
    "SQLite asked for": (OBSERVED, replace(MOVE, provider="sqlite"), "migration-sqlite"),
    "SQLite in the settings": (replace(OBSERVED, provider="sqlite"), MOVE, "migration-sqlite"),
    "relative": (OBSERVED, replace(MOVE, data_dir="data"), "migration-data-dir"),
    "dots": (OBSERVED, replace(MOVE, data_dir="/srv/../data"), "migration-data-dir"),
    "a root folder": (OBSERVED, replace(MOVE, data_dir="/data"), "migration-data-dir"),
    "on the share": (OBSERVED, replace(MOVE, data_dir="/mnt/rstudio-pm/local"), "migration-data-dir"),
    "around the share": (OBSERVED, replace(MOVE, data_dir="/mnt/rstudio-pm"), "migration-data-dir"),
    "other paths": (replace(OBSERVED, paths_below_storage=("Git.Dir",)), MOVE, "migration-config"),
    "unreachable": (first(reachable=False), MOVE, "node-reachable"),
    "busy": (first(busy=True), MOVE, "node-busy"),
    "blocked": (first(blocked_for="upgrade"), MOVE, "node-blocked"),
    "a broken package": (first(package=Package.BROKEN), MOVE, "package-state"),
    "versions": (first(installed_version="2026.04.0"), MOVE, "mixed-versions"),
    "balancer": (first(balancer=Balancer.UNKNOWN), MOVE, "load-balancer"),
    "database": (replace(OBSERVED, database_says="refused"), MOVE, "database-reachable"),
    "stranger": (replace(OBSERVED, foreign_sessions=("192.0.2.9",)), MOVE, "foreign-session"),
    "one address": (replace(OBSERVED, shared_addresses=(("192.0.2.1", ("a", "b")),)), MOVE, "shared-address"),
    "lock": (replace(OBSERVED, lock=LockObservation(LockView.HELD, "x", "locked by anna")), MOVE, "cluster-lock"),
    "other choices": (
        replace(OBSERVED, record=Record(RecordState.BEGUN, replace(MOVE, target="b"))),
        MOVE,
        "migration-choices",
    ),
}


@pytest.mark.parametrize(("observed", "options", "check"), REFUSED.values(), ids=REFUSED)
def test_what_can_not_be_is_refused_with_what_to_type(observed: Observations, options: Options, check: str) -> None:
    outcome = plan_migration(observed, options)
    assert checks(outcome) == [check]
    assert isinstance(outcome, Refusal) and all(each.found and each.why and each.fix for each in outcome.problems)


def test_mixed_versions_are_brought_to_the_newest_and_not_to_the_last_of_the_alphabet() -> None:
    older, newer = (replace(NODE, installed_version=version) for version in ("1.9.0-3", "1.10.0-1"))
    outcome = plan_migration(replace(OBSERVED, nodes=(older, newer)), MOVE)
    assert isinstance(outcome, Refusal)
    assert "rspm_version=1.10.0-1" in str(outcome.problems[0])


def test_sqlite_is_refused_with_the_reason() -> None:
    outcome = plan_migration(OBSERVED, options_of(_choices("sqlite")))
    assert isinstance(outcome, Refusal)
    assert "guide does not support a migration from PostgreSQL to SQLite" in str(outcome.problems[0])


def _choices(database: str = "move") -> dict[str, str]:
    return {"target": "a", "load_balancer": "keep", "data": "move", "data_dir": "/var/x/data", "database": database}


def test_what_is_kept_has_no_phase() -> None:
    for data in (True, False):
        for databases in (True, False):
            plan = plan_migration(OBSERVED, Options("a", move_data=data, move_databases=databases))
            assert isinstance(plan, Plan)
            actions = {step.action for phase in plan.phases for step in phase.steps}
            assert (Action.WARM_COPY in actions) == data and Action.MOVE in actions
            assert (Action.LEAVE_STORAGE in actions) == (Action.WITHDRAW in actions) == data
            assert (Action.SERVE_DATABASES in actions) == databases
            assert (Action.RETIRE_DATABASES in actions) == databases


def test_abort_is_refused_after_the_switch_and_needs_no_choices_before() -> None:
    begun = replace(first(process=False, blocked_for=VERB, blocked=True), record=Record(RecordState.BEGUN, MOVE))
    plan = plan_abort(begun)
    assert isinstance(plan, Plan)
    assert [phase.name.value for phase in plan.phases] == ["lock", "start_again", "ready", "forget", "unlock"]
    for state in (RecordState.SWITCHED, RecordState.FINISHED):
        assert checks(plan_abort(replace(begun, record=Record(state, MOVE)))) == ["migration-switched"]
    assert plan_abort(OBSERVED) == Plan((), "", "")


def test_a_finished_migration_asks_nothing_of_machines_that_may_be_gone() -> None:
    gone = replace(OBSERVED.nodes[1], reachable=False)
    left = replace(OBSERVED.nodes[0], mounted=False)
    observed = replace(OBSERVED, nodes=(left, gone), record=Record(RecordState.FINISHED, MOVE), database_says="gone")
    plan = plan_migration(observed, MOVE)
    assert isinstance(plan, Plan) and plan.phases == ()
    loose = replace(observed, nodes=(left, OBSERVED.nodes[1]))
    assert checks(plan_migration(loose, MOVE)) == ["migration-finished"]


def test_a_mount_of_the_team_is_left_alone() -> None:
    plan = plan_migration(replace(OBSERVED, mount_is_ours=False), MOVE)
    assert isinstance(plan, Plan)
    assert Action.LEAVE_STORAGE not in {step.action for phase in plan.phases for step in phase.steps}


WRITTEN = Written("begun", "r1", "a", "keep", "move", "/var/x/data", "move", begun="2026-11-24T05:00:00Z")


def test_the_record_only_goes_forward() -> None:
    begun = advance(None, RecordState.BEGUN, replace(WRITTEN, state="", begun=""), "2026-11-24T05:00:00Z")
    assert begun == WRITTEN
    assert advance(begun, RecordState.ABSENT, WRITTEN, "t") is None
    switched = advance(begun, RecordState.SWITCHED, WRITTEN, "t2")
    assert switched is not None and (switched.state, switched.switched) == ("switched", "t2")
    assert advance(switched, RecordState.SWITCHED, WRITTEN, "t3") == switched
    finished = advance(switched, RecordState.FINISHED, WRITTEN, "t4")
    assert finished is not None and finished.state == "finished"
    for now, state in (
        (switched, RecordState.ABSENT),
        (switched, RecordState.BEGUN),
        (finished, RecordState.ABSENT),
        (begun, RecordState.FINISHED),
        (None, RecordState.SWITCHED),
    ):
        with pytest.raises(DomainError):
            advance(now, state, WRITTEN, "t")
    assert further(begun, finished) == further(finished, begun) == finished
    assert to_record(WRITTEN.to_dict()).options == Options("a", data_dir="/var/x/data")


@given(st.text())
def test_a_record_that_is_none_is_told_from_one(text: str) -> None:
    assert parse(render(WRITTEN), "/x") == WRITTEN
    with pytest.raises(DomainError):
        parse(text, "/x")


def test_a_record_that_can_not_be_read_is_not_taken_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "migration.json").mkdir()
    with pytest.raises(DomainError, match=r"can't be read: .*Is a directory"):
        RecordStore(str(tmp_path)).read_shared()
    (tmp_path / "migration.json").rmdir()
    (tmp_path / "migration.json").write_bytes(b"\xff" * (1 << 20))
    with pytest.raises(DomainError):
        RecordStore(str(tmp_path)).read_shared()
    monkeypatch.setattr("builtins.open", lambda *_args, **_options: time.sleep(60))
    with pytest.raises(DomainError, match=r"no answer within 0\.1 s"):
        RecordStore(str(tmp_path), 0.1).read_shared()


def test_the_store_writes_in_one_step(tmp_path: Path) -> None:
    store = RecordStore(str(tmp_path / "migration"))
    assert store.read_shared() is None
    store.write_shared(WRITTEN)
    assert store.read_shared() == WRITTEN
    assert [path.name for path in (tmp_path / "migration").iterdir()] == ["migration.json"]
    store.remove_shared()
    assert store.read_shared() is None


def _found(**changes: Any) -> dict[str, Any]:
    info = {
        "package": {"status": "installed", "version": "2026.08.0"},
        "running": True,
        "masked": False,
        "busy": "",
        "unit": {"blocked_for": "", "file_state": "enabled"},
        "api": {"health_code": 200, "starting": False},
    }
    session = {"own_address": "10.0.0.1", "sessions": [{"client_address": "10.0.0.1"}]}
    return {
        "nodes": {"a": {"node": info}, "b": {"msg": "its disk is full"}},
        "records": {"a": {"record": WRITTEN.to_dict(), "mounted": True}, "b": {}},
        "sessions": {"a": session, "b": {}},
        "balancers": [{"a": {"state": "drain"}}],
        "balancer_command": False,
        "lock": {},
        "database": "db",
        "database_hosts": ["db"],
        "storage_hosts": [],
        "balancer_hosts": ["lb"],
        "storage_kind": "nfs",
        "storage_path": "/mnt/rstudio-pm",
        "data_dir": "/mnt/rstudio-pm/data",
        "config": {"Database": {"provider": "Postgres"}, "Git": {"Dir": "/mnt/rstudio-pm/git"}},
        "allow_unlicensed": False,
        **changes,
    }


def test_what_the_modules_found_becomes_observations() -> None:
    observed = observe(_found())
    assert (
        observed.nodes[0].balancer is Balancer.DRAIN and observed.nodes[0].sessions == 1 and observed.nodes[0].healthy
    )
    assert (observed.nodes[1].reachable, observed.nodes[1].says) == (False, "its disk is full")
    assert (observed.record.state, observed.provider, observed.paths_below_storage) == (
        RecordState.BEGUN,
        "postgres",
        ("Git.Dir",),
    )
    stranger = {"own_address": "10.0.0.1", "sessions": [{"client_address": "10.0.0.9"}]}
    assert observe(_found(sessions={"a": stranger})).foreign_sessions == ("10.0.0.9",)
    assert "no route" in observe(_found(sessions={"a": {"msg": "no route"}})).database_says


def test_the_outline_tells_what_moves_and_how_long() -> None:
    plan = plan_migration(OBSERVED, MOVE)
    assert isinstance(plan, Plan)
    data = {"files": 100000, "bytes": 3 << 30, "copied_files": 100000, "copied_bytes": 3 << 30, "free_bytes": 9 << 30}
    there = {"data": {**data, "timeline": [{"step": "compare", "seconds": 20.0}]}, "databases": {}}
    lines = outline(plan.to_dict(), _choices(), there)
    assert "100000 files, 3.0 GiB go to /var/x/data" in lines[1] and "without service" in lines[2]
    few = estimate({**data, "copied_files": 10, "copied_bytes": 10, "timeline": []}, {})
    assert few["before_seconds"] < estimate({**data, "timeline": []}, {})["before_seconds"]


def test_a_run_that_stopped_says_which_ways_are_open() -> None:
    plan = plan_migration(OBSERVED, MOVE)
    assert isinstance(plan, Plan)
    run = {
        "purpose": "migrate",
        "outcome": "stopped",
        "plan": plan.to_dict(),
        "choices": _choices(),
        "record": "begun",
        "began": "",
        "done": [],
        "failures": {"a": "full"},
        "at": "stop_others",
        "measured": {},
        "data": {},
        "databases": {},
        "left": {},
    }
    assert "rspm_migration=abort" in " ".join(report(run)["says"])
    before = " ".join(report({**run, "at": "move"})["says"])
    assert "rspm_migration=abort" in before and "has not told" not in before
    unknown = " ".join(report({**run, "at": "move", "record": "unknown"})["says"])
    assert "rspm_migration=abort" in unknown and "a has not told whether the switch is written" in unknown
    for phase in ("move", "route"):
        after = " ".join(report({**run, "at": phase, "record": "switched"})["says"])
        assert "this can't be undone" in after and "abort" not in after


def test_a_target_that_the_balancer_keeps_users_from_is_put_back_before_the_others_leave() -> None:
    plan = plan_migration(first(balancer=Balancer.MAINT), MOVE)
    assert isinstance(plan, Plan)
    names = [phase.name.value for phase in plan.phases]
    at = names.index("ready_target")
    assert names[at : at + 4] == ["ready_target", "drain", "stop_others", "move"]
    for left in (first(), first(balancer=Balancer.MAINT, process=False, healthy=False)):
        plan = plan_migration(left, MOVE)
        assert isinstance(plan, Plan) and "ready_target" not in [phase.name.value for phase in plan.phases]


def test_what_is_left_behind_comes_with_the_commands_that_remove_it() -> None:
    left = {
        "nodes": ["b", "c"],
        "balancers": ["lb"],
        "data_server": "nfs",
        "data_path": "/srv/rstudio-pm/data",
        "database_server": "db",
        "database_commands": ['DROP DATABASE "rstudio_pm";'],
        "mount": "",
        "licences": True,
        "foreign_storage": False,
        "foreign_database": False,
    }
    kept = left_behind({**_choices(), "load_balancer": "route"}, left)
    text = "\n".join(f"{each['where']}: {each['what']}: {'; '.join(each['commands'])}" for each in kept)
    assert "nfs: the old data, which no node mounts any more: rm -rf --one-file-system /srv/rstudio-pm/data" in text
    assert "sudo -u postgres psql -c 'DROP DATABASE" in text and "haproxy" in text and "b, c: rstudio-pm" in text
    assert "license-manager deactivate" in text and "/etc/exports" not in text
    theirs = {**left, "mount": "/shared", "foreign_storage": True, "foreign_database": True, "licences": False}
    text = "\n".join("; ".join(each["commands"]) for each in left_behind(_choices(), theirs))
    assert "take b, c out of /etc/exports" in text and "take b, c out of pg_hba.conf" in text
    assert "umount /shared" in text and "license-manager" not in text


def test_a_migration_that_was_given_up_says_what_it_left_on_the_node() -> None:
    given_up = make_plan(_found(), {**_choices(), "target": ""}, abort=True)
    assert given_up["problems"] != []
    given_up = make_plan(_found(nodes={"a": _found()["nodes"]["a"]}), {**_choices(), "target": ""}, abort=True)
    assert given_up["copied"] == {"data_dir": "/var/x/data", "databases": True}
    run = {"purpose": "abort", "outcome": "done", "plan": given_up, "choices": _choices(), "record": "begun"}
    empty: dict[str, Any] = {name: {} for name in ("done", "failures", "measured", "data", "databases", "left")}
    done = report({**run, **empty, "began": "", "at": ""})
    says = " ".join(done["says"])
    assert done["left"] == []
    assert f"rm -rf /var/x/data {state_folder('/var/x/data')}" in says and "dropdb" in says

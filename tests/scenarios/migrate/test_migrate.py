"""From HA to one node: every choice, judged by walks and dumps of our own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rspm_lab import lab as lab_module

from tests.faults.migration_cells import CHOICES, FAMILIES, PHASES
from tests.scenarios import support, tenants
from tests.scenarios.migrate.faults import CORRUPT, cable, change_files, corrupt_a_byte, kill_call, while_copied
from tests.scenarios.migrate.migration import (
    LOCAL,
    MOVED,
    OTHERS,
    TARGET,
    Before,
    Choice,
    Migration,
    answers,
    chosen,
    has_it_all,
    is_out,
    kill_at,
    look,
    migrate,
    migrate_meanwhile,
    new_inventory,
    run_single_node,
    settled,
)
from tests.scenarios.support import Clients, Lab, run_playbook


def test_the_whole_story(cluster: Lab) -> None:
    """Refused, predicted, cut off and given up, cut off after the switch and finished, under load and with faults."""
    before = look(cluster)
    _what_can_not_be_is_refused()
    _what_is_away_is_refused_by_name(cluster)
    _a_check_changes_nothing(cluster)
    migrate_meanwhile("warm", lambda: cable("infra", 10)(cluster), "drain", **chosen(MOVED))
    cut_off, _said = migrate_meanwhile("move", lambda: while_copied(kill_call)(cluster), "route", **chosen(MOVED))
    assert cut_off != 0
    _given_up(cluster, before)

    def change() -> None:
        nonlocal before
        change_files(cluster)
        corrupt_a_byte(cluster)
        before = look(cluster)

    load = Clients(support.address(cluster, "lb"), "/__ping__", count=2)
    with tenants.unnoticed(cluster), load as clients:
        _code, said = migrate_meanwhile("serve", change, "route", **chosen(MOVED))
        assert CORRUPT in said and "it was copied again" in said
        back = migrate(abort=True)
        assert back.run.code != 0 and "has been switched to its own data and databases" in back.run.messages()
        assert [node for node in support.NODES if answers(cluster, node)] == [TARGET]
        done = migrate(as_it_comes=True, **chosen(MOVED))
    assert clients.answered > 50
    assert done.run.code == 0, done.run.output[-4000:]
    with tenants.unnoticed(cluster):
        _the_old_inventory_is_refused(cluster, done)
        _one_that_is_out_refuses_it_too(cluster, done)
    has_it_all(cluster, MOVED, before)
    _is_configured(cluster, MOVED)
    lab_module.power_off(cluster, ["node2"])
    lab_module.power_on(cluster, ["node2"])
    settled(cluster, "node2")
    for node in OTHERS:
        is_out(cluster, node, MOVED)
    _the_new_inventory_changes_nothing(done)
    _another_run_changes_nothing(MOVED, done)


@pytest.mark.cell("choice")
@pytest.mark.parametrize("choice", CHOICES, ids="-".join)
def test_one_node_has_it_all_and_the_others_are_out(cluster: Lab, choice: Choice) -> None:
    before = look(cluster)
    with Clients(support.address(cluster, "lb"), "/__ping__", count=2) as clients:
        done = migrate(**chosen(choice))
    assert done.run.code == 0, done.run.output[-4000:]
    assert done.report["outcome"] == "done"
    assert clients.answered > 50
    print(json.dumps(done.report["outage"]))
    _the_old_inventory_is_refused(cluster, done)
    has_it_all(cluster, choice, before)
    _is_configured(cluster, choice)
    for node in OTHERS:
        is_out(cluster, node, choice)
    _the_new_inventory_changes_nothing(done)
    _another_run_changes_nothing(choice, done)


def _the_old_inventory_is_refused(lab: Lab, done: Migration) -> None:
    """Assert that what is typed with the old inventory says where the new one is, and changes nothing anywhere."""
    before, theirs = support.fingerprint(), tenants.walk(lab)
    typed: dict[str, dict[str, Any]] = {"site": {}, "upgrade": {"rspm_version": "2026.08.0"}, "rollback": {}}
    for verb, variables in typed.items():
        refused = run_playbook(verb, **variables)
        said = refused.messages()
        assert refused.code != 0 and "[migration-finished] The cluster became the single node node1" in said, said
        assert f"-i {done.inventory} (by " in said
        assert refused.changed() == []
    told = run_playbook("status")
    assert told.code != 0 and "[migration-finished]" in told.output
    assert support.differences(before, support.fingerprint()) == []
    assert tenants.walk(lab) == theirs


def _one_that_is_out_refuses_it_too(lab: Lab, done: Migration) -> None:
    number = lab.spec(TARGET).number
    lab.network.set_link(number, False)
    refused = run_playbook("site")
    lab.network.set_link(number, True)
    assert refused.code != 0 and "[migration-switched]" in refused.messages(), refused.messages()
    assert f"-i {done.inventory} (by " in refused.messages() and refused.changed() == []


def _is_configured(lab: Lab, choice: Choice) -> None:
    balancer, data, database = choice
    text = lab.ssh(TARGET, "cat /etc/rstudio-pm/rstudio-pm.gcfg")
    assert f"DataDir = {LOCAL if data == 'move' else '/mnt/rstudio-pm/data'}" in text.replace('"', "")
    assert f"@{support.address(lab, TARGET if database == 'move' else 'infra')}:5432" in text
    address = (
        f"http://{support.address(lab, TARGET)}:4242" if balancer == "route" else f"http://{support.address(lab, 'lb')}"
    )
    assert f"Address = {address}" in text.replace('"', "")
    mounted = "/mnt/rstudio-pm " in lab.ssh(TARGET, "cat /proc/mounts")
    assert mounted == (data == "keep")
    backend = support.short(lab.ssh("lb", "grep -E '^ +server ' /etc/haproxy/rspm.cfg")).split()
    assert [word for word in backend if word.startswith("node")] == [TARGET]


def _the_new_inventory_changes_nothing(done: Migration) -> None:
    for path in done.inventory.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    afterwards = run_single_node(done.inventory)
    assert afterwards.code == 0, afterwards.output[-4000:]
    assert afterwards.changed() == []


def _another_run_changes_nothing(choice: Choice, done: Migration) -> None:
    again = migrate(inventory=done.inventory, **chosen(choice))
    assert again.run.code == 0, again.run.output[-4000:]
    assert again.report["outcome"] == "nothing to do"
    assert again.run.changed() == []


def _a_check_changes_nothing(cluster: Lab) -> None:
    names = ["node1", "node2", "infra", "lb"]
    before = support.fingerprint(names)
    seen = migrate("--check", **chosen(MOVED))
    assert seen.run.code == 0, seen.run.output[-4000:]
    assert "Likely" in seen.run.output and "without service" in seen.run.output
    assert support.differences(before, support.fingerprint(names)) == []


def _what_can_not_be_is_refused() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"database": "sqlite"}, "does not support a migration from PostgreSQL to SQLite"),
        ({"target": "node9"}, "rspm_migration_target is node9"),
        ({"data": "move", "data_dir": "/mnt/rstudio-pm/other"}, "would lie on it again"),
    ]
    for variables, said in wrong:
        refused = migrate(**({"target": TARGET} | variables))
        assert refused.run.code != 0
        assert said in refused.run.messages()


def _what_is_away_is_refused_by_name(cluster: Lab) -> None:
    cluster.network.set_link(cluster.spec("node3").number, False)
    refused = migrate(**chosen(MOVED))
    cluster.network.set_link(cluster.spec("node3").number, True)
    assert refused.run.code != 0
    assert "node3 is unreachable" in refused.run.messages(), refused.run.messages()
    assert refused.run.changed() == []


def _given_up(cluster: Lab, before: Before) -> None:
    """Assert that a migration which was cut off before the switch can be given up, with nothing lost."""
    assert not any(answers(cluster, node) for node in support.NODES)
    # one that loses its power meanwhile does not come up with the service
    lab_module.power_cut(cluster, ["node3"])
    lab_module.power_on(cluster, ["node3"])
    settled(cluster, "node3")
    assert not answers(cluster, "node3")
    other = migrate(**(chosen(MOVED) | {"target": "node2"}))
    assert other.run.code != 0 and "with other choices has begun" in other.run.messages()

    with tenants.unnoticed(cluster):
        back = migrate(abort=True)
    assert back.run.code == 0, back.run.output[-4000:]
    assert all(answers(cluster, node) for node in support.NODES)
    assert look(cluster) == before
    site = run_playbook("site")
    assert site.code == 0 and site.changed() == [], site.output[-4000:]
    again = migrate(abort=True)
    assert again.run.code == 0 and again.run.changed() == []


@pytest.mark.cell("kill", FAMILIES["kill"][0])
def test_the_same_command_goes_on_however_often_the_controller_is_killed(cluster: Lab) -> None:
    before, inventory = look(cluster), new_inventory()
    for phase in PHASES:
        kill_at(phase, inventory, **chosen(MOVED))
    # it has been written before the end was, and not again
    done = migrate(inventory=inventory, **chosen(MOVED))
    assert done.run.code == 0, done.run.output[-4000:]
    has_it_all(cluster, MOVED, before)
    for node in OTHERS:
        is_out(cluster, node, MOVED)
    _the_new_inventory_changes_nothing(done)

"""From HA to one node: every choice, judged by walks and dumps of our own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest
from rspm_lab import lab as lab_module

from tests.scenarios import support
from tests.scenarios.migrate.migration import (
    BASE,
    LOCAL,
    OTHERS,
    SHARED,
    TARGET,
    Migration,
    answers,
    dump,
    fetch_packages,
    kill_at,
    migrate,
    prepare,
    run_single_node,
    settled,
    walk,
)
from tests.scenarios.support import Clients, Lab, run_playbook

EVERYTHING = os.environ.get("RSPM_MIGRATE") == "all"
Choice = tuple[str, str, str]
CHOICES: list[Choice] = list(itertools.product(("keep", "route"), ("keep", "move"), ("keep", "move")))
MOVED: Choice = ("keep", "move", "move")


@pytest.fixture(scope="session")
def base(lab: Lab) -> Lab:
    """The lab with a cluster full of data, whose disks are kept."""
    if not (lab.folder / "snapshots" / BASE).exists():
        prepare(lab)
        lab_module.snapshot(lab, BASE)
    return lab


@pytest.fixture
def cluster(base: Lab) -> Iterator[Lab]:
    """The cluster as it was, for one test."""
    lab_module.restore(base, BASE)
    support.wait_for("the cluster", lambda: all(answers(base, node) for node in support.NODES), 120)
    yield base


def chosen(choice: Choice) -> dict[str, Any]:
    return dict(zip(("load_balancer", "data", "database"), choice, strict=True)) | {"target": TARGET}


@pytest.mark.parametrize(
    "choice", CHOICES if EVERYTHING else [MOVED], ids=lambda choice: "-".join(choice) if choice else ""
)
def test_one_node_has_it_all_and_the_others_are_out(cluster: Lab, choice: Choice) -> None:
    _balancer, data, database = choice
    files = walk(cluster, "infra", SHARED)
    dumps: dict[str, list[str]] = {}
    served = fetch_packages(cluster, cluster.spec("lb").address)
    with Clients(cluster.spec("lb").address, "/__ping__", count=2) as clients:
        done = migrate(**chosen(choice))
    assert done.run.code == 0, done.run.output[-4000:]
    assert done.report["outcome"] == "done"
    assert clients.answered > 50

    # every file, byte for byte
    home = (TARGET, LOCAL) if data == "move" else ("infra", SHARED)
    assert walk(cluster, *home) == files
    if data == "move":
        assert walk(cluster, "infra", SHARED) == files
    # every row
    for name in ("rstudio_pm", "rstudio_pm_usage"):
        dumps[name] = dump(cluster, "infra", name)
        assert len(dumps[name]) > 20
        if database == "move":
            assert dump(cluster, TARGET, name) == dumps[name]
    assert "'public.awkward_id_seq', 987654" in "\n".join(dumps["rstudio_pm"])
    # and every package, at the node and at the balancer
    assert fetch_packages(cluster, f"{cluster.spec(TARGET).address}:4242") == served
    assert fetch_packages(cluster, cluster.spec("lb").address) == served

    _is_configured(cluster, choice)
    for node in OTHERS:
        _is_out(cluster, node, choice)
    if choice == MOVED:
        lab_module.power_off(cluster, ["node2"])
        lab_module.power_on(cluster, ["node2"])
        settled(cluster, "node2")
        _is_out(cluster, "node2", choice)
    _the_new_inventory_changes_nothing(done)
    _another_run_changes_nothing(choice, done)


def _is_configured(lab: Lab, choice: Choice) -> None:
    balancer, data, database = choice
    text = lab.ssh(TARGET, "cat /etc/rstudio-pm/rstudio-pm.gcfg")
    assert f"DataDir = {LOCAL if data == 'move' else '/mnt/rstudio-pm/data'}" in text.replace('"', "")
    assert f"@{lab.spec(TARGET if database == 'move' else 'infra').address}:5432" in text
    address = f"http://{lab.spec(TARGET).address}:4242" if balancer == "route" else f"http://{lab.spec('lb').address}"
    assert f"Address = {address}" in text.replace('"', "")
    mounted = "/mnt/rstudio-pm " in lab.ssh(TARGET, "cat /proc/mounts")
    assert mounted == (data == "keep")
    backend = lab.ssh("lb", "grep -E '^ +server ' /etc/haproxy/haproxy.cfg").split()
    assert [word for word in backend if word.startswith("node")] == [TARGET]


def _is_out(lab: Lab, node: str, choice: Choice) -> None:
    """Assert that a node neither runs nor can write to any home, old or new."""
    _balancer, _data, database = choice
    assert not answers(lab, node)
    assert lab.ssh(node, "pgrep -f /opt/rstudio-pm/bin/rstudio-pm || true").strip() == ""
    # a person's start does nothing either
    lab.ssh(node, "systemctl start rstudio-pm", check=False)
    assert lab.ssh(node, "systemctl show rstudio-pm -p MainPID --value").strip() == "0"
    assert lab.ssh(node, "systemctl is-enabled rstudio-pm", check=False).strip() == "disabled"
    assert "rstudio-pm" not in lab.ssh(node, "cat /proc/mounts /etc/fstab")
    export = f"{lab.spec('infra').address}:/srv/rstudio-pm"
    mount = f"timeout 20 mount -t nfs -o retry=0,soft,timeo=30 {export} /tmp/try"
    tried = lab.ssh(node, f"mkdir -p /tmp/try; {mount} && {{ echo MOUNTED; umount /tmp/try; }}", check=False)
    assert "MOUNTED" not in tried
    for server in {"infra", TARGET if database == "move" else "infra"}:
        password = _password(lab, node)
        address = lab.spec(server).address
        psql = f"psql -h {address} -U rstudio_pm -d rstudio_pm -c 'CREATE TABLE x (y int)'"
        said = lab.ssh(node, f"PGPASSWORD='{password}' {psql} 2>&1 || true")
        assert "no pg_hba.conf entry" in said, said


def _password(lab: Lab, node: str) -> str:
    text = lab.ssh(node, "grep -m1 -i '^ *password' /etc/rstudio-pm/rstudio-pm.gcfg")
    return text.partition("=")[2].strip().strip('"')


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
    if choice == MOVED:
        back = migrate(abort=True)
        assert back.run.code != 0
        assert "has been switched to its new home" in back.run.messages()


def test_check_shows_the_plan_and_changes_nothing(cluster: Lab) -> None:
    before = support.fingerprint(["node1", "node2", "infra", "lb"])
    seen = migrate("--check", **chosen(MOVED))
    assert seen.run.code == 0, seen.run.output[-4000:]
    assert "Likely" in seen.run.output and "without service" in seen.run.output
    assert support.differences(before, support.fingerprint(["node1", "node2", "infra", "lb"])) == []


def test_what_can_not_be_is_refused_by_name_and_nothing_is_changed(cluster: Lab) -> None:
    before = support.fingerprint(["node1", "node2"])
    for variables, said in (
        ({"database": "sqlite"}, "does not support a migration from PostgreSQL to SQLite"),
        ({"target": "node9"}, "rspm_migration_target is node9"),
        ({"data": "move", "data_dir": "/mnt/rstudio-pm/other"}, "would lie on it again"),
    ):
        refused = migrate(**({"target": TARGET} | variables))
        assert refused.run.code != 0
        assert said in refused.run.messages()
    assert support.differences(before, support.fingerprint(["node1", "node2"])) == []


def test_before_the_switch_abort_starts_the_old_cluster(cluster: Lab) -> None:
    files = walk(cluster, "infra", SHARED)
    dumps = {name: dump(cluster, "infra", name) for name in ("rstudio_pm", "rstudio_pm_usage")}
    kill_at("switch", **chosen(MOVED))
    assert not any(answers(cluster, node) for node in support.NODES)
    # one that loses its power meanwhile does not come up with the service
    lab_module.power_cut(cluster, ["node3"])
    lab_module.power_on(cluster, ["node3"])
    settled(cluster, "node3")
    assert not answers(cluster, "node3")
    other = migrate(**(chosen(MOVED) | {"target": "node2"}))
    assert other.run.code != 0 and "with other choices has begun" in other.run.messages()

    back = migrate(abort=True)
    assert back.run.code == 0, back.run.output[-4000:]
    assert all(answers(cluster, node) for node in support.NODES)
    assert walk(cluster, "infra", SHARED) == files
    assert {name: dump(cluster, "infra", name) for name in dumps} == dumps
    assert support.get(cluster.spec("lb").address)[0] == 200
    site = run_playbook("site")
    assert site.code == 0 and site.changed() == [], site.output[-4000:]
    again = migrate(abort=True)
    assert again.run.code == 0 and again.run.changed() == []


PHASES = "lock begin warm serve drain stop_others stop_target data databases switch configure start route retire"
LATE = "close_databases close_storage inventory finish unlock withdraw leave"


@pytest.mark.parametrize("phase", f"{PHASES} {LATE}".split() if EVERYTHING else ["configure"])
def test_the_same_command_goes_on_after_the_controller_was_killed(cluster: Lab, phase: str) -> None:
    files = walk(cluster, "infra", SHARED)
    kill_at(phase, **chosen(MOVED))
    homes = {name: answers(cluster, name) for name in support.NODES}
    done = migrate(**chosen(MOVED))
    assert done.run.code == 0, (homes, done.run.output[-4000:])
    assert walk(cluster, TARGET, LOCAL) == files
    assert dump(cluster, TARGET, "rstudio_pm") == dump(cluster, "infra", "rstudio_pm")
    assert answers(cluster, TARGET)
    for node in OTHERS:
        _is_out(cluster, node, MOVED)

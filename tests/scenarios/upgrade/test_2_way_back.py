"""A newer version that does not run: the upgrade stops, and the way back leads to what was there before."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.scenarios import support, tenants
from tests.scenarios.support import NODES, Lab, Run
from tests.scenarios.upgrade import story
from tests.scenarios.upgrade.story import MIDDLE, OLDEST
from tests.scenarios.upgrade.watch import Watch

pytestmark = pytest.mark.usefixtures("site")

# The fault matrix has one that does not start at all.
VARIANT = "fails-migration"
# what the journal of the faulty build says, which is to reach the person at the keyboard
REASON = "the migration failed midway, as this faulty build is meant to"


@dataclass
class Fall:
    """An upgrade that failed, and what was there before."""

    names: list[str]
    served: dict[str, dict[str, str]]
    kept: list[str]
    upgrade: Run
    watch: Watch


@pytest.fixture(scope="module")
def fall(lab: Lab) -> Fall:
    """The cluster after an upgrade to a faulty build."""
    name = "before-the-fall"
    support.publish(lab, name.replace("-", "_"), "node3")
    counted = downloads(lab)
    served = story.served(lab, [name])
    support.wait_for("the counts of downloads", lambda: downloads(lab) == counted + len(NODES), 20)
    kept = story.kept(lab)
    with tenants.unnoticed(lab), Watch(lab) as watch:
        run = story.upgrade(MIDDLE, variant=VARIANT, rspm_health_timeout=15)
    return Fall([name], served, kept, run, watch)


def downloads(lab: Lab) -> int:
    """Return how many downloads the usage database has counted."""
    return int(
        support.ask_database(lab, "SELECT COALESCE(SUM(downloads), 0) FROM usage_downloads", "rstudio_pm_usage")[0]
    )


def test_the_upgrade_fails_by_name(fall: Fall) -> None:
    assert fall.upgrade.code != 0
    said = fall.upgrade.messages()
    assert f"The upgrade from {OLDEST} to {MIDDLE} stopped in phase first." in said
    assert (
        f"node1: [node-health] rstudio-pm {MIDDLE} was started and failed, and is stopped and blocked again." in said
    ), said
    assert REASON in said
    assert re.search(
        rf"To give up and go back to {OLDEST} \(what was written since the restore point is lost: made at \S+Z, "
        r"the last node stopped at \S+Z, \d+ minutes? of writes\): ",
        said,
    ), said
    assert "rspm.ha.rollback" in said
    assert "it can not be reached any more" not in said


def test_no_other_node_was_started(fall: Fall, lab: Lab) -> None:
    starts = fall.watch.starts(MIDDLE)
    assert starts["node1"] >= 1 and starts["node2"] == starts["node3"] == 0
    assert fall.watch.mixed() == []
    for node in NODES:
        # it can't be started by hand either
        lab.ssh(node, "systemctl start rstudio-pm", check=False)
        assert lab.ssh(node, "systemctl show -P MainPID rstudio-pm").strip() == "0"
        assert support.get(f"{support.address(lab, node)}:4242")[0] == 0
        version = MIDDLE if node == "node1" else OLDEST
        assert lab.ssh(node, "dpkg-query -W -f '${Version}' rstudio-pm") == version
    assert story.schemas(lab) == {story.SCHEMAS[OLDEST]}


def test_status_says_what_is_wrong_and_what_to_type(fall: Fall, lab: Lab, tmp_path: Path) -> None:
    with tenants.unnoticed(lab):
        run = support.run_playbook("status", rspm_status_file=str(tmp_path / "status.json"))
    assert run.code == 2, run.output[-4000:]
    assert run.changed() == []
    status = support.read_json(tmp_path / "status.json")
    assert status["healthy"] is False and status["state"] == "wrong" and status["versions"] == []
    said = json.dumps(status["problems"])
    assert f"the upgrade to {MIDDLE} has come to phase 'first'" in said
    assert "rspm.ha.upgrade" in said and "rspm.ha.rollback" in said
    assert f"for upgrade to {MIDDLE}, phase 'first'" in status["lock"]


def test_rollback_brings_back_the_version_and_the_data(fall: Fall, lab: Lab, tmp_path: Path) -> None:
    support.publish(lab, "too_late", "node2")
    assert story.kept(lab) != fall.kept
    begun = time.monotonic()
    with tenants.unnoticed(lab):
        run = support.run_playbook("rollback", as_it_comes=True, rspm_report_file=str(tmp_path / "report.json"))
    seconds = time.monotonic() - begun
    assert run.code == 0, run.output[-6000:]
    assert story.kept(lab) == fall.kept
    assert set(support.versions(lab).values()) == {OLDEST}
    assert story.served(lab, fall.names) == fall.served
    for node in NODES:
        assert set(fall.names) <= story.listed(lab, node)
        assert "too-late" not in story.listed(lab, node)
        assert lab.ssh(node, "dpkg-query -W -f '${Version}' rstudio-pm") == OLDEST
        assert "rstudio-pm" in lab.ssh(node, "apt-mark showhold").split()
        assert lab.ssh(node, "systemctl is-enabled rstudio-pm").strip() == "enabled"
    assert support.get(support.address(lab, "lb"))[0] == 200
    report = support.read_json(tmp_path / "report.json")
    assert (report["purpose"], report["outcome"]) == ("rollback", "done")
    assert (report["from_version"], report["to_version"]) == (MIDDLE, OLDEST)
    phases = {phase["name"]: phase["seconds"] for phase in report["phases"]}
    assert {"prove", "restore", "install", "first", "rest"} <= set(phases)
    assert 0 < sum(phases.values()) < seconds
    assert "Outage at the load balancer: " in run.output
    assert re.search(
        r"Gives up what was written since the restore point was made at \S+Z, until \S+Z: \d+ minute", run.output
    )
    # what a failed build has left is not worth a second dump
    assert report["saved"] == "" and "save" not in phases


def test_rollback_again_changes_nothing(fall: Fall) -> None:
    before = support.fingerprint(NODES)
    run = support.run_playbook("rollback")
    assert run.code == 0, run.output[-4000:]
    assert run.changed() == []
    assert support.differences(before, support.fingerprint(NODES)) == []

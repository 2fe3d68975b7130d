"""What status says of a cluster: the truth about every node, and what to type."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.compare import judge_cluster
from ansible_collections.rspm.ha.plugins.plugin_utils._status.rules import summarise, table

NODE: dict[str, Any] = {
    "package": {"version": "2026.08.0", "held": True, "status": "installed"},
    "unit": {
        "load_state": "loaded",
        "active_state": "active",
        "file_state": "enabled",
        "blocked_for": "",
        "stopped_at": 0,
    },
    "api": {"health_code": 200, "starting": False, "version": "2026.08.0", "error": ""},
    "config": {"config_hash": "a" * 64, "key_hash": "b" * 64, "data_dir": "/mnt/rstudio-pm/data"},
    "mount": {"source": "nfs:/srv"},
    "clock": {"offset": 0.001},
    "running": True,
    "running_version": "2026.08.0",
    "masked": False,
    "busy": "",
    "restart_needed": False,
    "restart_reasons": [],
}

ABSENT = {"state": "absent", "from_version": "", "to_version": "", "run_id": "", "created": "", "restored": ""}


def cluster(**changes: Any) -> dict[str, Any]:
    """Return two nodes, the second with changes: `part__key` reaches one level down."""
    second = copy.deepcopy(NODE)
    for name, value in changes.items():
        part, dunder, key = name.partition("__")
        if dunder:
            second[part][key] = value
        else:
            second[part] = value
    return {"node1": copy.deepcopy(NODE), "node2": second}


def test_a_whole_cluster_has_nothing_to_tell() -> None:
    summary = summarise(cluster(), "", {}, {})
    assert summary["healthy"] and summary["problems"] == []
    assert table(summary)[-1] == "Nothing is unfinished, and nothing is wrong."


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"package__held": False}, "held"),
        ({"masked": True}, "masked"),
        ({"masked": True, "unit__blocked_for": "upgrade"}, "masked"),
        ({"busy": "stop, pid 7"}, "busy"),
        ({"running": False, "running_version": ""}, "stopped"),
        ({"api__health_code": 503}, "unhealthy"),
        ({"restart_needed": True, "restart_reasons": ["changed"]}, "restart"),
        ({"package__version": ""}, "package"),
        ({"running_version": "2026.04.0"}, "one-version"),
        ({"config__config_hash": "c" * 64}, "one-configuration"),
        ({"config__key_hash": "c" * 64}, "one-key"),
        ({"mount": None}, "one-data-directory"),
    ],
)
def test_what_is_wrong_is_told_with_the_node(changes: dict[str, Any], check: str) -> None:
    summary = summarise(cluster(**changes), "", {}, {})
    assert check in [problem["check"] for problem in summary["problems"]]
    assert any("node2" in line and f"[{check}]" in line for line in table(summary))


def test_a_node_that_is_away_is_told_and_the_others_are_shown() -> None:
    summary = summarise({"node1": NODE, "node2": {}}, "locked by anna", {}, {})
    assert [problem["check"] for problem in summary["problems"]] == ["unreachable"]
    lines = table(summary)
    assert any(line.startswith("node2") and "unreachable" in line for line in lines)
    assert "Lock: locked by anna" in lines


def test_why_a_node_can_not_be_asked_is_told() -> None:
    nodes = {"node1": NODE, "node2": {}}
    summary = summarise(nodes, "", {}, {}, {"node1": "", "node2": "no module can run there (No space left on device)"})
    assert "node2 can't be reached: no module can run there (No space left on device)" in str(summary["problems"])


def point(state: str) -> dict[str, Any]:
    """Return a restore point of an upgrade to the version that NODE has."""
    made = {
        "from_version": "2026.04.0",
        "to_version": "2026.08.0",
        "run_id": "r",
        "created": "2026-11-24T05:50:01Z",
        "restored": "",
    }
    return {"state": state, **made}


def told(nodes: dict[str, Any], state: str) -> list[str]:
    """Return what status says is unfinished of an upgrade or a rollback."""
    problems = summarise(nodes, "", point(state), {})["problems"]
    return [problem["fix"] for problem in problems if problem["check"].startswith("unfinished")]


def test_an_upgrade_that_is_done_is_not_unfinished() -> None:
    for state in ("in_use", "complete", "absent"):
        assert told(cluster(), state) == []
    line = "Restore point: of 2026-11-24T05:50:01Z, leads from 2026.08.0 back to 2026.04.0"
    assert line in table(summarise(cluster(), "", point("in_use"), {}))
    assert "Restore point: none" in table(summarise(cluster(), "", ABSENT, {}))


def test_an_upgrade_that_stopped_says_how_to_go_on_and_back() -> None:
    waiting = cluster(package__version="2026.04.0", running=False, running_version="", masked=True)
    for state in ("complete", "in_use"):
        (fix,) = told(waiting, state)
        assert "rspm.ha.upgrade -e rspm_version=2026.08.0" in fix and "rspm.ha.rollback" in fix


def test_an_upgrade_that_has_installed_before_its_outage_is_told_as_it_is() -> None:
    waiting = cluster(package__version="2026.04.0", running=False, running_version="", masked=True)
    ahead = cluster(running=False, running_version="", masked=True)
    nodes = {"node1": ahead["node2"], "node2": waiting["node2"]}
    for node in nodes.values():
        node["unit"] = {**node["unit"], "blocked_for": "upgrade"}
    problems = summarise(nodes, "", point("complete"), {})["problems"]
    (found,) = [problem["found"] for problem in problems if problem["check"] == "unfinished-upgrade"]
    assert "installed 2026.08.0 on node1, where it has moved nothing" in found


def test_a_rollback_that_stopped_says_how_to_go_on() -> None:
    (fix,) = told(cluster(package__version="2026.04.0", masked=True), "restoring")
    assert "rspm.ha.rollback" in fix and "upgrade" not in fix


def test_a_node_that_is_away_is_not_taken_for_one_of_another_version() -> None:
    assert told({"node1": NODE, "node2": {}}, "in_use") == []


@pytest.mark.parametrize(
    ("verb", "command"),
    [
        ("upgrade", "ansible-playbook -i <inventory> rspm.ha.upgrade -e rspm_version=2026.08.0"),
        ("rollback", "ansible-playbook -i <inventory> rspm.ha.rollback"),
        ("migrate", "ansible-playbook -i <inventory> rspm.ha.migrate_to_single_node"),
    ],
)
def test_work_that_was_interrupted_is_told_with_how_to_go_on(verb: str, command: str) -> None:
    held = {"verb": verb, "target": "2026.08.0", "phase": "first"}
    changes = {"package__held": False, "running": False, "running_version": "", "masked": True}
    changes["unit__blocked_for"] = "upgrade"
    problems = summarise(cluster(**changes), "locked by anna", {}, held)["problems"]
    assert [problem["check"] for problem in problems] == ["unfinished", "held", "masked"]
    assert all(command in problem["fix"] for problem in problems)
    assert "'first'" in problems[0]["found"]


def test_one_node_is_always_one_cluster() -> None:
    assert judge_cluster({"node1": NODE}) == []


@pytest.mark.parametrize(
    ("nodes", "lock", "state", "shown"),
    [
        (cluster(), "free", "healthy", "Lock: nobody holds it"),
        (cluster(masked=True), "free", "wrong", "Lock: nobody holds it"),
        ({"node1": {}, "node2": {}}, "", "unknown", "Lock: not known"),
        ({**cluster(), "node2": {}}, "held by x", "unknown", "Lock: held by x"),
    ],
)
def test_what_nobody_could_be_asked_is_not_known(nodes: dict[str, Any], lock: str, state: str, shown: str) -> None:
    summary = summarise(nodes, lock, ABSENT if lock else {}, {})
    assert summary["state"] == state and shown in table(summary)
    assert ("Restore point: none" if lock else "Restore point: not known") in table(summary)

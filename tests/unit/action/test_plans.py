# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans and reports out of what tasks have registered for all hosts, in real runs of ansible-playbook."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.rspm.ha.plugins.module_utils._lock.host import this_kernel
from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockRecord, ProcessId, render
from tests.unit.action.test_preflight_run import LOST, REPOSITORY, play
from tests.unit.plugin_utils._upgrade.test_observe import NEW, OLD, found, info

SHARED = found()
DEFAULTS = yaml.safe_load((REPOSITORY / "roles/rspm/defaults/main.yml").read_text())
PLAN: dict[str, Any] = {
    "name": "Make the plan",
    "rspm.ha.upgrade_plan": {"purpose": "upgrade", "target": "{{ rspm_version }}"},
    "run_once": True,
    "register": "upgrade_planned",
}
SHOW = {"name": "Show the plan", "rspm.ha.report": {"purpose": "upgrade", "outcome": "planned"}}


def node(name: str, **changed: Any) -> dict[str, Any]:
    """Return what the tasks of the upgrade have registered for a node."""
    return {
        **DEFAULTS,
        "upgrade_node": {"node": info()},
        "upgrade_sessions": SHARED["sessions"][name],
        "upgrade_members": {"results": [{"members": each} for each in SHARED["balancers"]]},
        "upgrade_purpose": "upgrade",
        "upgrade_lock": SHARED["lock"],
        "upgrade_point": SHARED["restore_point"],
        "rspm_version": "{{ wanted }}",
        "wanted": NEW,
        **changed,
    }


def run(
    folder: Path, tasks: list[dict[str, Any]], nodes: dict[str, dict[str, Any]], *args: str
) -> subprocess.CompletedProcess[str]:
    """Run tasks on the nodes, with the variables of the role."""
    book = {
        "name": "Upgrade",
        "hosts": "rspm_nodes",
        "gather_facts": False,
        "any_errors_fatal": True,
        "vars_files": [str(REPOSITORY / "roles/upgrade/vars/main.yml")],
        "tasks": tasks,
    }
    (folder / "play.yml").write_text(yaml.safe_dump([book]))
    return play(folder, folder / "play.yml", {"rspm_nodes": nodes}, *args)


def says(result: subprocess.CompletedProcess[str], *lines: str) -> None:
    """See that lines are on the screen as they are."""
    text = result.stdout
    assert all(f"\n{line}" in text for line in lines), text + result.stderr


def test_a_plan_is_made_of_what_every_node_has_registered(tmp_path: Path) -> None:
    phases = {"name": "Check", "ansible.builtin.assert": {"that": ["names[:3] == ['lock', 'stage', 'restore_point']"]}}
    phases["vars"] = {"names": "{{ upgrade_planned.phases | map(attribute='name') }}"}
    done = run(tmp_path, [PLAN, SHOW, phases], {name: node(name) for name in ("node1", "node2")})
    assert done.returncode == 0, done.stdout + done.stderr
    says(done, f"From {OLD} to {NEW}; node1 goes first.", "install        install next on node1\n")
    assert "changed=1" not in done.stdout


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"upgrade_node": {"unreachable": True, "msg": "no route"}}, "node2 is unreachable: no route. "),
        ({"upgrade_node": {"msg": "x", "module_stderr": "OSError: No space left on device"}}, "its disk is full"),
        ({"wanted": OLD}, f"{OLD} on node2"),
        ({"upgrade_sessions": {"msg": "connection refused"}}, "node2: connection refused"),
    ],
)
def test_what_is_in_the_way_ends_the_run(tmp_path: Path, changed: dict[str, Any], why: str) -> None:
    never = {"name": "Tell", "ansible.builtin.debug": {"msg": "gone on"}}
    done = run(tmp_path, [PLAN, never], {"node1": node("node1"), "node2": node("node2", **changed)})
    assert done.returncode == 2 and why in done.stdout and "gone on" not in done.stdout, done.stdout + done.stderr


def test_two_nodes_change_places_only_where_ansible_works_on_both_at_once(tmp_path: Path) -> None:
    nodes = {name: node(name) for name in ("node1", "node2")}
    done = run(tmp_path, [PLAN, SHOW], nodes, "--forks", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    says(done, "first          hand over on node1, node2\n")
    done = run(tmp_path, [PLAN], nodes, "--forks", "1")
    assert done.returncode == 2 and "node1 and node2 are to change places" in done.stdout, done.stdout + done.stderr


def test_what_is_left_after_all_was_done_ends_the_run(tmp_path: Path) -> None:
    ended = {**PLAN, "rspm.ha.upgrade_plan": {**PLAN["rspm.ha.upgrade_plan"], "finished": True}}
    done = run(tmp_path, [ended], {name: node(name) for name in ("node1", "node2")})
    assert done.returncode == 2
    assert f"the cluster is not as it should be: From {OLD} to {NEW}" in done.stdout, done.stdout + done.stderr
    upgraded = {name: node(name, upgrade_node={"node": info(NEW)}) for name in ("node1", "node2")}
    assert run(tmp_path, [ended], upgraded).returncode == 0


def test_a_run_that_stopped_tells_what_failed_where_and_who_was_lost(tmp_path: Path) -> None:
    phase = {"phase": "stop", "from": "2026-11-28T04:00:00.0Z", "actions": {"node2": "stop_and_block"}}
    notes = {
        "name": "Set what a phase has recorded",
        "ansible.builtin.set_fact": {
            "phases_done": [
                {**phase, "to": "2026-11-28T04:00:0{{ inventory_hostname[-1] }}.0Z", "steps": "{{ steps }}"}
            ],
            "phases_at": {"phase": "first"},
        },
        "vars": {
            "steps": "{{ [{'step': 'stop', 'at': '2026-11-28T04:00:00Z', 'seconds': 1.5}]"
            " if inventory_hostname == 'node2' else [] }}"
        },
    }
    steps = [
        {"name": "Fail", "ansible.builtin.command": "false", "when": "inventory_hostname != 'node2'"},
        {"name": "Tell", "ansible.builtin.debug": {"msg": "gone on"}},
    ]
    shown = {"purpose": "upgrade", "outcome": "stopped", "path": "r.json"}
    rescue = [
        {"name": "Record it", "ansible.builtin.set_fact": {"phases_stopped": True}},
        {"name": "Show it", "rspm.ha.report": shown, "run_once": True, "register": "phases_report"},
        {"name": "End", "ansible.builtin.fail": {"msg": "{{ phases_report.says }}"}, "run_once": True},
    ]
    # the third is lost after the plan was made
    lose = {"name": "Ask", "ansible.builtin.raw": "true", "vars": {**LOST}, "when": "inventory_hostname == 'node3'"}
    nodes = {name: node(name) for name in ("node1", "node2")}
    nodes["node3"] = {**node("node1"), "upgrade_sessions": {}}
    block = {"name": "Upgrade", "block": [notes, steps[0]], "rescue": rescue}
    lost = {"name": "Lose", "block": [notes, {**lose, "any_errors_fatal": True}, steps[1]], "rescue": rescue}
    sessions = {name: {**SHARED["sessions"]["node1"], "own_address": f"192.0.2.{name[-1]}"} for name in nodes}
    for name, variables in nodes.items():
        variables["upgrade_sessions"] = {
            **sessions[name],
            "sessions": [{"client_address": each["own_address"]} for each in sessions.values()],
        }
    nodes["node3"]["upgrade_members"] = nodes["node1"]["upgrade_members"] = {
        "results": [{"members": {name: {"state": "ready"} for name in nodes}}]
    }
    done = run(tmp_path, [PLAN, lost], nodes)
    assert done.returncode == 4 and "gone on" not in done.stdout, done.stdout + done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["failures"] == {"node3": "it can not be reached any more"}
    assert report["stopped_in"] == "first" and "table" not in report
    assert report["nodes"]["node1"] == {key: {"installed": OLD, "runs": OLD} for key in ("before", "after")}
    (phase_done,) = report["phases"]
    assert phase_done["to"] == "2026-11-28T04:00:03.0Z" and phase_done["nodes"]["node2"]["seconds"] == 1.5
    says(done, f"The upgrade from {OLD} to {NEW} stopped in phase first.", "node3: it can not be reached any more")
    del nodes["node3"], lost
    done = run(tmp_path, [{**PLAN, "failed_when": False}, block], nodes)
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["failures"] == {"node1": "non-zero return code"}


def test_the_lock_of_a_run_that_is_gone_is_told_by_the_controller_itself(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    place = tmp_path / ".rspm-ha" / "lock"
    place.mkdir(parents=True)
    ask = {"state": "observed", "path": str(place), "uid": "{{ lookup('pipe', 'id -u') }}", "verb": "upgrade"}
    ask |= {"gid": "{{ lookup('pipe', 'id -g') }}", "target": NEW}
    tasks: list[dict[str, Any]] = [
        {"name": "Ask", "rspm.ha.cluster_lock": ask, "run_once": True, "register": "lock"},
        {"name": "Tell", "ansible.builtin.debug": {"msg": "<{{ lock.view }} {{ lock.holder_gone }}>"}},
    ]
    holder = str(ProcessId(this_kernel(), gone.pid, 1))
    for who, told in ((holder, f"<takeable {holder}>"), ("boot/1/1", "<held >")):
        now = "2026-11-28T04:00:00Z"
        record = LockRecord("id", who, "ben@ops2", "upgrade", NEW, now, now, "stage", "node1")
        (place / "000001.json").write_text(render(record))
        done = run(tmp_path, tasks, {"node1": node("node1")})
        assert done.returncode == 0 and told in done.stdout, done.stdout + done.stderr

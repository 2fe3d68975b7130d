# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run of the ordered upgrade says that it did."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.report import done_phases
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.report import outline, report

PLAN = {
    "first": "a",
    "from_version": "2026.04.0",
    "to_version": "2026.08.0",
    "gives_up": "",
    "phases": [
        {"name": "lock", "steps": {"": "take_lock"}},
        {"name": "stop", "steps": {"b": "stop_and_block", "c": "stop_and_block"}},
        {"name": "first", "steps": {"a": "upgrade_first"}},
    ],
}
MEASURED = {
    "samples": 100,
    "failures": 7,
    "longest_seconds": 1.5,
    "total_seconds": 2.0,
    "still_down": False,
    "outages": [{"seconds": 1.5}, {"seconds": 0.5}],
    "from": "x",
    "to": "y",
}


def node(version: str, runs: str) -> dict[str, Any]:
    return {"installed": version, "runs": runs}


def entry(
    phase: str, start: str, end: str, actions: dict[str, str], steps: dict[str, dict[str, float]] | None = None
) -> dict[str, Any]:
    at = "2026-11-24T08:00:{}Z"
    timelines: dict[str, list[dict[str, Any]]] = {"a": [], "b": [], "c": []}
    for host, found in (steps or {}).items():
        begun = float(start)
        for step, seconds in found.items():
            timelines[host].append({"step": step, "at": at.format(f"{begun:06.3f}"), "seconds": seconds})
            begun += seconds
    return {"phase": phase, "from": at.format(start), "to": at.format(end), "actions": actions, "steps": timelines}


def run(**changed: Any) -> dict[str, Any]:
    return {
        "purpose": "upgrade",
        "outcome": "done",
        "plan": PLAN,
        "began": "2026-11-24T08:00:00Z",
        "before": {name: node("2026.04.0", "2026.04.0") for name in "abc"},
        "after": {"a": node("2026.08.0", "2026.08.0"), "b": node("2026.04.0", ""), "c": {}},
        "done": [
            entry("lock", "00.000000", "01.000000", {"": "take_lock"}),
            entry("stop", "01.000000", "04.000000", {"b": "stop_and_block"}, {"b": {"stop": 0.5}}),
            entry("first", "04.5", "09.000000", {"a": "upgrade_first"}, {"a": {"stop": 0.25, "install": 3.0}}),
        ],
        "failures": {},
        "at": "first",
        "steps": {},
        "measured": MEASURED,
        "point": {},
        "saved": "",
        **changed,
    }


def test_outline_has_a_line_for_each_phase() -> None:
    assert outline(PLAN) == [
        "From 2026.04.0 to 2026.08.0; a goes first.",
        "lock   take lock",
        "stop   stop and block on b, c",
        "first  upgrade first on a",
    ]
    assert outline({**PLAN, "phases": []}) == ["Nothing is to be done: every node has and runs 2026.08.0."]


def test_phases_are_in_the_order_of_time_with_each_node() -> None:
    phases = report(run())["phases"]
    assert [phase["name"] for phase in phases] == ["lock", "stop", "first"]
    assert phases[0]["nodes"] == {"cluster": {"action": "take_lock", "seconds": 0, "steps": []}}
    assert phases[1]["seconds"] == 3.0 and list(phases[1]["nodes"]) == ["b"]
    assert phases[2]["nodes"]["a"]["seconds"] == 3.25


def test_whoever_tells_of_its_part_in_what_is_done_once_has_one() -> None:
    once = entry("lock", "00.000000", "01.000000", {"": "take_lock"}, {"c": {"write": 0.5}})
    phases = report(run(done=[once]))["phases"]
    assert list(phases[0]["nodes"]) == ["c"] and phases[0]["nodes"]["c"]["seconds"] == 0.5


def test_versions_before_and_after() -> None:
    nodes = report(run())["nodes"]
    assert nodes["a"] == {
        "before": {"installed": "2026.04.0", "runs": "2026.04.0"},
        "after": {"installed": "2026.08.0", "runs": "2026.08.0"},
    }
    assert nodes["c"]["after"] == {"installed": "?", "runs": "?"}


def test_the_table_is_for_a_person() -> None:
    table = report(run())["table"]
    assert table[0] == "upgrade from 2026.04.0 to 2026.08.0: done."
    assert any(line.split()[:3] == ["a", "upgrade", "first"] and "stop 0.2, install 3.0" in line for line in table)
    assert "b     2026.04.0  2026.04.0  2026.04.0  nothing" in table
    assert table[-1] == (
        "Outage at the load balancer: 2.0 s in 2 part(s), the longest 1.5 s; 7 of 100 requests failed."
    )


@pytest.mark.parametrize("measured", [{}, {"samples": 0, "failures": 0}, {**MEASURED, "failures": 100}])
def test_what_was_not_measured_is_not_claimed(measured: dict[str, Any]) -> None:
    made = report(run(measured=measured))
    assert made["outage"] is None and made["table"][-1] == "Outage at the load balancer: not measured."


def test_no_outage_and_one_that_lasts() -> None:
    none = report(run(measured={**MEASURED, "failures": 0, "outages": []}))
    assert none["table"][-1] == "Outage at the load balancer: none in 100 requests."
    assert ", and it lasts;" in report(run(measured={**MEASURED, "still_down": True}))["table"][-1]


@pytest.mark.parametrize(
    ("purpose", "phase", "said"),
    [
        ("upgrade", "stage", "No node was stopped or changed, and the cluster serves 2026.04.0."),
        ("upgrade", "stop", "To give up and go back to 2026.04.0 (nothing is lost)"),
        ("upgrade", "first", "To give up and go back to 2026.04.0 (what was written since the restore point is lost)"),
        (
            "rollback",
            "save",
            "Nothing is restored yet; to stay with 2026.04.0: ansible-playbook -i <inventory> rspm.ha.upg",
        ),
        ("rollback", "restore", "To go on, once the cause is gone: ansible-playbook -i <inventory> rspm.ha.rollback."),
    ],
)
def test_a_run_that_stopped_says_where_why_and_what_to_type(purpose: str, phase: str, said: str) -> None:
    says = report(run(purpose=purpose, outcome="stopped", at=phase, failures={"b": "the disk is full"}))["says"]
    assert says[0] == f"The {purpose} from 2026.04.0 to 2026.08.0 stopped in phase {phase}."
    assert says[1] == "b: the disk is full"
    assert any(said in line for line in says)
    assert f"rspm.ha.{purpose}" in says[2]


def price(**changed: Any) -> str:
    """Return what the last line but one, or the line on the way back, says of what is lost."""
    return "\n".join(report(run(**changed))["says"])


POINT = {"state": "in_use", "created": "2026-11-24T07:50:30Z"}


def test_an_upgrade_says_how_many_minutes_the_way_back_gives_up() -> None:
    # a stopped at 08:00:04.75, ten minutes after the restore point was begun
    said = price(point=POINT)
    assert (
        "The way back to 2026.04.0: ansible-playbook -i <inventory> rspm.ha.rollback -e "
        "rspm_rollback_to=2026-11-24T07:50:30Z (what was written since the restore point is lost: made at "
        "2026-11-24T07:50:30Z, the last node stopped at 2026-11-24T08:00:04Z, 10 minutes of writes, and from now on "
        "what is written since)."
    ) in said


def test_one_that_stopped_all_first_gives_up_nothing_that_was_written_before() -> None:
    said = price(point={**POINT, "created": "2026-11-24T08:00:10Z"}, outcome="stopped", at="first")
    assert "(the restore point was made at 2026-11-24T08:00:10Z, when all nodes had stopped: only what the" in said


def test_one_that_stopped_in_the_first_nodes_call_counts_that_call() -> None:
    steps = {"a": [{"step": "stop", "at": "2026-11-24T08:10:00Z", "seconds": 1.0}]}
    said = price(point=POINT, outcome="stopped", at="first", steps=steps)
    assert "the last node stopped at 2026-11-24T08:10:01Z, 20 minutes of writes)" in said
    assert "since the restore point of 2026-11-24T07:50:30Z is lost)" in price(
        point=POINT, outcome="stopped", at="first", done=[]
    )


def test_one_whose_first_node_has_moved_nothing_says_that_nothing_is_lost() -> None:
    steps = {"a": [{"step": "given_back", "at": "2026-11-24T08:10:00Z", "seconds": 0.0}], "b": []}
    said = price(point=POINT, outcome="stopped", at="first", steps=steps)
    assert "To give up and go back to 2026.04.0 (nothing is lost): " in said


def test_a_rollback_says_what_it_gave_up_and_where_that_is_saved() -> None:
    plan = {**PLAN, "gives_up": "Gives up what was written, 3 days"}
    said = report(run(purpose="rollback", plan=plan, saved="/mnt/x"))["says"]
    assert said[1:] == [
        "Gives up what was written, 3 days.",
        "What was there before it is saved until the next upgrade: /mnt/x.",
    ]
    assert outline(plan)[1] == "Gives up what was written, 3 days."


def test_steps_at_the_same_time_are_not_counted_twice() -> None:
    entries = [entry("move", "00", "09", {"a": "move"}, {"a": {"stop": 1.0, "data compare": 2.0}})]
    entries[0]["steps"]["a"] += [
        {"step": "databases dump", "at": "2026-11-24T08:00:01.500Z", "seconds": 3.0},
        {"step": "switch", "at": "2026-11-24T08:00:06Z", "seconds": 0.5},
    ]
    assert done_phases(entries)[0]["nodes"]["a"]["seconds"] == 5.0

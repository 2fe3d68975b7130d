"""What is measured has the names of what is wanted, and is what was asked for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.report import done_phases
from bench import migrate, scale, upgrade_outage, workbench
from bench.catalogue import AHEAD, BARE, COPY, DEFAULTS, PIPELINING, SERVES, SETTINGS, WANTED
from tests.scenarios import support


def wanted(benchmark: str) -> set[str]:
    return {side.way for each in WANTED for side in (each.one, each.other) if side.benchmark == benchmark}


def test_every_way_that_is_wanted_is_gone() -> None:
    assert wanted("upgrade_outage") <= {way.name for way in upgrade_outage.WAYS}
    assert wanted("migrate") <= {way for shape in migrate.SHAPES for way in (shape.ours, *shape.by_hand)}


def test_the_limits_are_those_of_the_issue() -> None:
    limits = {
        benchmark: [each.at_most for each in WANTED if each.one.benchmark == benchmark]
        for benchmark in ("upgrade_outage", "migrate", "converge", "scale")
    }
    assert limits == {
        "upgrade_outage": [0.5, 1.10, 1.10, 0.15, 0],
        "migrate": [1.5, 1.3, 0.2, 1.0],
        "converge": [18],
        "scale": [5],
    }


def test_an_upgrade_is_measured_in_the_mode_that_its_name_says() -> None:
    ours = [way for way in upgrade_outage.WAYS if way.mode]
    assert [way.mode for way in ours] == [AHEAD, AHEAD, AHEAD, SERVES, AHEAD]
    assert all(way.mode in way.name and f"{way.cluster.size} MiB" in way.name for way in ours)
    assert all(f"{len(way.cluster.nodes)} nodes" in way.name for way in ours)


def test_ways_of_ansible_are_gone_with_each_setting_and_others_once() -> None:
    every = upgrade_outage.runs([], None)
    assert len(every) == 5 * len(SETTINGS) + 3 and len({(way.word, setting) for way, setting in every}) == len(every)
    some = upgrade_outage.runs(["bare", "three"], PIPELINING)
    assert [(way.word, setting) for way, setting in some] == [("three", PIPELINING), ("bare", "")]
    assert next(way.name for way, setting in every if not setting) == BARE


def test_a_way_that_is_not_known_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    parser = workbench.options("")
    workbench.selection(parser, ["three", "bare"])
    assert parser.parse_args([]).ways == []
    chosen = parser.parse_args(["--runs", "2", "three", "bare", "--setting", "pipelining"])
    assert (chosen.ways, chosen.setting, chosen.runs) == (["three", "bare"], PIPELINING, 2)
    with pytest.raises(SystemExit):
        parser.parse_args(["four"])
    assert "four" in capsys.readouterr().err


def test_each_setting_is_what_ansible_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    person = SimpleNamespace(environment={}, new_folder=lambda prefix: tmp_path / prefix)
    monkeypatch.setattr(support, "person", lambda: person)
    bench = workbench.Bench.__new__(workbench.Bench)
    told = []
    for setting in (DEFAULTS, PIPELINING, ""):
        bench.ready(setting)
        told.append(person.environment["ANSIBLE_PIPELINING"])
    assert told == ["False", "True", "False"]


def test_a_name_that_is_simulated_is_that_of_no_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, str]] = []
    monkeypatch.setattr(workbench, "variables_of", lambda machine: machine)
    monkeypatch.setattr(workbench, "inventory", made.append)
    scale.aliases(7)
    leads_to = ["node1", "node2", "node3", "node1", "node2", "node3", "node1"]
    assert list(made[0].values()) == leads_to
    assert [name for name in made[0] if "node" in name] == [f"{node}.example.org" for node in leads_to[:3]]


def step(name: str, second: int, seconds: float) -> dict[str, object]:
    return {"step": name, "at": f"2026-11-28T10:00:{second:02}.000Z", "seconds": seconds}


def test_a_copy_is_the_sum_of_its_passes_and_of_nothing_else_in_the_one_call() -> None:
    moved = [
        step("stop", 20, 2),
        step("data compare", 22, 1.5),
        step("databases dump", 22, 9),
        step("data sync", 24, 1),
    ]
    done = [
        {"phase": name, "from": "2026-11-28T10:00:00.000Z", "to": "2026-11-28T10:00:40.000Z", "actions": actions}
        | {"steps": steps}
        for name, actions, steps in [
            ("lock", {"": "take_lock"}, {}),
            ("warm", {"node1": "warm_copy"}, {"node1": [step("compare", 1, 3), step("copy", 4, 4)]}),
            ("move", {"node1": "move"}, {"node1": moved}),
            ("retire", {"node2": "retire"}, {}),
        ]
    ]
    assert migrate.copied({"phases": done_phases(done)}) == {COPY: 3 + 4 + 1.5 + 1}
    # of a collection whose last pass was a phase of its own
    assert migrate.copied({"phases": done_phases(done[:2])}) == {}


def test_another_way_is_first_in_each_round() -> None:
    ways = ["here", "abc", "def"]
    assert [workbench.in_turn(ways, number)[0] for number in range(4)] == ["here", "abc", "def", "here"]
    assert all(set(workbench.in_turn(ways, number)) == set(ways) for number in range(4))

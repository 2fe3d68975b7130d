"""The page of the benchmarks tells what was measured, and nothing that was missed passes in silence."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import plot, records, report
from bench.catalogue import BENCHMARKS, DEFAULTS, PIPELINING, SETTINGS, WANTED, Series, Wanted
from bench.records import Measured, Record

OURS, THEIRS = Series("converge", "ours", "wall (s)"), Series("converge", "theirs", "wall (s)")
HALF = Wanted("ours", "theirs | by hand", 0.5, OURS, THEIRS)
MACHINE = {"cores": "2", "kernel": "6.1"}


def record(way: str, setting: str, number: int, value: float) -> Record:
    return Record("converge", way, setting, number, {"wall (s)": value}, 0.1)


def runs(way: str, setting: str, *found: float) -> list[Record]:
    return [record(way, setting, number, value) for number, value in enumerate(found)]


def words(measured: list[Record]) -> list[str]:
    return [verdict.word for verdict in report.judge(measured, [HALF])]


def test_a_ratio_is_that_of_the_medians_and_its_spread_that_of_the_rounds() -> None:
    measured = runs("ours", DEFAULTS, 1, 3, 2) + runs("theirs", "", 4, 6, 20)
    first, second = report.judge(measured, [HALF])
    assert (first.ratios, first.word) == ((0.25, 0.5, 0.1), "ok")
    assert first.measured == pytest.approx(2 / 6)
    assert (second.setting, second.measured, second.word) == (PIPELINING, None, "not measured")


def test_a_limit_that_is_just_reached_is_reached() -> None:
    measured = runs("ours", DEFAULTS, 2) + runs("ours", PIPELINING, 2.001) + runs("theirs", "", 4)
    assert words(measured) == ["ok", "MISSED"]


def test_each_setting_is_compared_with_itself() -> None:
    measured = runs("ours", DEFAULTS, 4) + runs("theirs", DEFAULTS, 10)
    measured += runs("ours", PIPELINING, 4) + runs("theirs", PIPELINING, 5)
    assert words(measured) == ["ok", "MISSED"]


def test_rounds_with_one_side_only_do_not_count() -> None:
    measured = runs("ours", DEFAULTS, 1, 100, 100) + runs("theirs", "", 4)
    assert report.judge(measured, [HALF])[0].ratios == (0.25,)


def test_nothing_is_no_multiple_of_nothing() -> None:
    assert words(runs("ours", DEFAULTS, 0) + runs("ours", PIPELINING, 1) + runs("theirs", "", 0)) == ["ok", "MISSED"]


def test_what_was_missed_or_not_measured_is_said_and_is_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    reached = runs("ours", DEFAULTS, 1) + runs("ours", PIPELINING, 1) + runs("theirs", "", 4)
    assert report.conclude(report.judge(reached, [HALF]), []) == 0
    too_slow = runs("ours", DEFAULTS, 3) + runs("ours", PIPELINING, 1) + runs("theirs", "", 4)
    assert report.conclude(report.judge(too_slow, [HALF]), []) == 1
    assert "MISSED: ours / theirs | by hand (defaults): at most 0.5, is 0.75" in capsys.readouterr().out
    assert report.conclude(report.judge([], [HALF]), []) == 1
    assert "not measured: ours" in capsys.readouterr().out


def test_a_benchmark_alone_is_judged_by_what_it_measures() -> None:
    verdicts = report.judge([], [HALF])
    assert (report.conclude(verdicts, ["converge"]), report.conclude(verdicts, ["migrate"])) == (1, 0)


@given(st.lists(st.tuples(st.floats(0.1, 1e4), st.floats(0.1, 1e4)), min_size=1, max_size=9))
def test_the_measured_ratio_is_within_its_spread(pairs: list[tuple[float, float]]) -> None:
    measured = runs("ours", DEFAULTS, *(one for one, _other in pairs))
    measured += runs("theirs", "", *(other for _one, other in pairs))
    verdict = report.judge(measured, [HALF])[0]
    assert verdict.measured is not None
    assert min(verdict.ratios) * 0.999 <= verdict.measured <= max(verdict.ratios) * 1.001


def whole() -> list[Record]:
    """Return five rounds of all that is wanted, and of nothing else."""
    sides = dict.fromkeys(itertools.chain.from_iterable((each.one, each.other) for each in WANTED))
    return [
        Record(side.benchmark, side.way, setting, number, {side.figure: 10.0 + number}, 0.2)
        for side in sides
        for setting in SETTINGS
        for number in range(5)
    ]


def test_the_page_has_a_row_for_each_wanted_ratio_and_setting() -> None:
    measured = Measured({"converge": MACHINE, "scale": MACHINE}, whole())
    text = report.page(measured, report.judge(measured.records))
    table = text.split("## Wanted")[1].split("## ")[0].strip().splitlines()
    assert len(table) == 2 + len(WANTED) * len(SETTINGS)
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in table} == {9}
    assert all(row.endswith(("| ok |", "| MISSED |")) for row in table[2:])
    assert text.count("| kernel | 6.1 |") == 1
    assert "A trial" not in text
    assert "visibility.svg" not in text and "scale.svg" in text


def test_few_runs_and_other_machines_are_said() -> None:
    few = [each for each in whole() if each.round < 2]
    text = report.page(Measured({"converge": MACHINE, "scale": {**MACHINE, "kernel": "6.2"}}, few), [])
    assert "**A trial**: 2 runs" in text
    assert "| machine of | converge |" in text and "| machine of | scale |" in text
    assert "| kernel | 6.1 |" in text and "| kernel | 6.2 |" in text


def test_the_page_is_made_of_what_was_written_down(tmp_path: Path) -> None:
    records.begin("converge", MACHINE, tmp_path)
    for each in runs("ours", DEFAULTS, 1.5, 2.5):
        records.add(each, tmp_path)
    assert records.read(tmp_path) == Measured({"converge": MACHINE}, runs("ours", DEFAULTS, 1.5, 2.5))


def test_what_was_not_measured_again_stays(tmp_path: Path) -> None:
    new, kept = tmp_path / "new", tmp_path / "kept"
    for folder, value in ((new, 1.0), (kept, 2.0)):
        records.begin("converge", MACHINE, folder)
        records.add(record("ours", DEFAULTS, 0, value), folder)
    records.begin("scale", MACHINE, kept)
    records.keep(["converge", "scale", "migrate"], new, kept)
    measured = records.read(kept)
    assert measured.machines.keys() == {"converge", "scale"}
    assert [each.figures for each in measured.records] == [{"wall (s)": 1.0}]


def test_the_page_and_its_pictures_are_those_of_the_figures_that_are_kept() -> None:
    texts = report.made(records.read(records.KEPT))
    assert records.PAGE in texts
    assert {path: path.read_text(encoding="utf-8") for path in texts} == texts
    assert set(records.KEPT.glob("*.svg")) == texts.keys() - {records.PAGE}


def test_names_of_benchmarks_and_of_what_is_wanted_agree() -> None:
    known = {benchmark.name for benchmark in BENCHMARKS}
    assert {side.benchmark for each in WANTED for side in (each.one, each.other)} <= known


MILLISECONDS = st.integers(0, 10**8).map(lambda count: count / 1000)


@given(st.lists(st.tuples(*[MILLISECONDS] * 3).map(sorted), min_size=1, max_size=12))
def test_every_dot_is_on_its_line_and_in_the_picture(figures: list[list[float]]) -> None:
    bars = [plot.Bar("a < b & c", low, median, high, ours=True) for low, median, high in figures]
    root = ElementTree.fromstring(plot.draw("t", bars))
    space = "{http://www.w3.org/2000/svg}"
    width = float(root.attrib["width"])
    lines = [line for line in root.iter(f"{space}line") if line.attrib["stroke"] != "#ddd"]
    dots = list(root.iter(f"{space}circle"))
    assert len(lines) == len(dots) == len(bars)
    for line, dot in zip(lines, dots):
        assert 0 <= float(line.attrib["x1"]) <= float(dot.attrib["cx"]) <= float(line.attrib["x2"]) <= width


@given(st.floats(0.001, 1e6))
def test_an_axis_has_few_marks_and_holds_all(high: float) -> None:
    marks = plot.ticks(high)
    assert 3 <= len(marks) - 1 <= 8
    assert marks[0] == 0 and marks[-1] >= high * 0.999999


def test_small_and_large_figures_side_by_side_are_on_a_logarithmic_axis() -> None:
    assert "logarithmic" in plot.draw("t", [plot.Bar("a", 0.01, 0.02, 0.03, True), plot.Bar("b", 50, 60, 70, False)])
    assert "logarithmic" not in plot.draw("t", [plot.Bar("a", 2, 2, 2, True), plot.Bar("b", 50, 60, 70, False)])


def test_a_page_of_one_benchmark_says_what_was_not_measured() -> None:
    some = [each for each in whole() if each.benchmark == "upgrade_outage"]
    verdicts = report.judge(some)
    text = report.page(Measured({"upgrade_outage": MACHINE}, some), verdicts)
    sections = text.split("\n## ")[1:]
    alone = [section.splitlines()[0] for section in sections if "Not measured." not in section]
    assert alone == ["Wanted", "upgrade_outage"]
    others = len(WANTED) - sum(each.one.benchmark == "upgrade_outage" for each in WANTED)
    assert text.count("| not measured |") == others * len(SETTINGS)
    assert report.conclude(verdicts, []) == 1

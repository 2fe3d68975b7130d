"""Makes docs/performance.md and its plots of what the benchmarks wrote; says what was missed, with exit code 1.

    report.py [--page] [BENCHMARK...]

Without the page it only judges. A benchmark that was not run, or did not end, is missed too; on the page it is what it
was when it ran last.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import records as files
from bench.catalogue import BENCHMARKS, RUNS, SETTINGS, WANTED, Benchmark, Series, Wanted
from bench.plot import Bar, draw, number
from bench.records import Measured, Record

_HEAD = """# Performance

Made by `make bench`, which runs all of this on the lab's machines (User-mode Linux, all on the cores below); change
nothing by hand. A row's two sides were measured in turn in one run. *Measured* is the ratio of their medians, *spread*
the smallest and the largest ratio of one round. *defaults* is Ansible as it comes, *pipelining* with
`ANSIBLE_PIPELINING=true`.
"""


@dataclass(frozen=True)
class Verdict:
    """What one wanted ratio came to with one setting. ratios: of the rounds that have both sides."""

    wanted: Wanted
    setting: str
    measured: float | None
    ratios: tuple[float, ...]

    @property
    def word(self) -> str:
        """Return how it ended."""
        if self.measured is None:
            return "not measured"
        return "ok" if self.measured <= self.wanted.at_most else "MISSED"


def ratio(one: float, other: float) -> float:
    """Return how many times the other it is; nothing is no multiple of nothing."""
    if other == 0:
        return float("inf") if one else 0.0
    return one / other


def values(records: Sequence[Record], series: Series, setting: str) -> dict[int, float]:
    """Return a figure by round; a way in which Ansible has no part has the same with every setting."""
    return {
        record.round: record.figures[series.figure]
        for record in records
        if (record.benchmark, record.way) == (series.benchmark, series.way)
        and record.setting in ("", setting)
        and series.figure in record.figures
    }


def judge(records: Sequence[Record], wanted: Sequence[Wanted] = WANTED) -> list[Verdict]:
    """Return the verdict on each wanted ratio with each setting."""
    verdicts = []
    for each in wanted:
        for setting in SETTINGS:
            one, other = (values(records, series, setting) for series in (each.one, each.other))
            rounds = sorted(one.keys() & other.keys())
            measured = None
            if rounds:
                measured = ratio(*(statistics.median(side[number] for number in rounds) for side in (one, other)))
            ratios = tuple(ratio(one[number], other[number]) for number in rounds)
            verdicts.append(Verdict(each, setting, measured, ratios))
    return verdicts


def missed(verdicts: Sequence[Verdict]) -> list[str]:
    """Return a line for each ratio that was not reached or not measured."""
    return [_line(verdict) for verdict in verdicts if verdict.word != "ok"]


def _line(verdict: Verdict) -> str:
    wanted = verdict.wanted
    seen = "" if verdict.measured is None else f", is {number(verdict.measured)}"
    return f"{verdict.word}: {wanted.what} / {wanted.against} ({verdict.setting}): at most {wanted.at_most:g}{seen}"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_row(*head), _row(*["---"] * len(head)), *(_row(*row) for row in rows), ""]


def _spread(found: Sequence[float]) -> str:
    return f"{number(min(found))} to {number(max(found))}" if found else ""


def wanted_table(verdicts: Sequence[Verdict]) -> list[str]:
    """Return the table of all wanted ratios."""
    rows = [
        (
            *(verdict.wanted.what, verdict.wanted.against, verdict.setting, f"{verdict.wanted.at_most:g}"),
            "" if verdict.measured is None else number(verdict.measured),
            *(_spread(verdict.ratios), str(len(verdict.ratios)), verdict.word),
        )
        for verdict in verdicts
    ]
    return _table(("what", "against", "Ansible", "at most", "measured", "spread", "runs", ""), rows)


def _ways(records: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    found: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        found.setdefault((record.way, record.setting), []).append(record)
    return found


def _label(way: str, setting: str) -> str:
    return f"{way} ({setting})" if setting else way


def figures_table(records: Sequence[Record]) -> list[str]:
    """Return all figures of one benchmark: median, smallest and largest."""
    names = list(dict.fromkeys(name for record in records for name in record.figures))
    rows = []
    for key, mine in _ways(records).items():
        cells = [_label(*key)]
        for name in names:
            found = [record.figures[name] for record in mine if name in record.figures]
            cells.append(f"{number(statistics.median(found))} ({_spread(found)})" if found else "")
        rows.append((*cells, str(len(mine))))
    return _table(("", *names, "runs"), rows)


def plot(benchmark: Benchmark, records: Sequence[Record]) -> str:
    """Return the picture of one benchmark's figure, "" where there is none."""
    bars = []
    for key, mine in _ways(records).items():
        found = [record.figures[benchmark.figure] for record in mine if benchmark.figure in record.figures]
        if found:
            ours = bool(key[1]) and "ping" not in key[0]
            bars.append(Bar(_label(*key), min(found), statistics.median(found), max(found), ours))
    return draw(f"{benchmark.name}: {benchmark.figure}", bars) if bars else ""


def page(measured: Measured, verdicts: Sequence[Verdict]) -> str:
    """Return docs/performance.md."""
    lines = [_HEAD, *_machines(measured), *_trial(measured.records), "## Wanted", "", *wanted_table(verdicts)]
    for benchmark in BENCHMARKS:
        mine = [record for record in measured.records if record.benchmark == benchmark.name]
        lines += [f"## {benchmark.name}", "", fill(" ".join(benchmark.text.split()), 120), ""]
        if not mine:
            lines += ["Not measured.", ""]
            continue
        loads = [record.load for record in mine]
        lines += [f"Load of the machine before each run: {_spread(loads)}.", "", *figures_table(mine)]
        if plot(benchmark, mine):
            lines += [f"![{benchmark.name}](performance/{benchmark.name}.svg)", ""]
    return "\n".join(lines)


def _machines(measured: Measured) -> list[str]:
    """Return the machine, with the benchmarks that ran on it; more than one where not all ran on the same."""
    machines: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for benchmark, machine in measured.machines.items():
        machines.setdefault(tuple(machine.items()), []).append(benchmark)
    lines = []
    for found, benchmarks in machines.items():
        lines += _table(("machine of", ", ".join(benchmarks)), found)
    return lines


def _trial(records: Sequence[Record]) -> list[str]:
    fewest = min((len(mine) for mine in _ways(records).values()), default=0)
    return [] if fewest >= RUNS else [f"**A trial**: {fewest} runs of a way, where {RUNS} are a measurement.", ""]


def main() -> int:
    """Judge, and write the page where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="store_true", help="keep what was measured last, and make the page of it")
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK")
    options = parser.parse_args()
    if options.page:
        files.keep(benchmark.name for benchmark in BENCHMARKS)
    measured = files.read(files.KEPT if options.page else files.FOLDER)
    if options.page:
        for path, text in made(measured).items():
            path.write_text(text, encoding="utf-8")
    return conclude(judge(measured.records), options.benchmarks)


def made(measured: Measured) -> dict[Path, str]:
    """Return the text of the page and of its pictures, by path."""
    texts = {files.PAGE: page(measured, judge(measured.records))}
    for benchmark in BENCHMARKS:
        if picture := plot(benchmark, [each for each in measured.records if each.benchmark == benchmark.name]):
            texts[files.KEPT / f"{benchmark.name}.svg"] = picture
    return texts


def conclude(verdicts: Sequence[Verdict], benchmarks: Sequence[str]) -> int:
    """Print the verdicts, of all benchmarks or of some; 1 where something was missed."""
    mine = [each for each in verdicts if not benchmarks or each.wanted.one.benchmark in benchmarks]
    for verdict in mine:
        print(_line(verdict))
    return 1 if missed(mine) else 0


if __name__ == "__main__":
    sys.exit(main())

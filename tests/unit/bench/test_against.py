"""A comparison with other commits tells each figure of each way beside theirs, and which is worse."""

from __future__ import annotations

from bench import against
from bench.against import HERE, compared
from bench.catalogue import COPY, OUTAGE, PIPELINING, WALL, at
from bench.records import Record


def runs(way: str, side: str, **figures: list[float]) -> list[Record]:
    names = {"outage": OUTAGE, "wall": WALL, "copy": COPY}
    rounds = zip(*figures.values())
    return [
        Record(against.NAME, at(way, side), PIPELINING, number, dict(zip(map(names.get, figures), values)), 0.1)  # type: ignore[arg-type]
        for number, values in enumerate(rounds)
    ]


def test_each_figure_is_compared_with_that_of_each_side() -> None:
    found = [
        *runs("migrate, 10,000 small files", HERE, outage=[3, 9, 4], wall=[50, 60, 55]),
        *runs("migrate, 10,000 small files", "abc", outage=[4, 4, 8], wall=[50, 50, 50]),
        *runs("migrate, 10,000 small files", "def", outage=[2, 2, 2], wall=[55, 55, 55]),
        *runs("upgrade", HERE, outage=[1.0]),
    ]
    lines = compared(found, ["abc", "def"])
    assert [round(times, 3) for _text, times in lines] == [1.0, 2.0, 1.1, 1.0]
    assert lines[0][0] == "migrate, 10,000 small files: outage (s) 4.00, 4.00 at abc: 1.00 times"
    assert compared(found[-1:], ["abc"]) == []

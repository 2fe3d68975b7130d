# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From single requests to outages."""

from __future__ import annotations

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._probe import rules as probe
from ansible_collections.rspm.ha.plugins.module_utils._probe.rules import Measurement, Outage, Sample

# milliseconds, so that sums are exact enough to compare
STEP = st.tuples(st.integers(0, 5000), st.integers(1, 6000), st.sampled_from(["", "", "503", "ConnectionRefusedError"]))


@st.composite
def requests(draw: st.DrawFn, max_size: int = 60) -> list[Sample]:
    """Draw requests, none of which begins before the one before it has ended."""
    now, made = 1_795_550_000_000, []
    for pause, length, said in draw(st.lists(STEP, max_size=max_size)):
        begun = now + pause
        now = begun + length
        made.append(Sample(begun / 1000, now / 1000, said))
    return made


def test_an_outage_is_from_the_first_failure_to_the_first_success() -> None:
    samples = [
        Sample(0.0, 0.01, ""),
        Sample(0.1, 5.1, "TimeoutError"),
        Sample(5.2, 5.21, "503"),
        Sample(5.3, 5.31, "TimeoutError"),
        Sample(5.4, 5.9, ""),
        Sample(6.0, 6.01, ""),
    ]
    measured = probe.measure(samples)
    assert measured.outages == (Outage(0.1, 5.9, ("TimeoutError", "503")),)
    assert measured.to_dict() == {
        "samples": 6,
        "failures": 3,
        "outages": [
            {
                "from": "1970-01-01T00:00:00.100Z",
                "to": "1970-01-01T00:00:05.900Z",
                "seconds": 5.8,
                "said": "TimeoutError, 503",
            }
        ],
        "more_outages": 0,
        "longest_seconds": 5.8,
        "total_seconds": 5.8,
        "from": "1970-01-01T00:00:00.000Z",
        "to": "1970-01-01T00:00:06.010Z",
        "still_down": False,
    }


def test_each_outage_says_what_came_in_it() -> None:
    samples = [Sample(1.0, 1.1, "503"), Sample(1.2, 1.3, ""), Sample(1.4, 1.5, "404"), Sample(1.6, 1.7, "")]
    assert [outage.said for outage in probe.measure(samples).outages] == [("503",), ("404",)]


def test_nothing_measured_is_zeros() -> None:
    assert probe.measure([]) == Measurement()
    shown = Measurement().to_dict()
    assert not any(shown.values()) and shown["from"] == shown["to"] == ""


def test_one_that_has_not_ended_is_told() -> None:
    measured = probe.measure([Sample(1.0, 1.1, "503"), Sample(1.2, 1.5, "503")])
    assert measured.still_down and measured.outages == (Outage(1.0, 1.5, ("503",)),)
    assert measured.total == measured.longest == 0.5


@given(requests())
def test_every_failure_is_in_exactly_one_outage_and_no_success_lies_in_one(samples: list[Sample]) -> None:
    measured = probe.measure(iter(samples))
    for sample in samples:
        around = [one for one in measured.outages if one.begun <= sample.begun and sample.ended <= one.ended]
        if sample.said:
            assert len(around) == 1 and sample.said in around[0].said
        else:
            assert all(sample.ended == one.ended for one in around)
    assert all(before.ended < after.begun for before, after in zip(measured.outages, measured.outages[1:]))


@given(requests())
def test_the_numbers_agree_with_the_outages(samples: list[Sample]) -> None:
    measured = probe.measure(samples)
    runs = [failed for failed, _group in groupby(samples, lambda sample: bool(sample.said))]
    assert len(measured.outages) == sum(runs) and measured.more_outages == 0
    assert measured.samples == len(samples) and measured.failures == sum(bool(sample.said) for sample in samples)
    seconds = [one.seconds for one in measured.outages]
    assert measured.longest == max(seconds, default=0.0)
    assert measured.total == pytest.approx(sum(seconds))
    assert measured.still_down is bool(samples and samples[-1].said)
    if samples:
        assert (measured.begun, measured.ended) == (samples[0].begun, samples[-1].ended)
        assert measured.ended is not None and measured.total <= measured.ended - samples[0].begun + 1e-3


@given(requests())
def test_a_success_at_the_end_closes_it_and_a_success_before_changes_no_outage(samples: list[Sample]) -> None:
    measured = probe.measure(samples)
    end = samples[-1].ended if samples else 0.0
    begin = samples[0].begun if samples else 0.0
    after = probe.measure([*samples, Sample(end + 1, end + 2, "")])
    assert not after.still_down and after.failures == measured.failures and len(after.outages) == len(measured.outages)
    assert after.total == pytest.approx(measured.total + 2 * measured.still_down)
    before = probe.measure([Sample(begin - 2, begin - 1, ""), *samples])
    assert before.outages == measured.outages


@pytest.mark.parametrize("outages", [99, 100, 101, 250])
def test_the_list_is_capped_and_the_sums_are_not(outages: int) -> None:
    samples = [Sample(n, n + 0.5, "" if n % 2 else "503") for n in range(2 * outages)]
    measured = probe.measure(samples)
    assert len(measured.outages) == min(outages, 100) and measured.more_outages == max(outages - 100, 0)
    assert measured.outages[0].begun == 0 and measured.total == 1.5 * outages


@given(st.integers(0, 10**6), st.floats(0, 10**6), st.floats(0.001, 100))
def test_the_schedule_does_not_drift_or_catch_up(slot: int, elapsed: float, interval: float) -> None:
    later = probe.next_slot(slot, elapsed, interval)
    assert later > slot
    if later > slot + 1:
        assert elapsed <= later * interval * (1 + 1e-9)
        assert (later - 1) * interval < elapsed * (1 + 1e-9)


def test_statuses_that_count() -> None:
    assert probe.judge_answer(200, [200]) == "" and probe.judge_answer(402, [200, 402]) == ""
    assert probe.judge_answer(503, [200]) == "503" and probe.judge_answer(302, [200]) == "302"


@pytest.mark.parametrize(
    "url", ["", "lb1", "ftp://lb1/", "http:///x", "http://lb1:x/", "http://lb1:99999/", "http://["]
)
def test_what_can_not_be_asked(url: str) -> None:
    with pytest.raises(DomainError, match="is not an address that can be asked"):
        probe.parse_target(url)


def test_times_are_above_zero() -> None:
    assert probe.judge_times(interval=0.1, timeout=5, limit=7200) == []
    found = [problem.found for problem in probe.judge_times(interval=0, timeout=-1, limit=float("nan"))]
    assert found == ["interval is 0", "timeout is -1", "limit is nan"]

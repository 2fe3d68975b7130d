# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What chrony says, what the time servers say, and what is made of it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._clock import host
from ansible_collections.rspm.ha.plugins.module_utils._clock.rules import (
    ClockState,
    Source,
    Tracking,
    decide_clock,
    judge_clock,
    measure_argv,
    parse_measured,
    parse_sources,
    parse_tracking,
    parse_units,
    sources_differ,
    units_in_the_way,
)
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand

# Recorded from chrony 4.3
TRACKING = (
    "0AAD010D,10.0.0.13,9,1795493825.081556870,0.000000272,0.000044742,0.000044742,7.066,0.000,244.713,"
    "0.000336020,0.012702554,2.0,Normal\n"
)
UNSYNCHRONISED = (
    "00000000,,0,0.000000000,0.000000000,0.000000000,0.000000000,0.000,0.000,0.000,"
    "1.000000000,1.000000000,0.0,Not synchronised\n"
)
SOURCES = (
    "^,*,10.0.0.13,8,6,17,50,0.000043991,0.000088731,0.000203146\n"
    "^,?,10.0.0.14,0,6,0,4294967295,0.000000000,0.000000000,0.000000000\n"
    "#,-,PHC0,0,4,377,5,-0.000000011,-0.000000009,0.000000130\n"
)
UNITS = """Id=chrony.service
LoadState=loaded
ActiveState=active
UnitFileState=enabled

Id=systemd-timesyncd.service
LoadState=loaded
ActiveState=inactive
UnitFileState=enabled

Id=ntpd.service
LoadState=not-found
ActiveState=inactive
UnitFileState=

Id=openntpd.service
LoadState=loaded
ActiveState=active
UnitFileState=disabled
"""
FOLLOWED = Source("^", "*", "10.0.0.13", 50)


def tracking(correction: float = 0.0, leap: str = "Normal", refid: str = "0AAD010D") -> Tracking:
    return Tracking(refid, "10.0.0.13", 3, correction, leap)


def state(correction: float = 0.0, offset: float | None = 0.0, leap: str = "Normal") -> ClockState:
    return ClockState(tracking(correction, leap), (FOLLOWED,), offset, "10.0.0.13" if offset is not None else "")


def test_tracking_is_read() -> None:
    found = parse_tracking(TRACKING)
    assert found == Tracking("0AAD010D", "10.0.0.13", 9, 0.000000272, "Normal")
    assert found.synchronised
    never = parse_tracking(UNSYNCHRONISED)
    assert never is not None and not never.synchronised
    assert parse_tracking("506 Cannot talk to daemon\n") is None
    assert parse_tracking("") is None


def test_a_clock_that_follows_only_itself_is_not_synchronised() -> None:
    assert not tracking(refid="7F7F0101").synchronised


def test_sources_are_read() -> None:
    assert parse_sources(SOURCES) == (
        Source("^", "*", "10.0.0.13", 50),
        Source("^", "?", "10.0.0.14", None),
        Source("#", "-", "PHC0", 5),
    )


@pytest.mark.parametrize(
    ("printed", "offset"),
    [
        (
            "Running with root privileges\n{} System clock wrong by 60.000006 seconds (ignored)\n{} chronyd exiting",
            60.000006,
        ),
        ("{} System clock wrong by -0.000605 seconds (ignored)", -0.000605),
        ("{} Disabled control of system clock\n{} Timeout reached\n{} chronyd exiting", None),
        ("", None),
    ],
)
def test_the_measured_offset_is_read(printed: str, offset: float | None) -> None:
    assert parse_measured(printed.replace("{}", "2026-11-28T12:14:54Z")) == offset


def test_other_daemons_that_run_or_would_are_in_the_way() -> None:
    assert units_in_the_way(parse_units(UNITS)) == ["systemd-timesyncd.service", "openntpd.service"]


@pytest.mark.parametrize(
    ("servers", "names", "differ"),
    [
        ([], ["2.debian.pool.ntp.org"], False),
        (["ntp1"], ["ntp1"], False),
        (["NTP1", "ntp2"], ["ntp2", "ntp1"], False),
        (["ntp1"], ["ntp1", "2.debian.pool.ntp.org"], True),
        (["ntp1", "ntp2"], ["ntp1"], True),
        (["ntp1"], [], True),
    ],
)
def test_only_the_given_servers_are_to_be_used(servers: list[str], names: list[str], differ: bool) -> None:
    assert sources_differ(servers, names) is differ


@pytest.mark.parametrize(
    ("seen", "decision"),
    [
        (ClockState(), "wait"),
        (state(leap="Not synchronised"), "wait"),
        (state(leap="Not synchronised", offset=60.0), "wait"),
        (state(), "nothing"),
        (state(offset=0.4), "nothing"),
        (state(correction=60.0, offset=60.0), "step"),
        (state(correction=-0.7, offset=-0.7), "step"),
        # chronyd has not noticed yet
        (state(offset=60.0), "restart"),
        (state(offset=-60.0), "restart"),
        # chronyd believes it is right, but nobody says so now
        (state(offset=None), "wait"),
    ],
)
def test_what_a_clock_needs(seen: ClockState, decision: str) -> None:
    assert decide_clock(seen, 0.5) == decision


@given(st.floats(-1e6, 1e6), st.one_of(st.none(), st.floats(-1e6, 1e6)), st.floats(0.001, 10))
def test_a_clock_is_left_alone_only_when_it_is_right(correction: float, offset: float | None, limit: float) -> None:
    seen = state(correction, offset)
    right = offset is not None and abs(offset) <= limit and abs(correction) <= limit
    assert (decide_clock(seen, limit) == "nothing") == right
    assert (judge_clock("node2", seen, limit, [], None, 60) == []) == right


def test_a_clock_that_nobody_corrects_is_named_with_its_offset() -> None:
    (problem,) = judge_clock("node2", state(leap="Not synchronised", offset=None), 0.5, ["10.0.0.13"], -61.24, 60)
    assert problem.check == "clock"
    assert problem.found == (
        "The clock of node2 is about 61.2 s off by the clock of the machine that runs Ansible "
        "and no NTP server answers: 10.0.0.13"
    )
    (problem,) = judge_clock("node2", state(offset=None), 0.5, ["10.0.0.13"], 0.8, 60)
    assert problem.found == (
        "The clock of node2 is within 3 s of the clock of the machine that runs Ansible "
        "and no NTP server answers: 10.0.0.13"
    )
    (problem,) = judge_clock("node2", state(offset=61.24), 0.5, [], None, 60)
    assert problem.found == "The clock of node2 is 61.2 s off and chronyd did not bring it within 0.5 s in 60 s"
    (problem,) = judge_clock("node2", ClockState(), 0.5, [], None, 60)
    assert "chronyd does not run" in problem.found


class FakeRunner:
    """Answers commands from a table; remembers them."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers, self.ran = answers, list[str]()

    def __call__(self, argv: list[str], **_options: Any) -> CompletedCommand:
        command = " ".join(argv)
        self.ran.append(command)
        return CompletedCommand(0 if command in self.answers else 1, self.answers.get(command, ""), "")


def test_the_offset_is_measured_and_not_taken_from_chronyd() -> None:
    said = {"chronyc -n -c tracking": TRACKING, "chronyc -n -c sources": SOURCES}
    run = FakeRunner({**said, " ".join(measure_argv("10.0.0.13")): "System clock wrong by 60.000006 seconds (ignored)"})
    seen = host.read_clock(run)
    assert (seen.offset, seen.measured_with) == (60.000006, "10.0.0.13")
    assert decide_clock(seen, 0.5) == "restart"


@pytest.mark.parametrize(("age", "offset"), [(2, 0.000000272), (50, None)])
def test_chronyd_is_believed_only_with_a_fresh_answer(
    monkeypatch: pytest.MonkeyPatch, age: int, offset: float | None
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    sources = SOURCES.replace(",17,50,", f",17,{age},")
    run = FakeRunner({"chronyc -n -c tracking": TRACKING, "chronyc -n -c sources": sources, "chronyc burst 1/2": ""})
    assert host.read_clock(run).offset == offset
    assert "chronyc burst 1/2" in run.ran


def test_without_chronyd_nothing_is_known() -> None:
    assert host.read_clock(FakeRunner({})) == ClockState()
    assert host.read_source_names(FakeRunner({})) is None

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the requests of a client, one at a time, to the outages of the service.

Sources: the requests of _probe/host. Every moment is in seconds since 1970 on a clock that never goes back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem

SHOWN_OUTAGES = 100


@dataclass(frozen=True)
class Sample:
    """One request. begun, ended: its moments. said: "" where it was served, else the status or the error instead."""

    begun: float
    ended: float
    said: str


@dataclass(frozen=True)
class Outage:
    """One outage. begun, ended: its moments. said: every different answer that came instead, the first one first."""

    begun: float
    ended: float
    said: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.ended - self.begun

    def to_dict(self) -> dict[str, Any]:
        """Return the outage for a module result."""
        return {
            "from": moment(self.begun),
            "to": moment(self.ended),
            "seconds": round(self.seconds, 3),
            "said": ", ".join(self.said),
        }


@dataclass(frozen=True)
class Measurement:
    """What was measured.

    samples, failures: numbers of requests. outages: the first SHOWN_OUTAGES, more_outages: the number of the rest.
    longest, total: seconds of all outages. begun, ended: the moments of the first and last request, None for none.
    still_down: whether the last request failed; then the last outage ends with it.
    """

    samples: int = 0
    failures: int = 0
    outages: tuple[Outage, ...] = ()
    more_outages: int = 0
    longest: float = 0.0
    total: float = 0.0
    begun: float | None = None
    ended: float | None = None
    still_down: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the measurement for a module result."""
        return {
            "samples": self.samples,
            # not "failed", by which Ansible would take the task for failed
            "failures": self.failures,
            "outages": [outage.to_dict() for outage in self.outages],
            "more_outages": self.more_outages,
            "longest_seconds": round(self.longest, 3),
            "total_seconds": round(self.total, 3),
            "from": moment(self.begun),
            "to": moment(self.ended),
            "still_down": self.still_down,
        }


def measure(samples: Iterable[Sample]) -> Measurement:
    """Return the outages, taking one sample at a time and keeping none.

    An outage lasts from the start of the first request that failed to the end of the first one served after it.
    """
    count = failures = more = 0
    longest = total = 0.0
    first: float | None = None
    last: Sample | None = None
    shown: list[Outage] = []
    since: float | None = None
    said: dict[str, None] = {}

    def note(begun: float, ended: float) -> None:
        nonlocal longest, total, more
        outage = Outage(begun, ended, tuple(said))
        longest, total = max(longest, outage.seconds), total + outage.seconds
        if len(shown) < SHOWN_OUTAGES:
            shown.append(outage)
        else:
            more += 1
        said.clear()

    for last in samples:
        count += 1
        first = last.begun if first is None else first
        if last.said:
            failures += 1
            since = last.begun if since is None else since
            said[last.said] = None
        elif since is not None:
            note(since, last.ended)
            since = None
    if since is not None and last is not None:
        note(since, last.ended)
    ended = None if last is None else last.ended
    return Measurement(count, failures, tuple(shown), more, longest, total, first, ended, since is not None)


def next_slot(slot: int, elapsed: float, interval: float) -> int:
    """Return the next multiple of interval at which to ask, after the one of slot; those that have passed are left out.

    elapsed, interval: seconds; elapsed is counted from slot 0.
    """
    return max(slot + 1, math.ceil(elapsed / interval))


def judge_answer(status: int, codes: Sequence[int]) -> str:
    """Return "" where the answer's status is one of those that count as served, else the status."""
    return "" if status in codes else str(status)


def parse_target(url: str) -> SplitResult:
    """Return the parts of an address to ask. Raises DomainError for what is none."""
    try:
        target = urlsplit(url)
        good = target.scheme in ("http", "https") and bool(target.hostname) and target.port != 0
    except ValueError:
        good = False
    if not good:
        raise DomainError(
            Problem(
                "service-probe",
                f"{url!r} is not an address that can be asked",
                "What clients see of the service would not be measured",
                "Give url as in http://127.0.0.1/__ping__",
            )
        )
    return target


def judge_times(**seconds: float) -> list[Problem]:
    """Return the problem of each that is not a positive number of seconds, by its name."""
    return [
        Problem(
            "service-probe",
            f"{name} is {value:g}",
            "What clients see of the service would not be measured",
            f"Give {name} as a number of seconds above 0",
        )
        for name, value in seconds.items()
        if not (math.isfinite(value) and value > 0)
    ]


def moment(seconds: float | None) -> str:
    """Return a moment in UTC with milliseconds, "" for None."""
    if seconds is None:
        return ""
    text = datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")

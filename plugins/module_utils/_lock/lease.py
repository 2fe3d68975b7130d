# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When the lease of a lock is certainly over.

A run renews its lease as long as it lives, whatever it does and however long that is silent, by a process beside it on
the controller. So a lease that is not renewed any more says that the run is gone, also to those who can't see its
processes. Four lengths, each a part of the lease, keep two runs apart:

- it is renewed each thirtieth of it;
- a run that can't renew it for two thirds of it ends itself;
- another run takes over only after four thirds of it on its own node's clock, so that a clock that is wrong by a third
  does no harm, and after all of it on the clock of the storage, which wrote both times;
- and only after it has watched a tenth of it go by without a renewal, so that a clock that was set does no harm either.
"""

from __future__ import annotations

from dataclasses import dataclass

LEASE = 900
LIVES = "lives"
"""In the place of a holder that is gone: the holder is known to be alive, whatever its lease says."""
ENDED = "ended"


@dataclass(frozen=True)
class Sign:
    """The last sign of a run. lease: its seconds, 0 for a run that has ended. at: when, on the clock of the storage."""

    lease: float
    at: float


def parse_sign(text: str, at: float) -> Sign | None:
    """Return the sign of a lease file, None where it says nothing."""
    word = text.strip()
    if word == ENDED:
        return Sign(0, at)
    return Sign(float(word), at) if word.replace(".", "", 1).isdigit() and float(word) > 0 else None


def renewal(lease: float) -> float:
    """Return the seconds between two renewals."""
    return lease / 30


def patience(lease: float) -> float:
    """Return the seconds without a renewal after which a run ends itself."""
    return lease * 2 / 3


def watching(lease: float) -> float:
    """Return the seconds for which a take-over watches that nothing is renewed."""
    return lease / 10


def seems_over(sign: Sign | None, now: float) -> bool:
    """Whether a lease is over by the clock of the node that asks."""
    return sign is not None and (sign.lease == 0 or now - sign.at >= sign.lease * 4 / 3)


def is_over(sign: Sign | None, now: float) -> bool:
    """Whether a lease is over by the clock of the storage."""
    return sign is not None and now - sign.at >= sign.lease

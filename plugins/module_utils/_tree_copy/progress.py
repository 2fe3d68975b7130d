# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far a copy is and how long it will still take, as a line for a person. Also used on the controller."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.shares import FILE_COST

# Seconds; before that a rate says nothing
_SETTLED = 1.0
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
STAGES = {"compare": ", comparing", "copy": "", "verify": ", verifying"}


@dataclass(frozen=True)
class Progress:
    """How far one stage of a pass is.

    stage: a key of STAGES. files, size: done so far, size in bytes. files_total, size_total: 0 where not known yet.
    seconds: since the stage began.
    """

    pass_name: str
    stage: str
    files: int = 0
    files_total: int = 0
    size: int = 0
    size_total: int = 0
    seconds: float = 0.0

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))


def parse_progress(text: str) -> Progress | None:
    """Return what to_json wrote, None where the text is something else."""
    try:
        made: Any = Progress(**json.loads(text))
    except (ValueError, TypeError):
        return None
    numbers = (made.files, made.files_total, made.size, made.size_total, made.seconds)
    fits = made.stage in STAGES and all(isinstance(number, (int, float)) for number in numbers)
    return made if fits else None


def seconds_left(now: Progress) -> float | None:
    """Return the seconds that the rest of the stage takes at the rate so far, None where nobody can know."""
    total = now.size_total + FILE_COST * now.files_total
    done = min(total, now.size + FILE_COST * now.files)
    if now.seconds < _SETTLED or not done or not total:
        return None
    return (total - done) * now.seconds / done


def _unit(size: float) -> int:
    power = 0
    while size >= 999.95 and power < len(_UNITS) - 1:
        size, power = size / 1000, power + 1
    return power


def _amount(size: float, power: int) -> str:
    value = size / 1000**power
    return f"{value:.1f}" if power and value < 99.95 else f"{value:.0f}"


def size_text(size: float) -> str:
    """Return bytes as a person reads them, in powers of 1000."""
    power = _unit(size)
    return f"{_amount(size, power)} {_UNITS[power]}"


def duration_text(seconds: float) -> str:
    """Return seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def progress_line(host: str, now: Progress) -> str:
    """Return the line that a person sees."""
    begin = f"tree_copy {host}: {now.pass_name} pass{STAGES[now.stage]}"
    if not now.files_total:
        return f"{begin} {now.files:,} files, {size_text(now.size)}"
    power = _unit(now.size_total)
    rate = now.size / now.seconds if now.seconds >= _SETTLED else None
    left = seconds_left(now)
    parts = [
        f"{begin} {now.files:,} of {now.files_total:,} files",
        f"{_amount(now.size, power)} of {_amount(now.size_total, power)} {_UNITS[power]}",
        *([] if rate is None else [f"{size_text(rate)}/s"]),
        *([] if left is None else [f"{duration_text(left)} left"]),
    ]
    return ", ".join(parts)

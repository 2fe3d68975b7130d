# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far a clock is off, and whether chrony synchronises it.

The HA guide wants the clocks of all nodes synchronised. Formats: chronyc(1) with -c, chronyd(8) with -Q. Every offset
is in seconds and says what has to be added to the local clock to get the server's: positive for one that is behind.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem

# Daemons that steer the clock too; chrony's own package removes some of them on some systems
OTHER_DAEMONS = (
    "systemd-timesyncd.service",
    "ntpd.service",
    "ntp.service",
    "ntpsec.service",
    "openntpd.service",
)
# What passes between the controller's look at its clock and the module's
_ROUGH_SECONDS = 3
_LOCAL_REFERENCE = "7F7F0101"
_WHY = "Nodes whose clocks differ disagree on what is new, on sessions and on certificates"


@dataclass(frozen=True)
class Tracking:
    """What chronyd says of the clock.

    correction: seconds that it still has to make up for, with chronyc's sign. leap: leap status in chronyc's words.
    """

    refid: str
    source: str
    stratum: int
    correction: float
    leap: str

    @property
    def synchronised(self) -> bool:
        """Tell whether chronyd follows another clock; its own opinion, which may be as old as its last answer."""
        return self.leap != "Not synchronised" and self.refid not in ("00000000", _LOCAL_REFERENCE)


@dataclass(frozen=True)
class Source:
    """One time source of chronyd.

    mode: "^" server, "=" peer, "#" reference clock. state: "*" is the one that is followed. last_rx: age of the last
    answer in seconds, None when there was none.
    """

    mode: str
    state: str
    name: str
    last_rx: int | None


@dataclass(frozen=True)
class ClockState:
    """What was observed of a clock.

    offset: measured just now against one of the time sources, None when none answered. measured_with: that source.
    tracking: None while chronyd does not run. sources: what chronyd really uses.
    """

    tracking: Tracking | None = None
    sources: tuple[Source, ...] = field(default=())
    offset: float | None = None
    measured_with: str = ""


@dataclass(frozen=True)
class DaemonState:
    """Load, active and enablement state of a systemd unit, in systemctl's words."""

    load: str
    active: str
    enablement: str


def parse_tracking(text: str) -> Tracking | None:
    """Return what chronyc -c tracking printed, None when it is something else."""
    fields = next(csv.reader(text.splitlines()[:1]), [])
    if len(fields) < 14:
        return None
    return Tracking(
        refid=fields[0].upper(),
        source=fields[1],
        stratum=int(fields[2]),
        correction=float(fields[4]),
        leap=fields[13],
    )


def parse_sources(text: str) -> tuple[Source, ...]:
    """Return what chronyc -c sources printed."""
    rows = [row for row in csv.reader(text.splitlines()) if len(row) >= 10]
    return tuple(
        Source(
            mode=row[0],
            state=row[1],
            name=row[2],
            # a source that never answered has 4294967295 here, and reach 0
            last_rx=int(row[6]) if row[6].isdigit() and int(row[6]) < 2**31 else None,
        )
        for row in rows
    )


def measure_argv(server: str) -> list[str]:
    """Return the command that measures the offset against one server; it works beside a running chronyd.

    One good answer is enough. A measurement may be wrong by half of the time that it took: a slow one is taken anew.
    """
    return ["chronyd", "-Q", "-t", "4", f"server {server} iburst maxsamples 1 maxdelay 0.5"]


def parse_measured(text: str) -> float | None:
    """Return the offset that measure_argv printed, None when no good answer came."""
    found = re.search(r"System clock wrong by (-?[0-9.]+) seconds", text)
    return float(found.group(1)) if found else None


def parse_units(text: str) -> dict[str, DaemonState]:
    """Return what systemctl show --property=Id,LoadState,ActiveState,UnitFileState printed, by unit name."""
    units = {}
    for block in text.split("\n\n"):
        facts = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in facts:
            units[facts["Id"]] = DaemonState(
                facts.get("LoadState", ""), facts.get("ActiveState", ""), facts.get("UnitFileState", "")
            )
    return units


def units_in_the_way(units: Mapping[str, DaemonState]) -> list[str]:
    """Return which of OTHER_DAEMONS run, or would at the next boot."""
    return [
        name
        for name in OTHER_DAEMONS
        if name in units
        and units[name].load == "loaded"
        and (units[name].active in ("active", "activating") or units[name].enablement == "enabled")
    ]


def sources_differ(servers: Sequence[str], names: Sequence[str]) -> bool:
    """Tell whether chronyd uses other sources than the given ones; without given ones all are right."""
    return bool(servers) and {name.lower() for name in servers} != {name.lower() for name in names}


def decide_clock(state: ClockState, limit: float) -> str:
    """Return what the clock needs: "nothing", "wait", "step" (chronyd knows the error), "restart" (it does not).

    limit: seconds. A chronyd that was at work while the clock was set believes for minutes that all is well, and later
    moves it slowly; started anew it measures at once and may step.
    """
    tracking = state.tracking
    if tracking is None or not tracking.synchronised:
        return "wait"
    if abs(tracking.correction) > limit:
        return "step"
    if state.offset is None:
        return "wait"
    return "restart" if abs(state.offset) > limit else "nothing"


def chrony_missing(node: str, service: str) -> Problem:
    """Return the problem of a host without chrony."""
    return Problem(
        check="clock",
        found=f"chrony is not installed on {node}: systemd knows no {service}.service",
        why=_WHY,
        fix="Install the package chrony there, or run the playbook rspm.ha.site, which does",
    )


def judge_clock(
    node: str, state: ClockState, limit: float, servers: Sequence[str], elsewhere: float | None, waited: float
) -> list[Problem]:
    """Return what is still wrong with the clock of node.

    servers: the sources as chrony's configuration names them. limit, waited: seconds. elsewhere: offset against the
    machine that runs Ansible, or None.
    """
    if decide_clock(state, limit) == "nothing":
        return []
    if state.offset is not None:
        off = f"is {abs(state.offset):.1f} s off"
    elif elsewhere is not None and abs(elsewhere) < _ROUGH_SECONDS:
        off = f"is within {_ROUGH_SECONDS} s of the clock of the machine that runs Ansible"
    elif elsewhere is not None:
        off = f"is about {abs(elsewhere):.1f} s off by the clock of the machine that runs Ansible"
    else:
        off = "may be off by any time"
    if state.tracking is None:
        because, fix = "chronyd does not run", "See why it does not start: journalctl -u chrony -u chronyd"
    elif state.offset is None:
        because = f"no NTP server answers: {', '.join(servers) or 'it has none'}"
        fix = "Open UDP port 123 from this node to them, or set rspm_ntp_servers to servers that it reaches"
    else:
        because = f"chronyd did not bring it within {limit:g} s in {waited:.0f} s"
        fix = "See what it makes of its sources, and whether it may set the clock: chronyc sources -v; chronyc tracking"
    return [Problem(check="clock", found=f"The clock of {node} {off} and {because}", why=_WHY, fix=fix)]

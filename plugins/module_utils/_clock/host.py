# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read chronyd's state and control its service."""

from __future__ import annotations

import time

from ansible_collections.rspm.ha.plugins.module_utils._clock.rules import (
    OTHER_DAEMONS,
    ClockState,
    DaemonState,
    measure_argv,
    parse_measured,
    parse_sources,
    parse_tracking,
    parse_units,
)
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner

_BURST_SECONDS = 6


def read_clock(run: Runner) -> ClockState:
    """Return what chronyd says, and the offset measured now."""
    tracking = parse_tracking(run(["chronyc", "-n", "-c", "tracking"]).stdout)
    sources = parse_sources(run(["chronyc", "-n", "-c", "sources"]).stdout)
    if tracking is None:
        return ClockState(None, sources)
    # the one that is followed first; a few are enough
    servers = sorted(
        (one for one in sources if one.mode == "^" and one.state != "x"), key=lambda one: one.state != "*"
    )[:4]
    for source in servers:
        done = run(measure_argv(source.name), timeout=30)
        offset = parse_measured(done.stdout + done.stderr)
        if offset is not None:
            return ClockState(tracking, sources, offset, source.name)
    if tracking.synchronised:
        # a reference clock, or servers that talk to chronyd only (NTS): what chronyd hears of them within seconds
        run(["chronyc", "burst", "1/2"])
        time.sleep(_BURST_SECONDS)
        tracking = parse_tracking(run(["chronyc", "-n", "-c", "tracking"]).stdout)
        sources = parse_sources(run(["chronyc", "-n", "-c", "sources"]).stdout)
        answering = [one for one in sources if one.state == "*" and one.last_rx is not None]
        fresh = [one for one in answering if one.last_rx is not None and one.last_rx <= _BURST_SECONDS]
        if tracking and fresh:
            return ClockState(tracking, sources, tracking.correction, fresh[0].name)
    return ClockState(tracking, sources)


def read_source_names(run: Runner) -> list[str] | None:
    """Return the sources of chronyd as its configuration names them, None where chronyc can't tell (before 4.0)."""
    done = run(["chronyc", "-N", "-c", "sources", "-a"])
    return [source.name for source in parse_sources(done.stdout)] if done.rc == 0 else None


def read_units(run: Runner, service: str) -> dict[str, DaemonState]:
    """Return the state of the service and of the daemons that would be in its way."""
    properties = "--property=Id,LoadState,ActiveState,UnitFileState"
    return parse_units(run(["systemctl", "show", properties, f"{service}.service", *OTHER_DAEMONS]).stdout)


def disable_unit(run: Runner, unit: str) -> None:
    """Stop unit now and for the next boot."""
    run(["systemctl", "disable", "--now", unit], check=True)


def enable_service(run: Runner, service: str) -> None:
    """Have the service started at boot."""
    run(["systemctl", "enable", service], check=True)


def restart_service(run: Runner, service: str) -> None:
    """Start the service, anew if it runs."""
    run(["systemctl", "restart", service], check=True)


def ask_sources(run: Runner) -> None:
    """Let chronyd measure now; one that found no server when it started asks again only after a minute or more."""
    run(["chronyc", "burst", "4/4"])


def step_clock(run: Runner) -> None:
    """Let chronyd make the correction that it knows of at once."""
    run(["chronyc", "makestep"], check=True)

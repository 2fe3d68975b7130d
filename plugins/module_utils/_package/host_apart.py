# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run commands apart from network, services and shared data. apart says how."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import (
    CompletedCommand,
    Runner,
    command_failed,
)
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import read_text
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._package.apart import (
    ENVIRONMENT,
    Places,
    apart_argv,
    choose_places,
    not_apart,
    parse_sockets,
)
from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import parse_mountinfo


def load_places(data_dir: str, needed: Iterable[str]) -> Places:
    """Return what is different apart. data_dir: of the server. needed: paths that have to be there all the same."""
    mounts = parse_mountinfo(read_text("/proc/self/mountinfo") or "")
    # one that root can't see is on a mount, or is not there
    own = data_dir if os.path.isdir(data_dir) else ""
    return choose_places(mounts, parse_sockets(read_text("/proc/net/unix") or ""), own, needed)


def open_apart(runner: Runner, host: str, places: Places) -> Runner:
    """Return the Runner whose commands run apart; raises DomainError where that can't be on this host."""

    def run(argv: list[str], *, check: bool = False, **options: Any) -> CompletedCommand:
        options["env"] = {**(options.get("env") or {}), **ENVIRONMENT}
        done = runner(apart_argv(argv, places), **options)
        if check and done.rc != 0:
            raise command_failed(argv, done)
        return done

    tried = run(["true"], timeout=60)
    if tried.rc:
        raise DomainError(not_apart(host, " ".join(tried.stderr.split()) or f"it ended with {tried.rc}"))
    return run

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Observe one node: the service alone, as a start needs it, or everything. Decides nothing and changes nothing."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from ansible_collections.rspm.ha.plugins.module_utils._clock.rules import parse_tracking
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import read_text
from ansible_collections.rspm.ha.plugins.module_utils._core.host_process import load_processes
from ansible_collections.rspm.ha.plugins.module_utils._core.host_space import load_free
from ansible_collections.rspm.ha.plugins.module_utils._core.host_work import load_work
from ansible_collections.rspm.ha.plugins.module_utils._core.product import BINARY
from ansible_collections.rspm.ha.plugins.module_utils._node.rules import (
    Clock,
    Mount,
    NodeState,
    parse_listening,
)
from ansible_collections.rspm.ha.plugins.module_utils._package.host import PackageTool, load_host
from ansible_collections.rspm.ha.plugins.module_utils._package.rules import STAGING_FOLDER, PackageState
from ansible_collections.rspm.ha.plugins.module_utils._service.host import (
    load_api,
    load_config,
    load_document,
    load_unit,
)
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import (
    ApiState,
    ConfigState,
    UnitState,
    probe_target,
)
from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import mount_of, parse_mountinfo


@dataclass(frozen=True)
class ServiceState:
    """What the decision about a start needs."""

    package: PackageState
    unit: UnitState
    api: ApiState
    config: ConfigState


def load_service(runner: Runner, api_timeout: float = 5) -> ServiceState:
    """Observe package, unit, server and configuration; api_timeout in seconds for each of two requests."""
    document = load_document()
    return ServiceState(
        package=PackageTool(runner, load_host()).state(),
        unit=load_unit(runner),
        api=load_api(probe_target(document), api_timeout),
        config=load_config(runner, document),
    )


def load_mount(path: str) -> Mount | None:
    """Return the mount that path lies on, from the kernel's table, which needs no answer of a file server."""
    entry = mount_of(parse_mountinfo(read_text("/proc/self/mountinfo") or ""), path)
    return Mount(entry.mount_point, entry.fstype, entry.source, entry.live_options) if entry else None


def load_clock(runner: Runner) -> Clock | None:
    """Return what chronyd says of the clock."""
    tracking = parse_tracking(runner(["chronyc", "-n", "-c", "tracking"], timeout=10).stdout)
    return Clock(tracking.synchronised, tracking.correction, tracking.source) if tracking else None


def load_node(runner: Runner, api_timeout: float = 5, settle_timeout: float = 0) -> NodeState:
    """Observe the whole node, after waiting for settle_timeout seconds for a step of an earlier run to end."""
    busy = load_work(settle_timeout)
    service = load_service(runner, api_timeout)
    processes = load_processes(service.unit.control_group)
    sockets = runner(["ss", "--no-header", "--listening", "--tcp", "--numeric", "--processes"], timeout=30).stdout
    return NodeState(
        host=socket.gethostname(),
        package=service.package,
        unit=service.unit,
        api=service.api,
        config=service.config,
        processes=processes,
        listening=parse_listening(sockets, processes),
        binary_changed_at=os.stat(BINARY).st_ctime if os.path.exists(BINARY) else 0.0,
        mount=load_mount(service.config.data_dir),
        clock=load_clock(runner),
        free_bytes=load_free(runner, list(dict.fromkeys(["/", "/var", "/opt", service.config.data_dir]))),
        staged=tuple(sorted(os.listdir(STAGING_FOLDER))) if os.path.isdir(STAGING_FOLDER) else (),
        busy=busy,
    )

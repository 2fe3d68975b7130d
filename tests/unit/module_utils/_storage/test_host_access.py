# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What preflight tells of the storage: all that would stop the role later, as far as it can be known."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._host_check import host_node
from ansible_collections.rspm.ha.plugins.module_utils._storage import host
from ansible_collections.rspm.ha.plugins.module_utils._storage.access import AccessResult
from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import MountEntry, parse_mountinfo
from ansible_collections.rspm.ha.plugins.module_utils._storage.rules import Holder, Place, ServerProbe, StorageRequest

ROOT = "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
LIVE = "rw,vers=4.2,hard,lookupcache=pos"
MOUNTED = f"201 20 0:39 / /mnt/rstudio-pm rw - nfs4 nfs:/srv/rstudio-pm {LIVE}\n"
REFUSED = AccessResult("create", "EACCES", "/x")


class World:
    """A node without a mount on which all is well; each attribute is one thing to spoil."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.mounts, self.tried = ROOT, AccessResult("done", "", "/x")
        self.later = self.tried
        self.names: list[str] = []
        self.probes: list[ServerProbe] = []
        self.holders: list[Holder] = []
        self.client = True
        self.trials = 0
        self.waits: list[float] = []
        patch.setattr(host, "read_mounts", lambda *_arguments: parse_mountinfo(self.mounts))
        patch.setattr(host, "list_names", lambda _path: self.names)
        patch.setattr(host, "probe_nfs_server", lambda *_arguments: self.probes)
        patch.setattr(host, "read_delegations", lambda: False)
        patch.setattr(host, "try_places", self.try_places)
        patch.setattr(host, "trial_mount", self.trial_mount)
        patch.setattr(host_node, "list_holders", lambda *_arguments: self.holders)
        patch.setattr("os.path.exists", lambda _path: self.client)

    def try_places(
        self, request: StorageRequest, entry: MountEntry, timeout: float = 0, **_more: Any
    ) -> list[tuple[Place, AccessResult]]:
        self.waits.append(timeout)
        if timeout == host_node.TRIAL_SECONDS and self.tried.step == "wait":
            self.tried = self.later
        return [(place, self.tried) for place in request.places(entry.mount_point)]

    @contextmanager
    def trial_mount(self, *_arguments: Any) -> Any:
        self.trials += 1
        yield parse_mountinfo(MOUNTED.replace("/mnt/rstudio-pm", "/run/rspm-trial-x"))[0]

    def checks(self, may_write: bool = True, **changes: Any) -> list[str]:
        storage = {
            "kind": "nfs",
            "path": "/mnt/rstudio-pm",
            "server": "nfs",
            "export": "/srv/rstudio-pm",
            "nfs_version": "4.2",
            "cache": "lookupcache=pos",
            "security": "sys",
            "options": [],
        }
        params = {
            "data_dir": "/mnt/rstudio-pm/data",
            "address": "",
            "http_port": 4242,
            "versions": {"node1": "2026.08.0"},
            "database": {},
            "encryption_key": "",
            "config": {},
            "storage": storage,
            "storage_managed": False,
            "uid": 940,
            "gid": 940,
            "timeout": 5,
            "upgrade": False,
            **changes,
        }
        check = host_node.NodeCheck.__new__(host_node.NodeCheck)
        check.params, check.may_write, check.unresolved, check.there = params, may_write, {}, {}
        check.run = lambda *_arguments, **_more: CompletedCommand(0, "", "")
        return [problem.check for problem in check.storage()]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.mark.parametrize(
    ("spoiled", "told"),
    [
        ({}, []),
        ({"names": ["old"]}, ["storage-hidden"]),
        ({"probes": [ServerProbe("nfs", 2049, "refused")]}, ["storage-server"]),
        ({"tried": REFUSED}, ["storage-access"]),
        ({"tried": REFUSED, "mounts": ROOT + MOUNTED}, ["storage-access"]),
        ({"tried": AccessResult("create", "EACCES", "/x", root_may=True)}, []),
        ({"mounts": ROOT + MOUNTED}, []),
        ({"mounts": ROOT + MOUNTED.replace("lookupcache=pos", "soft")}, []),
        (
            {"mounts": ROOT + MOUNTED.replace("lookupcache=pos", "soft"), "holders": [Holder(7, "rspm", "/x")]},
            ["storage-busy"],
        ),
    ],
)
def test_a_problem_planted_alone_is_told_alone(world: World, spoiled: dict[str, Any], told: list[str]) -> None:
    vars(world).update(spoiled)
    assert world.checks() == told


def test_the_share_is_tried_only_where_that_can_be_done(world: World) -> None:
    world.tried = REFUSED
    assert world.checks(may_write=False) == [] == world.checks(storage_managed=True) == world.checks(upgrade=True)
    world.client = False
    assert world.checks() == [] and world.trials == 0
    world.client = True
    assert world.checks() == ["storage-access"] and world.trials == 1


@pytest.mark.parametrize(
    ("later", "probes", "told", "waits"),
    [
        ("done", [], [], [5, 120]),
        ("wait", [], ["storage-server", "storage-server"], [5, 120]),
        ("done", [ServerProbe("nfs", 2049, "refused")], ["storage-server", "storage-server"], [5]),
    ],
)
def test_a_server_that_answers_is_waited_for_until_the_lease_of_a_node_that_was_cut_off_has_ended(
    world: World, later: str, probes: list[ServerProbe], told: list[str], waits: list[float]
) -> None:
    world.mounts, world.probes = ROOT + MOUNTED, probes
    world.tried, world.later = AccessResult("wait", "", "/x"), AccessResult(later, "", "/x")
    assert world.checks() == told
    assert world.waits == waits

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node needs beyond any host: each problem planted alone is told alone, by its name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._config.host import OnDisk
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem
from ansible_collections.rspm.ha.plugins.module_utils._host_check import host as host_check
from ansible_collections.rspm.ha.plugins.module_utils._host_check import host_node, rules
from ansible_collections.rspm.ha.plugins.module_utils._licence.rules import LicenceState
from ansible_collections.rspm.ha.plugins.module_utils._package.rules import Host, PackageState
from ansible_collections.rspm.ha.plugins.module_utils._postgres import host_login
from ansible_collections.rspm.ha.plugins.module_utils._postgres.login import LoginResult
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import Database
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import (
    NO_DRIVER,
    REFUSED,
    SERVER_ERROR,
    ServerError,
)
from ansible_collections.rspm.ha.plugins.module_utils._service import host as service_host
from ansible_collections.rspm.ha.plugins.module_utils._service import host_apply
from ansible_collections.rspm.ha.plugins.module_utils._service.existing import ExistingServer, ServerData
from ansible_collections.rspm.ha.plugins.module_utils._storage import host as storage_host
from ansible_collections.rspm.ha.plugins.module_utils._storage.account import AccountState
from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import MountEntry
from ansible_collections.rspm.ha.plugins.module_utils._storage.rules import ServerProbe

PARAMS: dict[str, Any] = {
    "versions": {"node1": "2026.08.0", "node2": "2026.08.0"},
    "node": "node1",
    "package": {
        "source": "url",
        "file": "",
        "file_checksum": "",
        "url": "https://packages.example.org/p.deb",
        "repository": "",
        "checksum": "sha256:" + "a" * 64,
    },
    "uid": 940,
    "gid": 940,
    "storage": {
        "kind": "nfs",
        "path": "/mnt/rstudio-pm",
        "server": "nfs.example.org",
        "export": "/srv/rstudio-pm",
        "nfs_version": "4.2",
        "cache": "lookupcache=pos",
        "security": "sys",
        "options": [],
    },
    "storage_managed": False,
    "database_managed": False,
    "data_dir": "/mnt/rstudio-pm/data",
    "address": "https://packages.example.org",
    "http_port": 4242,
    "encryption_key": "",
    "database": {
        "host": "db.example.org",
        "port": 5432,
        "name": "rstudio_pm",
        "usage_name": "rstudio_pm_usage",
        "user": "rstudio_pm",
        "password": "canary",
        "sslmode": "require",
        "schema": "",
        "usage_schema": "",
    },
    "config": {},
    "names": {"rspm_database_host": ["db.example.org"], "rspm_nfs_server": ["nfs.example.org"]},
    "time_servers": ["10.0.0.9"],
    "licence": {},
    "allow_unlicensed": True,
    "upgrade": False,
    "timeout": 1,
}
SINGLE = ServerData("sqlite", "/var/lib/rstudio-pm", "/var/lib/rstudio-pm/db", "/var/lib/rstudio-pm/rstudio-pm.key")
GOOD_LOGIN: dict[str, Any] = {"server_version_num": 150004, "schema_exists": True, "can_create": True}


class World:
    """A machine on which all is well, as the loaders show it; each attribute is one thing to spoil."""

    def __init__(self) -> None:
        self.state = PackageState("", "absent", False)
        self.free = 10 * 1024 * rules.MIB
        self.unknown: tuple[str, ...] = ()
        self.time = True
        self.holders: dict[int, list[rules.Holder]] = {}
        self.own: tuple[int, ...] = ()
        self.nfs = ""
        self.login: dict[str, Any] = GOOD_LOGIN
        self.driver = True
        self.port = (NO_DRIVER, "")
        self.pg_dump = "pg_dump (PostgreSQL) 15.4"
        self.candidate = "15+248"
        self.key: str | None = None
        self.existing: ExistingServer | None = None
        self.uid = 0
        self.load_state = "loaded"
        self.hidden: list[str] = []
        self.block = ""

    def run(self, argv: list[str], **_given: Any) -> CompletedCommand:
        """Answer what is asked of the tools on the host."""
        if argv[0] == "pg_dump":
            return CompletedCommand(0 if self.pg_dump else 127, self.pg_dump, "")
        if argv[:2] == ["apt-cache", "policy"]:
            return CompletedCommand(0, f"postgresql-client:\n  Candidate: {self.candidate}\n", "")
        if argv[0] == "systemctl":
            return CompletedCommand(0, f"LoadState={self.load_state}\nMainPID=0\n", "")
        raise AssertionError(argv)


def problems_of(world: World, machine: dict[str, Any], params: dict[str, Any]) -> list[Problem]:
    """Return what is told of the machine when some of its attributes and of the parameters are spoiled."""
    for name, value in machine.items():
        assert hasattr(world, name)
        setattr(world, name, value)
    return host_node.NodeCheck({**PARAMS, **params}, world.run, may_write=False).problems()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """The machine, behind all that NodeCheck asks."""
    made = World()

    class Tool:
        """The package manager."""

        def __init__(self, *_given: object) -> None:
            pass

        def state(self) -> PackageState:
            return made.state

    def login(database: Database, name: str, _schema: str, _timeout: float) -> LoginResult:
        where: dict[str, Any] = {
            "host": database.host,
            "port": database.port,
            "user": database.user,
            "sslmode": database.sslmode,
        }
        return LoginResult(database=name, **where, **made.login)

    monkeypatch.setattr(os, "geteuid", lambda: made.uid)
    monkeypatch.setattr(host_node, "PackageTool", Tool)
    monkeypatch.setattr(host_node, "load_host", lambda: Host("debian", "12", "x86_64"))
    monkeypatch.setattr(host_node, "free_bytes", lambda _path: made.free)
    monkeypatch.setattr(host_check, "is_known", lambda name: name not in made.unknown)
    monkeypatch.setattr(host_check, "serves_time", lambda _server: made.time)
    monkeypatch.setattr(host_check, "load_port_holders", lambda _numbers: made.holders)
    monkeypatch.setattr(host_check, "load_processes", lambda _group: made.own)
    monkeypatch.setattr(host_node, "judge_account", lambda _request, _found: [])
    monkeypatch.setattr(storage_host, "read_mounts", lambda *_given: [])
    monkeypatch.setattr(
        storage_host,
        "probe_nfs_server",
        lambda server, _version, _timeout: [ServerProbe(server, 2049, made.nfs)],
    )
    monkeypatch.setattr(storage_host, "list_names", lambda _path: made.hidden)
    monkeypatch.setattr(host_node, "NFS_CLIENT", ())
    monkeypatch.setattr(service_host, "read_text", lambda _path: made.block)
    monkeypatch.setattr(host_login, "login", login)
    monkeypatch.setattr(host_node, "has_driver", lambda: made.driver)
    monkeypatch.setattr(host_login, "try_port", lambda *_given: made.port)
    monkeypatch.setattr(host_apply, "load_file", lambda _path: OnDisk(None))
    monkeypatch.setattr(host_apply, "load_shared", lambda _run, _path: made.key)
    monkeypatch.setattr(host_apply, "load_existing", lambda *_given: made.existing)
    monkeypatch.setattr(host_apply, "has_cli", lambda: False)
    monkeypatch.setattr(host_apply, "account_ids", lambda _name: None)
    return made


@pytest.mark.parametrize(
    ("machine", "params", "told"),
    [
        ({}, {}, []),
        ({"uid": 1000}, {}, ["become"]),
        ({"free": 200 * rules.MIB}, {}, ["free-space", "free-space"]),
        ({}, {"versions": {"node1": "2026.08.0", "node2": "2026.04.0"}}, ["one-version"]),
        ({}, {"package": {**PARAMS["package"], "checksum": ""}}, ["package-checksum"]),
        # a name that leads nowhere is told, and not each thing that would have been asked there
        ({"unknown": ("db.example.org",), "login": {"failure": REFUSED}}, {}, ["name-resolution"]),
        ({"unknown": ("nfs.example.org",), "nfs": "no"}, {}, ["name-resolution"]),
        ({"unknown": ("packages.example.org",)}, {}, ["name-resolution"]),
        ({"unknown": ("packages.example.org",), "state": PackageState("2026.08.0", "installed", True)}, {}, []),
        ({"time": False}, {}, ["time-server"]),
        ({"holders": {4242: [rules.Holder(7, "nginx")]}}, {}, ["port-taken"]),
        ({"holders": {4242: [rules.Holder(7, "rstudio-pm")]}, "own": (7,)}, {}, []),
        ({"holders": {2112: [rules.Holder(7, "node_exporter")]}}, {}, []),
        (
            {"holders": {2112: [rules.Holder(7, "node_exporter")]}},
            {"config": {"Metrics": {"Enabled": True}}},
            ["port-taken"],
        ),
        ({"nfs": "Connection refused"}, {}, ["storage-server"]),
        ({"nfs": "Connection refused"}, {"storage_managed": True}, []),
        ({"login": {"failure": REFUSED}}, {}, ["database-unreachable"]),
        ({"login": {"failure": REFUSED}}, {"database_managed": True}, []),
        ({"login": {"failure": REFUSED}}, {"database_managed": True, "upgrade": True}, ["database-unreachable"]),
        (
            {"login": {"failure": SERVER_ERROR, "error": ServerError("28P01", "no", "auth_failed")}},
            {},
            ["database-password", "database-password"],
        ),
        ({"login": {**GOOD_LOGIN, "server_version_num": 160001}}, {}, ["database-tools"]),
        ({"login": {**GOOD_LOGIN, "server_version_num": 160001}}, {"database_managed": True}, ["database-tools"]),
        ({"pg_dump": "", "candidate": "14+238"}, {}, ["database-tools"]),
        ({"pg_dump": ""}, {}, []),
        ({"driver": False}, {}, []),
        ({"driver": False}, {"upgrade": True}, ["database-driver"]),
        ({"driver": False, "port": (REFUSED, "")}, {}, ["database-unreachable"]),
        ({"driver": False, "port": (REFUSED, "")}, {"database_managed": True}, []),
        ({"hidden": ["lost+found"]}, {}, ["storage-hidden"]),
        ({"hidden": ["lost+found"]}, {"storage_managed": True}, ["storage-hidden"]),
        ({"load_state": "masked"}, {}, ["node-start"]),
        ({"load_state": "masked"}, {"upgrade": True}, []),
        ({"state": PackageState("2026.04.0", "broken", False, "2026.04.0")}, {}, ["live-version"]),
        ({}, {"allow_unlicensed": False}, ["licence"]),
        ({"key": "another\n"}, {"encryption_key": "mine"}, ["encryption-key"]),
        ({"existing": ExistingServer(SINGLE, ours=False, running=True)}, {}, ["single-server"]),
        ({"existing": ExistingServer(SINGLE, ours=False, running=False)}, {}, []),
        ({}, {"config": {"Server": {"DataDir": "/x"}}}, ["owned-setting"]),
    ],
)
def test_a_problem_planted_alone_is_told_alone(
    world: World, machine: dict[str, Any], params: dict[str, Any], told: list[str]
) -> None:
    found = problems_of(world, machine, params)
    assert [problem.check for problem in found] == told
    assert "canary" not in " ".join(map(str, found))


@pytest.mark.parametrize(
    ("machine", "params", "notes"),
    [
        ({}, {}, 0),
        ({"driver": False}, {}, 1),
        ({"driver": False}, {"database_managed": True}, 1),
        ({"driver": False, "port": (REFUSED, "")}, {"database_managed": True}, 0),
        ({"driver": False}, {"upgrade": True}, 0),
        ({"driver": False}, {"config": {"Database": {"Provider": "sqlite"}}, "versions": {"node1": "2026.08.0"}}, 0),
    ],
)
def test_a_login_that_can_not_be_tried_yet_is_said_to_be_left(
    world: World, machine: dict[str, Any], params: dict[str, Any], notes: int
) -> None:
    for name, value in machine.items():
        setattr(world, name, value)
    check = host_node.NodeCheck({**PARAMS, **params}, world.run, may_write=False)
    check.problems()
    assert len(check.notes) == notes
    assert all("db.example.org:5432 answers node1" in note and "canary" not in note for note in check.notes)


def test_all_that_is_wrong_is_told_at_once(world: World) -> None:
    changes = {"time": False, "nfs": "no", "login": {"failure": REFUSED}, "holders": {4242: [rules.Holder(7, "nginx")]}}
    assert [problem.check for problem in problems_of(world, changes, {})] == [
        "time-server",
        "port-taken",
        "storage-server",
        "database-unreachable",
    ]


PROBLEM = Problem("storage-write", "found", "why", "fix")
ENTRY = MountEntry("8:1", "/", "/mnt/rstudio-pm", (), "ext4", "/dev/sdb", ())
AS_WANTED = AccountState(940, 940, 940, "rstudio-pm", "rstudio-pm")


def there_in(world: World, **params: Any) -> dict[str, bool]:
    """Return what a check finds that need not be looked at again."""
    check = host_node.NodeCheck({**PARAMS, **params}, world.run, may_write=False)
    check.problems()
    return check.there


@pytest.mark.parametrize(
    ("account", "home", "there"),
    [
        (AS_WANTED, True, True),
        (AS_WANTED, False, False),
        (AccountState(-1, -1, -1, "", ""), True, False),
        (AccountState(941, 940, 940, "rstudio-pm", "rstudio-pm"), True, False),
        (AccountState(940, 941, 940, "rstudio-pm", "rstudio-pm"), True, False),
        (AccountState(-1, -1, 940, "", "rstudio-pm"), True, False),
    ],
)
def test_an_account_is_there_with_its_ids_and_its_home(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, account: AccountState, home: bool, there: bool
) -> None:
    monkeypatch.setattr(host_node, "read_account", lambda _request: account)
    monkeypatch.setattr(host_node, "HOME", str(tmp_path if home else tmp_path / "none"))
    assert there_in(world)["account"] is there


@pytest.mark.parametrize(
    ("action", "problems", "there"),
    [("keep", [], True), ("keep", [PROBLEM], False), ("change", [], False), ("mount", [], False)],
)
def test_storage_is_there_where_the_account_can_work_with_the_mount_that_stays(
    world: World, monkeypatch: pytest.MonkeyPatch, action: str, problems: list[Problem], there: bool
) -> None:
    monkeypatch.setattr(host_node, "decide_mount", lambda *_given: (action, []))
    monkeypatch.setattr(host_node, "mount_of", lambda *_given: ENTRY)
    monkeypatch.setattr(host_node, "list_holders", lambda *_given: [])
    monkeypatch.setattr(storage_host, "try_places", lambda *_given, **_named: [])
    monkeypatch.setattr(host_node, "judge_places", lambda *_given: problems)
    assert there_in(world)["storage"] is there


@pytest.mark.parametrize(
    ("given", "state", "there"),
    [
        ({"content": "mine"}, LicenceState(file=True, ours="mine"), True),
        ({"content": "mine"}, LicenceState(file=True, ours="another"), False),
        ({"content": "mine"}, LicenceState(), False),
        ({"content": "mine"}, None, False),
        ({}, LicenceState(key=True), False),
    ],
)
def test_a_licence_is_there_where_none_has_to_be_applied(
    world: World, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], state: LicenceState | None, there: bool
) -> None:
    monkeypatch.setattr(host_node, "load_licence", lambda _run: state)
    assert there_in(world, licence=given)["licence"] is there

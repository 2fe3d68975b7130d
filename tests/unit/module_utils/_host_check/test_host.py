# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What any host needs: each problem planted alone is told alone, by its name, and nothing is written."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._host_check import host as host_check
from ansible_collections.rspm.ha.plugins.module_utils._host_check import rules
from ansible_collections.rspm.ha.plugins.module_utils._package.rules import Host

ROLES = Path(__file__).resolve().parents[4] / "roles"
NGINX = rules.Holder(12, "nginx")
APT = rules.Holder(77, "unattended-upgr")


class World:
    """A Debian machine on which all is well, as the loaders show it; each attribute is one thing to spoil."""

    def __init__(self) -> None:
        self.uid = 0
        self.systemd = True
        self.locks: dict[str, rules.Holder] = {}
        self.dpkg = "ii  bash\niU  rstudio-pm\n"
        self.journal: list[str] = []
        self.installed = ""
        self.candidates = "haproxy:\n  Installed: (none)\n  Candidate: 2.4.1\n"
        self.final = True
        self.free = 10 * 1024 * rules.MIB
        self.holders: dict[int, list[rules.Holder]] = {}
        self.own: tuple[int, ...] = ()
        self.python = "/usr/bin/python3.11"
        self.library: object = "found"

    def run(self, argv: list[str], **_given: Any) -> CompletedCommand:
        """Answer what is asked of the package manager."""
        if argv[0] == "apt-cache":
            return CompletedCommand(0, self.candidates, "")
        assert argv[0] == "dpkg-query"
        return CompletedCommand(0, self.dpkg if "Abbrev" in argv[2] else self.installed, "")

    def package_states(self, _run: object) -> rules.PackageStates:
        """Return what dpkg says."""
        return rules.parse_package_states(self.dpkg, self.journal)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """The machine, behind all that HostCheck asks."""
    made = World()
    monkeypatch.setattr(os.path, "isdir", lambda path: made.systemd or path != "/run/systemd/system")
    monkeypatch.setattr(host_check, "load_host", lambda: Host("debian", "12", "x86_64"))
    monkeypatch.setattr(host_check, "wait_for_locks", lambda _family, timeout: (made.locks, timeout))
    monkeypatch.setattr(
        host_check, "load_package_states", lambda run: rules.parse_package_states(made.dpkg, made.journal)
    )
    monkeypatch.setattr(host_check, "lists_are_final", lambda: made.final)
    monkeypatch.setattr(host_check, "free_bytes", lambda _path: made.free)
    monkeypatch.setattr(host_check, "load_port_holders", lambda _numbers: made.holders)
    monkeypatch.setattr(host_check, "load_processes", lambda _group: made.own)
    monkeypatch.setattr(host_check, "load_system_python", lambda: "/usr/bin/python3.11")
    monkeypatch.setattr(os.path, "realpath", lambda _path: made.python)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: made.library)
    return made


PARAMS: dict[str, Any] = {
    "parts": ["load_balancer"],
    "ports": [{"number": 80, "part": "load_balancer", "variable": "rspm_load_balancer_port"}],
    "lock_timeout": 5,
}


def checks(world: World, **changes: Any) -> list[str]:
    found = host_check.HostCheck({**PARAMS, **changes}, world.run).problems()
    return [problem.check for problem in found]


@pytest.mark.parametrize(
    ("spoiled", "told"),
    [
        ({}, []),
        ({"systemd": False}, ["systemd"]),
        ({"locks": {"/var/lib/dpkg/lock-frontend": APT}}, ["package-manager-locked"]),
        # what is on its way is not broken yet
        ({"locks": {"/var/lib/dpkg/lock": APT}, "dpkg": "iU  bash\n"}, ["package-manager-locked"]),
        ({"dpkg": "iF  grub-pc\nii  bash\n"}, ["package-manager-broken"]),
        ({"dpkg": "iHR bash\n"}, ["package-manager-broken"]),
        ({"journal": ["0001"], "dpkg": "ii  bash\nii  rstudio-pm\n"}, ["package-manager-broken"]),
        ({"journal": ["tmp.i"], "dpkg": "ii  bash\n"}, []),
        # a power cut in our own installation leaves a journal too
        ({"journal": ["0001"], "dpkg": "hHR rstudio-pm\nii  bash\n"}, []),
        ({"journal": ["0001"], "dpkg": "hF  rstudio-pm\niU  bash\n"}, ["package-manager-broken"]),
        ({"candidates": "haproxy:\n  Candidate: (none)\n"}, ["package-unknown"]),
        ({"candidates": ""}, ["package-unknown"]),
        # lists that are read anew before they are needed may know it then
        ({"candidates": "", "final": False}, []),
        ({"candidates": "", "installed": "haproxy\tinstalled\n"}, []),
        ({"free": 200 * rules.MIB}, ["free-space", "free-space"]),
        ({"free": 200 * rules.MIB, "installed": "haproxy\tinstalled\n"}, []),
        ({"free": 50 * rules.MIB, "installed": "haproxy\tinstalled\n"}, ["free-space", "free-space"]),
        ({"holders": {80: [NGINX]}}, ["port-taken"]),
        ({"holders": {80: [rules.Holder(13, "haproxy")]}}, []),
        ({"library": None, "python": "/opt/python/bin/python3.13"}, ["python"]),
        ({"library": None}, []),
    ],
)
def test_a_problem_planted_alone_is_told_alone(world: World, spoiled: dict[str, Any], told: list[str]) -> None:
    for name, value in spoiled.items():
        assert hasattr(world, name)
        setattr(world, name, value)
    assert checks(world) == told


def test_it_tells_what_of_its_parts_is_installed(world: World) -> None:
    world.installed = "acl\tinstalled\npostgresql\tinstalled\npython3-psycopg2\tconfig-files\nbash\tinstalled\n"
    check = host_check.HostCheck({**PARAMS, "parts": ["database"]}, world.run)
    check.problems()
    assert sorted(check.installed) == ["acl", "postgresql"]


def test_a_host_that_is_asked_for_nothing_has_no_problem(world: World) -> None:
    world.candidates, world.holders = "", {80: [NGINX]}
    assert checks(world, parts=[], ports=[]) == []


def test_a_name_is_told_with_all_variables_that_hold_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_check, "is_known", lambda name: name != "lost")
    given = {"rspm_database_host": ["lost"], "rspm_nfs_server": ["10.0.0.1"], "rspm_ntp_servers": ["lost", "there"]}
    unresolved = host_check.load_unresolved(given)
    assert unresolved == {"lost": ["rspm_database_host", "rspm_ntp_servers"]}
    assert [problem.found for problem in rules.judge_names(unresolved)] == [
        "The name lost of rspm_database_host, rspm_ntp_servers can't be resolved"
    ]


def test_one_time_server_that_answers_is_enough() -> None:
    assert rules.judge_time_servers(["a", "b"], ["b"]) == []
    assert rules.judge_time_servers(["a", "b"], [])[0].found == "No server of rspm_ntp_servers answers: a, b"


@pytest.fixture
def time_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket to which every name leads that is asked for the time."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        where = (socket.AF_INET, socket.SOCK_DGRAM, 0, "", server.getsockname())
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: [where])
        yield server


@contextmanager
def answering(server: socket.socket, head: tuple[int, ...], lost: int = 0) -> Iterator[None]:
    """Have it answer one question, with these bytes first, after so many that were lost."""

    def serve() -> None:
        for _number in range(lost):
            server.recvfrom(512)
        question, client = server.recvfrom(512)
        assert len(question) == 48
        server.sendto(bytes([*head, *bytes(46)]), client)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize(
    ("head", "knows"),
    # leap indicator, version and mode; stratum
    [((0x24, 3), True), ((0xE4, 3), False), ((0x24, 0), False), ((0x24, 16), False), ((0x23, 3), False), ((), False)],
)
def test_a_server_that_does_not_know_the_time_is_none(
    head: tuple[int, ...], knows: bool, time_server: socket.socket
) -> None:
    with answering(time_server, head):
        assert host_check.serves_time("ntp.example") is knows


def test_a_question_that_is_lost_is_asked_again(time_server: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_check, "_NTP_TIMEOUT", 0.2)
    with answering(time_server, (0x24, 3), lost=1):
        assert host_check.serves_time("ntp.example")


@pytest.mark.usefixtures("time_server")
def test_a_server_that_does_not_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_check, "_NTP_TIMEOUT", 0.05)
    assert not host_check.serves_time("ntp.example")


def test_without_root_the_account_is_named() -> None:
    assert rules.judge_root(0, "root") == []
    assert rules.judge_root(1000, "ops")[0].found == "Ansible works as ops here, not as root"


@pytest.mark.parametrize(
    ("port", "holder", "own", "taken"),
    [
        (rules.Port(4242, "node", "rspm_http_port"), NGINX, (), True),
        (rules.Port(4242, "node", "rspm_http_port"), rules.Holder(9, "python3"), (9,), False),
        (rules.Port(5432, "database", "rspm_database_port"), rules.Holder(9, "postgres"), (), False),
        (rules.Port(5432, "database", "rspm_database_port"), rules.Holder(9, "pgbouncer"), (), True),
        (rules.Port(2049, "nfs_server"), rules.Holder(0, ""), (), False),
        (rules.Port(2049, "nfs_server"), rules.Holder(9, "ganesha.nfsd"), (), True),
    ],
)
def test_a_port_of_ours_is_not_taken(port: rules.Port, holder: rules.Holder, own: tuple[int, ...], taken: bool) -> None:
    problems = rules.judge_ports([port], {port.number: [holder]}, own)
    assert [problem.found for problem in problems] == ([f"Port {port.number} is taken by {holder}"] if taken else [])


def test_ports_follow_from_the_configuration() -> None:
    settings: dict[str, dict[str, Any]] = {"HTTP": {"Listen": ":4242"}, "Metrics": {"Enabled": True}}
    assert rules.listeners(settings) == {4242: "rspm_http_port", 2112: "Metrics.Listen of rspm_config"}
    assert rules.listeners({"HTTP": {"Listen": ":1"}, "metrics": {"enabled": "yes", "listen": "127.0.0.1:9"}}) == {
        1: "rspm_http_port",
        9: "Metrics.Listen of rspm_config",
    }
    assert rules.listeners({"HTTP": {"Listen": ":1"}, "Metrics": {"Enabled": "false"}}) == {1: "rspm_http_port"}


@pytest.mark.parametrize(
    ("version", "major"),
    [
        ("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", 15),
        ("16+257build1.1", 16),
        ("1:14+238", 14),
        ("", None),
    ],
)
def test_the_release_of_the_client_tools(version: str, major: int | None) -> None:
    assert rules.parse_client_tools(version) == major


@pytest.mark.parametrize(("tools", "server", "told"), [(15, 160004, 1), (16, 160004, 0), (17, 160004, 0), (None, 1, 0)])
def test_older_tools_do_not_fit_the_server(tools: int | None, server: int, told: int) -> None:
    assert len(rules.judge_client_tools(tools, server, installed=True)) == told


@pytest.mark.parametrize(
    ("text", "address"),
    [("10.1.2.3", True), ("fe80::1", True), ("[::1]", True), ("db", False), ("db.example.org", False), ("10.1", False)],
)
def test_an_address_is_no_name(text: str, address: bool) -> None:
    assert rules.is_address(text) == address


def test_hosts_of_addresses_on_the_web() -> None:
    assert rules.hosts_of("https://cdn.example.org:8443/a.deb") == ["cdn.example.org"]
    assert rules.hosts_of("file:///srv/mirror") == rules.hosts_of("") == []


def test_who_holds_a_lock_is_read_from_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "lock"
    monkeypatch.setitem(rules.LOCKED_FILES, "debian", (str(lock), str(tmp_path / "absent")))
    lock.touch()
    assert host_check.wait_for_locks("debian", 0)[0] == {}
    with lock.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        held, _waited = host_check.wait_for_locks("debian", 0)
    assert [holder.pid for holder in held.values()] == [os.getpid()]
    assert f"(pid {os.getpid()}) holds {lock}" in rules.judge_locks(held, 3)[0].found


def test_a_lock_that_is_given_back_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [{"/lock": APT}, {"/lock": APT}, {}]
    monkeypatch.setattr(host_check, "load_lock_holders", lambda _family: answers.pop(0))
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    assert host_check.wait_for_locks("debian", 60)[0] == {}
    assert answers == []


def test_a_number_that_a_dead_process_left_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "zypp.pid"
    monkeypatch.setitem(rules.PID_FILES, "suse", (str(file),))
    file.write_text("4194305\n")
    assert host_check.load_lock_holders("suse") == {}
    file.write_text(f"{os.getpid()}\n")
    assert [holder.pid for holder in host_check.load_lock_holders("suse").values()] == [os.getpid()]


def test_who_listens_is_read_from_the_kernel() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        number = listener.getsockname()[1]
        assert [holder.pid for holder in host_check.load_port_holders({number})[number]] == [os.getpid()]
    assert host_check.load_port_holders({number}) == {}


@pytest.mark.parametrize("part", list(rules.PACKAGES))
def test_the_packages_are_those_that_the_roles_install(part: str) -> None:
    """A role may install more; what preflight asks for, one of them installs."""
    roles = {"node": ("time_sync", "server", "shared_storage")}.get(part, (part,))
    text = " ".join(path.read_text() for role in roles for path in sorted((ROLES / role).rglob("*.yml")))
    names = set(yaml.safe_load("[" + ",".join(f"'{word}'" for word in text.replace("'", " ").split()) + "]"))
    words = {name.strip('[],:"') for name in names}
    for family in [*rules.PACKAGES[part].values(), *rules.FURTHER[part].values()]:
        assert set(family) <= words

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What any host of the cluster needs before it is changed: root, its package manager, names, ports, room."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.rspm.ha.plugins.module_utils._config.rules import LISTENERS, port_of
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem
from ansible_collections.rspm.ha.plugins.module_utils._package.rules import DEBIAN, NAME, REDHAT, SUSE

MIB = 1024 * 1024
# PostgreSQL, the largest of them, unpacks to about 200 MiB
TO_INSTALL = 512 * MIB
TO_RUN = 100 * MIB

NODE, DATABASE, NFS_SERVER, LOAD_BALANCER = "node", "database", "nfs_server", "load_balancer"
# What site installs from the distribution, by part and family; the roles' vars say the same.
PACKAGES: dict[str, dict[str, tuple[str, ...]]] = {
    NODE: {
        DEBIAN: ("chrony", "postgresql-client", "python3-psycopg2"),
        REDHAT: ("chrony", "postgresql", "python3-psycopg2"),
        SUSE: ("chrony", "postgresql", "python311-psycopg2"),
    },
    DATABASE: {
        DEBIAN: ("postgresql", "python3-psycopg2"),
        REDHAT: ("postgresql-server", "python3-psycopg2"),
        SUSE: ("postgresql-server", "python3-psycopg2"),
    },
    NFS_SERVER: {DEBIAN: ("nfs-kernel-server",), REDHAT: ("nfs-utils",), SUSE: ("nfs-kernel-server",)},
    LOAD_BALANCER: {DEBIAN: ("haproxy",), REDHAT: ("haproxy",), SUSE: ("haproxy",)},
}
# What the roles install beside it; preflight does not look for it in the repositories.
FURTHER: dict[str, dict[str, tuple[str, ...]]] = {
    NODE: {DEBIAN: ("nfs-common", "netbase"), REDHAT: ("nfs-utils",), SUSE: ("nfs-client",)},
    DATABASE: {
        DEBIAN: ("ssl-cert", "acl"),
        REDHAT: ("openssl", "acl"),
        SUSE: ("openssl", "acl"),
    },
    NFS_SERVER: {},
    LOAD_BALANCER: {REDHAT: ("python3-libsemanage",)},
}
# A client's packet of version 4 (RFC 4330)
NTP_QUESTION = b"\x23" + bytes(47)
# Whose processes may hold a part's ports. The NFS server is the kernel, which has no process.
OWN_PROCESSES = {DATABASE: "postgres", LOAD_BALANCER: "haproxy"}
# Locks that are taken with fcntl(2): /proc/locks tells who holds them.
LOCKED_FILES = {
    DEBIAN: (
        "/var/lib/dpkg/lock-frontend",
        "/var/lib/dpkg/lock",
        "/var/lib/apt/lists/lock",
        "/var/cache/apt/archives/lock",
    ),
    REDHAT: ("/var/lib/rpm/.rpm.lock", "/usr/lib/sysimage/rpm/.rpm.lock"),
    SUSE: ("/var/lib/rpm/.rpm.lock", "/usr/lib/sysimage/rpm/.rpm.lock"),
}
# Files that hold the number of the process that is at work, and may outlive it.
PID_FILES = {
    DEBIAN: (),
    REDHAT: (
        "/var/lib/dnf/rpmdb_lock.pid",
        "/var/cache/dnf/metadata_lock.pid",
        "/var/cache/dnf/download_lock.pid",
    ),
    SUSE: ("/run/zypp.pid", "/var/run/zypp.pid"),
}
# What Ansible's own modules need of Python beside its standard library, and the distribution packages for its Python.
LIBRARIES = {DATABASE: ("psycopg2",), LOAD_BALANCER: ("selinux",)}


@dataclass(frozen=True)
class Holder:
    """A process that holds something. name: as /proc/<pid>/comm has it; "" where it is gone or the kernel itself."""

    pid: int
    name: str

    def __str__(self) -> str:
        """Return it for a person."""
        return f"{self.name or 'a process'} (pid {self.pid})" if self.pid else "the kernel"


@dataclass(frozen=True)
class Port:
    """A TCP port that a part is to listen on. variable: what decides it; "" where nothing does."""

    number: int
    part: str
    variable: str = ""


@dataclass(frozen=True)
class PackageStates:
    """What dpkg says of all packages: those that it can't go on with, and whether it was cut off itself."""

    broken: tuple[str, ...] = ()
    interrupted: bool = False


def judge_root(uid: int, account: str) -> list[Problem]:
    """Return a Problem where the module does not run as root."""
    if uid == 0:
        return []
    return [
        Problem(
            "become",
            f"Ansible works as {account} here, not as root",
            "Only root may change packages, services and mounts",
            "Set ansible_become: true and ansible_become_user: root in the inventory, with ansible_become_password in "
            "the vault where sudo asks for one",
        )
    ]


def judge_systemd(present: bool) -> list[Problem]:
    """Return a Problem for a host that systemd did not boot."""
    if present:
        return []
    return [
        Problem(
            "systemd",
            "systemd does not run this host",
            "Every service of the cluster is a unit of systemd",
            "Use a physical or virtual machine instead of a container",
        )
    ]


def parse_locks(text: str) -> dict[tuple[int, int, int], int]:
    """Return the process that holds each lock of /proc/locks, by major and minor device number and inode."""
    held = {}
    for line in text.splitlines():
        fields = line.split()
        # One that only waits has "->" after its number.
        if len(fields) < 8 or fields[1] == "->":
            continue
        place = fields[5].split(":")
        if len(place) == 3 and fields[4].isdigit():
            held[(int(place[0], 16), int(place[1], 16), int(place[2]))] = int(fields[4])
    return held


def judge_locks(held: Mapping[str, Holder], waited: float) -> list[Problem]:
    """Return a Problem where the package manager is still at work after waited seconds. held: by the lock's path."""
    if not held:
        return []
    holders: dict[Holder, list[str]] = {}
    for path, holder in held.items():
        holders.setdefault(holder, []).append(path)
    shown = "; ".join(f"{holder} holds {', '.join(paths)}" for holder, paths in holders.items())
    pids = " ".join(str(holder.pid) for holder in holders)
    return [
        Problem(
            "package-manager-locked",
            f"The package manager is still at work after {waited:.0f} s: {shown}",
            "Nothing can be installed meanwhile",
            f"Let it finish, or see what it waits for (ps -fp {pids}), and run the playbook again",
        )
    ]


def parse_package_states(listed: str, updates: Sequence[str]) -> PackageStates:
    """Return what stops dpkg. listed: "<three letters> <package>" lines of dpkg-query. updates: names in its journal.

    Our own package is left out: whatever was cut off there, the installation itself finishes, the journal with it.
    """
    broken = set()
    for line in listed.splitlines():
        state, _space, name = line.strip().partition(" ")
        # dpkg-query(1): U unpacked, F half-configured, H half-installed; R in the end wants a reinstallation.
        if state[1:2] in ("U", "F", "H") or state[2:3] == "R":
            broken.add(name.strip())
    journal = any(name.isdigit() for name in updates)
    return PackageStates(tuple(sorted(broken - {NAME})), journal and NAME not in broken)


def judge_package_states(states: PackageStates) -> list[Problem]:
    """Return a Problem where dpkg was cut off: then it refuses whatever is asked next."""
    if not states.broken and not states.interrupted:
        return []
    shown = f", with {', '.join(states.broken[:5])} not configured" if states.broken else ""
    return [
        Problem(
            "package-manager-broken",
            f"An installation was cut off on this host{shown}",
            "The package manager installs nothing before that is finished",
            "Type on the host: dpkg --configure --pending && apt-get --fix-broken install",
        )
    ]


def packages_of(parts: Sequence[str], family: str, *, further: bool = False) -> list[str]:
    """Return what the parts install from the distribution's repositories, in order. further: FURTHER instead."""
    table = FURTHER if further else PACKAGES
    return sorted({name for part in parts for name in table[part].get(family, ())})


def parse_candidates(text: str) -> dict[str, str]:
    """Return the version that apt-cache policy would install, by package; "" where there is none."""
    candidates = {}
    name = ""
    for line in text.splitlines():
        if line and not line.startswith(" "):
            name = line.rstrip(":")
        found = re.match(r"\s+Candidate: (.*)", line)
        if found and name:
            candidates[name] = "" if found[1] == "(none)" else found[1].strip()
    return candidates


def judge_candidates(wanted: Sequence[str], candidates: Mapping[str, str], fresh: bool) -> list[Problem]:
    """Return a Problem where the repositories of a host do not have what is to be installed.

    wanted: packages that are not there yet. fresh: whether the lists are as new as they will be when they are needed.
    """
    unknown = [name for name in wanted if not candidates.get(name)]
    if not unknown or not fresh:
        return []
    return [
        Problem(
            "package-unknown",
            f"The repositories of this host have no package {', '.join(unknown)}",
            "It is installed from there",
            "Add a repository that has it, and see that this finds it: "
            f"apt-get update && apt-cache policy {' '.join(unknown)}",
        )
    ]


def judge_room(free: Mapping[str, int], missing: bool) -> list[Problem]:
    """Return a Problem for each path with too little free space. missing: whether packages are yet to be installed."""
    needed = TO_INSTALL if missing else TO_RUN
    return [
        Problem(
            "free-space",
            f"{path} has {available // MIB} MiB free, {needed // MIB} MiB are needed",
            "The packages need that much" if missing else "A full disk stops what runs on it",
            "Make room on this host, and run the playbook again",
        )
        for path, available in sorted(free.items())
        if available < needed
    ]


def judge_python(running: str, system: str, missing: Mapping[str, Sequence[str]]) -> list[Problem]:
    """Return a Problem where a Python runs that the distribution has no libraries for.

    running, system: path of the one that Ansible uses here, and of the distribution's own. missing: libraries that
    the running one does not find, by part.
    """
    names = sorted({name for part in missing for name in missing[part]})
    if not names or running == system or not system:
        return []
    return [
        Problem(
            "python",
            f"Ansible uses {running} on this host, which finds no {', '.join(names)}",
            f"The distribution has them for {system} only",
            f"Set ansible_python_interpreter: {system} for this host in the inventory",
        )
    ]


def is_address(text: str) -> bool:
    """Tell whether text is an address, which nobody has to resolve."""
    return re.fullmatch(r"[0-9]+(?:\.[0-9]+){3}|\[?[0-9A-Fa-f:]*:[0-9A-Fa-f:.%\w]*\]?", text) is not None


def judge_names(unresolved: Mapping[str, Sequence[str]]) -> list[Problem]:
    """Return a Problem for each name that this host can't resolve. unresolved: the variables that hold it, by name."""
    return [
        Problem(
            "name-resolution",
            f"The name {name} of {', '.join(variables)} can't be resolved",
            "This host has to reach it",
            f"Correct {' and '.join(variables)}, or the name service or /etc/hosts of this host",
        )
        for name, variables in unresolved.items()
    ]


def knows_time(reply: bytes) -> bool:
    """Tell whether an NTP server's reply is one of a server that knows the time."""
    if len(reply) < 48:
        return False
    leap, mode, stratum = reply[0] >> 6, reply[0] & 7, reply[1]
    return mode == 4 and leap != 3 and 0 < stratum < 16


def judge_time_servers(servers: Sequence[str], answered: Sequence[str]) -> list[Problem]:
    """Return a Problem where no time server answers; one that does is enough."""
    if not servers or answered:
        return []
    return [
        Problem(
            "time-server",
            f"No server of rspm_ntp_servers answers: {', '.join(servers)}",
            "Nodes whose clocks differ disagree on what is new, on sessions and on certificates",
            "Open UDP port 123 from this host to them, or set rspm_ntp_servers to servers that it reaches",
        )
    ]


def hosts_of(url: str) -> list[str]:
    """Return the host of an address on the web, nothing for what is no such address."""
    parts = urlsplit(url)
    return [parts.hostname] if parts.scheme in ("http", "https") and parts.hostname else []


def listeners(settings: Mapping[str, Mapping[str, Any]]) -> dict[int, str]:
    """Return the ports that a configuration listens on, with the variable that decides each."""
    given = {
        f"{section}.{key}".lower(): str(value) for section, keys in settings.items() for key, value in keys.items()
    }
    if given.get("metrics.enabled", "").lower() in ("true", "yes", "on", "1"):
        given.setdefault("metrics.listen", ":2112")
    ports = {}
    for name in LISTENERS:
        number = port_of(given.get(name.lower(), ""))
        if number is not None:
            ports[number] = "rspm_http_port" if name == "HTTP.Listen" else f"{name} of rspm_config"
    return ports


def judge_ports(ports: Sequence[Port], holders: Mapping[int, Sequence[Holder]], own: Sequence[int]) -> list[Problem]:
    """Return a Problem for each port that somebody else listens on. own: processes of the server on this host."""
    problems = []
    for port in ports:
        others = [
            holder
            for holder in holders.get(port.number, ())
            if not (
                holder.pid in own
                if port.part == NODE
                else holder.pid == 0
                if port.part == NFS_SERVER
                else holder.name == OWN_PROCESSES[port.part]
            )
        ]
        if others:
            change = f"set {port.variable} to another port" if port.variable else "take another host"
            problems.append(
                Problem(
                    "port-taken",
                    f"Port {port.number} is taken by {', '.join(str(holder) for holder in others)}",
                    "The service could not start",
                    f"Stop what listens there, or {change}",
                )
            )
    return problems


def parse_client_tools(text: str) -> int | None:
    """Return the major release that `pg_dump --version` or a package's version names, None where it is neither."""
    found = re.search(r"pg_dump \(PostgreSQL\) (\d+)", text) or re.match(r"(?:\d+:)?(\d+)", text.strip())
    return int(found[1]) if found else None


def judge_client_tools(tools: int | None, server_version_num: int, installed: bool) -> list[Problem]:
    """Return a Problem where PostgreSQL's tools are older than the server. installed: or are to be installed."""
    server = server_version_num // 10000
    if tools is None or not server or tools >= server:
        return []
    has = f"pg_dump of this host is of PostgreSQL {tools}" if installed else f"The repositories have pg_dump {tools}"
    return [
        Problem(
            "database-tools",
            f"{has}, and the server is PostgreSQL {server}",
            "An older pg_dump refuses a newer server, and without a dump no upgrade could be rolled back",
            f"Install the client tools of PostgreSQL {server} on this host (apt.postgresql.org and yum.postgresql.org "
            "have them)",
        )
    ]

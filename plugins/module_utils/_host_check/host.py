# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Observe what any host needs before it is changed. Writes nothing; rules decides what it means."""

from __future__ import annotations

import importlib.util
import os
import pwd
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import read_text
from ansible_collections.rspm.ha.plugins.module_utils._core.host_process import load_processes
from ansible_collections.rspm.ha.plugins.module_utils._core.host_sockets import load_name, load_owners, load_sockets
from ansible_collections.rspm.ha.plugins.module_utils._core.host_space import free_bytes
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._host_check import rules
from ansible_collections.rspm.ha.plugins.module_utils._package.host import load_host
from ansible_collections.rspm.ha.plugins.module_utils._package.rules import DEBIAN

PORT: dict[str, dict[str, Any]] = {
    "number": {"type": "int", "required": True},
    "part": {"type": "str", "choices": list(rules.PACKAGES), "required": True},
    "variable": {"type": "str", "default": ""},
}
# What a module that makes a HostCheck adds to its argument_spec.
HOST_OPTIONS: dict[str, dict[str, Any]] = {
    "parts": {"type": "list", "elements": "str", "choices": list(rules.PACKAGES), "default": []},
    "ports": {"type": "list", "elements": "dict", "options": PORT, "default": []},
    "lock_timeout": {"type": "int", "default": 300},
}
_INTERVAL = 2.0
# A question or its answer may get lost, and a server that is busy takes its time.
_NTP_TIMEOUT = 2.0
_NTP_QUESTIONS = 3
_LISTS = "/var/lib/apt/lists"
# The roles' tasks read the lists anew when they are older
_LISTS_SECONDS = 86400
_SYSTEM_PYTHONS = ("/usr/libexec/platform-python", "/usr/bin/python3")


class HostCheck:
    """The problems of one host, whatever its part in the cluster."""

    def __init__(self, params: Mapping[str, Any], run: Runner) -> None:
        """Take the parameters of HOST_OPTIONS; nothing is looked at yet."""
        self.params = params
        self.run = run
        self.installed: list[str] = []

    def problems(self) -> list[Problem]:
        """Return every problem of this host; from then on, installed has the packages of its parts that it has."""
        found = rules.judge_systemd(os.path.isdir("/run/systemd/system"))
        for part in (self.ports, self.packages):
            try:
                found += part()
            except DomainError as error:
                found += error.problems
        return found

    def ports(self) -> list[Problem]:
        """Return who listens where a service of ours is to."""
        return load_taken_ports([rules.Port(**port) for port in self.params["ports"]])

    def packages(self) -> list[Problem]:
        """Return what keeps packages from being installed, or their modules from working."""
        family, parts = load_host().family, self.params["parts"]
        held, waited = wait_for_locks(family, self.params["lock_timeout"])
        wanted, further = rules.packages_of(parts, family), rules.packages_of(parts, family, further=True)
        absent = load_missing(self.run, family, [*wanted, *further])
        self.installed = [name for name in [*wanted, *further] if name not in absent]
        missing = [name for name in wanted if name in absent]
        found = rules.judge_locks(held, waited)
        if rules.NODE not in parts:
            found += rules.judge_room({path: free_bytes(path) for path in ("/usr", "/var")}, bool(missing))
        lacking = {
            part: [name for name in names if importlib.util.find_spec(name) is None]
            for part, names in rules.LIBRARIES.items()
            if part in parts and (part != rules.LOAD_BALANCER or os.path.isdir("/sys/fs/selinux/booleans"))
        }
        found += rules.judge_python(os.path.realpath(sys.executable), load_system_python(), lacking)
        if family != DEBIAN or held:
            return found
        found += rules.judge_package_states(load_package_states(self.run))
        if missing:
            shown = self.run(["apt-cache", "policy", *missing], timeout=60)
            found += rules.judge_candidates(missing, rules.parse_candidates(shown.stdout), lists_are_final())
        return found


def in_parallel(question: Any, subjects: Sequence[str]) -> list[tuple[str, Any]]:
    """Return each subject with its answer; all are asked at once, since some may never answer."""
    if not subjects:
        return []
    with ThreadPoolExecutor(max_workers=len(subjects)) as pool:
        return list(zip(subjects, pool.map(question, subjects)))


def load_unresolved(given: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the names that this host can't resolve, with the variables that hold them. given: names by variable."""
    names = {name for several in given.values() for name in several if not rules.is_address(name)}
    lost = [name for name, known in in_parallel(is_known, sorted(names)) if not known]
    return {name: [variable for variable, several in given.items() if name in several] for name in lost}


def load_answering(servers: Sequence[str]) -> list[str]:
    """Return the time servers that answer."""
    return [server for server, serves in in_parallel(serves_time, servers) if serves]


def serves_time(server: str) -> bool:
    """Tell whether a time server answers. It is asked without chrony, which a new machine does not have yet."""
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(server, 123, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as link:
            link.settimeout(_NTP_TIMEOUT)
            link.connect(address)
            for _number in range(_NTP_QUESTIONS):
                link.send(rules.NTP_QUESTION)
                with suppress(socket.timeout):
                    return rules.knows_time(link.recv(512))
    except OSError:
        return False
    return False


def load_taken_ports(ports: Sequence[rules.Port]) -> list[Problem]:
    """Return who listens where a service of ours is to."""
    if not ports:
        return []
    return rules.judge_ports(ports, load_port_holders({port.number for port in ports}), load_processes(""))


def load_account() -> str:
    """Return the name of the account that this process has; its number where it has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def is_known(name: str) -> bool:
    """Tell whether this host can resolve a name."""
    try:
        return bool(socket.getaddrinfo(name, None))
    except (OSError, UnicodeError):
        return False


def load_holder(pid: int) -> rules.Holder:
    """Return a process by its number; 0 is the kernel."""
    return rules.Holder(pid, load_name(pid) if pid else "")


def load_lock_holders(family: str) -> dict[str, rules.Holder]:
    """Return who holds the locks of the package manager now, by the lock's path."""
    locks = rules.parse_locks(read_text("/proc/locks") or "")
    held = {}
    for path in rules.LOCKED_FILES[family]:
        try:
            found = os.stat(path)
        except OSError:
            continue
        pid = locks.get((os.major(found.st_dev), os.minor(found.st_dev), found.st_ino))
        if pid:
            held[path] = load_holder(pid)
    for path in rules.PID_FILES[family]:
        text = (read_text(path) or "").strip()
        if text.isdigit() and os.path.isdir(f"/proc/{text}"):
            held[path] = load_holder(int(text))
    return held


def wait_for_locks(family: str, timeout: float) -> tuple[dict[str, rules.Holder], float]:
    """Return who still holds a lock after at most timeout seconds, and how long was waited."""
    begun = time.monotonic()
    while True:
        held, waited = load_lock_holders(family), time.monotonic() - begun
        if not held or waited >= timeout:
            return held, waited
        time.sleep(_INTERVAL)


def load_missing(run: Runner, family: str, names: Sequence[str]) -> list[str]:
    """Return which of the packages are not installed."""
    if family == DEBIAN:
        shown = run(["dpkg-query", "--show", "--showformat=${Package}\\t${db:Status-Status}\\n", *names], timeout=60)
        there = {line.partition("\t")[0] for line in shown.stdout.splitlines() if line.endswith("\tinstalled")}
        return [name for name in names if name not in there]
    return [name for name in names if run(["rpm", "--query", "--whatprovides", name], timeout=60).rc != 0]


def load_package_states(run: Runner) -> rules.PackageStates:
    """Return what stops dpkg."""
    shown = run(["dpkg-query", "--show", "--showformat=${db:Status-Abbrev} ${Package}\\n"], timeout=60)
    journal = "/var/lib/dpkg/updates"
    return rules.parse_package_states(shown.stdout, os.listdir(journal) if os.path.isdir(journal) else [])


def lists_are_final() -> bool:
    """Tell whether apt's lists are as new as they will be when a package is installed."""
    try:
        with os.scandir(_LISTS) as entries:
            lists = [entry.stat().st_mtime for entry in entries if entry.name.endswith("_Packages")]
        stamp = "/var/lib/apt/periodic/update-success-stamp"
        newest = os.stat(stamp).st_mtime if os.path.exists(stamp) else os.stat(_LISTS).st_mtime
    except OSError:
        return False
    return bool(lists) and time.time() - newest < _LISTS_SECONDS


def load_client_tools(run: Runner, family: str, server: str) -> tuple[int | None, bool]:
    """Return the release of pg_dump here, or of the one that would be installed, and whether it is there already."""
    # Debian's wrapper chooses among several by where the server is
    shown = run(["pg_dump", "--version"], timeout=30, env={"PGHOST": server})
    if shown.rc == 0:
        return rules.parse_client_tools(shown.stdout), True
    if family != DEBIAN:
        return None, False
    policy = run(["apt-cache", "policy", "postgresql-client"], timeout=60)
    return rules.parse_client_tools(rules.parse_candidates(policy.stdout).get("postgresql-client", "")), False


def load_system_python() -> str:
    """Return the distribution's own Python, "" where it has none."""
    return next((os.path.realpath(path) for path in _SYSTEM_PYTHONS if os.path.exists(path)), "")


def load_port_holders(numbers: set[int]) -> dict[int, list[rules.Holder]]:
    """Return who listens on each of the ports; the kernel where no process has the socket."""
    sockets: dict[int, set[int]] = {}
    for found in load_sockets():
        if found.listens and found.port in numbers:
            sockets.setdefault(found.port, set()).add(found.inode)
    owners = load_owners(set().union(*sockets.values()))
    return {
        number: [load_holder(pid) for pid in sorted({owners.get(inode, [0])[0] for inode in inodes})]
        for number, inodes in sockets.items()
    }

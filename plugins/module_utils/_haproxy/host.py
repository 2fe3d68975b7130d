# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Talks to HAProxy's runtime API over its socket."""

from __future__ import annotations

import os
import socket
import time

from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import read_text, write_file
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._haproxy import rules as haproxy

ANSWER_TIMEOUT = 10.0
POLL_INTERVAL = 0.1


class Runtime:
    """The runtime API behind one UNIX socket; each call is one command on a connection of its own."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, command: str) -> str:
        """Return the answer to a command. Raises DomainError where nothing answers."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.settimeout(ANSWER_TIMEOUT)
                sock.connect(self.path)
                sock.sendall(f"{command}\n".encode())
                chunks = iter(lambda: sock.recv(65536), b"")
                return b"".join(chunks).decode("utf-8", "replace")
        except OSError as error:
            raise DomainError(
                Problem(
                    "load-balancer-socket",
                    f"HAProxy does not answer at {self.path} ({error.strerror or error})",
                    "Without it no node can be taken out of service or brought back",
                    "See systemctl status haproxy on this host; site.yml configures the socket",
                )
            ) from error

    def members(self, backend: str) -> dict[str, haproxy.Member]:
        """Return every server of the backend as it is now, by name."""
        return haproxy.members_of(self("show servers state"), self("show stat"), backend)

    def member(self, backend: str, node: str) -> haproxy.Member:
        """Return the node as it is now. Raises DomainError where HAProxy has no such node."""
        return haproxy.member_of(self("show servers state"), self("show stat"), backend, node)

    def wait(self, backend: str, node: str, state: str, timeout: float) -> tuple[haproxy.Member, float]:
        """Return the node as soon as it is settled in the state, or after timeout seconds; and the seconds waited."""
        begin = time.monotonic()
        while True:
            member = self.member(backend, node)
            waited = time.monotonic() - begin
            if haproxy.settled(member, state) or waited >= timeout:
                return member, round(waited, 2)
            time.sleep(POLL_INTERVAL)


def write_if_different(path: str, text: str) -> bool:
    """Replace the file in one step unless it has this text; tell whether it was replaced."""
    if read_text(path) == text:
        return False
    write_file(path, text, 0o600, os.geteuid(), os.getegid())
    return True

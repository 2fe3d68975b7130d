# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ask a service again and again, as a client does. rules makes outages of the answers."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult

from ansible.module_utils.urls import make_context

from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import read_text, write_file
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._probe.rules import Sample, judge_answer, next_slot

# how late the end of the marker, or a signal, may be noticed between two requests
_NOTICE_SECONDS = 0.2
_FAILURES = (OSError, http.client.HTTPException, ValueError)


@dataclass(frozen=True)
class Client:
    """A client that makes each request on a connection of its own, follows nothing, and uses no proxy.

    timeout: seconds for a whole request. codes: statuses that count as served.
    """

    target: SplitResult
    timeout: float
    codes: Sequence[int]
    validate_certs: bool

    def ask(self, context: Any) -> str:
        """Make one request; return "" where it was served, else what came instead. context: for TLS."""
        deadline = time.monotonic() + self.timeout
        host, port = self.target.hostname or "", self.target.port
        connection = (
            http.client.HTTPSConnection(host, port, timeout=self.timeout, context=context)
            if self.target.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=self.timeout)
        )
        try:
            connection.connect()
            link = connection.sock
            _limit(link, deadline)
            path = (self.target.path or "/") + (f"?{self.target.query}" if self.target.query else "")
            connection.request("GET", path, headers={"Connection": "close", "User-Agent": "rspm.ha"})
            response = connection.getresponse()
            while not response.isclosed():
                _limit(link, deadline)
                if not response.read1(65536):
                    break
            if response.length:
                raise http.client.IncompleteRead(b"", response.length)
            return judge_answer(response.status, self.codes)
        except socket.timeout:
            return TimeoutError.__name__
        except _FAILURES as error:
            return type(error).__name__
        finally:
            connection.close()

    def context(self) -> Any:
        """Return how to check certificates, None without TLS."""
        return make_context(validate_certs=self.validate_certs) if self.target.scheme == "https" else None


def _limit(link: socket.socket, deadline: float) -> None:
    """Give the next answer of a connection the time that is left."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise socket.timeout
    with contextlib.suppress(OSError):  # the answer is there already, and the connection is not
        link.settimeout(left)


@dataclass
class Marker:
    """The file that keeps this probe going: while it holds this process's id, until limit seconds have passed."""

    path: str
    limit: float
    deadline: float = 0.0
    terminated: bool = False

    def set(self) -> None:
        """Take the file over, from whichever probe had it; and have SIGTERM end the probe with its result."""
        signal.signal(signal.SIGTERM, self._terminate)
        try:
            write_file(self.path, f"{os.getpid()}\n", 0o644, os.geteuid(), os.getegid())
        except OSError as error:
            raise DomainError(
                Problem(
                    "service-probe",
                    f"the marker {self.path} can't be written on {socket.gethostname()} ({error.strerror})",
                    "Without it the probe could not be told to end",
                    "Give marker as a file in a folder that is there and may be written",
                )
            ) from error
        self.deadline = time.monotonic() + self.limit

    @property
    def ours(self) -> bool:
        """Whether the file still holds this process's id."""
        try:
            return (read_text(self.path) or "").strip() == str(os.getpid())
        except OSError:
            return False

    def goes_on(self) -> bool:
        """Whether to ask again."""
        return not self.terminated and time.monotonic() < self.deadline and self.ours

    def wait(self, until: float) -> bool:
        """Wait until a moment of the monotonic clock; False as soon as the probe is to end."""
        while self.goes_on():
            left = until - time.monotonic()
            if left <= 0:
                return True
            time.sleep(min(left, _NOTICE_SECONDS))
        return False

    def clear(self) -> None:
        """Remove the file unless it is another probe's."""
        if self.ours:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)

    def _terminate(self, *_signal: object) -> None:
        self.terminated = True


def load_samples(client: Client, marker: Marker, interval: float) -> Iterator[Sample]:
    """Yield one request after the other, one each interval seconds, until the marker ends it."""
    context, begun = client.context(), time.monotonic()
    # the wall clock is asked once, since it may be set meanwhile
    epoch, slot = time.time() - begun, 0
    while marker.wait(begun + slot * interval):
        asked = time.monotonic()
        said = client.ask(context)
        answered = time.monotonic()
        yield Sample(epoch + asked, epoch + answered, said)
        slot = next_slot(slot, answered - begun, interval)

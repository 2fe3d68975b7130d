# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run commands on a host."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Protocol

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

# Seconds, for a command that is given no limit of its own
DEFAULT_LIMIT = 300.0
OUT_OF_TIME = 124
# Seconds from SIGTERM to SIGKILL
_GRACE = 5
# Seconds in which what an ended command had still written is read; what it left running may keep its output open
_DRAIN = 1.0
_BLOCK = 1 << 16


@dataclass(frozen=True)
class CompletedCommand:
    """What a finished command left.

    rc: exit status; 124 when it ran out of time, 127 when there is no such command (as coreutils' timeout says it).
    stdout, stderr: decoded as UTF-8.
    """

    rc: int
    stdout: str
    stderr: str


class Runner(Protocol):
    """Runs one command without a shell, in the C locale."""

    def __call__(
        self,
        argv: list[str],
        *,
        check: bool = False,
        timeout: float = DEFAULT_LIMIT,
        input: str | None = None,
        env: dict[str, str] | None = None,
    ) -> CompletedCommand:
        """Run argv; with check, raise DomainError unless it exits with 0. timeout is in seconds."""


def start(argv: list[str], *, env: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, in the C locale, with pipes for what it says.

    No terminal can stop it: the one that ssh may have given is that of another session. It reads nothing unless
    options, which are those of Popen, give it a standard input.
    """
    return subprocess.Popen(
        argv,
        stdin=options.pop("stdin", subprocess.DEVNULL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C", **(env or {})},
        start_new_session=True,
        # what a package's scripts make has to be readable, whatever the umask of whoever logs in
        umask=0o022,
        **options,
    )


def end_group(process: subprocess.Popen[bytes], grace: float = _GRACE) -> None:
    """End a started command with all that it started; what even SIGKILL does not end is left to the kernel."""
    for number in (signal.SIGTERM, signal.SIGCONT):
        _signal_group(process, number)
    with suppress(subprocess.TimeoutExpired):
        process.wait(grace)
    _signal_group(process, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_DRAIN)


def command_failed(argv: list[str], done: CompletedCommand) -> DomainError:
    """Return the error of a command that did not do what the work needs."""
    said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").replace("\n", "; ")
    return DomainError(
        Problem(
            check="command",
            found=f"{' '.join(argv)} ended with {done.rc}: {said}",
            why="The work on this host can't go on without it",
            fix="Run the command on the host by hand, repair what it says, and run the playbook again",
        )
    )


def module_runner(module: AnsibleModule) -> Runner:
    """Return the Runner that starts commands itself; what was ended for its time is in the host's log too."""
    return command_runner(module.log)


def command_runner(log: Callable[[str], None]) -> Runner:
    """Return the Runner that tells log of what was ended for its time."""

    def run(
        argv: list[str],
        *,
        check: bool = False,
        timeout: float = DEFAULT_LIMIT,
        input: str | None = None,
        env: dict[str, str] | None = None,
    ) -> CompletedCommand:
        given = (input or "").encode("utf-8", "surrogateescape")
        # timeout takes 0 for no limit at all
        done = _run(argv, max(timeout, 0.1), given, env, log)
        if check and done.rc != 0:
            raise command_failed(argv, done)
        return done

    return run


def _run(
    argv: list[str], limit: float, given: bytes, env: dict[str, str] | None, log: Callable[[str], None]
) -> CompletedCommand:
    """Run a command and return its result."""
    # coreutils' own keeps the limit where this process is killed meanwhile, as by a connection that breaks
    limited = ["timeout", f"--kill-after={_GRACE}", f"{limit:g}", *argv]
    begun = time.monotonic()
    try:
        process = start(limited, env=env, stdin=subprocess.PIPE if given else subprocess.DEVNULL)
    except OSError as error:
        return CompletedCommand(127, "", f"{argv[0]}: {error.strerror}")
    try:
        stdout, stderr = _talk(process, given, begun + limit + 2 * _GRACE)
        late = process.returncode is None or time.monotonic() - begun >= limit
    finally:
        if process.returncode is None:
            end_group(process, 0)
    rc = process.returncode if process.returncode is not None else -signal.SIGKILL
    rc = rc if rc >= 0 else 128 - rc
    texts = [text.decode("utf-8", "replace") for text in (stdout, stderr)]
    if late and rc in (OUT_OF_TIME, 128 + signal.SIGKILL):
        # timeout ends with the command, others of the group may not have
        _signal_group(process, signal.SIGKILL)
        ended = f"{' '.join(argv)} did not end within {limit:g} s, and was ended"
        log(ended)
        return CompletedCommand(OUT_OF_TIME, texts[0], "\n".join(filter(None, (texts[1].rstrip(), ended))))
    return CompletedCommand(rc, *texts)


def _talk(process: subprocess.Popen[bytes], given: bytes, deadline: float) -> tuple[bytes, bytes]:
    """Give the process its input and return what it said, waiting for its end until the deadline of the clock."""
    said: dict[Any, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    rest = memoryview(given)
    with selectors.DefaultSelector() as selector:
        for stream in (process.stdout, process.stderr, process.stdin):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                event = selectors.EVENT_WRITE if stream is process.stdin else selectors.EVENT_READ
                selector.register(stream, event)
        while process.poll() is None and time.monotonic() < deadline:
            if not selector.get_map():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, deadline - time.monotonic()))
                break
            for key, _events in selector.select(0.1):
                if key.fileobj is process.stdin:
                    rest = _feed(selector, process.stdin, rest)
                else:
                    _drain(selector, key.fileobj, said)  # type: ignore[arg-type]
        stop = time.monotonic() + _DRAIN
        if process.stdin is not None:
            _leave(selector, process.stdin)
        while selector.get_map() and time.monotonic() < stop:
            ready = selector.select(stop - time.monotonic())
            for key, _events in ready:
                _drain(selector, key.fileobj, said)  # type: ignore[arg-type]
        for key in list(selector.get_map().values()):
            _leave(selector, key.fileobj)  # type: ignore[arg-type]
    return bytes(said[process.stdout]), bytes(said[process.stderr])


def _feed(selector: selectors.BaseSelector, stream: IO[bytes], rest: memoryview) -> memoryview:
    try:
        rest = rest[os.write(stream.fileno(), rest[:_BLOCK]) :]
    except BrokenPipeError:
        rest = rest[:0]  # it wants to read no more
    if not rest:
        _leave(selector, stream)
    return rest


def _drain(selector: selectors.BaseSelector, stream: IO[bytes], said: dict[Any, bytearray]) -> None:
    block = os.read(stream.fileno(), _BLOCK)
    said[stream] += block
    if not block:
        _leave(selector, stream)


def _leave(selector: selectors.BaseSelector, stream: IO[bytes]) -> None:
    if stream in [key.fileobj for key in selector.get_map().values()]:
        selector.unregister(stream)
    # nobody reads what is left in the buffer of a broken pipe
    with suppress(BrokenPipeError):
        stream.close()


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)

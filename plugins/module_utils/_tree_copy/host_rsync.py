# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running one or several rsyncs and counting what they say that they did."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO, NamedTuple

from ansible_collections.rspm.ha.plugins.module_utils._account_files.host import Account, become
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import OUT_OF_TIME, end_group, start
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_worker import die_with_parent
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.plan import parse_output

_SAID_LIMIT = 64 * 1024
# Seconds. To be woken for each line that they say would take from them what copying a small file takes
_REST = 0.05
# Seconds. How long a copy takes nobody knows, but not for how long one that works says nothing
_SILENCE = 3600.0
_REST_OF_IT = 1.0
Sent = Callable[[bytes, str], None]


@dataclass
class Run:
    """One rsync. transferred: bytes so far; files, size: finished; said: its standard error. rc: None while it runs.

    sent: gets the path of each file that it copied, and the MD5 in hex of what it read of it.
    """

    process: subprocess.Popen[bytes]
    sent: Sent = field(default=lambda _path, _text: None, repr=False)
    files: int = 0
    size: int = 0
    deleted: int = 0
    changed: int = 0
    transferred: int = 0
    said: str = ""
    rc: int | None = None
    rest: bytes = field(default=b"", repr=False)
    last_output: float = field(default_factory=time.monotonic, repr=False)

    def take(self, block: bytes) -> None:
        """Count what a piece of its output says."""
        *lines, self.rest = re.split(rb"[\r\n]", self.rest + block)
        found = parse_output(lines)
        self.files += found.files
        self.size += found.size
        self.deleted += found.deleted
        self.changed += found.changed
        for path, text in found.sent.items():
            self.sent(path, text)
        if found.transferred is not None:
            self.transferred = found.transferred


class Command(NamedTuple):
    """What is to run. given: file with what it reads at its standard input, "" for nothing."""

    argv: list[str]
    given: str = ""


def run_all(
    commands: Sequence[Command],
    lock_descriptor: int,
    report: Callable[[int, int], None],
    account: Account | None = None,
    sent: Sent = lambda _path, _text: None,
    silence: float = _SILENCE,
) -> list[Run]:
    """Run the commands side by side and return what came of them.

    lock_descriptor: they keep it open, so that nobody else starts while one of them is left.
    account: whose rights they run with, None for those of this process. sent: as Run has it.
    report: called at least twice a second with the files and bytes so far; what it raises ends them all.
    silence: seconds after which one that says nothing is ended.
    """
    runs: list[Run] = []
    with selectors.DefaultSelector() as selector:
        try:
            for command in commands:
                runs.append(Run(_start(command, lock_descriptor, account), sent))
                process = runs[-1].process
                for stream in (process.stdout, process.stderr):
                    if stream is not None:
                        os.set_blocking(stream.fileno(), False)
                        selector.register(stream, selectors.EVENT_READ, runs[-1])
            while selector.get_map():
                for key, _events in selector.select(0.5):
                    _read(selector, key.fileobj, key.data)  # type: ignore[arg-type]
                report(sum(run.files for run in runs), sum(max(run.size, run.transferred) for run in runs))
                for run in runs:
                    _give_up(selector, run, silence)
                if selector.get_map():
                    time.sleep(_REST)
            for run in runs:
                if run.rc is None:
                    run.rc = run.process.wait()
        finally:
            for run in runs:
                if run.rc is None:
                    end_group(run.process)
    return runs


def _start(command: Command, lock_descriptor: int, account: Account | None) -> subprocess.Popen[bytes]:
    def prepare() -> None:
        become(account)
        # killed with us: nobody would look after it; a change of the user makes the kernel forget that
        die_with_parent()

    with open(command.given or os.devnull, "rb") as given:
        return start(command.argv, stdin=given, cwd="/", pass_fds=(lock_descriptor,), preexec_fn=prepare)


def _give_up(selector: selectors.BaseSelector, run: Run, silence: float) -> None:
    """End one that says nothing any more; where it has ended, read no more of what it left running."""
    quiet = time.monotonic() - run.last_output
    streams = [key.fileobj for key in selector.get_map().values() if key.data is run]
    running = run.process.poll() is None
    if not streams or quiet <= (silence if running else _REST_OF_IT):
        return
    if running:
        end_group(run.process)
        run.rc = OUT_OF_TIME
        words = run.process.args if isinstance(run.process.args, list) else []
        run.said += f"\nrsync: {' '.join(map(str, words))} said nothing for {silence:g} s, and was ended"
    for stream in streams:
        selector.unregister(stream)
        stream.close()  # type: ignore[union-attr]


def _read(selector: selectors.BaseSelector, stream: IO[bytes], run: Run) -> None:
    block = os.read(stream.fileno(), 1 << 16)
    run.last_output = time.monotonic()
    if not block:
        selector.unregister(stream)
        stream.close()
    elif stream is run.process.stdout:
        run.take(block)
    else:
        run.said = (run.said + block.decode("utf-8", "backslashreplace"))[:_SAID_LIMIT]

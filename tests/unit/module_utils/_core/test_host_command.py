# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What starts commands: no terminal stops one, none waits for input, each ends in time with all that it started."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core import host_command
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import OUT_OF_TIME, CompletedCommand, Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_rsync import Command, Run, run_all
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_worker import Worker
from ansible_collections.rspm.ha.plugins.modules import lb_member

# As apt-get does before it asks dpkg: from another process group than the terminal's it would be stopped
TOUCH = """
import os, sys, termios
try:
    terminal = os.open("/dev/tty", os.O_RDWR)
except OSError:
    terminal = 0
try:
    termios.tcsetattr(terminal, termios.TCSADRAIN, termios.tcgetattr(terminal))
except termios.error:
    pass
print("done", os.getsid(0) == os.getpid() or os.getsid(0) != int(sys.argv[1]), sys.stdin.read() == "")
"""
LEAVES_ONE = "(sleep 30 & echo $!); echo done"
Made = TypeVar("Made")


class Log:
    """What a module writes to the host's log."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.params: dict[str, object] = {}
        self.check_mode = False

    def log(self, line: str) -> None:
        """Keep the line."""
        self.lines.append(line)


@pytest.fixture
def log() -> Log:
    """Return what stands for the module."""
    return Log()


@pytest.fixture
def runner(log: Log) -> Runner:
    """Return the runner of a module."""
    return host_command.module_runner(log)


def on_a_terminal(work: Callable[[], str], seconds: float = 15) -> str:
    """Return what work returns in a process whose controlling terminal is a pty, as ssh -tt gives it."""
    reader, writer = os.pipe()
    child, terminal = pty.fork()
    if child == 0:
        try:
            os.write(writer, work().encode())
        except BaseException:
            os.write(writer, traceback.format_exc().encode())
        finally:
            os._exit(0)
    os.close(writer)
    try:
        ready = select.select([reader], [], [], seconds)[0]
        return os.read(reader, 65536).decode() if ready else "it hangs"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(terminal)


def touch() -> list[str]:
    """Return a command that sets the terminal's attributes, if there is one, and reads its standard input."""
    return [sys.executable, "-c", TOUCH, str(os.getsid(0))]


def alive(pid: int) -> bool:
    """Return whether a process runs."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def gone(pid: int) -> bool:
    """Return whether a process ends within a second."""
    deadline = time.monotonic() + 1
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


def test_a_command_of_a_module_is_not_stopped_by_the_terminal(runner: Runner) -> None:
    assert on_a_terminal(lambda: runner(touch(), timeout=5).stdout) == "done True True\n"


def test_the_command_of_a_load_balancer_is_not_stopped_by_the_terminal(log: Log) -> None:
    def change() -> str:
        return str(lb_member.run_command(log, touch(), "node1", "drain", 5)["stdout"])

    assert on_a_terminal(change) == "done True True\n"


def copies(commands: list[list[str]], silence: float = 30) -> list[Run]:
    """Run commands as rsync is run."""
    with open(os.devnull, "rb") as lock:
        return run_all([Command(argv) for argv in commands], lock.fileno(), lambda _files, _size: None, silence=silence)


def test_a_copy_is_not_stopped_by_the_terminal() -> None:
    script = TOUCH.replace("print(", "print(file=sys.stderr, *(").rstrip() + ")"
    assert on_a_terminal(lambda: copies([[sys.executable, "-c", script, str(os.getsid(0))]])[0].said) == (
        "done True True\n"
    )


def test_a_worker_has_no_terminal(tmp_path: Path) -> None:
    def sessions() -> str:
        with closing(Worker("source", "node1", None)) as worker:
            worker.facts(str(tmp_path), lambda: None)
            return str(os.getsid(worker.pid) == worker.pid)

    assert on_a_terminal(sessions) == "True"


def test_what_a_command_says_and_how_it_ends_is_told(runner: Runner) -> None:
    script = "echo out; echo err >&2; echo $LC_ALL $EXTRA; exit 3"
    assert runner(["sh", "-c", script], env={"EXTRA": "more"}) == CompletedCommand(3, "out\nC more\n", "err\n")
    assert runner(["sh", "-c", "kill -9 $$"]).rc == 128 + signal.SIGKILL
    assert runner(["/nowhere/command"]).rc == 127
    with pytest.raises(DomainError, match="sh -c exit 3 ended with 3: it said nothing"):
        runner(["sh", "-c", "exit 3"], check=True)


def test_much_input_and_output_pass_at_the_same_time(runner: Runner) -> None:
    text = "é" * (1 << 20)
    assert runner(["cat"], input=text).stdout == text
    # one that wants none of it
    assert runner(["true"], input=text).rc == 0


def test_a_command_that_hangs_is_ended_with_all_that_it_started(runner: Runner, log: Log) -> None:
    script = "trap '' TERM; sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.1; done'"
    begin = time.monotonic()
    with pytest.raises(DomainError, match=r"did not end within 0\.3 s, and was ended"):
        runner(["sh", "-c", script], check=True, timeout=0.3)
    done = runner(["sh", "-c", "sh -c 'trap \"\" TERM; echo $$; exec sleep 30' & exec sleep 30"], timeout=0.3)
    assert time.monotonic() - begin < 15
    assert done.rc == OUT_OF_TIME and done.stderr.endswith("sleep 30 did not end within 0.3 s, and was ended")
    assert log.lines[-1] == done.stderr
    assert all(gone(int(pid)) for pid in done.stdout.split())


def test_a_command_that_stopped_itself_is_ended(runner: Runner) -> None:
    assert runner(["sh", "-c", "kill -STOP $$"], timeout=0.3).rc == OUT_OF_TIME


def test_each_command_has_a_limit(runner: Runner) -> None:
    assert runner.__kwdefaults__["timeout"] == host_command.DEFAULT_LIMIT  # type: ignore[attr-defined]
    # for coreutils 0 is no limit
    assert runner(["sleep", "30"], timeout=0).rc == OUT_OF_TIME


def test_the_limit_holds_where_the_module_is_gone(tmp_path: Path) -> None:
    kept = tmp_path / "pid"
    child = os.fork()
    if child == 0:
        log = Log()
        try:
            host_command.module_runner(log)(["sh", "-c", f"echo $$ > {kept}; exec sleep 30"], timeout=2)
        finally:
            os._exit(0)
    while not kept.exists() or not kept.read_text(encoding="utf-8"):
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pid = int(kept.read_text(encoding="utf-8"))
    assert alive(pid)
    time.sleep(2)
    assert gone(pid)


def test_what_a_command_leaves_running_is_not_waited_for(runner: Runner) -> None:
    begin = time.monotonic()
    done = runner(["sh", "-c", LEAVES_ONE], timeout=20)
    assert done.rc == 0 and done.stdout.endswith("done\n") and time.monotonic() - begin < 5
    os.kill(int(done.stdout.split()[0]), signal.SIGKILL)
    begin = time.monotonic()
    (run,) = copies([["sh", "-c", f"({LEAVES_ONE}) >&2"]])
    assert run.rc == 0 and time.monotonic() - begin < 5
    os.kill(int(run.said.split()[0]), signal.SIGKILL)


def test_a_copy_that_says_nothing_any_more_is_ended() -> None:
    hangs, works = copies([["sh", "-c", "sleep 31 & echo $! >&2; sleep 31"], ["sh", "-c", "echo ok >&2"]], 0.3)
    assert hangs.rc == OUT_OF_TIME and hangs.said.endswith("said nothing for 0.3 s, and was ended")
    assert gone(int(hangs.said.split()[0]))
    assert works.rc == 0 and works.said == "ok\n"


def test_a_copy_that_is_given_up_takes_what_it_started_with_it(tmp_path: Path) -> None:
    kept = tmp_path / "pid"

    def report(_files: int, _size: int) -> None:
        if kept.exists() and kept.read_text(encoding="utf-8"):
            raise KeyError

    with open(os.devnull, "rb") as lock, pytest.raises(KeyError):
        run_all([Command(["sh", "-c", f"sleep 32 & echo $! > {kept}; wait"])], lock.fileno(), report)
    assert gone(int(kept.read_text(encoding="utf-8")))

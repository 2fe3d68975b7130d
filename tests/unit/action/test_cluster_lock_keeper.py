# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lease is renewed as long as its run lives; a run that can't renew it is ended before another may take over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._lock.lease import (
    Sign,
    is_over,
    parse_sign,
    patience,
    renewal,
    seems_over,
    watching,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._lock_keeper.rules import OVER, RENEWED, TAKEN, answer_of, keep
from tests.conftest import COLLECTIONS

LEASE = 900.0


def test_the_parts_of_a_lease_keep_two_runs_apart() -> None:
    # however late its own end is noticed, a run ends before another takes over
    assert renewal(LEASE) < watching(LEASE) < patience(LEASE) < LEASE
    assert patience(LEASE) + LEASE / 6 + 3 * 10 < LEASE


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "1e9"])
def test_what_is_no_lease_is_none(text: str) -> None:
    assert parse_sign(text, 1) is None
    assert not seems_over(None, 1e12) and not is_over(None, 1e12)


def test_signs() -> None:
    assert parse_sign("900      \n", 5) == Sign(900, 5)
    assert parse_sign("ended\n", 5) == Sign(0, 5)
    assert seems_over(Sign(0, 5), 0) and not seems_over(Sign(900, 0), 1199) and seems_over(Sign(900, 0), 1200)
    assert is_over(Sign(900, 0), 900) and not is_over(Sign(900, 0), 899)


def test_answers_are_found_among_what_a_terminal_adds() -> None:
    assert answer_of("a word\r\nrenewed\r\n") == RENEWED
    assert answer_of("renewed, not") == ""


@dataclass
class World:
    """A run and its keeper in a time of their own. answers: of each attempt how long it takes and what it says."""

    answers: list[tuple[float, str]]
    sleeps: list[float] = field(default_factory=list)
    now: float = 1000.0
    dies: float = 1e9
    renewed: float | None = None
    words: list[str] = field(default_factory=list)

    def lives(self) -> bool:
        return self.now < self.dies

    def pause(self, seconds: float) -> None:
        # now and then the machine is suspended
        self.now += self.sleeps.pop() if self.sleeps else seconds

    def attempt(self, word: str) -> World.Try:
        self.words.append(word)
        return World.Try(self, *(self.answers.pop() if self.answers else (0.1, RENEWED)))

    class Try:
        def __init__(self, world: World, takes: float, says: str) -> None:
            self.world, self.says, self.at = world, says, world.now + takes

        def poll(self) -> str | None:
            if self.world.now < self.at:
                return None
            if self.says == RENEWED:
                self.world.renewed = self.at
            return self.says

        def kill(self) -> None:
            self.at = 1e12


def kept(world: World) -> str:
    return keep(LEASE, world.lives, world.attempt, lambda: world.now, world.pause)


def test_a_run_of_a_day_without_a_word_keeps_its_lease_and_says_its_end() -> None:
    world = World([], dies=1000 + 86400)
    assert kept(world) == ""
    assert len(world.words) == pytest.approx(86400 / renewal(LEASE), rel=0.02)
    assert set(world.words[:-1]) == {"900"} and world.words[-1] == "ended"


def test_a_lock_that_is_let_go_or_lost_is_not_renewed() -> None:
    assert kept(World([(0.1, OVER)])) == ""
    assert "taken the lock over" in kept(World([(0.1, TAKEN), (0.1, RENEWED)]))


def test_a_lease_that_never_began_ends_no_run() -> None:
    assert kept(World([(0.1, "")] * 10_000, dies=1000 + 7200)) == ""


TRIES = st.tuples(st.floats(0, 5000), st.sampled_from([RENEWED, "", ""]))


@given(st.lists(TRIES, max_size=40), st.lists(st.floats(0, 3000), max_size=40))
def test_a_run_never_goes_on_beyond_what_others_wait_for(answers: list[tuple[float, str]], sleeps: list[float]) -> None:
    """At each moment that the keeper is awake, its run is younger than the lease, or is being ended."""
    world = World(answers, sleeps, dies=30_000)
    seen: list[tuple[float, float]] = []

    def lives() -> bool:
        if world.renewed is not None:
            seen.append((world.now, world.renewed))
        return world.lives()

    said = keep(LEASE, lives, world.attempt, lambda: world.now, world.pause)
    late = [(now, at) for now, at in seen if now - at >= LEASE]
    # only the look at which it is ended, just after the machine woke up
    assert len(late) <= 1 and (not late or said or not late[0][0] < world.dies or late[0] == seen[-1])


PLAY = """
- hosts: localhost
  gather_facts: false
  vars:
    ansible_python_interpreter: {python}
  module_defaults:
    rspm.ha.cluster_lock: {{path: {path}, uid: {uid}, gid: {gid}}}
  tasks:
    - rspm.ha.cluster_lock:
        state: held
        verb: upgrade
        target: "1"
        lease: {lease}
      register: held
    - rspm.ha.cluster_lock:
        state: held
        verb: upgrade
        target: "1"
        phase: next
        lease: {lease}
        run_id: "{{{{ held.lock.run_id }}}}"
    - ansible.builtin.command: {command}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / ".rspm-ha" / "lock"


@pytest.fixture
def runs() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def run(
    place: Path, runs: list[subprocess.Popen[str]], command: str, lease: int, *inside: str
) -> subprocess.Popen[str]:
    play = place.parents[1] / f"play{len(runs)}.yml"
    # the controller of another container: its processes are nobody's here
    play.write_text(
        PLAY.format(
            python=sys.executable,
            path=place,
            uid=os.getuid(),
            gid=os.getgid(),
            command=json.dumps(command),
            lease=lease,
        ),
        encoding="utf-8",
    )
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_NOCOLOR": "1"}
    program = [
        *inside,
        str(Path(sys.executable).with_name("ansible-playbook")),
        "-c",
        "local",
        "-i",
        "localhost,",
        str(play),
    ]
    runs.append(subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    return runs[-1]


def wait_for(what: Path, text: str, seconds: float = 40) -> None:
    until = time.monotonic() + seconds
    while not what.exists() or text not in what.read_text(encoding="utf-8"):
        assert time.monotonic() < until, f"{what} does not say {text}"
        time.sleep(0.1)


def test_a_silent_run_keeps_its_lease_and_a_killed_one_is_followed(
    place: Path, runs: list[subprocess.Popen[str]]
) -> None:
    first = run(place, runs, "sleep 60", 30)
    alive = place / "000001.alive"
    wait_for(alive, "30")
    began = alive.stat().st_mtime
    time.sleep(3.5)
    assert alive.stat().st_mtime >= began + 2
    keepers = subprocess.run(["pgrep", "-f", str(first.args[-1])], capture_output=True, text=True, check=False)  # type: ignore[index]
    assert len(keepers.stdout.split()) >= 2
    first.send_signal(signal.SIGKILL)
    first.wait()
    # its keeper outlives it for a moment, in which it says so
    wait_for(alive, "ended", 10)
    second = run(place, runs, "true", 30)
    said = second.communicate(timeout=60)[0]
    assert second.returncode == 0, said
    assert (place / "000002.json").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a namespace")
def test_a_container_that_is_killed_is_followed_from_another_only_when_its_lease_is_over(
    place: Path, runs: list[subprocess.Popen[str]]
) -> None:
    container = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*container, "true"], check=False).returncode:
        pytest.skip("may not make a namespace")
    first = run(place, runs, "sleep 60", 12, *container)
    wait_for(place / "000001.alive", "12")
    # alive, and its processes are nobody's in the other container
    assert run(place, runs, "true", 12, *container).wait() != 0
    first.kill()
    first.wait()
    killed = (place / "000001.alive").stat().st_mtime
    time.sleep(1)
    said = run(place, runs, "true", 12, *container).communicate()[0]
    assert "The cluster is locked by" in said
    time.sleep(max(0.0, killed + 17 - time.time()))
    last = run(place, runs, "true", 12, *container)
    said = last.communicate()[0]
    assert last.returncode == 0, said
    assert (place / "000002.json").exists()


def test_a_run_whose_lock_is_taken_over_is_ended(place: Path, runs: list[subprocess.Popen[str]]) -> None:
    first = run(place, runs, "sleep 60", 15)
    wait_for(place / "000001.alive", "15")
    record = (place / "000001.json").read_text(encoding="utf-8")
    (place / "000002.json").write_text(record, encoding="utf-8")
    said = first.communicate(timeout=30)[0]
    assert first.returncode != 0
    assert "another run has taken the lock over" in said

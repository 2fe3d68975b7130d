# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What two nodes say to each other on the storage, and that nothing but the other's own word of this attempt counts."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._node import host_hand_over
from ansible_collections.rspm.ha.plugins.module_utils._node.hand_over import (
    BLOCK,
    GIVER_AT,
    TAKER_AT,
    Said,
    Word,
    never_asked,
    parse,
    render,
    says,
)
from ansible_collections.rspm.ha.plugins.module_utils._node.host_hand_over import DirectFile, HandOver


@given(st.builds(Word, st.sampled_from(Said), st.text(max_size=80), st.text(max_size=60), st.just("b"), st.just("t")))
def test_a_word_is_read_as_it_was_written(word: Word) -> None:
    block = render(word)
    assert len(block) == BLOCK and parse(block) == word
    assert parse(block[:40]) is None and parse(b"") is None and parse(bytes(BLOCK)) is None


def test_only_the_word_of_this_node_and_this_attempt_counts() -> None:
    word = Word(Said.STOPPED, "run1-a", "node2", "boot", "now")
    assert says(word, "run1-a", "node2", Said.STOPPED)
    assert not says(word, "run1-b", "node2", Said.STOPPED)
    assert not says(word, "run1-a", "node3", Said.STOPPED)
    assert not says(replace(word, said=Said.STOPS), "run1-a", "node2", Said.STOPPED)
    assert not says(None, "run1-a", "node2", Said.STOPPED)


@pytest.fixture(params=["/var/tmp", "/dev/shm"])
def hand_over(request: pytest.FixtureRequest) -> Iterator[HandOver]:
    with tempfile.TemporaryDirectory(dir=request.param) as folder:
        yield HandOver(f"{folder}/hand-over", "run1-a", "node1", "node2", os.geteuid(), os.getegid(), "/p", 10, 20)


def alongside(work: Callable[[], Any]) -> Callable[[], Any]:
    """Begin the work in a thread; returns what waits for its end, and raises what it raised."""
    ended: list[Any] = []

    def run() -> None:
        try:
            ended.append(work())
        except DomainError as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def result() -> Any:
        thread.join(20)
        assert ended, "it does not end"
        if isinstance(ended[0], DomainError):
            raise ended[0]
        return ended[0]

    return result


def test_the_taker_goes_on_as_soon_as_the_giver_has_stopped(hand_over: HandOver) -> None:
    taken = alongside(lambda: (hand_over.await_giver(), time.monotonic())[1])
    hand_over.await_taker()
    hand_over.say(Said.STOPS)
    time.sleep(0.3)
    hand_over.say(Said.STOPPED)
    assert taken() - time.monotonic() < 1


def test_nothing_of_an_earlier_attempt_counts(hand_over: HandOver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_hand_over, "_MEET_SECONDS", 0.3)
    earlier = replace(hand_over, attempt="run1-0")
    for said in (Said.WAITS, Said.STOPPED):
        earlier.say(said)
    with pytest.raises(DomainError, match=r"did not say within 0\.3 s that it waits"):
        hand_over.await_taker()
    with pytest.raises(DomainError, match=r"did not say within 0\.3 s that it begins to stop"):
        hand_over.await_giver()


def test_a_giver_that_dies_while_it_stops_has_proved_nothing(hand_over: HandOver) -> None:
    hand_over.say(Said.STOPS)
    with pytest.raises(DomainError, match="nothing was started on") as failed:
        replace(hand_over, stop_timeout=0.3).await_giver()
    assert "node2 began to stop" in failed.value.problems[0].found
    assert "rspm.ha.rollback" in failed.value.problems[0].fix


def test_a_taker_that_fails_keeps_the_giver_serving(hand_over: HandOver) -> None:
    hand_over.say(Said.WAITS)
    failing = DomainError(*hand_over_problems())
    with pytest.raises(DomainError) as failed, hand_over.announced():
        raise failing
    assert failed.value is failing
    with pytest.raises(DomainError, match="node1, which is to take over, has given up"):
        hand_over.await_taker()


def hand_over_problems() -> tuple[Any, ...]:
    return (never_asked("node2", "node1", 60, gone=False),)


@pytest.mark.parametrize("last", [Said.GONE, Said.MOVED_NOTHING])
def test_the_giver_waits_for_the_end_of_a_taker_that_is_at_work(
    hand_over: HandOver, monkeypatch: pytest.MonkeyPatch, last: Said
) -> None:
    monkeypatch.setattr(host_hand_over, "_BEAT_SECONDS", 0.2)
    monkeypatch.setattr(host_hand_over, "_SILENCE_SECONDS", 2.0)
    for said in (Said.WAITS, Said.STOPPED):
        hand_over.say(said)
    ended = alongside(lambda: (hand_over.await_end(), time.monotonic()))
    with hand_over.at_work() as last_word:
        time.sleep(3)
        last_word.append(last)
        at_work = time.monotonic()
    back, when = ended()
    assert back is (last is Said.MOVED_NOTHING) and when > at_work


def test_a_taker_that_dies_at_work_gives_nothing_back(hand_over: HandOver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_hand_over, "_BEAT_SECONDS", 0.1)
    monkeypatch.setattr(host_hand_over, "_SILENCE_SECONDS", 1.0)
    child = os.fork()
    if child == 0:
        with hand_over.at_work():
            os._exit(0)
    os.waitpid(child, 0)
    begun = time.monotonic()
    assert not hand_over.await_end() and 0.9 < time.monotonic() - begun < 6


def test_neither_an_earlier_attempt_nor_a_storage_that_is_gone_gives_anything_back(
    hand_over: HandOver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_hand_over, "_SILENCE_SECONDS", 0.3)
    replace(hand_over, attempt="run1-0").say(Said.MOVED_NOTHING)
    assert not hand_over.await_end()
    assert not replace(hand_over, path="/nowhere/hand-over").await_end()


def test_a_storage_that_is_gone_is_named(hand_over: HandOver) -> None:
    with pytest.raises(DomainError, match="/nowhere/hand-over can't be used"):
        replace(hand_over, path="/nowhere/hand-over").say(Said.WAITS)


def test_a_link_in_the_place_of_the_file_is_not_followed(hand_over: HandOver) -> None:
    target = Path(hand_over.path).with_name("target")
    target.write_text("kept")
    Path(hand_over.path).symlink_to(target)
    with pytest.raises(DomainError, match="can't be used"):
        hand_over.say(Said.WAITS)
    assert target.read_text() == "kept"


def test_what_one_writes_the_other_sees_in_the_file_that_it_has_open(hand_over: HandOver) -> None:
    reading, writing = DirectFile(hand_over.path), DirectFile(hand_over.path)
    try:
        if hand_over.path.startswith("/var"):
            assert reading.direct, "this file system can read past its cache"
        assert reading.read(GIVER_AT) == b""
        for said in (Said.STOPS, Said.STOPPED):
            writing.write(GIVER_AT, render(Word(said, "t", "node2", "b", "now")))
            word = parse(reading.read(GIVER_AT))
            assert word is not None and word.said is said
        assert parse(reading.read(TAKER_AT)) is None
        inode = os.stat(hand_over.path).st_ino
        writing.write(TAKER_AT, render(Word(Said.WAITS, "t", "node1", "b", "now")))
        assert os.stat(hand_over.path).st_ino == inode and parse(reading.read(TAKER_AT))
        assert os.stat(hand_over.path).st_mode & 0o777 == 0o600
    finally:
        reading.close()
        writing.close()

"""The watch that the other tests rest on finds what it is there for."""

from __future__ import annotations

from typing import Any

from tests.scenarios.upgrade.watch import Samples, lives, mixtures


def line(at: float, *services: list[Any]) -> dict[str, Any]:
    return {"at": at, "services": list(services)}


def handover(last: float) -> Samples:
    """Two nodes: node1 starts the new version at 2.0, and node2's old process is last seen at a certain moment."""
    old, new = [7, "100", "1", "1"], [9, "500", "2", "2"]
    moments = [number / 10 for number in range(40)]
    return {
        "node1": [line(at, *([new] if at >= 2 else [])) for at in moments],
        "node2": [line(at, *([old] if at <= last else [])) for at in moments],
    }


def test_one_version_after_the_other_is_no_mixture() -> None:
    assert mixtures(lives(handover(last=1.7))) == []


def test_two_versions_at_one_instant_are_a_mixture() -> None:
    assert mixtures(lives(handover(last=2.3))) == ["1 on node2 until 2.400 and 2 on node1 from 1.900"]


def test_two_versions_between_two_samples_are_a_mixture() -> None:
    assert mixtures(lives(handover(last=1.9))) == ["1 on node2 until 2.000 and 2 on node1 from 1.900"]


def test_a_process_is_of_the_version_that_it_tells_and_not_of_the_one_on_the_disk() -> None:
    samples: Samples = {
        "node1": [line(0), line(1, [7, "100", "2", ""]), line(2, [7, "100", "2", "1"]), line(3)],
        "node2": [line(0), line(1, [7, "100", "2", ""]), line(2, [7, "100", "2", ""]), line(3)],
    }
    assert {(life.node, life.version) for life in lives(samples)} == {("node1", "1"), ("node2", "2")}
    assert len(mixtures(lives(samples))) == 1

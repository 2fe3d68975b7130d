"""The watch that the other tests rest on finds what it is there for."""

from __future__ import annotations

from typing import Any

from tests.scenarios.support import Answer, Clients
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


def outages(*answers: tuple[float, float, int]) -> list[float]:
    clients = Clients("nowhere")
    clients.answers = [Answer(*answer) for answer in answers]
    return clients.outages()


def test_an_outage_lasts_from_the_first_request_that_failed_to_the_end_of_the_next_that_was_served() -> None:
    assert outages((0, 1, 200), (2, 5, 503), (5, 6, 503), (6, 8, 200), (8, 9, 200)) == [6]


def test_answers_that_come_out_of_order_are_one_outage() -> None:
    # one client waits for a node that is gone, while another is still served
    assert outages((2.0, 5.0, 503), (2.1, 2.2, 200), (2.4, 5.4, 503), (5.4, 6.0, 200)) == [4]


def test_a_second_of_service_is_an_end() -> None:
    assert outages((0, 1, 0), (1, 2, 200), (2, 2.5, 200), (3.5, 4, 503), (4, 6, 200)) == [2, 2.5]


def test_no_failure_is_no_outage() -> None:
    assert outages((0, 1, 200), (1, 2, 200)) == []

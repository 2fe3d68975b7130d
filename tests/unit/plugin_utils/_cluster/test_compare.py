# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the clocks of the nodes agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.compare import judge_clocks


def nodes_with(offsets: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    return {name: {"clock": {"offset": offset}} for name, offset in offsets.items()}


def test_clocks_that_disagree_are_shown_with_all_hosts() -> None:
    nodes = {**nodes_with({"node1": 0.001, "node2": -0.3, "node3": 0.31}), "node4": {"clock": None}}
    assert judge_clocks(nodes, 0.7) == []
    (problem,) = judge_clocks(nodes, 0.5)
    assert problem.check == "clocks-agree"
    assert problem.found == (
        "The clocks of node2 and node3 differ by 0.610 s, more than 0.5 s; chronyd still corrects: "
        "node1 +0.001 s, node2 -0.300 s, node3 +0.310 s"
    )
    assert judge_clocks({}, 0.5) == []


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.floats(-100, 100), max_size=6), st.floats(0, 10))
def test_clocks_agree_when_every_pair_does(offsets: dict[str, float], limit: float) -> None:
    pairs = [abs(one - other) for one in offsets.values() for other in offsets.values()]
    assert (judge_clocks(nodes_with(offsets), limit) == []) == all(pair <= limit for pair in pairs)

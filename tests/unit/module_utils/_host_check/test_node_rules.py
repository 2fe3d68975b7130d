"""The decisions of the preflight that no other part makes."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem, unique
from ansible_collections.rspm.ha.plugins.module_utils._host_check.node_rules import MIB, judge_free, judge_package
from ansible_collections.rspm.ha.plugins.module_utils._postgres.login import LoginResult, judge_managed_login
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import (
    CERTIFICATE,
    REFUSED,
    SERVER_ERROR,
    TIMED_OUT,
    TLS_NOT_OFFERED,
    ServerError,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._preflight.rules import report

SUM = "a" * 64


@pytest.mark.parametrize(
    ("free", "installed", "told"), [(1023, False, 1), (1024, False, 0), (99, True, 1), (100, True, 0)]
)
def test_space_is_enough_from_its_limit_on(free: int, installed: bool, told: int) -> None:
    assert len(judge_free({"/var": free * MIB}, installed)) == told


@pytest.mark.parametrize(
    ("source", "found", "checksum", "check"),
    [
        ("file", SUM, "", None),
        ("file", SUM, f"sha256:{SUM}", None),
        ("file", SUM, f"sha256:{SUM.upper()}", None),
        ("file", SUM, f"sha256:{'b' * 64}", "package-checksum"),
        ("file", None, "", "package-file"),
        ("file", SUM, "md5:abc", "package-checksum"),
        ("url", None, "", "package-checksum"),
        ("url", None, f"sha256:{SUM}", None),
        ("repository", None, "", None),
    ],
)
def test_the_package_is_the_one_that_was_meant(
    source: str, found: str | None, checksum: str, check: str | None
) -> None:
    problems = judge_package(source, "/p.deb", found, "", checksum)
    assert [problem.check for problem in problems] == ([] if check is None else [check])


def test_what_nodes_have_in_common_is_said_once() -> None:
    shared, own = Problem("a", "x", "y", "z"), Problem("b", "x", "y", "z")
    lines = report({"node1": [shared.to_dict()], "node2": [shared.to_dict(), own.to_dict()], "node3": []})
    assert lines == ["node1, node2: [a] x. y. z.", "node2: [b] x. y. z."]


def test_a_problem_of_both_databases_is_told_once() -> None:
    problem = Problem("a", "x", "y", "z")
    assert unique([problem, Problem("b", "x", "y", "z"), problem]) == [problem, Problem("b", "x", "y", "z")]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"server_version_num": 160004, "schema_exists": False}, []),
        ({"server_version_num": 110000, "schema_exists": True, "can_create": True}, ["database-version"]),
        ({"failure": TIMED_OUT}, ["database-unreachable"]),
        ({"failure": CERTIFICATE}, ["database-tls"]),
        ({"failure": REFUSED}, []),
        ({"failure": TLS_NOT_OFFERED}, []),
        ({"failure": SERVER_ERROR, "error": ServerError("28P01", "no", "auth_failed")}, []),
    ],
)
def test_of_databases_that_are_to_be_made_only_what_lasts_is_told(change: dict[str, Any], told: list[str]) -> None:
    result = LoginResult(host="db", port=5432, database="pm", user="pm", sslmode="require", **change)
    assert [problem.check for problem in judge_managed_login(result)] == told

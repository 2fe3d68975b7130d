# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What HAProxy 2.6 answered, recorded, and what it means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._haproxy import rules as haproxy

COLUMNS = (
    "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight"
    " srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state"
    " bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr"
    " srv_agent_addr srv_agent_port"
)


def servers_state(**admin: int) -> str:
    rows = [
        f"3 rspm {number} {name} 127.0.0.1 2 {mask} 1 1 4 15 3 3 6 0 0 0 - 4242 - 0 0 - - 0"
        for number, (name, mask) in enumerate(admin.items(), 1)
    ]
    return "\n".join(["1", COLUMNS, *rows, "", ""])


def stat(**lines: tuple[str, int, int, str]) -> str:
    rows = ["# pxname,svname,qcur,scur,status,check_status,"]
    rows += ["rspm,FRONTEND,,7,OPEN,,", "other,n1,5,5,UP,L7OK,"]
    rows += [f"rspm,{name},{queued},{now},{status},{check}," for name, (status, now, queued, check) in lines.items()]
    rows += ["rspm,BACKEND,0,7,UP,,"]
    return "\n".join(rows) + "\n\n"


def member(
    status: str = "UP", sessions: int = 0, queued: int = 0, check: str = "L7OK", mask: int = 0
) -> haproxy.Member:
    return haproxy.member_of(servers_state(n0=0, n1=mask), stat(n1=(status, sessions, queued, check)), "rspm", "n1")


@pytest.mark.parametrize(
    ("mask", "state"),
    [
        (0, haproxy.READY),
        (0x04, haproxy.READY),
        (0x01, haproxy.MAINTENANCE),
        (0x20, haproxy.MAINTENANCE),
        (0x09, haproxy.MAINTENANCE),
        (0x08, haproxy.DRAIN),
        (0x10, haproxy.DRAIN),
    ],
)
def test_what_the_operator_wants_is_read_from_the_mask(mask: int, state: str) -> None:
    assert member(mask=mask).state == state


def test_requests_on_the_node_and_in_its_queue_count() -> None:
    assert member(sessions=2, queued=3).sessions == 5


def test_a_check_under_way_shows_the_last_result() -> None:
    assert member(check="* L4CON").check == "L4CON"


def test_a_node_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(DomainError) as error:
        haproxy.member_of(servers_state(n0=0, n1=0), stat(), "rspm", "n9")
    assert error.value.problems[0].found == "HAProxy has no server n9 in backend rspm; its servers are n0, n1"
    with pytest.raises(DomainError, match="it has no servers"):
        haproxy.member_of(servers_state(n1=0), stat(), "web", "n1")
    with pytest.raises(DomainError):
        haproxy.member_of("", "", "rspm", "n1")


def test_all_servers_of_one_backend_are_seen() -> None:
    seen = haproxy.members_of(
        servers_state(n0=0, n1=8, n2=0), stat(n0=("UP", 2, 0, "L7OK"), n1=("DRAIN", 0, 1, "* L7OK")), "rspm"
    )
    assert seen == {
        "n0": haproxy.Member("ready", "UP", 2, "L7OK"),
        "n1": haproxy.Member("drain", "DRAIN", 1, "L7OK"),
    }
    assert haproxy.judge_members(seen, "rspm") == []
    assert haproxy.members_of(servers_state(n0=0), stat(n0=("UP", 0, 0, "")), "web") == {}
    assert haproxy.judge_members({}, "web")[0].check == "load-balancer-member"


@pytest.mark.parametrize(
    ("wanted", "seen", "done"),
    [
        (haproxy.DRAIN, member("DRAIN", mask=8), True),
        (haproxy.DRAIN, member("DRAIN", sessions=1, mask=8), False),
        (haproxy.DRAIN, member("DRAIN", queued=1, mask=8), False),
        (haproxy.DRAIN, member("UP"), False),
        (haproxy.DRAIN, member("DOWN", mask=8), True),
        (haproxy.MAINTENANCE, member("MAINT", mask=1), True),
        (haproxy.MAINTENANCE, member("MAINT", sessions=1, mask=1), False),
        (haproxy.READY, member("UP"), True),
        (haproxy.READY, member("no check"), True),
        (haproxy.READY, member("UP", sessions=9), True),
        (haproxy.READY, member("UP 1/2"), False),
        (haproxy.READY, member("DOWN 1/2"), False),
        (haproxy.READY, member("DOWN"), False),
        (haproxy.READY, member("MAINT", mask=1), False),
    ],
)
def test_when_there_is_nothing_left_to_wait_for(wanted: str, seen: haproxy.Member, done: bool) -> None:
    assert haproxy.settled(seen, wanted) is done


def test_an_unhealthy_node_is_named_with_its_check() -> None:
    problems = haproxy.judge_ready(member("DOWN", check="L7STS"), "n1", 60.04)
    assert [problem.found for problem in problems] == [
        "Node n1 is DOWN at the load balancer after 60 s (last health check: L7STS)"
    ]
    assert haproxy.judge_ready(member("UP"), "n1", 0) == []


def test_what_haproxy_refuses_is_reported() -> None:
    assert haproxy.judge_change("\n", "rspm", "n1", "drain") == []
    problem = haproxy.judge_change("Permission denied\n", "rspm", "n1", "drain")[0]
    assert problem.found == "HAProxy answered 'Permission denied' to the change of rspm/n1 to drain"


@pytest.mark.parametrize(("state", "word"), [("drain", "drain"), ("maintenance", "maint"), ("ready", "ready")])
def test_the_runtime_command(state: str, word: str) -> None:
    assert haproxy.change_command("rspm", "n1", state) == f"set server rspm/n1 state {word}"


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True), st.integers(0, 0x7F), max_size=6))
def test_the_state_file_has_those_out_of_service_and_no_other(masks: dict[str, int]) -> None:
    lines = haproxy.state_file(servers_state(**masks)).splitlines()
    assert lines[:2] == (["1", COLUMNS] if masks else ["1"])
    assert [line.split()[3] for line in lines[2:]] == [
        name for name, mask in masks.items() if mask & (haproxy.ADMIN_DRAIN | haproxy.ADMIN_MAINTENANCE)
    ]


def test_the_same_nodes_out_of_service_make_the_same_file() -> None:
    later = servers_state(n0=0, n1=8).replace(" 1 1 4 15 3 3 6 ", " 1 1 99 7 2 0 7 ")
    assert later != servers_state(n0=0, n1=8)
    assert haproxy.state_file(later) == haproxy.state_file(servers_state(n0=0, n1=8))


def test_an_empty_answer_makes_an_empty_state_file() -> None:
    assert haproxy.state_file("") == "1\n"


def test_a_teams_own_command_is_filled_in_without_touching_other_braces() -> None:
    assert haproxy.fill(["--{node}={state}", "{other}"], "n1", "drain") == ["--n1=drain", "{other}"]

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which sessions are certainly this node's own and left by the dead: no other may ever be ended."""

from __future__ import annotations

import os
import socket

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._postgres.host_sessions import load_open_ports, local_end
from ansible_collections.rspm.ha.plugins.module_utils._postgres.node_sessions import (
    End,
    is_direct,
    judge_left,
    left_by_the_dead,
    plain_address,
)
from ansible_collections.rspm.ha.plugins.module_utils._postgres.sessions import Session

ADDRESSES = st.sampled_from(["", "192.0.2.1", "192.0.2.2"])
PORTS = st.integers(min_value=0, max_value=3)
ENDS = st.builds(End, ADDRESSES, PORTS)


def session(address: str, port: int) -> Session:
    return Session(4711, "main", "pm", "rstudio-pm", address, "idle", "", "", port)


SESSIONS = st.lists(st.builds(session, ADDRESSES, PORTS))


@given(SESSIONS, ENDS, ENDS, st.dictionaries(PORTS, st.just("psql (pid 9)")))
def test_only_what_is_certainly_ours_and_dead_is_ended(
    sessions: list[Session], here: End, there: End, ports: dict[int, str]
) -> None:
    ended = left_by_the_dead(sessions, here, there, ports)
    for each in ended:
        assert here == there and each.client_address == here.address != ""
        assert each.client_port > 0 and each.client_port not in ports
    if here == there and here.address:
        kept = [each for each in sessions if each not in ended]
        assert all(e.client_address != here.address or e.client_port in {0, *ports} for e in kept)


def test_a_translated_address_or_port_is_not_direct() -> None:
    assert is_direct(End("192.0.2.1", 5), End("192.0.2.1", 5))
    assert not is_direct(End("10.0.0.1", 5), End("192.0.2.1", 5))
    assert not is_direct(End("192.0.2.1", 5), End("192.0.2.1", 6))
    assert not is_direct(End("", 0), End("", 0))


def test_what_is_left_says_why_it_was_left() -> None:
    here, there = End("192.0.2.1", 5), End("192.0.2.9", 5)
    left = [session("192.0.2.1", 40000)]
    assert judge_left([], "db1:5432", here, here, {}) == []
    assert "left at db1:5432" in judge_left(left, "db1:5432", here, here, {})[0].found
    assert "on this node psql (pid 9) has" in judge_left(left, "db1:5432", here, here, {40000: "psql (pid 9)"})[0].found
    behind = judge_left(left, "db1:5432", here, there, {})[0]
    assert "192.0.2.1:5 on this node is 192.0.2.9:5 there" in behind.found and "pid IN (4711)" in behind.fix


def test_addresses_are_written_as_the_server_writes_them() -> None:
    assert plain_address("::ffff:192.0.2.1") == "192.0.2.1"
    assert plain_address("fe80::1%eth0") == "fe80::1"
    assert plain_address("2001:DB8::0") == "2001:db8::"


def test_the_ends_and_holders_of_real_sockets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        end = local_end(client.fileno())
        assert (end.address, end.port) == client.getsockname()
        assert f"(pid {os.getpid()})" in load_open_ports()[end.port]
    assert end.port not in load_open_ports()
    with socket.socket(socket.AF_UNIX) as local:
        assert local_end(local.fileno()) == End("", 0)

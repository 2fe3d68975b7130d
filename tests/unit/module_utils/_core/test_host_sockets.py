# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The TCP sockets of this host and their processes."""

from __future__ import annotations

import os
import socket

from ansible_collections.rspm.ha.plugins.module_utils._core.host_sockets import (
    Socket,
    load_name,
    load_owners,
    load_sockets,
    parse_sockets,
)

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LINE = "   0: {}:{:04X} 0100007F:1538 {} 00000000:00000000 00:00000000 00000000     0        0 {} 1 0 20\n"


def test_a_table_of_the_kernel_is_read() -> None:
    text = HEAD + LINE.format("0100007F", 40000, "01", 77) + LINE.format("0" * 32, 5432, "0A", 78)
    assert parse_sockets(text + "torn\n") == [Socket(40000, 77, False), Socket(5432, 78, True)]
    assert parse_sockets("") == []


def test_who_listens_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        inode = os.fstat(server.fileno()).st_ino
        assert Socket(server.getsockname()[1], inode, True) in load_sockets()
        assert load_owners({inode}) == {inode: [os.getpid()]}
    assert inode not in [found.inode for found in load_sockets()]
    assert load_owners({inode}) == {} == load_owners(())
    assert load_name(os.getpid()) and load_name(2**22 + 1) == ""

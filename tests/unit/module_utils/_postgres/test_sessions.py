# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which sessions count, and what is said of those that are left."""

from __future__ import annotations

from ansible_collections.rspm.ha.plugins.module_utils._postgres import sessions
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import Rows

NODE = sessions.Session(4711, "main", "pm", "rstudio-pm", "192.0.2.12", "idle", "2026-08-01T12:00:00Z", "")
COLUMNS = ("pid", "datname", "usename", "application_name", "client_addr", "client_port", "state", "since", "connected")


def test_a_row_becomes_a_session_also_where_the_server_hides_things() -> None:
    rows = Rows(COLUMNS, (("7", "main", "pm", "x", None, None, None, None, None),))
    assert sessions.parse_sessions(rows) == (sessions.Session(7, "main", "pm", "x", "", "", "", ""),)


def test_who_is_left_is_named() -> None:
    local = sessions.Session(7, "usage", "pm", "", "", "", "", "")
    assert sessions.judge_sessions([], "db1:5432") == []
    assert sessions.judge_sessions([NODE], "db1:5432")[0].found == (
        "1 session is left at db1:5432: rstudio-pm from 192.0.2.12 as pm on main"
        " (pid 4711, idle since 2026-08-01T12:00:00Z)"
    )
    assert sessions.judge_sessions([NODE, local], "db1:5432")[0].found.endswith(
        "; unnamed from the server's own socket as pm on usage (pid 7, state not shown)"
    )


def test_database_names_can_not_leave_their_literals() -> None:
    assert "datname IN (E'a''b', E'c')" in sessions.sessions_query(["a'b", "c"])

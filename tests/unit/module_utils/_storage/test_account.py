# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service's account has its ids, or the run stops."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._storage.account import (
    AccountRequest,
    AccountState,
    judge_account,
    plan_account,
)
from ansible_collections.rspm.ha.plugins.module_utils._storage.host_account import read_account

WANTED = AccountRequest("rstudio-pm", 940, 941, "/var/lib/rstudio-pm", "/usr/sbin/nologin")
NOTHING = AccountState(-1, -1, -1, "", "", False)
RIGHT = AccountState(940, 941, 941, "rstudio-pm", "rstudio-pm", True)


def test_group_user_and_home_are_made_in_this_order() -> None:
    assert [command[0] for command in plan_account(WANTED, NOTHING)] == ["groupadd", "useradd", "install"]
    assert plan_account(WANTED, NOTHING)[1] == (
        "useradd --system --uid 940 --gid 941 --no-create-home --home-dir /var/lib/rstudio-pm "
        "--shell /usr/sbin/nologin rstudio-pm"
    ).split(" ")


def test_nothing_is_done_to_an_account_that_is_right() -> None:
    assert plan_account(WANTED, RIGHT) == []


@pytest.mark.parametrize(
    ("state", "found"),
    [
        (
            AccountState(-1, -1, -1, "postgres", "", False),
            "The id 940 that the user {} is to have belongs to the user postgres",
        ),
        (
            AccountState(-1, -1, -1, "", "ssl-cert", False),
            "The id 941 that the group {} is to have belongs to the group ssl-cert",
        ),
        (AccountState(998, 941, 941, "", "rstudio-pm", True), "The user {} has the id 998 instead of 940"),
        (AccountState(940, 997, 997, "rstudio-pm", "", True), "The group {} has the id 997 instead of 941"),
        (AccountState(940, 100, 941, "rstudio-pm", "x", True), "The user {} has the primary group 100 instead of 941"),
    ],
)
def test_ids_that_belong_to_others_and_accounts_with_other_ids_are_refused(state: AccountState, found: str) -> None:
    with pytest.raises(DomainError) as refusal:
        plan_account(WANTED, state)
    assert refusal.value.problems[0].found == found.format("rstudio-pm")
    assert refusal.value.problems[0].fix


IDS = st.sampled_from([-1, 940, 941, 998])
HOLDERS = st.sampled_from(["", "rstudio-pm", "other"])


@given(st.builds(AccountState, IDS, IDS, IDS, HOLDERS, HOLDERS, st.booleans()))
def test_no_command_changes_an_id(state: AccountState) -> None:
    if judge_account(WANTED, state):
        return
    commands = plan_account(WANTED, state)
    assert all(command[0] in ("groupadd", "useradd", "install") for command in commands)
    assert state.uid in (-1, WANTED.uid) and state.group_gid in (-1, WANTED.gid)
    assert any(command[0] == "useradd" for command in commands) == (state.uid == -1)


def test_the_accounts_of_this_host_are_read() -> None:
    root = read_account(AccountRequest("root", 0, 0, "/", "/bin/sh"))
    assert root == AccountState(0, 0, 0, "root", "root", True)
    assert read_account(AccountRequest("no-such-user", 54321, 54322, "/no-such-home", "/bin/sh")) == NOTHING

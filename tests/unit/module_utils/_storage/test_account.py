# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service's account has its ids, or the run stops."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._storage.account import (
    AccountRequest,
    AccountState,
    judge_account,
)
from ansible_collections.rspm.ha.plugins.module_utils._storage.host_account import read_account

WANTED = AccountRequest("rstudio-pm", 940, 941)
NOTHING = AccountState(-1, -1, -1, "", "")
RIGHT = AccountState(940, 941, 941, "rstudio-pm", "rstudio-pm")


def test_an_account_that_is_right_or_missing_is_no_problem() -> None:
    assert judge_account(WANTED, RIGHT) == judge_account(WANTED, NOTHING) == []


@pytest.mark.parametrize(
    ("state", "found"),
    [
        (
            AccountState(-1, -1, -1, "postgres", ""),
            "The id 940 that the user {} is to have belongs to the user postgres",
        ),
        (
            AccountState(-1, -1, -1, "", "ssl-cert"),
            "The id 941 that the group {} is to have belongs to the group ssl-cert",
        ),
        (AccountState(998, 941, 941, "", "rstudio-pm"), "The user {} has the id 998 instead of 940"),
        (AccountState(940, 997, 997, "rstudio-pm", ""), "The group {} has the id 997 instead of 941"),
        (AccountState(940, 100, 941, "rstudio-pm", "x"), "The user {} has the primary group 100 instead of 941"),
    ],
)
def test_ids_that_belong_to_others_and_accounts_with_other_ids_are_refused(state: AccountState, found: str) -> None:
    problem = judge_account(WANTED, state)[0]
    assert problem.check == "account-ids" and problem.found == found.format("rstudio-pm")
    assert problem.fix


IDS = st.sampled_from([-1, 940, 941, 998])
HOLDERS = st.sampled_from(["", "rstudio-pm", "other"])


@given(st.builds(AccountState, IDS, IDS, IDS, HOLDERS, HOLDERS))
def test_an_account_without_a_problem_needs_no_id_changed(state: AccountState) -> None:
    if not judge_account(WANTED, state):
        assert state.uid in (-1, WANTED.uid) and state.group_gid in (-1, WANTED.gid)


def test_the_accounts_of_this_host_are_read() -> None:
    root = read_account(AccountRequest("root", 0, 0))
    assert root == AccountState(0, 0, 0, "root", "root")
    assert read_account(AccountRequest("no-such-user", 54321, 54322)) == NOTHING

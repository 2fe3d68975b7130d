# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may take the lock, and what is said to those who may not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._lock.lease import LIVES
from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import (
    LockRecord,
    LockView,
    ProcessId,
    Request,
    describe,
    holder_pid,
    is_gone,
    may_take,
    parse,
    refusal,
    render,
)

NOW = "2026-11-24T04:00:00Z"
ANNA = LockRecord(
    run_id="3f0c2a9d7e51",
    holder="boot:ns/4711/100",
    operator="anna@ops1",
    verb="upgrade",
    target="2026.08.0",
    since="2026-11-24T03:10:00Z",
    updated="2026-11-24T03:12:41Z",
    phase="stage",
    node="node1",
)
BEN = Request("new", "boot:ns/5000/200", "ben@ops2", "upgrade", "2026.08.0", "observe", "node2")
SELF = Request("new", ANNA.holder, ANNA.operator, "upgrade", "2026.08.0", "stage", "node1")


def test_a_free_lock_is_taken_under_a_new_run_id() -> None:
    decision = may_take(None, BEN, NOW)
    assert decision.view is LockView.FREE
    assert decision.record is not None
    assert (decision.record.run_id, decision.record.since, decision.record.phase) == ("new", NOW, "observe")


def test_a_held_lock_is_refused_in_a_sentence_that_a_person_understands() -> None:
    decision = may_take(ANNA, BEN, NOW)
    assert (decision.view, decision.record) == (LockView.HELD, None)
    assert decision.says == (
        "locked by anna@ops1 since 2026-11-24 03:10 UTC for upgrade to 2026.08.0, phase 'stage' "
        "(last sign 2026-11-24 03:12 UTC, on node1); to break it: "
        "ansible-playbook -i <inventory> rspm.ha.unlock -e rspm_unlock_run_id=3f0c2a9d7e51"
    )
    assert decision.says in str(refusal(decision.says))


def test_our_own_lock_is_renewed_only_where_it_says_something_new() -> None:
    assert may_take(ANNA, SELF, NOW).record is None
    renewed = may_take(ANNA, replace(SELF, phase="first"), NOW)
    assert renewed.view is LockView.OURS
    assert renewed.record == replace(ANNA, phase="first", updated=NOW)


@pytest.mark.parametrize(
    ("change", "view"),
    [
        ({}, LockView.TAKEABLE),
        ({"verb": "rollback"}, LockView.TAKEABLE),
        ({"verb": "migrate"}, LockView.HELD),
        ({"target": "2026.04.0"}, LockView.HELD),
        ({"gone": ""}, LockView.HELD),
        ({"gone": "boot:ns/4711/99"}, LockView.HELD),
    ],
)
def test_only_the_same_work_follows_a_holder_that_is_gone(change: dict[str, str], view: LockView) -> None:
    decision = may_take(ANNA, replace(BEN, **{"gone": ANNA.holder, **change}), NOW)
    assert decision.view is view
    if view is LockView.TAKEABLE:
        assert decision.record is not None
        assert (decision.record.run_id, decision.record.operator) == (ANNA.run_id, "ben@ops2")


@pytest.mark.parametrize(
    ("change", "view"),
    [
        ({}, LockView.TAKEABLE),
        ({"verb": "rollback"}, LockView.TAKEABLE),
        ({"verb": "migrate"}, LockView.HELD),
        ({"gone": LIVES}, LockView.HELD),
        ({"gone": "boot:ns/4711/99"}, LockView.HELD),
    ],
)
def test_a_lease_that_is_over_counts_unless_its_holder_is_seen_alive(change: dict[str, str], view: LockView) -> None:
    assert may_take(ANNA, replace(BEN, **change), NOW, True).view is view
    assert may_take(ANNA, replace(BEN, **change), NOW, False).view is LockView.HELD


def test_an_upgrade_does_not_follow_a_rollback() -> None:
    rollback = replace(ANNA, verb="rollback")
    assert may_take(rollback, replace(BEN, gone=ANNA.holder), NOW).view is LockView.HELD
    assert "for rollback of the upgrade to 2026.08.0" in describe(rollback)


@pytest.mark.parametrize("current", [None, replace(ANNA, holder=BEN.holder), replace(ANNA, run_id="other")])
def test_a_run_that_lost_its_lock_must_not_go_on(current: LockRecord | None) -> None:
    decision = may_take(current, replace(SELF, keeps=ANNA.run_id), NOW)
    assert (decision.view, decision.record) == (LockView.HELD, None)
    assert "no longer this run's" in decision.says
    assert may_take(ANNA, replace(SELF, keeps=ANNA.run_id), NOW).view is LockView.OURS


@given(st.builds(LockRecord, **dict.fromkeys(ANNA.to_dict(), st.text())))
def test_what_is_written_is_read_again(record: LockRecord) -> None:
    assert parse(render(record)) == record


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"run_id": "x"}'])
def test_a_broken_file_is_an_error_and_not_a_free_lock(text: str) -> None:
    with pytest.raises(DomainError, match="can't be read"):
        parse(text)


HOLDER = str(ProcessId("boot:ns", 4711, 100))


@pytest.mark.parametrize(
    ("kernel", "started", "gone"),
    [
        ("boot:ns", 100, False),
        ("boot:ns", None, True),
        ("boot:ns", 101, True),
        ("other:ns", None, False),
        ("boot:other", None, False),
        ("", None, False),
    ],
)
def test_a_holder_is_gone_only_where_its_own_kernel_says_so(kernel: str, started: int | None, gone: bool) -> None:
    assert is_gone(HOLDER, kernel, started) is gone


@pytest.mark.parametrize("holder", ["", "/0/123", "nonsense", "boot:ns"])
def test_a_holder_without_process_is_never_gone_from_elsewhere(holder: str) -> None:
    assert holder_pid(holder) == 0
    assert not is_gone(holder, "here:ns", None)


@pytest.mark.parametrize("verb", ["upgrade", "rollback", "migrate_to_single_node", "site"])
def test_what_a_site_that_is_gone_held_is_anybodys(verb: str) -> None:
    site = replace(ANNA, verb="site", target="")
    wanted = replace(BEN, verb=verb, target="" if verb == "site" else BEN.target)
    assert may_take(site, wanted, NOW).view is LockView.HELD
    taken = may_take(site, replace(wanted, gone=ANNA.holder), NOW)
    assert taken.view is LockView.TAKEABLE and taken.record is not None
    # it is the new work's, and may be renewed for that
    assert (taken.record.verb, taken.record.target) == (verb, wanted.target)
    assert may_take(taken.record, replace(wanted, keeps=taken.record.run_id), NOW).view is LockView.OURS
    assert may_take(ANNA, replace(BEN, verb="site", target="", gone=ANNA.holder), NOW).view is LockView.HELD

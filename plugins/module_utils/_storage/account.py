# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which account owns the data: the same numeric ids on every node, since NFS knows no names."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem

_WHY = "Over NFS the numeric ids count, so the service account needs the same ones on every node"


@dataclass(frozen=True)
class AccountRequest:
    """The wanted account; user and group have the same name."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class AccountState:
    """What the host's databases of users and groups say.

    uid, gid: of the user of the wanted name, -1 when there is none. group_gid: of the group of the wanted name, or -1.
    uid_name, gid_name: who has the wanted ids, empty when nobody has.
    """

    uid: int
    gid: int
    group_gid: int
    uid_name: str
    gid_name: str


def judge_account(wanted: AccountRequest, state: AccountState) -> list[Problem]:
    """Return why the account can't have the wanted ids."""
    problems = []
    for kind, wanted_id, has_id, holder in (
        ("group", wanted.gid, state.group_gid, state.gid_name),
        ("user", wanted.uid, state.uid, state.uid_name),
    ):
        variable = "rspm_gid" if kind == "group" else "rspm_uid"
        if has_id not in (-1, wanted_id):
            flag, command = ("-g", "groupmod") if kind == "group" else ("-u", "usermod")
            find = "-gid" if kind == "group" else "-uid"
            give = "chgrp" if kind == "group" else "chown"
            problems.append(
                Problem(
                    check="account-ids",
                    found=f"The {kind} {wanted.name} has the id {has_id} instead of {wanted_id}",
                    why=f"{_WHY}, and what it owns would be left behind by a change",
                    fix=f"If it has {has_id} on every node, set {variable} to {has_id}; otherwise, on this host: "
                    f"systemctl stop {wanted.name}; {command} {flag} {wanted_id} {wanted.name}; "
                    f"find / -xdev {find} {has_id} -exec {give} -h {wanted_id} {{}} +",
                )
            )
        elif has_id == -1 and holder:
            problems.append(
                Problem(
                    check="account-ids",
                    found=f"The id {wanted_id} that the {kind} {wanted.name} is to have belongs to the {kind} {holder}",
                    why=_WHY,
                    fix=f"Set {variable} to an id that is free on every node (getent {_DATABASE[kind]} shows them)",
                )
            )
    if state.uid != -1 and state.gid not in (-1, wanted.gid) and not problems:
        problems.append(
            Problem(
                check="account-ids",
                found=f"The user {wanted.name} has the primary group {state.gid} instead of {wanted.gid}",
                why=_WHY,
                fix=f"Change it on this host: systemctl stop {wanted.name}; usermod -g {wanted.gid} {wanted.name}",
            )
        )
    return problems


_DATABASE = {"group": "group", "user": "passwd"}

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The line of a mount in fstab."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._storage.fstab import with_mount, without_mount

OTHERS = "# fstab\nUUID=1 / ext4 errors=remount-ro 0 1\n\n\tnfs:/b\t/mnt/b\tnfs\tro 0 0\n#nfs:/a /mnt/a nfs rw\n"
OURS = "nfs:/a /mnt/a nfs rw,hard 0 0\n"


def wanted(text: str) -> str:
    return with_mount(text, "nfs:/a", "/mnt/a", ["rw", "hard"])


def test_it_is_added_once_and_nothing_else_is_touched() -> None:
    assert wanted(OTHERS) == OTHERS + OURS
    assert wanted(OTHERS + OURS) == OTHERS + OURS
    assert wanted(OTHERS.rstrip("\n")) == OTHERS + OURS
    assert wanted("") == OURS


@pytest.mark.parametrize(
    "old",
    ["nfs:/a /mnt/a nfs ro,hard 0 0", "old:/a\t/mnt/a/\tnfs4 rw,hard", "nfs:/a /mnt/a nfs rw,soft\nx /mnt/a ext4 rw"],
)
def test_another_line_of_the_same_mount_is_replaced_in_its_place(old: str) -> None:
    assert wanted(f"{old}\n{OTHERS}") == OURS + OTHERS


def test_a_line_that_says_the_same_stays_as_it_is_written() -> None:
    text = f"nfs:/a\t/mnt/a  nfs\trw,hard\n{OTHERS}"
    assert wanted(text) == text


def test_it_is_taken_away_alone() -> None:
    assert without_mount(OTHERS + OURS, "/mnt/a") == OTHERS
    assert without_mount(OTHERS, "/mnt/a") == OTHERS
    assert without_mount(OTHERS.rstrip("\n"), "/mnt/a") == OTHERS.rstrip("\n")


@given(st.text("/ab c\\\t#", min_size=1).map(lambda text: f"/x{text}y"))
def test_any_path_is_found_again(path: str) -> None:
    text = with_mount(OTHERS, f"nfs:{path}", path, ["rw"])
    assert with_mount(text, f"nfs:{path}", path, ["rw"]) == text and len(text.splitlines()) == 6
    assert without_mount(text, path) == OTHERS

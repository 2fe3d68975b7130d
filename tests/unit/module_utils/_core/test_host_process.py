# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a process lives, and what it has open, also where it is at work or another user's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core import host_process


def test_a_process_lives_until_it_has_ended() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        assert host_process.lives(process.pid)
        process.kill()
    assert not host_process.lives(process.pid)
    assert not host_process.lives(2**22 + 1)


def test_a_process_that_may_not_be_looked_at_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_pid: int, _number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", denied)
    assert host_process.lives(1)


def test_what_is_closed_meanwhile_hides_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("3", "4", "5"):
        (tmp_path / name).symlink_to(f"socket:[{name}]")
    real = os.readlink

    def closing(path: str) -> str:
        if path.endswith("/4"):
            raise FileNotFoundError(path)
        return real(path)

    monkeypatch.setattr(os, "readlink", closing)
    assert sorted(host_process.load_links(str(tmp_path))) == ["socket:[3]", "socket:[5]"]
    assert host_process.load_links(str(tmp_path / "none")) == []

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is made has its own mode where root's umask is 077."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._config import host
from ansible_collections.rspm.ha.plugins.module_utils._core import host_command, host_files
from ansible_collections.rspm.ha.plugins.module_utils._migration import host_record
from ansible_collections.rspm.ha.plugins.module_utils._package import host_fetch
from ansible_collections.rspm.ha.plugins.module_utils._service import host as service_host
from ansible_collections.rspm.ha.plugins.module_utils._storage import host as storage_host
from ansible_collections.rspm.ha.plugins.module_utils._storage import host_export
from ansible_collections.rspm.ha.plugins.module_utils._storage.host_export import FolderState


@pytest.fixture(autouse=True, params=[0o022, 0o027, 0o077], ids=["022", "027", "077"])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(root: Path) -> dict[str, int]:
    """Return the mode of everything below a folder."""
    return {
        str(path.relative_to(root)): stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*") if path.name != "log"
    }


def test_a_folder_has_its_mode_and_those_above_it_can_be_passed(tmp_path: Path) -> None:
    host_files.make_folder(f"{tmp_path}/a/b/c", 0o750)
    host_files.make_folder(f"{tmp_path}/a/b/c", 0o700)
    host_files.make_parents(f"{tmp_path}/x/file")
    assert modes(tmp_path) == {"a": 0o755, "a/b": 0o755, "a/b/c": 0o750, "x": 0o755}


class Module:
    """What the runner needs of a module."""

    def log(self, _line: str) -> None:
        """Keep nothing."""


def test_what_a_command_makes_can_be_read(tmp_path: Path) -> None:
    run = host_command.module_runner(Module())  # the module is only asked to log
    assert run(["sh", "-c", f"mkdir -p {tmp_path}/a/b; : > {tmp_path}/a/f"]).rc == 0
    assert modes(tmp_path) == {"a": 0o755, "a/b": 0o755, "a/f": 0o644}


def _block(root: str, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(service_host, "DROPIN_FOLDER", f"{root}/a/b")
    patch.setattr(service_host, "BLOCK_PATH", f"{root}/a/b/c")
    service_host.block(lambda *_argv, **_more: host_command.CompletedCommand(0, "", ""), "upgrade")


def _record(root: str, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(host_record, "LOCAL_PATH", f"{root}/a/b/c")
    patch.setattr(host_record, "render", lambda _record: "x")
    nothing: Any = None
    host_record.RecordStore("/nowhere").write_own(nothing)


def _save(root: str, _patch: pytest.MonkeyPatch) -> None:
    host.save(f"{root}/a/b/c", "x", 0o644, (os.getuid(), os.getgid()))


def _mount(root: str, _patch: pytest.MonkeyPatch) -> None:
    request: Any = type("Request", (), {"path": f"{root}/a/b", "source": "x"})
    storage_host.mount_from_fstab(lambda *_argv, **_more: host_command.CompletedCommand(0, "", ""), request, 1)
    Path(root, "a/b/c").touch()
    os.chmod(f"{root}/a/b/c", 0o644)


def _stage(root: str, _patch: pytest.MonkeyPatch) -> None:
    host_fetch.prepare_folder(f"{root}/a/b")
    Path(root, "part").touch()
    if os.geteuid():
        pytest.skip("gives the file to root")
    host_fetch.place(f"{root}/part", f"{root}/a/b/c")


def _export(root: str, _patch: pytest.MonkeyPatch) -> None:
    host_export.make_folder(f"{root}/a/b", FolderState(os.getuid(), os.getgid(), 0o755))
    Path(root, "a/b/c").touch()
    os.chmod(f"{root}/a/b/c", 0o644)


@pytest.mark.parametrize("make", [_block, _record, _save, _mount, _stage, _export])
def test_each_place_that_makes_folders_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[str, pytest.MonkeyPatch], None]
) -> None:
    make(str(tmp_path), monkeypatch)
    assert modes(tmp_path) == {"a": 0o755, "a/b": 0o755, "a/b/c": 0o644}

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trees with everything that can be in one, and copies of them by the real rsync."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._core.host_timeline import Timeline
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy import compare, plan
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host import Outcome, TreeCopy

needs_rsync = pytest.mark.skipif(shutil.which("rsync") is None, reason="needs rsync: apt-get install rsync")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def runner(argv: list[str], **_options: Any) -> CompletedCommand:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return CompletedCommand(done.returncode, done.stdout, done.stderr)


@contextmanager
def source_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that every account may enter, with a source in it; files are proved however new they are."""
    monkeypatch.setattr(compare, "SOURCE_SETTLE_NS", 0)
    monkeypatch.setattr(compare, "TARGET_SETTLE_NS", 0)
    folder = Path(tempfile.mkdtemp(prefix="tree 'copy-"))
    monkeypatch.setattr(plan, "STATE_FOLDER", f"{folder}/root")
    folder.chmod(0o755)
    make_tree(os.fsencode(folder / "source"))
    yield folder
    shutil.rmtree(folder)


def make_tree(root: bytes) -> None:
    for name in (b"", b"/empty", b"/deep/er", b"/-n", b"/a", b"/#d", b"/x y"):
        os.makedirs(root + name)
    names = (
        b"plain",
        b"a/new\nline",
        b"a/\xff\xfe",
        b"#d/#c",
        b";s",
        b"-n/--delete",
        b"deep/er/z",
        b"a-b",
        b"x y/*?'\"",
    )
    for number, name in enumerate(names):
        write(root + b"/" + name, b"%d" % number * 1000, mtime=1_600_000_000 + number)
    write(root + b"/zero", b"")
    write(root + b"/future", b"x", mtime=2_100_000_000)
    os.chmod(root + b"/plain", 0o4751)
    os.symlink(b"plain", root + b"/link")
    os.symlink(b"no\n\xffwhere", root + b"/dangling")
    os.link(root + b"/plain", root + b"/deep/hard")
    with open(root + b"/sparse", "wb") as file:
        file.write(b"begin")
        file.truncate(1 << 23)
    os.mkfifo(root + b"/pipe")
    os.utime(root + b"/empty", (1, 1))


def state(place: Path) -> Path:
    """Return the folder of the copy's state."""
    return Path(plan.state_folder(str(place / "copy")))


def write(path: bytes, text: bytes, mtime: float | None = None) -> None:
    with open(path, "wb") as file:
        file.write(text)
    if mtime is not None:
        os.utime(path, (mtime, mtime))


def seen(root: Path) -> dict[bytes, tuple[Any, ...]]:
    """Return all that has to be equal of a tree."""
    found: dict[bytes, tuple[Any, ...]] = {}
    first: dict[int, bytes] = {}
    top = os.fsencode(root)
    for folder, folders, files in os.walk(top):
        for path in [folder, *(os.path.join(folder, name) for name in files + folders)]:
            status, name = os.lstat(path), os.path.relpath(path, top)
            content = b""
            if stat.S_ISREG(status.st_mode):
                content = hashlib.md5(Path(os.fsdecode(path)).read_bytes()).digest()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            found[name] = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, content)
    for name in sorted(found):
        status = os.lstat(os.path.join(top, name))
        if not stat.S_ISDIR(status.st_mode):
            found[name] += (first.setdefault(status.st_ino, name),)
    return found


def copier(place: Path, pass_name: str, **options: Any) -> TreeCopy:
    made = TreeCopy(runner, Timeline(), "node1", str(place / "source"), str(place / "copy"), pass_name, **options)
    made._workers = 2
    return made


def copy(place: Path, pass_name: str) -> Outcome:
    return copier(place, pass_name).run()


def fails(place: Path, pass_name: str = "last", **options: Any) -> str:
    with pytest.raises(DomainError) as caught:
        copier(place, pass_name, **options).run()
    return str(caught.value)


def assert_equal(place: Path) -> None:
    assert seen(place / "copy") == seen(place / "source")

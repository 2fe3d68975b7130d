# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two servers, one with databases to copy: what the tests of the copy share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.worlds.database_copy_servers import Server, filled, two_clusters


@pytest.fixture(scope="module")
def clusters() -> Iterator[tuple[Server, Server]]:
    with two_clusters() as made:
        yield made


@pytest.fixture
def servers(clusters: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Server]]:
    with filled(clusters, monkeypatch) as made:
        yield made

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server with roles that log in in every way, which the tests of the driver and its sessions share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.worlds.postgres_logins import Server, login_server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with login_server() as made:
        yield made

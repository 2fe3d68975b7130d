# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the unit tests share: modules that change a node lock a file of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core import host_work


@pytest.fixture(autouse=True, scope="session")
def work_lock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host_work, "LOCK_PATH", str(tmp_path_factory.mktemp("run") / "rspm-ha.lock"))
        yield

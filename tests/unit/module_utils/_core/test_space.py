# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stat(1) says."""

from __future__ import annotations

from ansible_collections.rspm.ha.plugins.module_utils._core.space import parse_free


def test_parse_free() -> None:
    assert parse_free("10 4096\n") == 40960
    assert parse_free("") is None

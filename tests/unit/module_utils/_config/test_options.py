# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is secret in the options of a configuration, however wrong these are."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._config.options import secrets_given


@pytest.mark.parametrize(
    ("given", "secret"),
    [
        ({}, []),
        ({"database": {"password": "p w"}, "encryption_key": " k1\n", "config": {}}, ["k1", "p w"]),
        ({"config": {"Manifest": {"Password": "canary", "Path": "/x"}}}, ["canary"]),
        ({"config": {"Postgres": {"URL": "postgres://u:pass@h/d"}}}, ["pass"]),
        # no gcfg: nobody knows which of it is secret
        ({"config": {"Manifest": {"Password": "canary", "Bad key": ["x", {"y": "z"}]}}}, ["canary", "x", "z"]),
        ({"config": "Password=canary"}, ["Password=canary"]),
        ({"config": ["canary"], "database": "postgres"}, ["canary"]),
        ({"config": None, "database": None, "encryption_key": None}, []),
    ],
)
def test_what_is_secret(given: dict[str, Any], secret: list[str]) -> None:
    assert secrets_given(given) == secret

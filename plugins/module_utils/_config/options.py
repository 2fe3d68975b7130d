# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a module is told of the server's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._config.gcfg import parse, render, secrets_of
from ansible_collections.rspm.ha.plugins.module_utils._config.rules import ClusterSettings
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import DATABASE_OPTIONS, Database

# For argument_spec. A module with these does not log what it is given: config may hold anything.
CONFIG_OPTIONS: dict[str, dict[str, Any]] = {
    "data_dir": {"type": "path", "required": True},
    "storage_path": {"type": "str", "default": ""},
    "address": {"type": "str", "default": ""},
    "http_port": {"type": "int", "default": 4242},
    "node_count": {"type": "int", "default": 1},
    "encryption_key": {"type": "str", "default": "", "no_log": True},
    "database": {"type": "dict", "default": {}, "options": DATABASE_OPTIONS, "apply_defaults": True},
    "config": {"type": "dict", "default": {}},
    # found by the action, so that Ansible knows of them before it says anything
    "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
}


def settings_of(given: Mapping[str, Any]) -> ClusterSettings:
    """Return what the options say."""
    return ClusterSettings(
        data_dir=given["data_dir"],
        address=given["address"],
        http_port=given["http_port"],
        node_count=given["node_count"],
        database=Database(**given["database"]),
        encryption_key=given["encryption_key"],
        storage_path=given["storage_path"],
        config=given["config"],
    )


def secrets_given(given: Mapping[str, Any]) -> list[str]:
    """Return the values in these options that no output may show. given: as a person wrote them, judged by nobody."""
    database, config = given.get("database"), given.get("config")
    values = {str(given.get("encryption_key") or "").strip()}
    if isinstance(database, Mapping):
        values.add(str(database.get("password") or ""))
    try:
        values |= secrets_of(parse(render(config or {})))
    except (DomainError, AttributeError, TypeError):
        values |= _strings(config)
    return sorted(values - {""})


def _strings(value: Any) -> set[str]:
    """Return every text in what is no gcfg: nobody knows which of them is secret."""
    if isinstance(value, Mapping):
        return {text for item in value.values() for text in _strings(item)}
    if isinstance(value, (list, tuple)):
        return {text for item in value for text in _strings(item)}
    return {str(value)} if isinstance(value, str) else set()

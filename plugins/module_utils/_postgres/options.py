# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The PostgreSQL databases of the cluster, and how a module is told of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import SSLMODES


@dataclass(frozen=True)
class Database:
    """The PostgreSQL databases of the cluster. schema and usage_schema are "" unless both live in one database.

    options: libpq's, beside the other fields.
    """

    host: str
    port: int
    name: str
    usage_name: str
    user: str
    password: str
    sslmode: str
    schema: str = ""
    usage_schema: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


# Database as a module's option, for argument_spec.
DATABASE_OPTIONS: dict[str, dict[str, Any]] = {
    "host": {"type": "str", "default": ""},
    "port": {"type": "int", "default": 5432},
    "name": {"type": "str", "default": "rstudio_pm"},
    "usage_name": {"type": "str", "default": "rstudio_pm_usage"},
    "user": {"type": "str", "default": "rstudio_pm"},
    "password": {"type": "str", "default": "", "no_log": True},
    "sslmode": {"type": "str", "default": "require"},
    "schema": {"type": "str", "default": ""},
    "usage_schema": {"type": "str", "default": ""},
    "options": {"type": "dict", "default": {}},
}
# The same where its data is read or written, which no default may decide.
REQUIRED_DATABASE_OPTIONS: dict[str, dict[str, Any]] = {
    **DATABASE_OPTIONS,
    "host": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "usage_name": {"type": "str", "required": True},
    "user": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "sslmode": {"type": "str", "choices": list(SSLMODES), "default": "require"},
}
# Where the sessions of nodes are looked for. databases: by their names. timeout: seconds to wait for the last to end.
SESSION_OPTIONS: dict[str, dict[str, Any]] = {
    **{name: REQUIRED_DATABASE_OPTIONS[name] for name in ("host", "port", "user", "password", "sslmode", "options")},
    "databases": {"type": "list", "elements": "str", "required": True},
    "timeout": {"type": "float", "default": 30},
}

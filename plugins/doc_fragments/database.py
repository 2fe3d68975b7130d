# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a module is told of the databases; what it is told is in module_utils/_postgres/options."""

from __future__ import annotations

from textwrap import indent

_LOGIN = r"""
host:
  description: Name or address of the database server.
  type: str
  required: true
port:
  description: TCP port of the database server.
  type: int
  default: 5432
user:
  description: Role that the nodes use.
  type: str
  required: true
password:
  description: Password of the role. It is never on a command line.
  type: str
  required: true
sslmode:
  description: Whether TLS is used and the server's certificate checked, as in C(libpq).
  type: str
  choices: [disable, prefer, require, verify-ca, verify-full]
  default: require
options:
  description: Options of C(libpq) beside these, as C(rspm_database_options) has them.
  type: dict
  default: {}
"""
_SCHEMAS = r"""
schema:
  description: Schema of the main data, where both live in one database.
  type: str
  default: ""
usage_schema:
  description: Schema of the usage data, where both live in one database.
  type: str
  default: ""
"""
_BOTH = rf"""{_LOGIN}{_SCHEMAS}
name:
  description: The main database.
  type: str
  required: true
usage_name:
  description: The database of the usage data.
  type: str
  required: true
"""
_SEVERAL = rf"""{_LOGIN}
databases:
  description: The databases whose sessions count. The first one is logged in to.
  type: list
  elements: str
  required: true
"""
_SESSIONS = rf"""{_SEVERAL}
timeout:
  description: Seconds to wait for the last session to end.
  type: float
  default: 30
"""


def _options(name: str, suboptions: str) -> str:
    return f"  {name}:\n    type: dict\n    suboptions:\n{indent(suboptions, ' ' * 6)}"


class ModuleDocFragment:
    """The databases as an option of a module."""

    # with a type, since ansible-test takes what has none for plain text
    # both, where what is in them is read or written, which no default may decide
    DOCUMENTATION: str = f"options:\n{_options('database', _BOTH)}"
    # both, of two servers
    COPY: str = f"options:\n{_options('source', _BOTH)}{_options('target', _BOTH)}"
    # those in which the sessions of nodes are looked for
    SESSIONS: str = f"options:\n{_options('database', _SESSIONS)}"
    # of a module that does nothing else
    LOGIN: str = f"options:\n{indent(_SEVERAL, '  ')}"

    # both, as the configuration has them
    CONFIGURED: str = rf"""
options:
  database:
    description: The PostgreSQL databases.
    type: dict
    default: {{}}
    suboptions:{indent(_SCHEMAS, " " * 6)}
      host:
        description: Name or address of the database server.
        type: str
        default: ""
      port:
        description: TCP port of the database server.
        type: int
        default: 5432
      name:
        description: The main database.
        type: str
        default: rstudio_pm
      usage_name:
        description: The database of the usage data.
        type: str
        default: rstudio_pm_usage
      user:
        description: Role that the nodes use.
        type: str
        default: rstudio_pm
      password:
        description: Password of the role.
        type: str
        default: ""
      sslmode:
        description: Whether TLS is used and the certificate checked, as in C(libpq).
        type: str
        default: require
      options:
        description: Options of C(libpq) beside these, as C(rspm_database_options) has them.
        type: dict
        default: {{}}
"""

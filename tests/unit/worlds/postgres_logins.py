# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A PostgreSQL server with roles that log in in every way, and some that may not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._postgres import rules
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import open_session
from ansible_collections.rspm.ha.plugins.module_utils._postgres.login import LoginResult, judge_login
from tests.unit.worlds import postgres_server

needs_postgres = pytest.mark.skipif(
    not postgres_server.BINARIES, reason="needs a PostgreSQL server: apt-get install postgresql"
)
PASSWORD = "canary \u00aa 'quoted' \\ p%ss"

HBA = """\
local all all trust
hostssl only_tls all 127.0.0.1/32 scram-sha-256
hostnossl only_plain all 127.0.0.1/32 scram-sha-256
host nobody all 127.0.0.1/32 reject
host all trusted 127.0.0.1/32 trust
host all clear 127.0.0.1/32 password
host all old 127.0.0.1/32 md5
host main,usage,closed,missing pm,ghost,watcher 127.0.0.1/32 scram-sha-256
"""

SETUP = """\
SET password_encryption = 'scram-sha-256';
CREATE ROLE pm LOGIN PASSWORD {password};
CREATE ROLE clear LOGIN PASSWORD {password};
CREATE ROLE watcher LOGIN PASSWORD {password} IN ROLE pg_monitor;
SET password_encryption = 'md5';
CREATE ROLE old LOGIN PASSWORD {password};
CREATE DATABASE main OWNER pm;
CREATE DATABASE usage OWNER postgres;
REVOKE ALL ON SCHEMA public FROM public;
CREATE DATABASE closed OWNER postgres;
REVOKE CONNECT ON DATABASE closed FROM public;
CREATE DATABASE only_tls OWNER pm;
CREATE DATABASE only_plain OWNER pm;
"""


def login(*where: Any, **more: Any) -> LoginResult:
    """Try a login as open_session does, and close its session."""
    result, session = open_session(*where, **more)
    if session is not None:
        session.close()
    return result


class Server(postgres_server.Server):
    """A running server, and logins at its port on the loopback address."""

    def login(self, database: str = "main", user: str = "pm", password: str = PASSWORD, **more: Any) -> LoginResult:
        more.setdefault("sslmode", "require")
        return login("127.0.0.1", self.port, database, user, password, timeout=10, **more)

    def checks(self, *names: str, **more: Any) -> list[str]:
        return [problem.check for problem in judge_login(self.login(*names, **more))]


@contextmanager
def login_server() -> Iterator[Server]:
    with postgres_server.running_server(certificate="DNS:localhost", rules=HBA) as made:
        made.sql(SETUP.format(password=rules.literal(PASSWORD)))
        yield Server(made.port, made.folder)

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each way in which a login can end has its own, stable message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._postgres import login, rules
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import ServerError

GOOD = login.LoginResult(
    host="db1",
    port=5432,
    database="rstudio_pm",
    user="pm",
    sslmode="require",
    tls=True,
    server_version_num=150018,
    server_encoding="UTF8",
    schema="public",
    schema_exists=True,
    can_create=True,
)


def server(sqlstate: str, routine: str = "", message: str = "no") -> login.LoginResult:
    return replace(GOOD, failure=rules.SERVER_ERROR, error=ServerError(sqlstate, message, routine))


def test_a_good_login_has_no_problem() -> None:
    assert GOOD.ok
    assert login.judge_login(GOOD) == []


@pytest.mark.parametrize(
    ("result", "check", "found"),
    [
        (
            replace(GOOD, failure=rules.NAME_NOT_FOUND, detail="Name or service not known"),
            "database-unreachable",
            "The name db1 can't be resolved (Name or service not known)",
        ),
        (
            replace(GOOD, failure=rules.REFUSED),
            "database-unreachable",
            "Nothing listens at db1:5432 (connection refused)",
        ),
        (
            replace(GOOD, failure=rules.TIMED_OUT, detail="no connection within 5 s"),
            "database-unreachable",
            "db1:5432 does not answer (no connection within 5 s)",
        ),
        (
            replace(GOOD, failure=rules.NETWORK, detail="No route to host"),
            "database-unreachable",
            "db1:5432 can't be reached (No route to host)",
        ),
        (
            replace(GOOD, failure=rules.PROTOCOL, detail="the answer is not PostgreSQL's protocol"),
            "database-unreachable",
            "What answers at db1:5432 is not a PostgreSQL server that can be used"
            " (the answer is not PostgreSQL's protocol)",
        ),
        (
            replace(GOOD, failure=rules.TLS_NOT_OFFERED),
            "database-tls",
            "The server at db1:5432 offers no TLS, and rspm_database_sslmode is require",
        ),
        (
            replace(GOOD, failure=rules.CERTIFICATE, sslmode="verify-full", detail="self-signed certificate"),
            "database-tls",
            "The certificate of db1:5432 can't be verified (self-signed certificate)",
        ),
        (
            replace(GOOD, failure=rules.TLS_FAILED, detail="handshake failure"),
            "database-tls",
            "TLS with db1:5432 fails (handshake failure)",
        ),
        (
            replace(GOOD, failure=rules.WEAK),
            "database-weak-password",
            "db1:5432 asks role pm for its password in clear text or as an MD5 hash",
        ),
        (
            replace(GOOD, failure=rules.UNBOUND, detail="channel binding required"),
            "database-channel-binding",
            "db1:5432 logs in role pm without channel binding (channel binding required)",
        ),
        (
            replace(GOOD, failure=rules.NO_PASSWORD),
            "database-password",
            "db1:5432 asks role pm for a password, and none is given",
        ),
        (
            replace(GOOD, failure=rules.OPTIONS, detail='invalid channel_binding value: "x"'),
            "database-options",
            'libpq of this host can\'t use what it is given for db1:5432 (invalid channel_binding value: "x")',
        ),
        (replace(GOOD, failure=rules.NO_DRIVER), "database-driver", "No Python of this host has psycopg2"),
        (
            server("28P01", "auth_failed"),
            "database-password",
            "db1:5432 refuses role pm on database rstudio_pm: wrong password, or no such role",
        ),
        (
            server("28000", "ClientAuthentication"),
            "database-client-rule",
            "db1:5432 has no pg_hba.conf entry that admits role pm to database rstudio_pm with TLS from this host",
        ),
        (
            replace(server("28000", "ClientAuthentication"), tls=False, sslmode="disable", other_way=True),
            "database-tls",
            "db1:5432 refuses role pm on database rstudio_pm without TLS from this host, but would take it with TLS",
        ),
        (
            replace(server("28000", "ClientAuthentication"), other_way=True),
            "database-tls",
            "db1:5432 refuses role pm on database rstudio_pm with TLS from this host, but would take it without TLS",
        ),
        (
            server("28000", "InitializeSessionUserId"),
            "database-role",
            "db1:5432 has no role pm that may log in",
        ),
        (server("3D000", "InitPostgres"), "database-missing", "db1:5432 has no database rstudio_pm"),
        (server("42501"), "database-rights", "Role pm may not connect to db1:5432/rstudio_pm"),
        (server("53300"), "database-connections", "db1:5432 has no connection left for role pm"),
        (
            server("57P03"),
            "database-not-ready",
            "db1:5432 takes no logins now: it starts, stops or recovers",
        ),
        (
            server("XX000", message="cache lookup failed"),
            "database-refused",
            "db1:5432 refuses role pm on database rstudio_pm (XX000: cache lookup failed)",
        ),
        (
            replace(GOOD, server_version_num=120022),
            "database-version",
            "PostgreSQL 12.22 answers at db1:5432/rstudio_pm",
        ),
        (
            replace(GOOD, server_version_num=90624),
            "database-version",
            "PostgreSQL 9.6.24 answers at db1:5432/rstudio_pm",
        ),
        (
            replace(GOOD, schema="pm_usage", schema_exists=False, can_create=False),
            "database-schema",
            "Database db1:5432/rstudio_pm has no schema pm_usage that role pm can use",
        ),
        (
            replace(GOOD, schema="", schema_exists=False, can_create=False),
            "database-schema",
            "Database db1:5432/rstudio_pm has no schema in the search path that role pm can use",
        ),
        (
            replace(GOOD, can_create=False),
            "database-rights",
            "Role pm may not create tables in schema public of db1:5432/rstudio_pm",
        ),
    ],
)
def test_each_cause_has_its_own_words(result: login.LoginResult, check: str, found: str) -> None:
    problems = login.judge_login(result)
    assert [(problem.check, problem.found) for problem in problems] == [(check, found)]
    assert problems[0].why and problems[0].fix


def test_the_oldest_accepted_release_is_accepted() -> None:
    assert login.judge_login(replace(GOOD, server_version_num=130000)) == []


def test_all_that_is_wrong_with_a_login_that_succeeds_is_said_at_once() -> None:
    problems = login.judge_login(replace(GOOD, server_version_num=120001, can_create=False))
    assert [problem.check for problem in problems] == ["database-version", "database-rights"]


def test_a_schema_name_can_not_leave_its_literal() -> None:
    assert "E'x''; DROP TABLE y; --'::name" in login.login_query("x'; DROP TABLE y; --")

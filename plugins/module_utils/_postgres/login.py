# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a login to PostgreSQL came to, and what is wrong with it.

The cause is told by SQLSTATE and by the name of the server's routine, since the message is in the server's language.
"""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import (
    CERTIFICATE,
    NAME_NOT_FOUND,
    NETWORK,
    NO_DRIVER,
    NO_PASSWORD,
    OPTIONS,
    REFUSED,
    SERVER_ERROR,
    TIMED_OUT,
    TLS_FAILED,
    TLS_NOT_OFFERED,
    UNBOUND,
    WEAK,
    ServerError,
    literal,
)

# What site puts right in databases of its own
_MADE_BY_SITE = ("database-schema", "database-rights")


# The vendor supports what the PostgreSQL community supports. 13 is the oldest that a supported distribution still
# ships and mends (EL 9), so refusing it would refuse sound machines.
OLDEST_VERSION_NUM = 130000


@dataclass(frozen=True)
class LoginResult:
    """One login as it went.

    failure: one of the constants of _postgres.rules, empty when the login and its questions succeeded; detail: the
    system's words.
    error: the server's answer, when failure is "server".
    tls: the session was, or would have been, in TLS. other_way: with TLS instead of without it, or the other way round,
    the server's client rules would have admitted the login.
    schema: the one that was asked for, empty for the first of the search path; schema_exists, can_create: about it.
    """

    host: str
    port: int | str
    database: str
    user: str
    sslmode: str
    failure: str = ""
    detail: str = ""
    error: ServerError | None = None
    tls: bool = False
    other_way: bool = False
    server_version_num: int = 0
    server_encoding: str = ""
    schema: str = ""
    schema_exists: bool = False
    can_create: bool = False

    @property
    def ok(self) -> bool:
        """Tell whether the login succeeded; the role's rights are another matter."""
        return not self.failure

    @property
    def where(self) -> str:
        """Return the address and the database as people write them; never a secret."""
        return f"{self.host}:{self.port}/{self.database}"


def login_query(schema: str) -> str:
    """Return the statement that a login asks: one row of version, encoding, schema and rights."""
    name = f"{literal(schema)}::name" if schema else "current_schema()"
    return (
        "SELECT current_setting('server_version_num') AS version, current_setting('server_encoding') AS encoding, "
        "n.nspname AS schema, coalesce(has_schema_privilege(n.oid, 'CREATE'), false) AS can_create "
        f"FROM (SELECT {name} AS wanted) w LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = w.wanted"
    )


def judge_login(result: LoginResult, oldest: int = OLDEST_VERSION_NUM) -> list[Problem]:
    """Return what is wrong with a login, most fundamental first; nothing if Package Manager could work with it."""
    if result.failure == SERVER_ERROR and result.error is not None:
        return [_server_problem(result, result.error)]
    if result.failure:
        return [_transport_problem(result)]
    problems: list[Problem] = []
    if result.server_version_num < oldest:
        problems.append(
            Problem(
                "database-version",
                f"PostgreSQL {_release(result.server_version_num)} answers at {result.where}",
                f"Package Manager is supported with {_release(oldest)} or newer",
                "Upgrade the database server",
            )
        )
    if not result.schema_exists:
        problems.append(
            Problem(
                "database-schema",
                f"Database {result.where} has no schema {result.schema or 'in the search path'}"
                f" that role {result.user} can use",
                "Package Manager keeps its tables there",
                f"Create it: CREATE SCHEMA {result.schema or 'public'} AUTHORIZATION {result.user}",
            )
        )
    elif not result.can_create:
        problems.append(
            Problem(
                "database-rights",
                f"Role {result.user} may not create tables in schema {result.schema} of {result.where}",
                "Package Manager creates and upgrades its own tables",
                f"Make the role the owner: ALTER DATABASE {result.database} OWNER TO {result.user}"
                f" (and ALTER SCHEMA {result.schema} OWNER TO {result.user} before PostgreSQL 15)",
            )
        )
    return problems


def no_driver() -> Problem:
    """Return the problem of a host on which nothing can log in."""
    return Problem(
        "database-driver",
        "No Python of this host has psycopg2",
        "It logs in to the databases with that",
        "Run the playbook site, which installs the distribution's package (python3-psycopg2)",
    )


def _release(version_num: int) -> str:
    """Return a version number as people write it: 150018 is 15.18; before 10 three numbers are used."""
    if version_num >= 100000:
        minor = version_num % 10000
        return f"{version_num // 10000}.{minor}" if minor else str(version_num // 10000)
    return f"{version_num // 10000}.{version_num // 100 % 100}.{version_num % 100}"


def _transport_problem(result: LoginResult) -> Problem:
    """Return the problem of a login that did not come as far as an answer from the database."""
    address = f"{result.host}:{result.port}"
    needed = "All nodes work on one database, and this one can't reach it"
    if result.failure == NAME_NOT_FOUND:
        return Problem(
            "database-unreachable",
            f"The name {result.host} can't be resolved ({result.detail})",
            needed,
            "Correct rspm_database_host, or the name service on this host",
        )
    if result.failure == REFUSED:
        return Problem(
            "database-unreachable",
            f"Nothing listens at {address} (connection refused)",
            needed,
            "Start PostgreSQL there, have listen_addresses name an address that this host reaches,"
            " or correct rspm_database_host and rspm_database_port",
        )
    if result.failure == TIMED_OUT:
        return Problem(
            "database-unreachable",
            f"{address} does not answer ({result.detail})",
            needed,
            "Open the port in the firewalls between this host and the database, or correct rspm_database_host",
        )
    if result.failure == NETWORK:
        return Problem(
            "database-unreachable",
            f"{address} can't be reached ({result.detail})",
            needed,
            "Correct the route from this host to the database, or rspm_database_host",
        )
    if result.failure == TLS_NOT_OFFERED:
        return Problem(
            "database-tls",
            f"The server at {address} offers no TLS, and rspm_database_sslmode is {result.sslmode}",
            "The password and the data would cross the network readable, so no login was tried",
            "Turn on ssl in PostgreSQL, or set rspm_database_sslmode to disable where the network is trusted",
        )
    if result.failure == CERTIFICATE:
        return Problem(
            "database-tls",
            f"The certificate of {address} can't be verified ({result.detail})",
            f"rspm_database_sslmode is {result.sslmode}, so Package Manager would refuse the database",
            "Make this host trust the certificate's issuer, have the certificate name the host,"
            " give the issuer's file as sslrootcert in rspm_database_options, or set rspm_database_sslmode to require",
        )
    if result.failure == TLS_FAILED:
        return Problem(
            "database-tls",
            f"TLS with {address} fails ({result.detail})",
            f"rspm_database_sslmode is {result.sslmode}, so there is no other way to the database",
            "Correct the server's TLS settings",
        )
    if result.failure == WEAK:
        return Problem(
            "database-weak-password",
            f"{address} asks role {result.user} for its password in clear text or as an MD5 hash",
            f"With rspm_database_sslmode {result.sslmode} nothing proves who reads it, so it was not sent",
            "Set password_encryption to scram-sha-256 in PostgreSQL, set the role's password anew, and write"
            " scram-sha-256 into pg_hba.conf; or set rspm_database_sslmode to verify-full; where neither can be had,"
            " set rspm_database_options: {require_auth: 'scram-sha-256,md5,password'}",
        )
    if result.failure == UNBOUND:
        return Problem(
            "database-channel-binding",
            f"{address} logs in role {result.user} without channel binding ({result.detail})",
            f"With rspm_database_sslmode {result.sslmode} nothing else proves that no other server is in between, and"
            " libpq of this host is older than 16, which could refuse a password in clear text without it",
            "Set rspm_database_sslmode to verify-full, or rspm_database_options: {channel_binding: prefer} where the"
            " network is trusted",
        )
    if result.failure == NO_PASSWORD:
        return Problem(
            "database-password",
            f"{address} asks role {result.user} for a password, and none is given",
            "Without it no node can start",
            "Set rspm_database_password in the vault",
        )
    if result.failure == OPTIONS:
        return Problem(
            "database-options",
            f"libpq of this host can't use what it is given for {address} ({result.detail})",
            "Every login to the databases is made with it",
            "Correct rspm_database_options",
        )
    if result.failure == NO_DRIVER:
        return no_driver()
    return Problem(
        "database-unreachable",
        f"What answers at {address} is not a PostgreSQL server that can be used ({result.detail})",
        needed,
        "Correct rspm_database_host and rspm_database_port",
    )


def _server_problem(result: LoginResult, error: ServerError) -> Problem:
    """Return the problem that the server's answer tells."""
    address = f"{result.host}:{result.port}"
    way = "with TLS" if result.tls else "without TLS"
    if error.sqlstate == "28P01":
        return Problem(
            "database-password",
            f"{address} refuses role {result.user} on database {result.database}: wrong password, or no such role",
            "Without it no node can start",
            "Correct rspm_database_password in the vault, or set the role's password in PostgreSQL",
        )
    if error.sqlstate == "28000" and error.routine == "ClientAuthentication":
        if result.other_way:
            other = "disable" if result.tls else "require"
            return Problem(
                "database-tls",
                f"{address} refuses role {result.user} on database {result.database} {way} from this host,"
                f" but would take it {'without TLS' if result.tls else 'with TLS'}",
                f"Every node logs in like this, since rspm_database_sslmode is {result.sslmode}",
                f"Set rspm_database_sslmode to {other}, or change the entry for this host in pg_hba.conf",
            )
        return Problem(
            "database-client-rule",
            f"{address} has no pg_hba.conf entry that admits role {result.user} to database {result.database}"
            f" {way} from this host",
            "Every node has to log in",
            "Add an entry for this host to pg_hba.conf and reload PostgreSQL; where the playbook site writes them, set"
            " rspm_node_address of this host to the address that the server sees, and run it again"
            f" (the server says: {error.message})",
        )
    if error.sqlstate == "28000":
        return Problem(
            "database-role",
            f"{address} has no role {result.user} that may log in",
            "Without it no node can start",
            f"Create it: CREATE ROLE {result.user} LOGIN, with the password of rspm_database_password"
            f" (the server says: {error.message})",
        )
    if error.sqlstate == "3D000":
        return Problem(
            "database-missing",
            f"{address} has no database {result.database}",
            "Package Manager creates its tables, but not its databases",
            f"Create it: CREATE DATABASE {result.database} OWNER {result.user}",
        )
    if error.sqlstate == "42501":
        return Problem(
            "database-rights",
            f"Role {result.user} may not connect to {result.where}",
            "Every node has to log in",
            f"Allow it: GRANT CONNECT ON DATABASE {result.database} TO {result.user}",
        )
    if error.sqlstate == "53300":
        return Problem(
            "database-connections",
            f"{address} has no connection left for role {result.user}",
            "Requests hang when connections run out",
            "Raise max_connections, or end what holds them (SELECT * FROM pg_stat_activity)",
        )
    if error.sqlstate == "57P03":
        return Problem(
            "database-not-ready",
            f"{address} takes no logins now: it starts, stops or recovers",
            "Every node has to log in",
            f"Wait until it is up, then run this again (the server says: {error.message})",
        )
    return Problem(
        "database-refused",
        f"{address} refuses role {result.user} on database {result.database} ({error.sqlstate}: {error.message})",
        "Every node has to log in",
        "See the log of the database server",
    )


def judge_managed_login(result: LoginResult) -> list[Problem]:
    """Return what is wrong with a login to databases that the same run makes, and that it will not put right."""
    lasting = result.ok or result.failure in (TIMED_OUT, NETWORK, CERTIFICATE)
    return [problem for problem in judge_login(result) if lasting and problem.check not in _MADE_BY_SITE]

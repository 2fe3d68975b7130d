# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How libpq is told to log in, and what its words mean.

Sources: PostgreSQL documentation, "libpq"; its sources fe-auth.c, fe-connect.c and fe-secure-openssl.c.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem

# By this application_name the sessions of the collection itself are known.
APPLICATION = "rspm.ha"
SSLMODES = ("disable", "prefer", "require", "verify-ca", "verify-full")
# With these, nobody gets the password but a server that has shown its certificate.
VERIFIED = ("verify-ca", "verify-full")

# How far a login came; "" is all the way.
NAME_NOT_FOUND = "name"
REFUSED = "refused"
TIMED_OUT = "timeout"
NETWORK = "network"
TLS_NOT_OFFERED = "tls-not-offered"
TLS_FAILED = "tls"
CERTIFICATE = "certificate"
PROTOCOL = "protocol"
SERVER_ERROR = "server"
OPTIONS = "options"
WEAK = "weak"
UNBOUND = "unbound"
NO_PASSWORD = "no-password"
NO_DRIVER = "driver"

# What rspm_database_options may hold: libpq's options that have no variable of their own, and the variables of the
# environment by which PostgreSQL's tools take them.
ENVIRONMENT = {
    "channel_binding": "PGCHANNELBINDING",
    "gssdelegation": "PGGSSDELEGATION",
    "gssencmode": "PGGSSENCMODE",
    "gsslib": "PGGSSLIB",
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "krbsrvname": "PGKRBSRVNAME",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
    "options": "PGOPTIONS",
    "port": "PGPORT",
    "require_auth": "PGREQUIREAUTH",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "sslcert": "PGSSLCERT",
    "sslcertmode": "PGSSLCERTMODE",
    "sslcrl": "PGSSLCRL",
    "sslcrldir": "PGSSLCRLDIR",
    "sslkey": "PGSSLKEY",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "sslrootcert": "PGSSLROOTCERT",
    "sslsni": "PGSSLSNI",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}
_OWN_VARIABLES = {
    "dbname": "rspm_database_name",
    "password": "rspm_database_password",
    "sslmode": "rspm_database_sslmode",
    "user": "rspm_database_user",
}
# libpq 16 is the first one that refuses methods by name.
_REQUIRE_AUTH = 160000
_NO_WEAK = "!password,!md5"
# A server that lost its power must not be waited for.
_KEEPALIVE = {
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
# libpq tells of a password file that is there and is no file, and of none that is missing.
_NO_FILE = "/dev/null/none"


@dataclass(frozen=True)
class ServerError:
    """What the server answers. sqlstate and routine do not depend on its language; message does."""

    sqlstate: str
    message: str
    routine: str = ""


@dataclass(frozen=True)
class Rows:
    """The result of a statement: column names, and text values (None for NULL)."""

    columns: tuple[str, ...]
    values: tuple[tuple[str | None, ...], ...]

    def as_dicts(self) -> list[dict[str, str | None]]:
        """Return one mapping a row, column name to value."""
        return [dict(zip(self.columns, row)) for row in self.values]


@dataclass(frozen=True)
class Credentials:
    """Who logs in to which database. The password is left out of repr, so that no traceback shows it."""

    user: str
    database: str
    password: str = field(repr=False)
    application: str = APPLICATION


class ServerRefused(Exception):
    """Raised when the server answers with an error."""

    def __init__(self, error: ServerError) -> None:
        super().__init__(f"{error.sqlstate}: {error.message}")
        self.error = error


class ConnectFailed(Exception):
    """Raised when there is no session to be had, or no more. failure: a constant of here; detail: libpq's words."""

    def __init__(self, failure: str, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail


def literal(value: str) -> str:
    """Return a string as an SQL literal that is right whatever standard_conforming_strings says."""
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"


def judge_options(options: Mapping[str, object]) -> list[Problem]:
    """Return what is wrong with the names in rspm_database_options."""
    problems = [
        Problem(
            "database-options",
            f"rspm_database_options has {name}",
            f"It has a variable of its own, {variable}, by which every node logs in",
            f"Set {variable} in its place",
        )
        for name, variable in _OWN_VARIABLES.items()
        if name in options
    ]
    unknown = sorted(set(options) - set(ENVIRONMENT) - set(_OWN_VARIABLES))
    if unknown:
        problems.append(
            Problem(
                "database-options",
                f"rspm_database_options has {', '.join(unknown)}",
                "No login of this collection would use it",
                f"Take it out, or correct its name: {', '.join(ENVIRONMENT)}",
            )
        )
    return problems


def endpoints(host: str, port: int, options: Mapping[str, str]) -> list[dict[str, str]]:
    """Return host and port of each server that may be the one, in their order.

    libpq would go on to the next by itself, but not from one that never answers.
    """
    hosts = options.get("host", host).split(",")
    ports = options.get("port", str(port)).split(",")
    addresses = options["hostaddr"].split(",") if "hostaddr" in options else []
    several = max(len(hosts), len(addresses))
    found = [
        {"host": hosts[at] if at < len(hosts) else hosts[-1], "port": ports[at] if at < len(ports) else ports[-1]}
        for at in range(several)
    ]
    for at, address in enumerate(addresses):
        found[at]["hostaddr"] = address
    return found


def lets_weak(options: Mapping[str, str]) -> bool:
    """Tell whether the team has allowed a password in clear text or as an MD5 hash."""
    methods = {method.strip() for method in options.get("require_auth", _NO_WEAK).split(",")}
    if any(method.startswith("!") for method in methods):
        return not {"!password", "!md5"} <= methods
    return bool({"password", "md5"} & methods)


def protection(sslmode: str, options: Mapping[str, str], libpq: int) -> dict[str, str]:
    """Return the options by which libpq keeps the password from who asks for it in clear text or as an MD5 hash.

    libpq: its version number. Before 16 it can't be told so, but with channel binding required it answers nothing else.
    """
    if sslmode in VERIFIED or lets_weak(options):
        return {}
    if libpq >= _REQUIRE_AUTH:
        return {"require_auth": options.get("require_auth", _NO_WEAK)}
    return {"channel_binding": "require"}


def known_options(sslmode: str, options: Mapping[str, str], issuers: str, libpq: int) -> dict[str, str]:
    """Return the options as this libpq takes them. issuers: file with those that this host trusts, "" for none."""
    # libpq has no default of the machine's own
    found = {"sslrootcert": issuers} if issuers and sslmode in VERIFIED else {}
    found.update(options)
    if libpq < _REQUIRE_AUTH:
        found.pop("require_auth", None)
    return found


def parameters(credentials: Credentials, sslmode: str, options: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters of a login, without those of its endpoint."""
    found = {
        **_KEEPALIVE,
        **options,
        "user": credentials.user,
        "dbname": credentials.database,
        "password": credentials.password,
        "passfile": _NO_FILE,
        "sslmode": sslmode,
        "application_name": credentials.application,
        "client_encoding": "UTF8",
    }
    if any("\0" in value for value in found.values()):
        raise ConnectFailed(OPTIONS, "a name or a password holds a zero byte, which PostgreSQL can't take")
    return found


def next_try(said: ConnectFailed, options: Mapping[str, str]) -> dict[str, str] | None:
    """Return what to change for a second login after one that required channel binding; None where that was the answer.

    The first has sent no password. Who ends TLS in between could ask for it in clear text at the second, so that this
    needs the team's word.
    """
    if said.failure != UNBOUND or options.get("channel_binding") == "require":
        return None
    again = {"channel_binding": options.get("channel_binding", "prefer")}
    if "SSL not in use" in said.detail:
        return again
    if "channel_binding" not in options:
        return None
    if "authenticated client without" in said.detail:
        # It asks for none, and so does not get one
        again["password"] = ""
    return again


def tool_options(host: str, port: int, sslmode: str, options: Mapping[str, str], libpq: int) -> dict[str, str]:
    """Return the options for PostgreSQL's tools, which log in where a login of ours has just succeeded.

    options: as known_options has them. Without TLS, an older libpq can't be told what it may answer.
    """
    guard = protection(sslmode, options, libpq)
    if sslmode != "require":
        guard.pop("channel_binding", None)
    return {"host": host, "port": str(port), **guard, **options}


def environment_of(options: Mapping[str, str]) -> dict[str, str]:
    """Return the options as PostgreSQL's tools take them from the environment."""
    return {ENVIRONMENT[name]: value for name, value in options.items()}


# What libpq says in the C locale, in the order in which it is looked for.
_WORDS = (
    ("could not translate host name", NAME_NOT_FOUND),
    ("could not parse network address", OPTIONS),
    ("invalid connection option", OPTIONS),
    (r'invalid "?\w+"? value', OPTIONS),
    ("received invalid response", PROTOCOL),
    (r"could not match \d+", OPTIONS),
    ("server does not support SSL", TLS_NOT_OFFERED),
    ("certificate verify failed", CERTIFICATE),
    ("does not match host name", CERTIFICATE),
    ("root certificate", CERTIFICATE),
    ("server's certificate", CERTIFICATE),
    (r"server requested a (cleartext|hashed) password", WEAK),
    ("channel binding required but not supported by server's authentication request", WEAK),
    ("channel binding (is )?required", UNBOUND),
    ("no password supplied", NO_PASSWORD),
    ("SSL SYSCALL error: (EOF|Connection reset)", PROTOCOL),
    ("SSL|(private key|certificate) file|certificate present|GSSAPI", TLS_FAILED),
    ("Connection refused", REFUSED),
    ("Connection timed out|timeout expired|could not receive data from server: .*timed out", TIMED_OUT),
    ("(No route to host|unreachable|Permission denied)", NETWORK),
)
_SERVER_SAID = re.compile(r":  ([0-9A-Z]{5}): (.*)")
_LOCATION = re.compile(r"^LOCATION:  (\w+), ", re.MULTILINE)


def read_failure(text: str) -> ServerRefused | ConnectFailed:
    """Return what a login has failed of. text: libpq's own, in the C locale and with all of the server's fields."""
    said = _SERVER_SAID.findall(text)
    if said:
        routines = _LOCATION.findall(text)
        sqlstate, message = said[-1]
        return ServerRefused(ServerError(sqlstate, message.strip(), routines[-1] if routines else ""))
    detail = "; ".join(line.strip() for line in text.strip().splitlines() if not line.startswith("\t"))
    detail = re.sub(r"^(connection to server .*? failed|invalid dsn): ", "", detail)
    failure = next((failure for words, failure in _WORDS if re.search(words, detail, re.IGNORECASE)), PROTOCOL)
    return ConnectFailed(failure, detail.rpartition(" address: ")[2] if failure == NAME_NOT_FOUND else detail)

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What rstudio-pm.gcfg should say: decided from the cluster's variables and rspm_config.

Sources: the HA guide (DataDir, PostgreSQL only), the vendor's configuration appendix (names), libpq's connection URIs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._config.gcfg import flatten, value_text
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem, raise_any
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import Database
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import SSLMODES, judge_options

KEY_PATH = "/etc/rstudio-pm/rstudio-pm.key"

_CHOICES = {
    "Database.Provider": ("postgres", "sqlite"),
    "Storage.Default": ("file", "s3"),
    "Server.AccessLogFormat": ("common", "combined"),
}
_OWNED = {
    "Server.DataDir": "rspm_data_dir",
    "Server.Address": "rspm_address",
    "Server.EncryptionKeyPath": "rspm_encryption_key",
    "Postgres.URL": "rspm_database_host, rspm_database_name and the other rspm_database_* variables",
    "Postgres.UsageDataURL": "rspm_database_usage_name and the other rspm_database_* variables",
    "Postgres.Password": "rspm_database_password",
    "Postgres.UsageDataPassword": "rspm_database_password",
}
LISTENERS = ("HTTP.Listen", "HTTPS.Listen", "HTTPRedirect.Listen", "Metrics.Listen")
_URL_OPTIONS = ("sslrootcert", "sslcert", "sslkey")
_UNRESERVED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")


@dataclass(frozen=True)
class ClusterSettings:
    """What the cluster's variables say about the configuration of every node.

    node_count: hosts in rspm_nodes. storage_path: mount point that data_dir lies on, "" where it is on a local disk.
    encryption_key: the key itself, "" where the first node makes one in the data directory.
    config: rspm_config, section -> key -> scalar or list.
    """

    data_dir: str
    address: str
    http_port: int
    node_count: int
    database: Database
    encryption_key: str = ""
    storage_path: str = ""
    config: Mapping[str, Any] = ()  # type: ignore[assignment]


def percent_encode(text: str) -> str:
    """Return text for use inside a URL, everything but unreserved characters encoded (RFC 3986)."""
    return "".join(chr(b) if chr(b) in _UNRESERVED else f"%{b:02X}" for b in text.encode("utf-8"))


def postgres_url(database: Database, name: str, schema: str) -> str:
    """Return the connection URL of one database, without the password, which has a key of its own."""
    host = f"[{database.host}]" if ":" in database.host else percent_encode(database.host)
    url = (
        f"postgres://{percent_encode(database.user)}@{host}:{database.port}/{percent_encode(name)}"
        f"?sslmode={database.sslmode}"
    )
    # What every driver of the product's language knows; of the rest, some would be taken for a setting of the server
    files = {name: str(database.options[name]) for name in _URL_OPTIONS if name in database.options}
    url += "".join(f"&{name}={percent_encode(value)}" for name, value in files.items())
    return f"{url}&options=-csearch_path%3D{percent_encode(schema)}" if schema else url


def port_of(listen: str) -> int | None:
    """Return the port of a Listen value (":4242", "10.0.0.1:4242", "[::1]:4242"), None where it has none."""
    digits = listen.rpartition(":")[2]
    return int(digits) if re.fullmatch(r"[0-9]{1,5}", digits) and 0 < int(digits) < 65536 else None


def _problem(check: str, found: str, why: str, fix: str) -> Problem:
    return Problem(check=check, found=found, why=why, fix=fix)


class _Given:
    """rspm_config with its names looked up as the server does: without regard to letter case."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Flatten config; raises DomainError for what gcfg cannot hold."""
        self._texts = {f"{s}.{k}".lower(): (f"{s}.{k}", texts) for (s, k), texts in flatten(config).items()}

    def name(self, setting: str) -> str:
        """Return the setting's name as the user wrote it, "" where it is not given."""
        return self._texts.get(setting.lower(), ("", []))[0]

    def text(self, setting: str, default: str = "") -> str:
        """Return the value that holds: the last one."""
        return ([default] + self._texts.get(setting.lower(), ("", []))[1])[-1]


def _judge_paths(cluster: ClusterSettings) -> list[Problem]:
    """Return what is wrong with the data directory, the address and the port."""
    problems = []
    parts = cluster.data_dir.split("/")
    if not cluster.data_dir.startswith("/") or ".." in parts or not any(parts):
        problems.append(
            _problem(
                "data-dir",
                f"rspm_data_dir is {cluster.data_dir!r}",
                "Server.DataDir must point to the same shared location on every node",
                "Give an absolute path below rspm_storage_path",
            )
        )
    elif cluster.storage_path and not _below(cluster.data_dir, cluster.storage_path):
        problems.append(
            _problem(
                "data-dir",
                f"rspm_data_dir {cluster.data_dir} is not below rspm_storage_path {cluster.storage_path}",
                "The nodes would each write to their own disk instead of the shared directory",
                f"Set rspm_data_dir to a folder below {cluster.storage_path}",
            )
        )
    if cluster.address and not re.fullmatch(r"https?://[^\s/?#]+[^\s]*", cluster.address):
        problems.append(
            _problem(
                "address",
                f"rspm_address is {cluster.address!r}",
                "Server.Address is the URL that users reach the cluster at",
                'Give it with its scheme, for example "https://packages.example.com"',
            )
        )
    if not 0 < cluster.http_port < 65536:
        problems.append(
            _problem("http-port", f"rspm_http_port is {cluster.http_port}", "It is no TCP port", "Give 1 to 65535")
        )
    return problems


def _below(path: str, folder: str) -> bool:
    """Return whether path is folder or lies below it."""
    return path.rstrip("/") == folder.rstrip("/") or path.startswith(folder.rstrip("/") + "/")


def _judge_owned(cluster: ClusterSettings, given: _Given) -> list[Problem]:
    """Return the keys of rspm_config that a variable of its own decides."""
    problems = [
        _problem(
            "owned-setting",
            f"rspm_config sets {given.name(setting)}",
            f"It is decided by {owner}, and the two could differ",
            f"Remove {given.name(setting)} from rspm_config and set {owner.split(',', maxsplit=1)[0]}",
        )
        for setting, owner in _OWNED.items()
        if given.name(setting)
    ]
    listen = given.text("HTTP.Listen")
    if listen and port_of(listen) != cluster.http_port:
        problems.append(
            _problem(
                "owned-setting",
                f"rspm_config sets {given.name('HTTP.Listen')} to {listen}, but rspm_http_port is {cluster.http_port}",
                "The load balancer and the health checks use rspm_http_port",
                "Set rspm_http_port; HTTP.Listen is only needed to bind one address, with the same port",
            )
        )
    for setting in LISTENERS[1:]:
        if given.name(setting) and port_of(given.text(setting)) == cluster.http_port:
            problems.append(
                _problem(
                    "listeners",
                    f"rspm_config sets {given.name(setting)} to the port of HTTP.Listen, {cluster.http_port}",
                    "Two listeners on one port stop the server at start",
                    f"Give {given.name(setting)} another port, or change rspm_http_port",
                )
            )
    return problems


def _judge_choices(given: _Given) -> list[Problem]:
    """Return the settings whose value the server does not know in exactly these letters."""
    problems = []
    for setting, choices in _CHOICES.items():
        value = given.text(setting)
        if given.name(setting) and value not in choices:
            spelled = value.lower() in choices
            problems.append(
                _problem(
                    "setting-value",
                    f"rspm_config sets {given.name(setting)} to {value!r}",
                    "The server wants it in lower case" if spelled else "The server does not know that value",
                    f"Write {value.lower()!r}" if spelled else f"Choose one of {', '.join(choices)}",
                )
            )
    return problems


def _judge_database(cluster: ClusterSettings, given: _Given) -> list[Problem]:
    """Return what is wrong with the choice of databases."""
    if given.text("Database.Provider").lower() == "sqlite":
        if cluster.node_count > 1:
            return [
                _problem(
                    "sqlite-with-several-nodes",
                    f"SQLite with more than one node: rspm_config sets Database.Provider to sqlite, and rspm_nodes has "
                    f"{cluster.node_count} hosts",
                    "HA requires using a PostgreSQL database, and all nodes in the cluster must use the same one",
                    "Remove Database.Provider from rspm_config and set rspm_database_host, or keep one node",
                )
            ]
        folder = given.text("SQLite.Dir", cluster.data_dir)
        if cluster.storage_path and _below(folder, cluster.storage_path):
            return [
                _problem(
                    "sqlite-on-shared-storage",
                    f"SQLite.Dir would be {folder}, on the shared storage {cluster.storage_path}",
                    "SQLite gets corrupted on NFS",
                    "Set rspm_config SQLite.Dir to a folder on a local disk",
                )
            ]
        return []
    database = cluster.database
    problems = []
    if not database.host:
        problems.append(
            _problem(
                "database-host",
                "rspm_database_host is empty",
                "All nodes need the same PostgreSQL database",
                "Put a host into the group rspm_database, or set rspm_database_host to your own server",
            )
        )
    if database.sslmode not in SSLMODES:
        problems.append(
            _problem(
                "database-sslmode",
                f"rspm_database_sslmode is {database.sslmode!r}",
                "Nodes and upgrades reach PostgreSQL in the same way, and know no such one",
                f"Choose one of {', '.join(SSLMODES)}",
            )
        )
    problems += judge_options(database.options)
    if (database.name, database.schema) == (database.usage_name, database.usage_schema):
        problems.append(
            _problem(
                "database-usage",
                f"main and usage data are both in database {database.name!r}, schema {database.schema or 'default'!r}",
                "They need two databases, or two schemas of one",
                "Set rspm_database_usage_name, or rspm_database_schema and rspm_database_usage_schema",
            )
        )
    return problems


def judge_settings(cluster: ClusterSettings) -> list[Problem]:
    """Return all that is wrong with the variables, without any secret in the text; [] where nothing is."""
    try:
        given = _Given(cluster.config or {})
        value_text("rspm_encryption_key", cluster.encryption_key.strip())
        value_text("rspm_database_password", cluster.database.password)
    except DomainError as error:
        return [*_judge_paths(cluster), *error.problems]
    return [
        *_judge_paths(cluster),
        *_judge_owned(cluster, given),
        *_judge_choices(given),
        *_judge_database(cluster, given),
    ]


def wanted_settings(cluster: ClusterSettings, key_path: str = KEY_PATH) -> dict[str, dict[str, Any]]:
    """Return section -> key -> value of the configuration: the cluster's variables and rspm_config together.

    key_path: where Server.EncryptionKeyPath points when a key is given.
    Raises DomainError with all problems of judge_settings.
    """
    raise_any(judge_settings(cluster))
    server: dict[str, Any] = {"DataDir": cluster.data_dir}
    if cluster.address:
        server["Address"] = cluster.address
    if cluster.encryption_key:
        server["EncryptionKeyPath"] = key_path
    given = _Given(cluster.config or {})
    provider = given.text("Database.Provider", "postgres")
    settings: dict[str, dict[str, Any]] = {
        "Server": server,
        "HTTP": {"Listen": f":{cluster.http_port}"},
        "Database": {"Provider": provider},
    }
    if provider == "postgres":
        database = cluster.database
        settings["Postgres"] = {
            "URL": postgres_url(database, database.name, database.schema),
            "UsageDataURL": postgres_url(database, database.usage_name, database.usage_schema),
        }
        if database.password:
            # both: in 2024.08.2 the usage database does not fall back to the main password
            settings["Postgres"].update(Password=database.password, UsageDataPassword=database.password)
    for section, keys in (cluster.config or {}).items():
        name = next((ours for ours in settings if ours.lower() == section.lower()), section)
        target = settings.setdefault(name, {})
        for key, value in keys.items():
            target[next((ours for ours in target if ours.lower() == key.lower()), key)] = value
    return settings

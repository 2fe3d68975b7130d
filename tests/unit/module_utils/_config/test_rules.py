# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration and the drop-in that the cluster's variables stand for, and what is refused of them."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._config.gcfg import last, parse, render
from ansible_collections.rspm.ha.plugins.module_utils._config.rules import (
    KEY_PATH,
    ClusterSettings,
    judge_settings,
    port_of,
    postgres_url,
    wanted_settings,
)
from ansible_collections.rspm.ha.plugins.module_utils._config.unit import (
    changed_since_start,
    config_hash,
    dropin,
    failed_checks,
    judge_check,
    judge_key,
    mount_unit,
    parse_sums,
)
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import Database

DATABASE = Database("db1", 5432, "rstudio_pm", "rstudio_pm_usage", "rstudio_pm", "can;ary", "require")


def cluster(config: Any = None, **changes: Any) -> ClusterSettings:
    base = ClusterSettings(
        data_dir="/mnt/rstudio-pm/data",
        address="https://packages.example.com",
        http_port=4242,
        node_count=3,
        database=DATABASE,
        storage_path="/mnt/rstudio-pm",
        config=config or {},
    )
    return dataclasses.replace(base, **changes)


def test_the_clusters_variables_and_rspm_config_together() -> None:
    text = render(wanted_settings(cluster({"Git": {"PollInterval": "5m"}, "server": {"RVersion": ["/a", "/b"]}})))
    document = parse(text)
    assert last(document, "Server", "DataDir") == "/mnt/rstudio-pm/data"
    assert last(document, "Server", "Address") == "https://packages.example.com"
    assert document["server"]["rversion"] == ["/a", "/b"]
    assert text.count("[Server]") == 1 and "[server]" not in text
    assert last(document, "HTTP", "Listen") == ":4242"
    assert last(document, "Database", "Provider") == "postgres"
    assert last(document, "Postgres", "URL") == "postgres://rstudio_pm@db1:5432/rstudio_pm?sslmode=require"
    assert (
        last(document, "Postgres", "UsageDataURL") == "postgres://rstudio_pm@db1:5432/rstudio_pm_usage?sslmode=require"
    )
    assert 'Password = "can;ary"' in text
    assert last(document, "Postgres", "Password") == last(document, "Postgres", "UsageDataPassword") == "can;ary"
    assert "EncryptionKeyPath" not in text


def test_key_path_only_with_a_key() -> None:
    assert wanted_settings(cluster(encryption_key="k"))["Server"]["EncryptionKeyPath"] == KEY_PATH


word = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=15)


@given(word, word, word)
def test_urls_carry_any_name(user: str, name: str, schema: str) -> None:
    url = postgres_url(dataclasses.replace(DATABASE, user=user), name, schema)
    parts = urlsplit(url)
    assert unquote(parts.username or "") == user
    assert unquote(parts.path[1:]) == name
    assert parts.hostname == "db1" and parts.port == 5432
    assert parse_qs(parts.query) == {"sslmode": ["require"], "options": [f"-csearch_path={schema}"]}


def test_url_with_a_schema() -> None:
    # libpq refuses a second "=" in a parameter
    assert postgres_url(DATABASE, "d", "pm").endswith("/d?sslmode=require&options=-csearch_path%3Dpm")


def test_a_url_carries_of_libpqs_options_what_every_driver_knows() -> None:
    options = {"sslrootcert": "/etc/ca 1.pem", "channel_binding": "require", "host": "db1,db2"}
    url = postgres_url(dataclasses.replace(DATABASE, options=options), "d", "")
    assert url == "postgres://rstudio_pm@db1:5432/d?sslmode=require&sslrootcert=%2Fetc%2Fca%201.pem"


def test_url_of_an_ipv6_host() -> None:
    assert postgres_url(dataclasses.replace(DATABASE, host="fd00::5"), "d", "").startswith(
        "postgres://rstudio_pm@[fd00::5]:5432/d?"
    )


@pytest.mark.parametrize(
    ("config", "found", "fix"),
    [
        ({"server": {"datadir": "/x"}}, "rspm_config sets server.datadir", "rspm_data_dir"),
        ({"Server": {"Address": "http://x"}}, "rspm_config sets Server.Address", "rspm_address"),
        ({"Server": {"EncryptionKeyPath": "/k"}}, "rspm_config sets Server.EncryptionKeyPath", "rspm_encryption_key"),
        ({"Postgres": {"url": "postgres://"}}, "rspm_config sets Postgres.url", "rspm_database_host"),
        ({"POSTGRES": {"Password": "canary"}}, "rspm_config sets POSTGRES.Password", "rspm_database_password"),
        (
            {"HTTP": {"Listen": ":80"}},
            "rspm_config sets HTTP.Listen to :80, but rspm_http_port is 4242",
            "rspm_http_port",
        ),
        (
            {"HTTPS": {"Listen": ":4242"}},
            "rspm_config sets HTTPS.Listen to the port of HTTP.Listen, 4242",
            "another port",
        ),
        (
            {"Database": {"Provider": "Postgres"}},
            "rspm_config sets Database.Provider to 'Postgres'",
            "Write 'postgres'",
        ),
        ({"Database": {"Provider": "mysql"}}, "rspm_config sets Database.Provider to 'mysql'", "postgres, sqlite"),
        ({"Storage": {"Default": "S3"}}, "rspm_config sets Storage.Default to 'S3'", "Write 's3'"),
        ({"Git": {"PollInterval": "5m\n"}}, "rspm_config: Git.PollInterval holds a line break", "Remove"),
    ],
)
def test_refused_settings(config: Any, found: str, fix: str) -> None:
    (problem,) = judge_settings(cluster(config))
    assert found in problem.found
    assert fix in problem.fix
    assert "canary" not in str(problem)
    with pytest.raises(DomainError):
        wanted_settings(cluster(config))


def test_an_address_to_listen_at_may_be_given() -> None:
    settings = wanted_settings(cluster({"http": {"listen": "10.0.0.1:4242"}}))
    assert settings["HTTP"] == {"Listen": "10.0.0.1:4242"}


def test_sqlite_with_more_than_one_node() -> None:
    (problem,) = judge_settings(cluster({"Database": {"Provider": "sqlite"}}))
    assert problem.found == (
        "SQLite with more than one node: rspm_config sets Database.Provider to sqlite, and rspm_nodes has 3 hosts"
    )
    assert problem.why == (
        "HA requires using a PostgreSQL database, and all nodes in the cluster must use the same one"
    )


def test_sqlite_with_one_node() -> None:
    config = {"Database": {"Provider": "sqlite"}}
    assert [p.check for p in judge_settings(cluster(config, node_count=1))] == ["sqlite-on-shared-storage"]
    local = {**config, "SQLite": {"Dir": "/var/lib/rstudio-pm/db"}}
    settings = wanted_settings(cluster(local, node_count=1, database=dataclasses.replace(DATABASE, host="")))
    assert "Postgres" not in settings
    assert settings["Database"]["Provider"] == "sqlite"
    assert judge_settings(cluster(config, node_count=1, storage_path="", data_dir="/var/lib/rstudio-pm")) == []


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"data_dir": "data"}, "data-dir"),
        ({"data_dir": "/mnt/other/data"}, "data-dir"),
        ({"data_dir": "/mnt/rstudio-pm-x/data"}, "data-dir"),
        ({"data_dir": "/mnt/rstudio-pm/../x"}, "data-dir"),
        ({"address": "packages.example.com"}, "address"),
        ({"http_port": 0}, "http-port"),
        ({"database": dataclasses.replace(DATABASE, host="")}, "database-host"),
        ({"database": dataclasses.replace(DATABASE, sslmode="yes")}, "database-sslmode"),
        ({"database": dataclasses.replace(DATABASE, options={"sslmode": "prefer"})}, "database-options"),
        ({"database": dataclasses.replace(DATABASE, options={"sslrotcert": "/x"})}, "database-options"),
        ({"database": dataclasses.replace(DATABASE, usage_name="rstudio_pm")}, "database-usage"),
        ({"database": dataclasses.replace(DATABASE, password="a\nb")}, "gcfg-value"),
        ({"encryption_key": "a\nb"}, "gcfg-value"),
    ],
)
def test_refused_variables(changes: dict[str, Any], check: str) -> None:
    assert [problem.check for problem in judge_settings(cluster(**changes))] == [check]


def test_all_problems_at_once() -> None:
    found = judge_settings(cluster({"Server": {"Address": "x"}}, http_port=0, address="x"))
    assert [problem.check for problem in found] == ["address", "http-port", "owned-setting"]


@pytest.mark.parametrize(
    ("listen", "port"),
    [(":80", 80), ("10.0.0.1:4242", 4242), ("[::1]:443", 443), ("", None), (":x", None), (":99999", None)],
)
def test_port_of(listen: str, port: int | None) -> None:
    assert port_of(listen) == port


# --- the drop-in

PATHS = ["/mnt/rstudio-pm", "/", "/srv/a b", "/mnt/.x/y", "/mnt/ä:_", "//mnt//pm/", "/mnt/100%"]


def test_mount_unit() -> None:
    assert mount_unit("/mnt/rstudio-pm") == "mnt-rstudio\\x2dpm.mount"
    assert mount_unit("/") == "-.mount"


@pytest.mark.skipif(not shutil.which("systemd-escape"), reason="no systemd here")
@pytest.mark.parametrize("path", PATHS)
def test_mount_unit_is_systemds(path: str) -> None:
    done = subprocess.run(
        ["systemd-escape", "--path", "--suffix=mount", path], check=True, capture_output=True, encoding="utf-8"
    )
    assert mount_unit(path) == done.stdout.strip()


def test_dropin() -> None:
    document = parse(render(wanted_settings(cluster({"HTTPS": {"Listen": ":443"}}))))
    lines = dropin("/mnt/rstudio-pm", document, KEY_PATH).splitlines()
    assert "Wants=network-online.target mnt-rstudio\\x2dpm.mount" in lines
    assert "After=network-online.target remote-fs.target mnt-rstudio\\x2dpm.mount" in lines
    # not with "+": root's stat of a mount with root_squash fails once in a while
    assert 'ExecStartPre=mountpoint -q "/mnt/rstudio-pm"' in lines
    assert "Restart=on-failure" in lines and "StartLimitIntervalSec=0" in lines
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in lines
    (proof,) = [line for line in lines if "sha256sum" in line]
    assert KEY_PATH in proof and "umask 077" in proof
    # in systemd's eyes
    assert lines.index("[Unit]") < lines.index("StartLimitIntervalSec=0") < lines.index("[Service]")
    assert lines.index("[Service]") < lines.index("Restart=on-failure")


def test_dropin_without_a_mount_and_with_high_ports() -> None:
    text = dropin("", parse(render(wanted_settings(cluster()))), "")
    assert "mount" not in text and "AmbientCapabilities" not in text and KEY_PATH not in text


def test_sums_tell_what_changed() -> None:
    started = parse_sums("aa  /etc/a\nbb  /etc/with  blanks\n")
    assert started == {"/etc/a": "aa", "/etc/with  blanks": "bb"}
    assert changed_since_start(started, {"/etc/a": "aa", "/etc/with  blanks": "cc", "/new": "d"}) == [
        "/etc/with  blanks",
        "/new",
    ]


def test_config_hash_tells_configurations_apart() -> None:
    assert config_hash("a") == config_hash("a") != config_hash("b")


# --- check-config

OUTPUT = """\
[PASS] Configuration file syntax
[FAIL] Unrecognized settings: Database.Foo
    line 4: Foo
[FAIL] Database connectivity: could not connect
    to server
[INFO] License status: not activated
[FAIL] License: none
[FAIL] listeners: :4242 is in use
[FAIL] Configured paths: Server.DataDir is missing
Some checks failed
"""


def test_database_and_licence_do_not_judge_the_file() -> None:
    assert failed_checks(OUTPUT, running=True, storage_ready=False) == [
        "Unrecognized settings: Database.Foo line 4: Foo"
    ]
    assert failed_checks(OUTPUT, running=False, storage_ready=True)[1:] == [
        "listeners: :4242 is in use",
        "Configured paths: Server.DataDir is missing",
    ]


def test_judge_check() -> None:
    (problem,) = judge_check(1, OUTPUT, running=True, storage_ready=False)
    assert problem.found == (
        "rspm check-config refuses the configuration: Unrecognized settings: Database.Foo line 4: Foo"
    )
    (problem,) = judge_check(1, "[FAIL] Unknown Database.Foo", running=True, storage_ready=True)
    assert problem.found.endswith("Unknown Database.Foo")
    assert judge_check(1, "[FAIL] database: refused", running=True, storage_ready=True) == []
    assert judge_check(0, "", running=True, storage_ready=True) == []
    assert judge_check(1, 'Error: unknown command "check-config" for "rspm"', running=True, storage_ready=True) == []
    assert judge_check(124, "[PASS] syntax", running=True, storage_ready=True) == []
    (problem,) = judge_check(2, "cannot read the file", running=True, storage_ready=True)
    assert "cannot read the file" in problem.found


# --- the key


@pytest.mark.parametrize(
    ("wanted", "owned", "in_data_dir", "refused"),
    [
        ("", None, None, False),
        ("", None, "k\n", False),
        ("", "k\n", "k", False),
        ("", "k", "other", True),
        ("", "k", None, True),
        ("k", None, None, False),
        ("k\n", "k", "k\n", False),
        ("k", "other", None, True),
        ("k", None, "other", True),
    ],
)
def test_judge_key(wanted: str, owned: str | None, in_data_dir: str | None, refused: bool) -> None:
    assert bool(judge_key(wanted, owned, in_data_dir, "/data/rstudio-pm.key")) is refused


def test_judge_key_names_the_place_and_no_key() -> None:
    (problem,) = judge_key("canary1", None, "canary2", "/data/rstudio-pm.key")
    assert problem.found == "/data/rstudio-pm.key holds a different key than rspm_encryption_key"
    assert "canary" not in str(problem)

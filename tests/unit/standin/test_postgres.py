# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-in on PostgreSQL: a cluster of processes that share a database and a data directory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._postgres.host_writes import Witness

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "standin"))

from standin_harness import NEW, OLD, Node, Postgres, python_with_psycopg2, until, wheel

PYTHON = python_with_psycopg2()


@pytest.fixture(name="server", scope="module")
def fixture_server() -> Iterator[Postgres]:
    """Yield a running PostgreSQL."""
    server = Postgres()
    if server.bin is None or not PYTHON:
        pytest.skip("needs PostgreSQL's server programs and a Python with psycopg2")
    server.start()
    yield server
    server.stop()


class Cluster:
    """Nodes of one database."""

    def __init__(self, work: Path, server: Postgres, sections: str) -> None:
        self._work = work
        self.server = server
        self.sections = sections
        self.made: list[Node] = []

    def node(self, name: str, version: str = NEW) -> Node:
        """Make a node of the cluster."""
        sections = f"[Database]\nProvider = postgres\n[Postgres]\n{self.sections}"
        data = self._work / "data"
        self.made.append(Node(self._work, version, name=name, data=data, sections=sections, python=PYTHON))
        return self.made[-1]


@pytest.fixture(name="cluster")
def fixture_cluster(tmp_path: Path, server: Postgres) -> Iterator[Cluster]:
    """Yield a cluster with a main and a usage database of its own."""
    for database in ("main", "usage"):
        server.sql(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        server.sql(f"CREATE DATABASE {database} OWNER rstudio_pm")
    cluster = Cluster(tmp_path, server, f"URL = {server.url('main')}\nUsageDataURL = {server.url('usage')}")
    yield cluster
    for node in cluster.made:
        if node.process and node.process.poll() is None:
            node.stop()


def test_nodes_start_together_and_share_everything(cluster: Cluster, tmp_path: Path) -> None:
    nodes = [cluster.node(name) for name in "abc"]
    for node in nodes:
        node.launch()
    for node in nodes:
        until(lambda node=node: "service is ready" in node.log, f"{node.name} is ready")
    logs = "".join(node.log for node in nodes)
    assert logs.count("made the encryption key") == 1
    assert logs.count("schema migrated from nothing to 48") == 1
    files = [wheel(tmp_path, f"p{number}", "1.0") for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        codes = pool.map(
            lambda pair: pair[0].cli("add", "--repo", "pypi", "--path", str(pair[1])), zip(nodes * 2, files)
        )
        assert [done.returncode for done in codes] == [0] * 6
    for node in nodes:
        assert node.get("/pypi/latest/simple/").body.count("href=") == 6
    assert nodes[0].cli("verify").stdout == "6 packages, 0 missing or damaged\n"


def test_one_node_takes_another_offline(cluster: Cluster) -> None:
    first, second = cluster.node("a").start(), cluster.node("b").start()
    assert first.cli("cluster", "offline", "--nodes=b", "--timeout=10").returncode == 0
    assert (first.get("/__ping__").status, second.get("/__ping__").status) == (200, 503)
    assert first.nodes() == {"a": "online", "b": "offline"}
    assert first.cli("cluster", "online", "--nodes=a,b").returncode == 0
    assert second.get("/__ping__").status == 200


def test_downloads_are_counted_in_the_usage_database(cluster: Cluster, tmp_path: Path) -> None:
    node = cluster.node("a").start()
    node.cli("add", "--repo", "pypi", "--path", str(wheel(tmp_path, "p", "1.0")))
    for _turn in range(3):
        assert node.get("/pypi/latest/simple/p/p-1.0-py3-none-any.whl").status == 200
    node.stop()
    counted = cluster.server.sql("SELECT file, downloads FROM usage_downloads", "usage")
    assert counted == "p-1.0-py3-none-any.whl|3"


def test_old_nodes_shut_down_when_a_newer_one_migrates(cluster: Cluster) -> None:
    old = [cluster.node(name, OLD).start() for name in "ab"]
    new = cluster.node("c").start()
    assert "schema migrated from 41 to 48" in new.log
    assert [node.wait() for node in old] == [3, 3]
    old[0].launch()
    assert old[0].wait() == 3
    assert cluster.server.sql("SELECT version FROM schema_version", "main") == "48"


def test_others_wait_while_one_migrates(cluster: Cluster) -> None:
    cluster.node("a", OLD).start().stop()
    first, second = cluster.node("b"), cluster.node("c")
    first.launch(MIGRATION_SECONDS="1")
    until(lambda: "migrating the database schema" in first.log, "the migration begins")
    second.start()
    assert "schema migrated" in first.log
    assert "schema migrated" not in second.log


def test_a_migration_that_is_killed_or_fails_leaves_nothing(cluster: Cluster) -> None:
    cluster.node("a", OLD).start().stop()
    columns = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public'"
    before = cluster.server.sql(columns, "main")
    killed = cluster.node("b")
    killed.launch(MIGRATION_SECONDS="30")
    until(lambda: "migrating the database schema" in killed.log, "the migration begins")
    assert killed.process is not None
    killed.process.kill()
    killed.wait()
    failing = cluster.node("c")
    failing.launch(FAIL_MIGRATION="1")
    assert failing.wait() == 1
    assert cluster.server.sql(columns, "main") == before
    assert cluster.node("d", OLD).start().stop() == 0


def test_a_restart_of_the_database_is_survived(cluster: Cluster) -> None:
    node = cluster.node("a").start()
    cluster.server.restart()
    assert node.get("/__api__/repos").status == 200
    assert node.get("/__ping__").status == 200
    until(lambda: node.cli("offline", "--timeout=5").returncode == 0, "the node listens again")


def test_two_schemas_of_one_database(cluster: Cluster) -> None:
    for schema in ("pm", "metrics"):
        cluster.server.sql(f"CREATE SCHEMA {schema} AUTHORIZATION rstudio_pm", "main")
    one = cluster.server.url("main", "sslmode=disable&options=-csearch_path=pm")
    two = cluster.server.url("main", "sslmode=disable&search_path=metrics")
    cluster.sections = f"URL = {one}\nUsageDataURL = {two}"
    assert cluster.node("a").start().stop() == 0
    where = "SELECT schemaname || '.' || tablename FROM pg_tables WHERE tablename IN ('packages', 'usage_downloads')"
    assert sorted(cluster.server.sql(where, "main").split()) == ["metrics.usage_downloads", "pm.packages"]


@pytest.mark.parametrize(
    ("database", "query", "message"),
    [
        ("main", "sslmode=disable&options=-csearch_path=absent", "no schema of the connection's search_path"),
        ("absent", "sslmode=disable", 'database "absent" does not exist'),
        ("main", "sslmode=require", "server does not support SSL"),
    ],
)
def test_a_database_that_cannot_be_used(cluster: Cluster, database: str, query: str, message: str) -> None:
    cluster.sections = f"URL = {cluster.server.url(database, query)}"
    node = cluster.node("a")
    node.launch()
    assert node.wait() == 1
    assert message in node.log
    assert message in node.cli("check-config").stdout


def test_the_usage_database_is_checked_too(cluster: Cluster) -> None:
    cluster.sections = f"URL = {cluster.server.url('main')}\nUsageDataURL = {cluster.server.url('absent')}"
    node = cluster.node("a")
    node.launch()
    assert node.wait() == 1
    assert cluster.server.sql("SELECT to_regclass('schema_version') IS NULL", "main") == "t", "nothing was made"


@pytest.mark.parametrize(("variant", "written"), [("fails-to-start", False), ("fails-migration", True)])
def test_a_version_that_does_not_start_has_written_where_the_server_says_so(
    cluster: Cluster, variant: str, written: bool
) -> None:
    node = cluster.node("a", OLD)
    node.start().stop()
    account = {"host": "127.0.0.1", "port": cluster.server.port, "user": "rstudio_pm", "password": ""}
    more = {"databases": ["main", "usage"], "sslmode": "disable", "options": {}, "timeout": 1}
    with closing(Witness({**account, **more})) as witness:
        witness.begin()
        node.install(NEW, variant)
        node.launch()
        assert node.wait() != 0
        assert ("in main" in witness.doubt()) is written
    # the schema is that of before in both: what was written was rolled back
    node.install(OLD)
    assert node.start().stop() == 0

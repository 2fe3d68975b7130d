# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the NFS server exports, and to whom."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._storage import host_export
from ansible_collections.rspm.ha.plugins.module_utils._storage.export import (
    EXPORT_OPTIONS,
    Export,
    export_commands,
    export_differences,
    judge_folder,
    judge_root,
    judge_security,
    other_clients,
    parse_etab,
    parse_exports,
    render_exports,
)
from ansible_collections.rspm.ha.plugins.modules import nfs_export
from tests.unit.worlds.module_run import run_module

# Recorded: nfs-utils 2.6.2, two clients, the second with other options
OPTIONS = (
    "rw,sync,wdelay,hide,nocrossmnt,secure,root_squash,no_all_squash,no_subtree_check,secure_locks,acl,no_pnfs,"
    "anonuid=65534,anongid=65534,sec=sys,rw,secure,root_squash,no_all_squash"
)
ETAB = (
    f"/srv/rstudio-pm\t10.0.0.11({OPTIONS})\n"
    f"/srv/rstudio-pm\t10.0.0.12({OPTIONS.replace('rw,', 'ro,').replace('root_squash', 'no_root_squash')})\n"
    f"/srv/other\\040one\t*({OPTIONS})\n"
)


def test_the_file_names_the_nodes_only() -> None:
    assert render_exports("/srv/rstudio-pm", ["10.0.0.11", "node2.example.com"]).splitlines()[1] == (
        "/srv/rstudio-pm 10.0.0.11(rw,sync,no_subtree_check,root_squash) "
        "node2.example.com(rw,sync,no_subtree_check,root_squash)"
    )


@pytest.mark.parametrize(
    ("path", "clients"),
    [
        ("/srv/x", []),
        ("srv", ["a"]),
        ("/", ["a"]),
        ("/a b", ["a"]),
        ("/a/../b", ["a"]),
        ("/a", ["b(rw)"]),
        ("/a", ["b c"]),
    ],
)
def test_what_would_export_something_else_is_refused(path: str, clients: list[str]) -> None:
    with pytest.raises(DomainError):
        render_exports(path, clients)


def test_the_table_of_the_server_is_read() -> None:
    exports = parse_etab(ETAB)
    assert [(export.path, export.client) for export in exports] == [
        ("/srv/rstudio-pm", "10.0.0.11"),
        ("/srv/rstudio-pm", "10.0.0.12"),
        ("/srv/other one", "*"),
    ]
    assert "root_squash" in exports[0].options


@pytest.mark.parametrize(
    ("clients", "differences"),
    [
        (["10.0.0.11"], ["10.0.0.12 is too many"]),
        (["10.0.0.11", "10.0.0.12"], ["10.0.0.12 lacks root_squash", "10.0.0.12 lacks rw"]),
    ],
)
def test_what_is_in_force_is_compared(clients: list[str], differences: list[str]) -> None:
    assert export_differences("/srv/rstudio-pm", clients, parse_etab(ETAB)) == differences


def test_a_missing_client_is_named() -> None:
    live = parse_etab(ETAB.splitlines()[0])
    assert export_differences("/srv/rstudio-pm", ["10.0.0.11"], live) == []
    assert export_differences("/srv/rstudio-pm", ["10.0.0.11", "10.0.0.13"], live) == ["10.0.0.13 is missing"]
    assert export_differences("/srv/rstudio-pm", ["10.0.0.11"], []) == ["10.0.0.11 is missing"]


@given(st.lists(st.from_regex(r"[a-z0-9.:-]{1,12}", fullmatch=True), min_size=1, max_size=5, unique=True))
def test_what_was_written_does_not_differ_once_it_is_in_force(clients: list[str]) -> None:
    path, *entries = render_exports("/srv/x", clients).splitlines()[1].split(" ")
    etab = "".join(f"{path}\t{entry.replace(')', ',wdelay,hide)')}\n" for entry in entries)
    assert export_differences("/srv/x", clients, parse_etab(etab)) == []


def test_a_file_of_exports_is_read() -> None:
    text = (
        "# one\n/srv/a  10.0.0.1(rw,sync) node2(ro)\n/srv/b\n"
        '"/srv/with space" -sync,rw \\\n 10.0.0.0/24(rw) # all\n/srv/oct\\040al *(ro)\n/srv/a/ 10.0.0.9\n'
    )
    assert parse_exports(text) == {
        "/srv/a": ["10.0.0.1", "node2", "10.0.0.9"],
        "/srv/b": [],
        "/srv/with space": ["10.0.0.0/24"],
        "/srv/oct al": ["*"],
    }


@given(st.lists(st.from_regex(r"[a-z0-9.:][a-z0-9.:-]{0,11}", fullmatch=True), min_size=1, max_size=5, unique=True))
def test_what_was_written_is_read_as_ours(clients: list[str]) -> None:
    assert parse_exports(render_exports("/srv/x", clients)) == {"/srv/x": clients}


@pytest.mark.parametrize(
    ("owner", "names", "exporting", "others", "found"),
    [
        (-1, [], [], [], ""),
        (0, [], [], [], ""),
        (0, ["lost+found"], [], [], ""),
        (940, ["data"], [], [], ""),
        (0, ["home", "lost+found"], [], [], "belongs to the id 0 instead of 940, and has 1 entries: home"),
        (1000, ["b", "a"], [], [], "belongs to the id 1000 instead of 940, and has 2 entries: a, b"),
        (940, [], ["/etc/exports"], [], "is already named in /etc/exports"),
        (-1, [], [], ["192.0.2.9"], "is already exported to 192.0.2.9"),
    ],
)
def test_a_folder_of_others_is_refused(
    owner: int, names: list[str], exporting: list[str], others: list[str], found: str
) -> None:
    problems = judge_folder("/srv/x", owner, names, 940, exporting, others)
    assert [problem.found for problem in problems] == ([f"The folder /srv/x {found}"] if found else [])


@pytest.mark.parametrize(
    ("version", "path", "options", "found"),
    [
        ("4.2", "/srv/nfs4", {"fsid=0"}, True),
        ("4", "/srv/nfs4", {"fsid=root"}, True),
        ("3", "/srv/nfs4", {"fsid=0"}, False),
        ("4.2", "/", {"fsid=0"}, False),
        ("4.2", "/srv/nfs4", {"fsid=1", "sec=krb5"}, False),
    ],
)
def test_a_root_that_hides_the_folder_is_told(version: str, path: str, options: set[str], found: bool) -> None:
    problems = judge_root("/srv/x", version, [Export(path, "*", frozenset(options))])
    assert [problem.check for problem in problems] == (["export-root"] if found else [])


LIVE = frozenset([*EXPORT_OPTIONS, "wdelay"])


def test_only_our_exports_are_brought_into_force() -> None:
    live = [
        Export("/srv/x", "10.0.0.1", LIVE),
        Export("/srv/x", "10.0.0.2", LIVE - {"rw"}),
        Export("/srv/x", "10.0.0.3", LIVE),
        Export("/srv/x", "10.0.0.8", LIVE),
        Export("/srv/old", "10.0.0.1", LIVE),
        Export("/srv/theirs", "10.0.0.3", LIVE),
    ]
    ours = {"/srv/x": ["10.0.0.1", "10.0.0.3", "10.0.0.7"], "/srv/old": ["10.0.0.1"]}
    options = "rw,sync,no_subtree_check,root_squash"
    assert export_commands("/srv/x", ["10.0.0.1", "10.0.0.2", "fd00::1"], ours, live) == [
        ["exportfs", "-u", "10.0.0.3:/srv/x"],
        ["exportfs", "-u", "10.0.0.1:/srv/old"],
        ["exportfs", "-o", options, "10.0.0.2:/srv/x"],
        ["exportfs", "-o", options, "[fd00::1]:/srv/x"],
    ]
    assert other_clients("/srv/x", [*ours["/srv/x"], "10.0.0.2"], live) == ["10.0.0.8"]


class Server:
    """An NFS server whose files lie in a folder of the test's; exportfs changes its table."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.active, self.calls = folder, True, []  # type: tuple[Path, bool, list[list[str]]]
        self.own, self.export = folder / "exports.d/rspm.exports", folder / "srv/rspm"
        self.etab: dict[tuple[str, str], str] = {}
        (folder / "exports").write_text("/srv/theirs 10.9.9.9(ro)\n")
        patch.setattr(host_export, "read_exports", lambda: [Export(*key, LIVE) for key in self.etab])
        patterns = (str(folder / "exports"), str(folder / "exports.d/*.exports"))
        patch.setattr(host_export.read_exporting, "__defaults__", (patterns,))
        patch.setattr(host_export, "wait_for_port", lambda *_arguments: True)
        patch.setattr(nfs_export, "module_runner", lambda _module: self.run)

    def run(self, argv: list[str], **_more: Any) -> CompletedCommand:
        self.calls.append(argv)
        said = ""
        if argv[0] == "exportfs":
            client, _colon, path = argv[-1].rpartition(":")
            if argv[1] == "-u":
                del self.etab[path, client]
            else:
                self.etab[path, client] = argv[2]
        elif argv[1] == "is-enabled":
            said = "enabled" if self.active else "disabled"
        elif argv[1] == "is-active":
            said = "active" if self.active else "inactive"
        elif argv[1] == "enable":
            self.active = True
            for path, clients in parse_exports(self.own.read_text()).items():
                self.etab.update(dict.fromkeys(((path, client) for client in clients), ""))
        return CompletedCommand(0, said, "")

    def changes(self) -> list[list[str]]:
        return [call for call in self.calls if not call[1].startswith("is-")]

    def call(self, clients: list[str], **more: Any) -> dict[str, Any]:
        given = {
            "path": str(self.export),
            "clients": clients,
            "uid": os.getuid(),
            "gid": os.getgid(),
            "exports_path": str(self.own),
            **more,
        }
        return run_module(nfs_export, given)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(tmp_path, monkeypatch)


@pytest.mark.parametrize("active", [True, False])
def test_the_folder_is_exported_beside_others(server: Server, active: bool) -> None:
    server.active = active
    server.etab["/srv/byhand", "10.9.9.9"] = "ro"
    old = os.umask(0o077)
    try:
        assert server.call(["10.0.0.1", "10.0.0.2"])["changed"] is True
    finally:
        os.umask(old)
    assert server.export.stat().st_mode & 0o777 == 0o750
    assert {server.export.parent.stat().st_mode & 0o777, server.own.parent.stat().st_mode & 0o777} == {0o755}
    assert server.own.stat().st_mode & 0o777 == 0o644
    assert set(server.etab) == {
        ("/srv/byhand", "10.9.9.9"),
        (str(server.export), "10.0.0.1"),
        (str(server.export), "10.0.0.2"),
    }
    assert (["systemctl", "enable", "--now", "nfs-server"] in server.calls) is not active
    assert not [call for call in server.calls if {"restart", "reload", "-r", "-ra", "-a"} & set(call)]
    server.calls.clear()
    assert server.call(["10.0.0.1", "10.0.0.2"])["changed"] is False
    assert server.changes() == []
    assert server.call(["10.0.0.1"])["changed"] is True
    assert server.changes() == [["exportfs", "-u", f"10.0.0.2:{server.export}"]]


def test_a_withdrawn_folder_is_exported_to_nobody_and_stays(server: Server) -> None:
    server.call(["10.0.0.1", "10.0.0.2"])
    (server.export / "kept").write_text("data")
    server.etab["/srv/byhand", "10.9.9.9"] = "ro"
    before = (server.folder / "exports").read_text()
    server.calls.clear()
    assert server.call([], state="absent", _ansible_check_mode=True)["changed"] is True
    assert server.changes() == [] and server.own.exists()
    assert server.call([], state="absent")["changed"] is True
    assert set(server.etab) == {("/srv/byhand", "10.9.9.9")}
    assert not server.own.exists() and (server.export / "kept").read_text() == "data"
    assert (server.folder / "exports").read_text() == before
    assert server.call([], state="absent")["changed"] is False


def test_a_run_that_was_cut_off_before_the_file_is_finished(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.call(["10.0.0.1", "10.0.0.2"])
    with monkeypatch.context() as patch:
        patch.setattr(nfs_export, "write_file", lambda *_arguments: exec("raise KeyboardInterrupt"))
        with (
            pytest.raises(KeyboardInterrupt),
            patch_module_args(
                {
                    "path": str(server.export),
                    "clients": ["10.0.0.3"],
                    "uid": os.getuid(),
                    "gid": os.getgid(),
                    "exports_path": str(server.own),
                }
            ),
        ):
            nfs_export.main()
    assert server.call(["10.0.0.3"])["changed"] is True
    assert set(server.etab) == {(str(server.export), "10.0.0.3")}


@pytest.mark.parametrize("whose", ["data", "file", "hand", "no folder"])
def test_nothing_is_changed_where_the_folder_is_somebody_elses(server: Server, whose: str) -> None:
    uid = os.getuid()
    if whose == "no folder":
        server.export.parent.mkdir()
        server.export.write_text("text")
    else:
        server.export.mkdir(parents=True, mode=0o755)
        (server.export / "theirs").write_text("text")
    if whose == "file":
        (server.folder / "exports").write_text(f"{server.export} 10.9.9.9(rw)\n")
    if whose == "hand":
        server.etab[str(server.export), "10.9.9.9"] = "rw"
    if whose == "data":
        uid += 1
    before = (server.export.stat(), dict(server.etab))
    checked = server.call(["10.0.0.1"], uid=uid, state="checked")
    assert [problem["check"] for problem in checked["problems"]] == ["export-folder"]
    assert checked.get("failed") is None and checked["changed"] is False
    refused = server.call(["10.0.0.1"], uid=uid)
    assert refused["failed"] is True and refused["problems"][0]["check"] == "export-folder"
    after = server.export.stat()
    assert (before[0].st_uid, before[0].st_mode, before[1]) == (after.st_uid, after.st_mode, server.etab)
    assert server.calls == [] and not server.own.exists()


def test_nothing_is_in_the_way_of_a_fresh_server(server: Server) -> None:
    assert server.call(["10.0.0.1"], state="checked")["problems"] == []
    assert not server.export.exists()


def test_an_export_protects_requests_as_asked_for() -> None:
    text = render_exports("/srv/x", ["a", "b"], "krb5p")
    assert text.endswith(
        "/srv/x a(rw,sync,no_subtree_check,root_squash,sec=krb5p) b(rw,sync,no_subtree_check,root_squash,sec=krb5p)\n"
    )
    assert export_commands("/srv/x", ["a"], {}, [], "krb5p") == [
        ["exportfs", "-o", "rw,sync,no_subtree_check,root_squash,sec=krb5p", "a:/srv/x"]
    ]


def test_the_security_of_what_nodes_have_mounted_is_not_changed() -> None:
    live = parse_etab("/srv/x\ta(rw,sync,wdelay,root_squash,no_subtree_check,sec=sys,rw,secure)\n")
    assert judge_security("/srv/x", ["a", "b"], "sys", live) == []
    assert judge_security("/srv/x", ["a", "b"], "krb5p", []) == []
    problem = judge_security("/srv/x", ["a", "b"], "krb5p", live)[0]
    assert "sec=sys to a" in problem.found and "exportfs -u a:/srv/x" in problem.fix

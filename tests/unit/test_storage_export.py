# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the NFS server exports, and to whom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._storage_export import (
    export_differences,
    parse_etab,
    render_exports,
)

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

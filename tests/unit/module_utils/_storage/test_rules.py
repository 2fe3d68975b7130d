# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked of the shared storage, and what is refused."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._storage import host
from ansible_collections.rspm.ha.plugins.module_utils._storage.access import AccessResult, judge_access
from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import MountEntry, kernel_options
from ansible_collections.rspm.ha.plugins.module_utils._storage.rules import (
    ServerProbe,
    decide_mount,
    judge_delegations,
    judge_existing,
    judge_mount_failure,
    judge_server,
)
from tests.unit.worlds.storage_requests import LIVE, NO_MOUNT, asked, table


def refusal(**changes: Any) -> str:
    with pytest.raises(DomainError) as error:
        asked(**changes)
    assert error.value.problems[0].fix and error.value.problems[0].why
    return error.value.problems[0].check


def test_the_source_names_server_and_export() -> None:
    assert asked().source == "nfs:/srv/rstudio-pm"
    assert asked(server="fd00::13").source == "[fd00::13]:/srv/rstudio-pm"
    assert asked(kind="existing", server="", export="").source == ""
    assert [place.relative for place in asked(data_dir="/mnt/rstudio-pm/a/b").places("/x")] == ["a/b", ".rspm-ha"]
    sub = asked(kind="existing", path="/shared/rspm", data_dir="/shared/rspm/data")
    assert [place.relative for place in sub.places("/shared")] == ["rspm/data", "rspm/.rspm-ha"]
    assert [place.relative for place in asked(kind="local").places("/")] == ["data"]


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "mnt"},
        {"path": "/", "data_dir": "/data"},
        {"path": "/mnt/x/", "data_dir": "/mnt/x/data"},
        {"data_dir": "/mnt/rstudio-pm"},
        {"data_dir": "/mnt/rstudio-pm-data"},
        {"data_dir": "/mnt/rstudio-pm/../data"},
    ],
)
def test_a_data_directory_that_could_lie_on_the_local_disk_is_refused(changes: dict[str, Any]) -> None:
    assert refusal(**changes) == "storage-path"


def test_a_server_and_an_export_are_needed() -> None:
    assert refusal(server="") == refusal(export="srv") == "storage-server"


@pytest.mark.parametrize(
    "changes",
    [
        {"cache": "acdirmax=6"},
        {"cache": "actimeo=60"},
        {"cache": "lookupcache=all"},
        {"cache": "noatime"},
        {"options": ["rw", "vers=4.2"]},
        {"options": ["rw", "acdirmax=5"]},
        {"options": ["lookupcache=pos", "lookupcache=all"]},
    ],
)
def test_options_that_hide_new_files_for_long_are_refused(changes: dict[str, Any]) -> None:
    assert refusal(**changes) == "storage-cache"


@pytest.mark.parametrize(
    ("live", "delegations", "hidden"),
    [
        (["vers=4.2", "acdirmin=5", "acdirmax=5"], True, True),
        (["vers=4.1"], True, True),
        (["vers=4.2", "acdirmin=5", "acdirmax=5"], False, False),
        (["vers=4.2", "lookupcache=pos"], True, False),
        (["vers=4.2", "acdirmin=0", "acdirmax=0"], True, False),
        (["vers=4.0", "acdirmin=5", "acdirmax=5"], True, False),
        (["vers=3", "acdirmin=5", "acdirmax=5"], True, False),
    ],
)
def test_times_do_not_count_under_a_directory_delegation(live: list[str], delegations: bool, hidden: bool) -> None:
    assert bool(judge_delegations(live, delegations)) is hidden


@pytest.mark.parametrize("changes", [{"cache": "acdirmax=5"}, {"cache": "actimeo=0"}, {"options": ["actimeo=3"]}])
def test_the_guides_alternatives_are_taken(changes: dict[str, Any]) -> None:
    assert asked(**changes).options


def test_what_is_to_be_done_follows_from_the_mount_table() -> None:
    assert decide_mount(asked(), NO_MOUNT) == ("mount", [])
    assert decide_mount(asked(), table()) == ("keep", [])
    action, differences = decide_mount(asked(), table(LIVE.replace("lookupcache=pos,", "")))
    assert (action, [str(one) for one in differences]) == ("change", ["lookupcache is all instead of pos"])


@pytest.mark.parametrize(("fstype", "source"), [("ext4", "/dev/sdb1"), ("cifs", "//nfs/srv"), ("nfs4", "other:/srv")])
def test_a_mount_of_something_else_is_not_touched(fstype: str, source: str) -> None:
    with pytest.raises(DomainError) as error:
        decide_mount(asked(), table(fstype=fstype, source=source))
    assert error.value.problems[0].check == "storage-type"
    assert source in error.value.problems[0].found


@pytest.mark.parametrize(
    ("entries", "checks"),
    [
        (table(), []),
        (NO_MOUNT, ["storage-type"]),
        (table(fstype="ext4"), ["storage-type"]),
        (table("ro,vers=4.2,lookupcache=pos"), ["storage-read-only"]),
        (table("rw,vers=4.1"), ["storage-cache"]),
        (table("ro,vers=3"), ["storage-read-only", "storage-cache"]),
        (table("rw,vers=3,acregmax=5,acdirmin=5,acdirmax=5", "nfs"), []),
    ],
)
def test_an_existing_mount_is_judged_by_the_mount_table(entries: list[MountEntry], checks: list[str]) -> None:
    for path in ("/mnt/rstudio-pm", "/mnt/rstudio-pm/sub"):
        request = asked(kind="existing", path=path, data_dir=f"{path}/data")
        assert [problem.check for problem in judge_existing(request, entries)] == checks


def test_a_missing_existing_mount_is_said_plainly() -> None:
    (problem,) = judge_existing(asked(kind="existing"), NO_MOUNT)
    assert problem.found == "Nothing is mounted at /mnt/rstudio-pm, where an NFS mount was to be found"


# Recorded: mount.nfs of nfs-utils 2.6.2
@pytest.mark.parametrize(
    ("rc", "said", "found"),
    [
        (32, "mount.nfs: access denied by server while mounting nfs:/srv", "was denied"),
        (32, "mount.nfs: mounting nfs:/e failed, reason given by server: No such file or directory", "no such export"),
        (32, "mount.nfs: requested NFS version or transport protocol is not supported", "not supported"),
        (32, "mount: /mnt: bad option; you might need a /sbin/mount.<type> helper program.", "no NFS client"),
        (32, "mount.nfs: Connection refused", "failed"),
        (124, "", "did not finish in time"),
    ],
)  # fmt: skip
def test_a_failed_mount_is_explained(rc: int, said: str, found: str) -> None:
    assert found in judge_mount_failure("nfs:/srv", rc, said).found


@pytest.mark.parametrize(
    ("result", "checks"),
    [
        (AccessResult("done", "", "/m"), []),
        (AccessResult("done", "", "/m", 940, 940, 940, 940, 0o701), []),
        (AccessResult("wait", "", "/m"), ["storage-server"]),
        (AccessResult("enter", "ESTALE", "/m"), ["storage-stale"]),
        (AccessResult("create", "EROFS", "/m"), ["storage-read-only"]),
        (AccessResult("device", "EXDEV", "/m"), ["storage-mount"]),
        (AccessResult("enter", "EACCES", "/m"), ["storage-access"]),
        (AccessResult("create", "EACCES", "/m/data", -1, -1, 998, 998, 0o700), ["storage-ids"]),
        (AccessResult("done", "", "/m/data", 940, 940, 940, 998, 0o701), ["storage-ids"]),
        (AccessResult("owner", "EPERM", "/m", 65534, 65534), ["storage-ids"]),
        (AccessResult("create", "ENOSPC", "/m"), ["storage-access"]),
    ],
)
def test_what_the_account_met_is_explained(result: AccessResult, checks: list[str]) -> None:
    assert [problem.check for problem in judge_access(asked(), result, asked().data_dir)] == checks


def test_a_server_that_does_not_answer_is_named() -> None:
    assert judge_server([ServerProbe("nfs", 2049, "")]) == []
    (problem,) = judge_server([ServerProbe("nfs", 2049, "Connection refused"), ServerProbe("nfs", 111, "")])
    assert problem.found == "The NFS server nfs does not answer on TCP port 2049: Connection refused"


def test_the_ports_depend_on_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(address: tuple[str, int], _timeout: float) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", refuse)
    assert host.probe_nfs_server("h", "4.2", 1) == [ServerProbe("h", 2049, "Connection refused")]
    assert [probe.port for probe in host.probe_nfs_server("h", "3", 1)] == [2049, 111]


@given(st.lists(st.sampled_from(["rw", "vers=4.2", "_netdev", "x-systemd.automount", "retry=1", "actimeo=5"])))
def test_the_trial_has_all_that_the_kernel_is_told(options: list[str]) -> None:
    assert set(kernel_options(options)) == set(options) & {"rw", "vers=4.2", "actimeo=5"}


@pytest.mark.parametrize(
    ("security", "options", "good"),
    [
        ("krb5p", [], True),
        ("krb5p", ["sec=krb5p", "lookupcache=pos"], True),
        ("sys", ["lookupcache=pos"], True),
        ("krb5p", ["lookupcache=pos"], False),
        ("sys", ["sec=krb5p", "lookupcache=pos"], False),
    ],
)
def test_the_mount_protects_requests_as_the_export_does(security: str, options: list[str], good: bool) -> None:
    if good:
        assert ("sec=krb5p" in asked(security=security, options=options).options) is (security == "krb5p")
    else:
        with pytest.raises(DomainError, match="rspm_nfs_security"):
            asked(security=security, options=options)

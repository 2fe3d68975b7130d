# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mount table as the kernel writes it, and the comparison of mount options."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import (
    MountEntry,
    cache_settings,
    export_path,
    kernel_options,
    mount_at,
    mount_of,
    nfs_options,
    option_differences,
    parse_mountinfo,
    security_of,
    shared_mount_point,
)

# Recorded: kernel 7.2 (the 4.2 mount), 5.15 and 6.1 (the others)
_REST = "namlen=255,hard,proto=tcp,timeo=600,retrans=2,sec=sys,local_lock=none,addr=10.0.0.13"
MOUNTINFO = "\n".join(
    [
        r"20 1 98:0 / / rw,noatime shared:1 - ext4 /dev/ubda rw",
        r"24 20 0:6 / /proc/sys/fs/binfmt_misc rw,relatime shared:9 - autofs systemd-1 rw,fd=29,pgrp=1,timeout=0",
        r"201 20 0:39 / /mnt/rstudio-pm rw,relatime shared:108 - nfs4 10.0.0.13:/srv/rstudio-pm "
        rf"rw,vers=4.2,rsize=131072,wsize=131072,fatal_neterrors=none,clientaddr=10.0.0.12,lookupcache=pos,{_REST}",
        r"202 20 0:44 / /mnt/v3 rw,relatime shared:110 - nfs 10.0.0.13:/srv/other "
        rf"rw,vers=3,rsize=1048576,acregmax=5,acdirmin=5,acdirmax=5,mountvers=3,mountport=20048,{_REST}",
        rf"203 20 0:45 / /mnt/plain ro,relatime shared:111 - nfs4 nfs:/plain rw,vers=4.1,rsize=1048576,{_REST}",
        r"204 20 0:46 / /mnt/with\040space rw,relatime shared:112 master:1 - nfs4 nfs:/a\134b "
        r"rw,vers=4.0,noac,acregmin=0,acregmax=0,acdirmin=0,acdirmax=0",
        r"205 20 0:47 /sub /mnt/plain ro,relatime shared:113 - tmpfs tmpfs rw,size=1024k",
        "",
    ]
)


def entry(path: str) -> MountEntry:
    found = mount_at(parse_mountinfo(MOUNTINFO), path)
    assert found is not None
    return found


def test_the_table_is_read_as_the_kernel_writes_it() -> None:
    mount = entry("/mnt/rstudio-pm")
    assert (mount.device, mount.root, mount.fstype, mount.source) == ("0:39", "/", "nfs4", "10.0.0.13:/srv/rstudio-pm")
    assert mount.is_nfs
    assert {"rw", "vers=4.2", "lookupcache=pos"} <= set(mount.live_options)
    assert entry("/mnt/with space").source == r"nfs:/a\b"


def test_read_only_in_one_place_is_read_only() -> None:
    table = parse_mountinfo("203 20 0:45 / /m ro,relatime - nfs4 nfs:/plain rw,vers=4.1")
    assert "ro" in table[0].live_options and "rw" not in table[0].live_options


def test_the_mount_on_top_is_the_one_that_counts() -> None:
    assert entry("/mnt/plain").fstype == "tmpfs"


@pytest.mark.parametrize(
    ("path", "mount_point"),
    [
        ("/mnt/rstudio-pm/data", "/mnt/rstudio-pm"),
        ("/mnt/rstudio-pm", "/mnt/rstudio-pm"),
        ("/mnt/rstudio-pm2/data", "/"),
        ("/mnt", "/"),
    ],
)
def test_a_path_lies_on_the_deepest_mount_above_it(path: str, mount_point: str) -> None:
    found = mount_of(parse_mountinfo(MOUNTINFO), path)
    assert found is not None and found.mount_point == mount_point


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ([], 60),
        (["lookupcache=all"], 60),
        (["lookupcache=pos"], 0),
        (["lookupcache=positive"], 0),
        (["lookupcache=none"], 0),
        (["noac"], 0),
        (["actimeo=5"], 5),
        # the default acdirmin of 30 s still counts
        (["acdirmax=5"], 30),
        (["acdirmin=5", "acdirmax=5"], 5),
        (["actimeo=5", "acdirmax=60"], 60),
        (["lookupcache=pos", "lookupcache=all"], 60),
    ],
)
def test_how_long_a_new_file_may_stay_unseen(options: list[str], seconds: int) -> None:
    assert cache_settings(options).negative_lookup_seconds == seconds


@pytest.mark.parametrize("cache", ["lookupcache=pos", "actimeo=5", "acdirmax=5", "acdirmax=1"])
@pytest.mark.parametrize("version", ["3", "4", "4.1", "4.2"])
def test_our_options_keep_new_files_visible_and_survive_a_boot(version: str, cache: str) -> None:
    options = nfs_options(version, cache)
    assert cache_settings(options).negative_lookup_seconds <= 5
    assert {"hard", "_netdev", "nofail", "x-systemd.mount-timeout=infinity", "retry=10000"} <= set(options)
    assert f"vers={version}" in options and cache in options


@pytest.mark.parametrize("security", ["krb5", "krb5i", "krb5p"])
def test_what_protects_requests_is_asked_for_and_compared(security: str) -> None:
    options = nfs_options("4.2", "lookupcache=pos", security)
    assert f"sec={security}" in kernel_options(options)
    live = [option for option in options if option != f"sec={security}"]
    assert [each.name for each in option_differences(options, [*live, "sec=sys"])] == ["sec"]
    assert option_differences(options, [*live, f"sec={security}"]) == []
    assert security_of(options) == security and security_of(live) == "sys"


def test_what_only_userspace_reads_is_not_given_to_the_kernel() -> None:
    assert kernel_options(nfs_options("4.2", "lookupcache=pos")) == ["rw", "hard", "vers=4.2", "lookupcache=pos"]


def test_a_mount_made_with_our_options_does_not_differ() -> None:
    live = entry("/mnt/rstudio-pm").live_options
    assert option_differences(nfs_options("4.2", "lookupcache=pos"), live) == []
    assert option_differences(nfs_options("4", "lookupcache=pos"), live) == []
    assert option_differences(nfs_options("3", "actimeo=5"), entry("/mnt/v3").live_options) != []


def test_actimeo_is_shown_as_four_values() -> None:
    live = (*entry("/mnt/v3").live_options, "acregmin=5")
    assert option_differences(["vers=3", "actimeo=5"], live) == []


@pytest.mark.parametrize(
    ("wanted", "live", "name"),
    [
        (["lookupcache=pos"], ["vers=4.2"], "lookupcache"),
        # what was asked for before is not to stay in force
        (["actimeo=5"], ["actimeo=5", "lookupcache=pos"], "lookupcache"),
        (["vers=4.2"], ["vers=4.1"], "vers"),
        (["vers=4"], ["vers=3"], "vers"),
        (["nfsvers=3"], ["vers=4.2"], "vers"),
        (["hard"], ["soft"], "hard"),
        (["soft"], ["hard"], "soft"),
        (["rw"], ["ro"], "rw"),
        (["nosuid"], ["rw"], "nosuid"),
        (["sec=krb5"], ["sec=sys"], "sec"),
        (["timeo=50"], ["timeo=600"], "timeo"),
        (["rsize=4096"], ["rsize=131072"], "rsize"),
    ],
)
def test_a_difference_is_named(wanted: list[str], live: list[str], name: str) -> None:
    assert [difference.name for difference in option_differences(wanted, live)] == [name]


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        (["rsize=1048576"], ["rsize=131072"]),
        (["suid", "dev", "exec"], ["rw"]),
        (["_netdev", "retry=3", "x-systemd.automount", "bg", "nofail"], []),
        # the kernel does not show it, so it can't be said to differ
        (["nconnect=4"], ["vers=4.2"]),
        (["lookupcache=positive"], ["lookupcache=pos"]),
    ],
)
def test_what_is_the_same_is_no_difference(wanted: list[str], live: list[str]) -> None:
    assert option_differences(wanted, live) == []


OPTIONS = st.lists(
    st.one_of(
        st.sampled_from(["lookupcache=all", "lookupcache=pos", "lookupcache=none", "rw", "hard", "vers=4.2", "noac"]),
        st.sampled_from(["acregmin", "acregmax", "acdirmin", "acdirmax", "actimeo", "timeo"]).flatmap(
            lambda name: st.integers(0, 3600).map(lambda value: f"{name}={value}")
        ),
    ),
    max_size=6,
)


def shown(options: list[str]) -> list[str]:
    """Write options as the kernel shows them: defaults left out, actimeo in four."""
    cache = cache_settings(options)
    defaults = {"acregmin": 3, "acregmax": 60, "acdirmin": 30, "acdirmax": 60}
    live = [f"{name}={getattr(cache, name)}" for name in defaults if getattr(cache, name) != defaults[name]]
    live += [] if cache.lookupcache == "all" else [f"lookupcache={cache.lookupcache}"]
    live += ["vers=4.2", "hard", "rw", *[option for option in options if option.startswith("timeo")][-1:]]
    return live


@given(OPTIONS)
def test_options_do_not_differ_from_what_the_kernel_shows_of_them(options: list[str]) -> None:
    latest_timeo = [option for option in options if option.startswith("timeo")][-1:]
    wanted = [option for option in options if not option.startswith("timeo")] + latest_timeo
    assert option_differences(wanted, shown(options)) == []


@given(OPTIONS, OPTIONS)
def test_caching_differs_exactly_when_its_settings_differ(wanted: list[str], live: list[str]) -> None:
    names = {difference.name for difference in option_differences(wanted, shown(live))}
    cache_names = names & {"lookupcache", "acregmin", "acregmax", "acdirmin", "acdirmax"}
    assert bool(cache_names) == (cache_settings(wanted) != cache_settings(live))


@given(OPTIONS)
def test_a_new_file_is_unseen_no_longer_than_the_longest_time_given(options: list[str]) -> None:
    cache = cache_settings(options)
    assert 0 <= cache.negative_lookup_seconds <= max(cache.acdirmin, cache.acdirmax)


PATHS = st.lists(
    st.text(st.characters(blacklist_characters="/\n\0", codec="ascii"), min_size=1, max_size=5), max_size=4
)


@given(PATHS)
def test_a_mount_point_of_any_name_is_found_again(names: list[str]) -> None:
    path = "/" + "/".join(names)
    escaped = "".join(f"\\{ord(sign):03o}" if sign in " \t\\#" else sign for sign in path)
    table = parse_mountinfo(f"1 1 0:1 / / rw - ext4 /dev/sda rw\n2 1 0:39 / {escaped} rw - nfs4 s:/e rw,vers=4.2\n")
    found = mount_at(table, path)
    assert found is not None and found.device == "0:39"
    assert mount_of(table, path.rstrip("/") + "/data") == found


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    parse_mountinfo(text)


@pytest.mark.parametrize(
    ("line", "path", "point", "export"),
    [
        ("/ /shared rw - nfs4 nfs:/srv rw", "/shared/rspm", "/shared", "nfs:/srv"),
        ("/ /shared rw - nfs4 nfs:/srv rw", "/shared", "/shared", "nfs:/srv"),
        ("/ /shared rw - autofs /etc/auto.master rw", "/shared/rspm", "/shared", None),
        ("/ /shared rw - ext4 /dev/sdb rw", "/shared/rspm", "/shared/rspm", None),
        ("/ /other rw - nfs4 nfs:/srv rw", "/shared/rspm", "/shared/rspm", None),
        ("/team /shared rw - nfs4 nfs:/srv rw", "/shared/rspm", "/shared", "nfs:/srv/team"),
        ("/team /shared rw - nfs4 nfs:/srv/team rw", "/shared/rspm", "/shared", "nfs:/srv/team"),
    ],
)
def test_the_share_that_a_folder_lies_on(line: str, path: str, point: str, export: str | None) -> None:
    entries = parse_mountinfo(f"20 1 8:1 / / rw - ext4 /dev/sda1 rw\n201 20 0:39 {line}\n")
    assert shared_mount_point(entries, path) == point
    if export:
        assert export_path(entries[1]) == export

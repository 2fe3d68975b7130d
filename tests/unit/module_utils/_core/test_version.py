# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions: order, equality, download addresses, and what the inventory asks for."""

from __future__ import annotations

import itertools
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._core.version import (
    judge_installed,
    judge_versions,
    package_url,
    parse_version,
    reports_version,
    same_version,
)

# In the order of their release.
RELEASES = [
    "1.0.8-5",
    "1.1.6.1",
    "1.2.2.1-17",
    "2021.09.0-1",
    "2022.11.4-20",
    "2023.07.0-1",
    "2023.12.0-13",
    "2024.04.4-35",
    "2024.11.0-7",
    "2025.04.4-9",
    "2025.04.4-13",
    "2025.12.0-14",
    "2026.04.0",
    "2026.04.1",
    "2026.08.0",
    "2026.10.0",
]


def test_releases_are_in_order() -> None:
    for older, newer in itertools.combinations(RELEASES, 2):
        assert parse_version(older) < parse_version(newer), (older, newer)


numbers = st.integers(min_value=0, max_value=120).map(str) | st.sampled_from(["00", "01", "09", "2026"])
suffixes = st.sampled_from(["", "-1", "-14", "-2", "-dev+167-gabc1", "-dev", "+12", "-dev+9-g0f"])
versions = st.builds(
    lambda parts, suffix: ".".join(parts) + suffix, st.lists(numbers, min_size=3, max_size=4), suffixes
)


@given(versions, versions, versions)
def test_order_is_total(a: str, b: str, c: str) -> None:
    x, y, z = parse_version(a), parse_version(b), parse_version(c)
    assert (x < y) + (x == y) + (x > y) == 1
    if x == y:
        assert hash(x) == hash(y)
    if x <= y <= z:
        assert x <= z


def _verrevcmp(a: str, b: str) -> int:
    """dpkg's comparison of one part, after deb-version(7), written independently of the code under test."""

    def order(c: str) -> int:
        return 0 if c == "" or c.isdigit() else -1 if c == "~" else ord(c) if c.isalpha() else ord(c) + 256

    i = j = 0
    while i < len(a) or j < len(b):
        while (i < len(a) and not a[i].isdigit()) or (j < len(b) and not b[j].isdigit()):
            difference = order(a[i : i + 1]) - order(b[j : j + 1])
            if difference:
                return difference
            i, j = i + 1, j + 1
        left = "".join(itertools.takewhile(str.isdigit, a[i:]))
        right = "".join(itertools.takewhile(str.isdigit, b[j:]))
        if int(left or 0) != int(right or 0):
            return int(left or 0) - int(right or 0)
        i, j = i + len(left), j + len(right)
    return 0


def _dpkg(a: str, b: str) -> int:
    (ua, da, ra), (ub, db, rb) = a.rpartition("-"), b.rpartition("-")
    if not da:
        ua, ra = a, "0"
    if not db:
        ub, rb = b, "0"
    return _verrevcmp(ua, ub) or _verrevcmp(ra, rb)


@given(versions, versions)
def test_order_is_dpkgs(a: str, b: str) -> None:
    found = _dpkg(a, b)
    assert (parse_version(a) < parse_version(b)) == (found < 0)
    assert (parse_version(a) == parse_version(b)) == (found == 0)


@pytest.mark.skipif(not shutil.which("dpkg"), reason="no dpkg here")
def test_reference_is_dpkgs_own() -> None:
    odd = [
        "2026.01.0-dev+167-gabc1",
        "2026.01.0",
        "2026.01.0-5",
        "2026.1.0",
        "1.2.2",
        "1.2.2.0",
        "2026.04.0",
        "2026.04.0-0",
    ]
    for a, b in itertools.combinations(RELEASES[:4] + odd, 2):
        for relation, found in (
            ("lt", parse_version(a) < parse_version(b)),
            ("eq", parse_version(a) == parse_version(b)),
        ):
            done = subprocess.run(["dpkg", "--compare-versions", a, relation, b], check=False)
            assert (done.returncode == 0) == found, (a, relation, b)


def _rpm_segments(text: str) -> list[tuple[int, int]]:
    """rpm's segments of a purely numeric version: each number is newer than none."""
    return [(1, int(part)) for part in text.split(".")]


@given(st.lists(numbers, min_size=3, max_size=4), st.lists(numbers, min_size=3, max_size=4), numbers, numbers)
def test_order_is_rpms(a: list[str], b: list[str], build_a: str, build_b: str) -> None:
    left = (_rpm_segments(".".join(a)), int(build_a))
    right = (_rpm_segments(".".join(b)), int(build_b))
    assert (parse_version(f"{'.'.join(a)}-{build_a}") < parse_version(f"{'.'.join(b)}-{build_b}")) == (left < right)


@pytest.mark.parametrize(
    "text", ["", "latest", "2026.04", "v2026.04.0", "2026.04.0 ", "2026.04.0\n", "2026.04.0;x", "../1.2.3"]
)
def test_no_version(text: str) -> None:
    with pytest.raises(DomainError, match="version-syntax"):
        parse_version(text)


@pytest.mark.parametrize(
    ("packaged", "wanted", "same"),
    [
        ("2025.12.0-14", "2025.12.0-14", True),
        ("2025.12.0-13", "2025.12.0-14", False),
        ("2026.04.0", "2026.04.0", True),
        ("2026.04.0-1", "2026.04.0", True),
        ("2026.04.0-2", "2026.04.0", False),
        ("2025.12.0-14", "2025.12.0", False),
        ("2026.04.1", "2026.04.0", False),
        ("nonsense", "2026.04.0", False),
    ],
)
def test_same_version(packaged: str, wanted: str, same: bool) -> None:
    assert same_version(packaged, wanted) is same


def test_reported_version_may_lack_its_build() -> None:
    assert reports_version("2025.12.0", "2025.12.0-14")
    assert reports_version("2025.12.0-14", "2025.12.0-14")
    assert not reports_version("2025.12.0-13", "2025.12.0-14")
    assert not reports_version("2026.04.0", "2025.12.0-14")
    assert not reports_version("", "2025.12.0-14")


HOSTS = {
    "S3": "s3.amazonaws.com/rstudio-package-manager",
    "RSTUDIO": "cdn.rstudio.com/package-manager",
    "POSIT": "cdn.posit.co/package-manager",
}


@pytest.mark.parametrize(
    ("version", "family", "release", "url"),
    [
        ("1.2.2.1-17", "debian", "20.04", "S3/ubuntu/amd64/rstudio-pm_1.2.2.1-17_amd64.deb"),
        ("1.2.2.1-17", "redhat", "8", "S3/centos/x86_64/rstudio-pm-1.2.2.1-17.x86_64.rpm"),
        ("2021.09.0-1", "debian", "20.04", "RSTUDIO/ubuntu/amd64/rstudio-pm_2021.09.0-1_amd64.deb"),
        ("2022.11.4-20", "debian", "22.04", "POSIT/ubuntu22/amd64/rstudio-pm_2022.11.4-20_amd64.deb"),
        ("2022.11.4-20", "redhat", "8.9", "POSIT/rhel8/x86_64/rstudio-pm-2022.11.4-20.x86_64.rpm"),
        ("2023.08.0-1", "debian", "12", "POSIT/deb/amd64/rstudio-pm_2023.08.0-1_amd64.deb"),
        ("2026.08.0", "debian", "12", "POSIT/deb/amd64/rstudio-pm_2026.08.0_amd64.deb"),
        ("2026.08.0", "suse", "15.6", "POSIT/rpm/x86_64/rstudio-pm-2026.08.0.x86_64.rpm"),
        ("2026.01.0-dev+167-gab", "debian", "12", "POSIT/deb/amd64/rstudio-pm_2026.01.0-dev%2B167-gab_amd64.deb"),
    ],
)
def test_package_url(version: str, family: str, release: str, url: str) -> None:
    host, _slash, path = url.partition("/")
    assert package_url(version, family, release, "x86_64") == f"https://{HOSTS[host]}/{path}"


@pytest.mark.parametrize(
    ("version", "family", "release", "machine"),
    [
        ("2026.08.0", "debian", "12", "aarch64"),
        ("2022.11.4-20", "debian", "12", "x86_64"),
        ("2022.11.4-20", "redhat", "9.1", "x86_64"),
    ],
)
def test_no_guessed_url(version: str, family: str, release: str, machine: str) -> None:
    with pytest.raises(DomainError, match="rspm_package_url and rspm_package_checksum"):
        package_url(version, family, release, machine)


def test_different_versions_are_named_by_host() -> None:
    (problem,) = judge_versions({"n3": "2026.08.0", "n1": "2026.08.0", "n2": "2025.12.0-14"})
    assert problem.found == "different versions are asked for: 2025.12.0-14 on n2; 2026.08.0 on n1, n3"
    assert "rspm_version once" in problem.fix
    assert judge_versions({"n1": "2026.08.0", "n2": "2026.08.0"}) == []
    assert [p.check for p in judge_versions({"n1": "latest"})] == ["version-syntax"]


def test_live_version_names_the_upgrade() -> None:
    assert judge_installed({"n1": "", "n2": "2026.04.0-1"}, "2026.04.0") == []
    (problem,) = judge_installed({"n1": "2025.12.0-14", "n2": ""}, "2026.04.0")
    assert problem.found == "rspm_version is 2026.04.0, but installed is 2025.12.0-14 on n1"
    assert "rspm.ha.upgrade" in problem.fix

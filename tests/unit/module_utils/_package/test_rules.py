# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The package: what apt, dnf and zypper print, which file is good, what an installation needs."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._package import commands as tools
from ansible_collections.rspm.ha.plugins.module_utils._package import rules as package
from ansible_collections.rspm.ha.plugins.module_utils._package.rules import DEBIAN, REDHAT, SUSE, PackageState


@pytest.mark.parametrize(
    ("text", "family", "release"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n', DEBIAN, "12"),
        ('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n', DEBIAN, "24.04"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\n', REDHAT, "9.4"),
        ('ID="almalinux"\nVERSION_ID="8.10"\n', REDHAT, "8.10"),
        ('ID="sles"\nID_LIKE="suse"\nVERSION_ID="15.6"\n', SUSE, "15.6"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="15.6"\n', SUSE, "15.6"),
    ],
)
def test_parse_host(text: str, family: str, release: str) -> None:
    assert package.parse_host(text, "x86_64") == package.Host(family, release, "x86_64")


def test_unknown_system_is_named() -> None:
    with pytest.raises(DomainError, match=r"Alpine Linux v3\.20"):
        package.parse_host('ID=alpine\nPRETTY_NAME="Alpine Linux v3.20"\n', "x86_64")


# --- what the tools print


@pytest.mark.parametrize(
    ("stdout", "state"),
    [
        ("", PackageState("", "absent", False)),
        ("not-installed\tunknown\tok\t\t\n", PackageState("", "absent", False)),
        ("config-files\tdeinstall\tok\t2025.12.0-14\t2025.12.0-14\n", PackageState("", "absent", False)),
        ("installed\tinstall\tok\t2026.04.0\t\n", PackageState("2026.04.0", "installed", False, "2026.04.0")),
        ("installed\thold\tok\t2026.04.0\t\n", PackageState("2026.04.0", "installed", True, "2026.04.0")),
        ("half-configured\tinstall\tok\t2026.04.0\t\n", PackageState("2026.04.0", "broken", False, "")),
        ("unpacked\thold\tok\t2026.04.0\t2025.12.0-14\n", PackageState("2026.04.0", "broken", True, "2025.12.0-14")),
        ("installed\tinstall\treinstreq\t2026.04.0\t\n", PackageState("2026.04.0", "broken", False, "")),
        ("half-installed\tinstall\treinstreq\t2026.04.0\t\n", PackageState("2026.04.0", "broken", False, "")),
    ],
)
def test_parse_dpkg(stdout: str, state: PackageState) -> None:
    assert tools.parse_dpkg(stdout) == state


DNF4_LOCKS = "Last metadata expiration check: 0:12:01 ago.\nbash-0:5.1.8-9.el9.*\nrstudio-pm-0:2026.04.0-1.*\n"
DNF5_LOCKS = (
    "# Added by 'versionlock add' command on 2026-11-01 10:00:00\nPackage name: rstudio-pm\nevr = 2026.04.0-1\n"
)
ZYPPER_LOCKS = """
# | Name       | Type    | Repository | Comment
--+------------+---------+------------+--------
1 | rstudio-pm | package | (any)      |
"""


@pytest.mark.parametrize(
    ("locks", "held"),
    [
        (DNF4_LOCKS, True),
        (DNF5_LOCKS, True),
        (ZYPPER_LOCKS, True),
        ("", False),
        (DNF4_LOCKS.replace("2026.04.0", "2025.12.0"), False),
        ("!rstudio-pm-0:2026.04.0-1.*\n", False),
        ("No such command: versionlock.", False),
    ],
)
def test_parse_rpm_holds(locks: str, held: bool) -> None:
    assert tools.parse_rpm("2026.04.0-1\n", 0, locks) == PackageState("2026.04.0-1", "installed", held, "2026.04.0-1")


def test_parse_rpm() -> None:
    assert tools.parse_rpm("package rstudio-pm is not installed\n", 1, "").absent
    cut_off = tools.parse_rpm("2025.12.0-14\n2026.04.0-1\n", 0, "")
    assert (cut_off.version, cut_off.status, cut_off.configured_version) == ("2026.04.0-1", "broken", "2025.12.0-14")


def test_parse_files() -> None:
    deb = tools.parse_deb_file(
        "Package: rstudio-pm\nVersion: 2026.04.0\nArchitecture: amd64\nInstalled-Size: 120\n", "/p.deb", 9, "aa"
    )
    assert deb == package.PackageFile("/p.deb", "rstudio-pm", "2026.04.0", "amd64", 9, 120 * 1024, "aa")
    rpm = tools.parse_rpm_file("rstudio-pm\t2026.04.0-1\tx86_64\t4096\n", "/p.rpm", 9, "aa")
    assert rpm == package.PackageFile("/p.rpm", "rstudio-pm", "2026.04.0-1", "x86_64", 9, 4096, "aa")
    assert tools.parse_deb_file("", "/p", 9, "aa").name == tools.parse_rpm_file("", "/p", 9, "aa").name == ""


APT = """\
Reading package lists...
The following additional packages will be installed:
  libfoo1
The following packages will be REMOVED:
  rival
Remv rival [1.0]
Inst libfoo1 (1.2 Debian:12.7/stable [amd64])
Inst rstudio-pm (2026.04.0 local-deb [amd64])
Conf libfoo1 (1.2 Debian:12.7/stable [amd64])
Conf rstudio-pm (2026.04.0 local-deb [amd64])
"""


def test_apt_simulation() -> None:
    assert tools.parse_apt_simulation(0, APT, "") == package.DryRun(("libfoo1",), ("rival",), "")
    missing = "Reading package lists...\n"
    error = " rstudio-pm : Depends: libbar (>= 9) but it is not installable\nE: Unable to correct problems\n"
    dry = tools.parse_apt_simulation(100, missing, error)
    assert "Depends: libbar (>= 9)" in dry.problem
    (problem,) = package.judge_dry_run(dry)
    assert problem.check == "package-dependencies"
    (problem,) = package.judge_dry_run(package.DryRun((), ("rival",), ""))
    assert "would remove rival" in problem.found
    assert package.judge_dry_run(package.DryRun(("libfoo1",), (), "")) == []


DNF = """\
Dependencies resolved.
================================================================================
 Package         Arch        Version              Repository               Size
================================================================================
Installing:
 rstudio-pm      x86_64      2026.04.0-1          @commandline             80 M
Installing dependencies:
 libfoo          x86_64      1.2-3.el9            appstream               120 k
Removing dependent packages:
 rival           x86_64      1.0-1.el9            @System                  10 k

Transaction Summary
================================================================================
Install  2 Packages

Operation aborted.
"""


def test_dnf_simulation() -> None:
    assert tools.parse_dnf_simulation(1, DNF, "") == package.DryRun(("libfoo",), ("rival",), "")
    failed = tools.parse_dnf_simulation(1, "", "Error: \n Problem: nothing provides libbar needed by rstudio-pm\n")
    assert "nothing provides libbar" in failed.problem
    failed = tools.parse_rpm_test(1, "", "error: Failed dependencies:\n\tlibbar is needed by rstudio-pm\n")
    assert "libbar is needed" in failed.problem


@pytest.mark.parametrize(
    ("family", "stdout"),
    [
        (DEBIAN, "rstudio-pm | 2026.04.0 | https://r/deb any/main amd64 Packages\nrstudio-pm | 2025.12.0-14 | x | y\n"),
        (REDHAT, "Available Packages\nrstudio-pm.x86_64    2026.04.0    pro\nrstudio-pm.x86_64  0:2025.12.0-14  pro\n"),
        (
            SUSE,
            "S | Name       | Type    | Version      | Arch   | Repository\n--+---\n"
            "  | rstudio-pm | package | 2026.04.0    | x86_64 | pro\n"
            "  | rstudio-pm | package | 2025.12.0-14 | x86_64 | pro\n",
        ),
    ],
)
def test_available(family: str, stdout: str) -> None:
    offered = tools.parse_available(family, stdout)
    assert offered == ["2026.04.0", "2025.12.0-14"]
    assert package.choose_available(offered, "2025.12.0-14") == "2025.12.0-14"
    assert package.choose_available(["2026.04.0-1"], "2026.04.0") == "2026.04.0-1"
    assert package.choose_available(offered, "2026.08.0") is None
    assert "offer 2026.04.0, 2025.12.0-14 of rstudio-pm, not 2026.08.0" in str(
        package.not_offered(offered, "2026.08.0")
    )


@pytest.mark.parametrize("family", [DEBIAN, REDHAT, SUSE])
def test_commands_are_there_for_every_family(family: str) -> None:
    assert "rstudio-pm" in tools.state_argv(family)
    assert tools.install_argv(family, "/p", 300)[-1] == "/p"
    assert tools.simulate_argv(family, "/p", 300)[-1] == "/p"
    assert tools.quick_install_argv(family, "/p")[-1] == "/p"
    assert tools.hold_argvs(family)[-1][-1] == "rstudio-pm"
    assert tools.download_argv(family, "1.2.3", "/f")
    assert tools.refresh_argv(family, 300)
    assert "DPkg::Lock::Timeout=300" in tools.install_argv(DEBIAN, "/p", 300)
    assert "--allow-change-held-packages" in tools.install_argv(DEBIAN, "/p", 300)
    assert "--disableplugin=versionlock" in tools.install_argv(REDHAT, "/p", 300)


# --- decisions

FILE = package.PackageFile("/p.deb", "rstudio-pm", "2026.04.0", "amd64", 10, 1024, "a" * 64)


def judge(file: package.PackageFile, checksum: str = "") -> list[str]:
    return [problem.check for problem in package.judge_file(file, "2026.04.0", "x86_64", checksum)]


def test_judge_file() -> None:
    assert judge(FILE) == judge(FILE, "a" * 64) == []
    assert judge(dataclasses.replace(FILE, architecture="all")) == []
    assert judge(FILE, "b" * 64) == ["package-checksum"]
    assert judge(dataclasses.replace(FILE, version="2025.12.0-14")) == ["package-version"]
    assert judge(dataclasses.replace(FILE, name="rstudio-server")) == ["package-name"]
    assert judge(dataclasses.replace(FILE, architecture="arm64")) == ["package-architecture"]
    assert judge(dataclasses.replace(FILE, name="", version="", architecture="")) == [
        "package-name",
        "package-architecture",
    ]
    (problem,) = package.judge_file(dataclasses.replace(FILE, version="2025.12.0-14"), "2026.04.0", "x86_64", "")
    assert problem.found == "/p.deb is rstudio-pm 2025.12.0-14, wanted is 2026.04.0"


def test_parse_checksum() -> None:
    assert package.parse_checksum("sha256:" + "A" * 64) == "a" * 64
    for text in ("", "a" * 64, "sha256:abc", "md5:" + "a" * 32):
        with pytest.raises(DomainError, match="package-checksum"):
            package.parse_checksum(text)


def test_staged_names() -> None:
    assert package.staged_name(DEBIAN, "2026.04.0", "x86_64") == "rstudio-pm_2026.04.0_amd64.deb"
    assert package.staged_name(REDHAT, "2026.04.0", "x86_64") == "rstudio-pm-2026.04.0.x86_64.rpm"


def test_space() -> None:
    mebibyte = 1 << 20
    (problem,) = package.judge_space({"/opt": 5 * mebibyte}, [("/opt", 6 * mebibyte), ("/elsewhere", 1 << 60)])
    assert problem.found == "/opt has 5 MiB free, 6 MiB are needed"
    assert package.judge_space({"/opt": 6 * mebibyte}, [("/opt", 6 * mebibyte)]) == []


states = st.builds(
    PackageState,
    version=st.sampled_from(["", "2026.04.0", "2025.12.0-14"]),
    status=st.sampled_from(["absent", "installed", "broken"]),
    held=st.booleans(),
    configured_version=st.sampled_from(["", "2026.04.0", "2025.12.0-14"]),
)


@given(states)
def test_plan_never_changes_a_version(state: PackageState) -> None:
    installed = state.version if state.installed else state.configured_version
    try:
        plan = package.plan_install(state, "2026.04.0")
    except DomainError as error:
        assert installed == "2025.12.0-14"
        assert "upgrade" in error.problems[0].fix
        return
    assert installed in ("", "2026.04.0")
    assert plan.install == (not state.installed)
    assert plan.changes == (not (state.installed and state.held))


def test_plan_by_name() -> None:
    plan = package.plan_install(PackageState("", "absent", False), "2026.04.0")
    assert plan.actions() == ["block", "install", "hold"]
    plan = package.plan_install(PackageState("2026.04.0", "broken", False), "2026.04.0")
    assert plan.actions() == ["block", "repair", "install", "hold"]
    plan = package.plan_install(PackageState("2026.04.0", "installed", False, "2026.04.0"), "2026.04.0")
    assert plan.actions() == ["hold"]


def test_urls_secrets_are_not_shown() -> None:
    problem = package.not_fetched("https://user:canary@repo/p.deb", "https://user:canary@repo/p.deb: 404")
    assert "canary" not in str(problem)

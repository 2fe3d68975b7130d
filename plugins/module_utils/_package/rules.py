# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The package rstudio-pm: which file fits a host, what an installation needs, and what to do next.

Sources: os-release(5), and the vendor's documents for the package's name and the installer's environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.rspm.ha.plugins.module_utils._config.gcfg import hide
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import PLAYBOOK, DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._core.version import same_version

NAME = "rstudio-pm"
DEBIAN, REDHAT, SUSE = "debian", "redhat", "suse"
STAGING_FOLDER = "/var/cache/rspm-ha"
INSTALL_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "RSTUDIO_INSTALL_NO_LICENSE_INITIALIZATION": "1"}
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Host:
    """What of the host decides which package fits. family: DEBIAN, REDHAT or SUSE. release: VERSION_ID of os-release.

    machine: as uname -m says it, e.g. "x86_64".
    """

    family: str
    release: str
    machine: str


@dataclass(frozen=True)
class PackageState:
    """What the package manager knows of the installed package.

    version: "" where it is absent. status: "absent", "installed" or "broken" (an installation was cut off).
    held: whether updates leave this very version alone. configured_version: the last installed one, "" for none.
    """

    version: str
    status: str
    held: bool
    configured_version: str = ""

    @property
    def absent(self) -> bool:
        """Whether there is no package."""
        return self.status == "absent"

    @property
    def installed(self) -> bool:
        """Whether the package is installed, with nothing broken."""
        return self.status == "installed"


@dataclass(frozen=True)
class PackageFile:
    """What a package file says of itself. size and installed_size in bytes."""

    path: str
    name: str
    version: str
    architecture: str
    size: int
    installed_size: int
    sha256: str


@dataclass(frozen=True)
class DryRun:
    """What an installation would do to other packages. problem: the tool's own words, "" where it would work."""

    also_installs: tuple[str, ...]
    removes: tuple[str, ...]
    problem: str


def parse_host(os_release: str, machine: str) -> Host:
    """Return the host from the text of /etc/os-release and from uname -m; raises DomainError for an unknown family."""
    values = {
        key: value.strip("\"'")
        for key, equals, value in (line.strip().partition("=") for line in os_release.splitlines())
        if equals
    }
    likes = [values.get("ID", ""), *values.get("ID_LIKE", "").split()]
    for family, names in (
        (DEBIAN, ("debian", "ubuntu")),
        (REDHAT, ("rhel", "fedora", "centos", "rocky", "almalinux", "ol", "amzn")),
        (SUSE, ("suse", "sles", "opensuse", "opensuse-leap")),
    ):
        if any(name in names for name in likes):
            return Host(family, values.get("VERSION_ID", ""), machine)
    raise _refused(
        "operating-system",
        f"the operating system is {values.get('PRETTY_NAME') or values.get('ID') or 'unknown'}",
        "The package exists for Debian, Ubuntu, EL and SUSE only",
        "Take a machine with one of those",
    )


def _refused(check: str, found: str, why: str, fix: str) -> DomainError:
    return DomainError(Problem(check=check, found=found, why=why, fix=fix))


def staged_name(family: str, version: str, machine: str) -> str:
    """Return the name under which the file of a version is staged."""
    if family == DEBIAN:
        return f"{NAME}_{version}_{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(machine, machine) }.deb"
    return f"{NAME}-{version}.{machine}.rpm"


def parse_checksum(text: str) -> str:
    """Return the hexadecimal digits of "sha256:<64 digits>"; raises DomainError for anything else."""
    match = re.fullmatch(r"sha256:([0-9a-fA-F]{64})", text.strip())
    if not match:
        raise _refused(
            "package-checksum",
            f"rspm_package_checksum is {text!r}" if text else "rspm_package_checksum is empty",
            "What is fetched from a URL is installed as root on every node, so it must be known",
            'Give it as "sha256:" and 64 hexadecimal digits, which sha256sum <file> prints',
        )
    return match.group(1).lower()


def choose_available(offered: Sequence[str], wanted: str) -> str | None:
    """Return the offered version that is the wanted one, as the repository writes it, or None."""
    return next((version for version in offered if same_version(version, wanted)), None)


def not_offered(offered: Sequence[str], wanted: str) -> DomainError:
    """Return the error of a repository without the wanted version."""
    return _refused(
        "package-repository",
        f"the package repositories offer {', '.join(offered) or 'no version'} of {NAME}, not {wanted}",
        "Every node must get the same version",
        "Set rspm_package_repository to a repository that has it, or rspm_package_source to url or file",
    )


def judge_file(file: PackageFile, wanted: str, machine: str, checksum: str) -> list[Problem]:
    """Return why a file is not the package that is wanted. checksum: hexadecimal digits, "" where none is given."""
    problems = []
    if checksum and file.sha256 != checksum:
        return [
            Problem(
                "package-checksum",
                f"the package has the checksum sha256:{file.sha256}, wanted is sha256:{checksum}",
                "It is not the file that was meant: cut off, replaced, or another version",
                "Compare with what the vendor publishes and correct rspm_package_checksum or the source",
            )
        ]
    if file.name != NAME:
        problems.append(
            Problem(
                "package-name",
                f"{file.path} is a package called {file.name or 'nothing'}",
                f"Only {NAME} is installed here",
                "Correct rspm_package_url or rspm_package_file",
            )
        )
    elif not same_version(file.version, wanted):
        problems.append(
            Problem(
                "package-version",
                f"{file.path} is {NAME} {file.version}, wanted is {wanted}",
                "A package that is not the version it claims would put two versions into one cluster",
                "Correct rspm_version, or the package's source and checksum",
            )
        )
    fitting = {"x86_64": ("amd64", "x86_64"), "aarch64": ("arm64", "aarch64")}.get(machine, (machine,))
    if file.architecture not in (*fitting, "all", "noarch"):
        problems.append(
            Problem(
                "package-architecture",
                f"{file.path} is for {file.architecture or 'no architecture'}, the host is {machine}",
                "It would not run here",
                "Take the package for this architecture",
            )
        )
    return problems


def judge_dry_run(dry: DryRun) -> list[Problem]:
    """Return why the installation would not work, or would do more than it may."""
    if dry.problem:
        return [
            Problem(
                "package-dependencies",
                f"the package manager would refuse the package: {dry.problem}",
                "Found now, nothing has been stopped for it",
                "Install or free what it names, then run the same command again",
            )
        ]
    if dry.removes:
        return [
            Problem(
                "package-dependencies",
                f"installing the package would remove {', '.join(dry.removes)}",
                "An installation of the server must not take other software away",
                "Resolve the conflict by hand, then run the same command again",
            )
        ]
    return []


def not_fetched(url: str, said: str) -> Problem:
    """Return the problem of a package that could not be fetched."""
    return Problem(
        "package-url",
        f"{hide(url)} could not be fetched: {hide(said)}",
        "Nothing has been stopped or changed for it",
        "Check rspm_package_url, the proxy and the certificates on this host, then run the same command again",
    )


def disk_full(folder: str, said: str) -> Problem:
    """Return the problem of a staging folder that could not be written."""
    return Problem(
        "free-space",
        f"the package could not be written to {folder}: {said}",
        "Nothing has been stopped or changed for it, and the part that was written is removed",
        f"Free space on the file system of {folder}, then run the same command again",
    )


def file_missing(path: str) -> Problem:
    """Return the problem of a package file that should have been copied to the host."""
    return Problem(
        "package-file",
        f"there is no package file {path}" if path else "no package file is given",
        "With rspm_package_source file, the package is copied from the controller first",
        "Set rspm_package_file to the package's path on the controller",
    )


def not_apart(path: str, place: str) -> Problem:
    """Return the problem of a package, or its folder, that the service's account could put another one in place of."""
    return Problem(
        "package-folder",
        f"the service's account may write to {place}" if place != path else f"the service's account may write {path}",
        f"What is installed from {path} is run as root, and could be swapped for something else until then",
        "Set rspm_package_folder to a folder that only root may write, or remove it from the inventory",
    )


def space_to_stage(folder: str, size: int) -> list[tuple[str, int]]:
    """Return (folder, bytes) that fetching a file of this size needs."""
    return [(folder, size + 64 * _MEBIBYTE)]


def space_needed(file: PackageFile) -> list[tuple[str, int]]:
    """Return (folder, bytes) that installing the file needs, with room to breathe for the package manager."""
    return [("/opt", (file.installed_size or 4 * file.size) + 64 * _MEBIBYTE), ("/var", 64 * _MEBIBYTE)]


def judge_space(free: Mapping[str, int], needed: Iterable[tuple[str, int]]) -> list[Problem]:
    """Return the problem of every folder with less free space than needed; both in bytes."""
    return [
        Problem(
            "free-space",
            f"{path} has {free[path] // _MEBIBYTE} MiB free, {-(-size // _MEBIBYTE)} MiB are needed",
            "An installation that runs out of space leaves the node without a working server",
            f"Free space on the file system of {path}, then run the same command again",
        )
        for path, size in needed
        if path in free and free[path] < size
    ]


@dataclass(frozen=True)
class InstallPlan:
    """What a node needs until the wanted version is installed and held. repair: finish what was cut off, first."""

    repair: bool
    install: bool
    hold: bool

    @property
    def changes(self) -> bool:
        """Whether anything is to be done."""
        return self.repair or self.install or self.hold

    def actions(self) -> list[str]:
        """Return the actions by name, in the order in which they are done."""
        steps = [("block", self.install), ("repair", self.repair), ("install", self.install), ("hold", self.hold)]
        return [name for name, wanted in steps if wanted]


def plan_install(state: PackageState, wanted: str) -> InstallPlan:
    """Return what a node needs for its first installation.

    Raises DomainError where another version is, or was, installed on the node: that is a change of version.
    """
    version = state.version if state.installed else state.configured_version
    if version and not same_version(version, wanted):
        raise _refused(
            "live-version",
            f"{NAME} {version} is installed, rspm_version is {wanted}",
            "A version change of a live cluster is upgrade.yml's job, since the database schema moves with it",
            f"Run {PLAYBOOK}.upgrade, or set rspm_version to {version}",
        )
    if state.installed:
        return InstallPlan(repair=False, install=False, hold=not state.held)
    return InstallPlan(repair=not state.absent, install=True, hold=True)


def judge_installed_as(state: PackageState, wanted: str, said: str) -> list[Problem]:
    """Return why the package is not installed after the package manager ran. said: the tool's last words."""
    if state.installed and same_version(state.version, wanted):
        return []
    have = f"{state.version} ({state.status})" if state.version else "absent"
    return [
        Problem(
            "package-install",
            f"after the installation {NAME} is {have}, wanted is {wanted}. The package manager said: {said}",
            "The package is not installed properly; its unit is blocked, so that nothing starts it",
            "Repair what the package manager names (a full disk, a dependency) and run the same command again",
        )
    ]

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions of Package Manager: reading, ordering, and the address of the vendor's package file.

Sources: the vendor's release notes for the number schemes, dpkg's version algorithm (deb-version(7)) for the order, and
the download paths that the vendor's own container builds used over the years.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import PLAYBOOK, DomainError, Problem

_SYNTAX = re.compile(r"[0-9]+(?:\.[0-9]+){2,}(?:-[0-9A-Za-z][0-9A-Za-z.]*)?(?:\+[0-9A-Za-z.-]+)?")
_PARTS = re.compile(r"([^0-9]*)([0-9]*)")

_Key = tuple[tuple[tuple[int, ...], int], ...]


def _weight(character: str) -> int:
    """Return where dpkg sorts a character that is no digit: '~' before the end, letters before all others."""
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


def _dpkg_key(text: str) -> _Key:
    """Return a sort key that orders one part of a version as dpkg does (0 stands for the end of the text)."""
    parts: list[tuple[tuple[int, ...], int]] = []
    for match in _PARTS.finditer(text):
        other, digits = match.groups()
        if not other and not digits:
            break
        parts.append(((*map(_weight, other), 0), int(digits or "0")))
    parts.append(((0,), 0))
    return tuple(parts)


@functools.total_ordering
@dataclass(frozen=True)
class Version:
    """A product version. Equal and ordered as dpkg (and, where it has no '-' in a part, rpm) has it.

    text: exactly as given; it is what URLs and file names need.
    release: the part before the last '-', e.g. "2025.12.0".
    build: the part after it, e.g. "14"; "" where there is none (2026.04.0 and later).
    """

    text: str = field(compare=False)
    release: str = field(compare=False)
    build: str = field(compare=False)
    key: tuple[_Key, _Key] = field(repr=False)

    def __lt__(self, other: Version) -> bool:
        """Compare as the package managers do."""
        return self.key < other.key

    def __str__(self) -> str:
        """Return the version as it was given."""
        return self.text


def parse_version(text: str) -> Version:
    """Return text as a Version.

    Raises DomainError for anything that is no full version, such as "latest" or "2026.04".
    """
    if not _SYNTAX.fullmatch(text):
        raise DomainError(
            Problem(
                check="version-syntax",
                found=f"rspm_version is {text!r}",
                why="All nodes must run exactly the same version, so it is given in full",
                fix='Set rspm_version as the vendor writes it, for example "2026.08.0" or "2025.12.0-14" (in quotes)',
            )
        )
    release, dash, build = text.rpartition("-")
    if not dash:
        release, build = text, ""
    return Version(text, release, build, (_dpkg_key(release), _dpkg_key(build or "0")))


def same_version(packaged: str, wanted: str) -> bool:
    """Return whether the package manager's version is the wanted product version.

    A package may carry a packaging revision of 1 where the product has no build number (an rpm must): "2026.04.0-1" is
    2026.04.0. A version before 2026.04 has a build number of its own, which is never left out silently.
    """
    try:
        have, want = parse_version(packaged), parse_version(wanted)
    except DomainError:
        return packaged == wanted
    return have == want or (not want.build and have.build == "1" and parse_version(have.release) == want)


def reports_version(reported: str, wanted: str) -> bool:
    """Return whether a version that the running server reports is the wanted one.

    The server may leave its build number out; a build number that it does give must fit.
    """
    try:
        have, want = parse_version(reported), parse_version(wanted)
    except DomainError:
        return reported == wanted
    return same_version(reported, wanted) or (not have.build and have == parse_version(want.release))


# First versions of the eras of download paths.
_CDN = parse_version("2021.09.0")
_PER_RELEASE = parse_version("2022.01.0")
_GENERIC = parse_version("2023.08.0")
_ARCHITECTURES = {"x86_64": ("amd64", "x86_64"), "amd64": ("amd64", "x86_64")}
_UBUNTU_FOLDERS = {"18.04": "ubuntu", "20.04": "ubuntu20", "22.04": "ubuntu22"}
_EL_FOLDERS = {"7": "centos", "8": "rhel8"}


def package_url(version: str, family: str, release: str, architecture: str) -> str:
    """Return where the vendor publishes the package file.

    version: product version. family: "debian" (deb) or "redhat"/"suse" (rpm). release: the OS's VERSION_ID ("22.04",
    "9.4"); only versions from 2022.01 to 2023.07 differ by it. architecture: as uname says it.

    Raises DomainError where the vendor has no file that is known to fit; the team then gives rspm_package_url.
    """
    wanted = parse_version(version)
    quoted = version.replace("+", "%2B")
    if architecture not in _ARCHITECTURES:
        raise _no_url(version, f"architecture {architecture}")
    deb, rpm = _ARCHITECTURES[architecture]
    debian = family == "debian"
    name = f"rstudio-pm_{quoted}_{deb}.deb" if debian else f"rstudio-pm-{quoted}.{rpm}.rpm"
    arch = deb if debian else rpm
    if wanted >= _GENERIC:
        return f"https://cdn.posit.co/package-manager/{'deb' if debian else 'rpm'}/{arch}/{name}"
    if wanted >= _PER_RELEASE:
        folder = _UBUNTU_FOLDERS.get(release) if debian else _EL_FOLDERS.get(release.split(".", maxsplit=1)[0])
        if family == "suse" or folder is None:
            raise _no_url(version, f"{family} {release}")
        return f"https://cdn.posit.co/package-manager/{folder}/{arch}/{name}"
    folder = "ubuntu" if debian else "centos"
    host = "cdn.rstudio.com/package-manager" if wanted >= _CDN else "s3.amazonaws.com/rstudio-package-manager"
    return f"https://{host}/{folder}/{arch}/{name}"


def _no_url(version: str, subject: str) -> DomainError:
    """Return the error for a combination that the vendor is not known to publish."""
    return DomainError(
        Problem(
            check="package-url",
            found=f"no download address of version {version} is known for {subject}",
            why="A guessed address could deliver a package for another system",
            fix="Set rspm_package_url and rspm_package_checksum, or rspm_package_source to repository or file",
        )
    )


def judge_versions(asked: Mapping[str, str]) -> list[Problem]:
    """Return the problems of the versions that the inventory asks for, by host: bad syntax, or several versions."""
    by_version: dict[str, list[str]] = {}
    for host in sorted(asked):
        by_version.setdefault(asked[host], []).append(host)
    problems: list[Problem] = []
    for text in sorted(by_version):
        try:
            parse_version(text)
        except DomainError as error:
            problems += error.problems
    if not problems and len({parse_version(text).key for text in by_version}) > 1:
        ordered = sorted(by_version, key=parse_version)
        problems.append(
            Problem(
                check="one-version",
                found="different versions are asked for: "
                + "; ".join(f"{text} on {', '.join(by_version[text])}" for text in ordered),
                why="All nodes of a cluster must run the same version, since they share one database schema",
                fix="Set rspm_version once, in group_vars/all.yml, and remove it from host_vars",
            )
        )
    return problems


def judge_installed(installed: Mapping[str, str], wanted: str) -> list[Problem]:
    """Return the problem of a cluster whose installed version is not the wanted one.

    installed: the package manager's version by host, "" where it is not installed. wanted: rspm_version.
    """
    differing = {host: have for host, have in sorted(installed.items()) if have and not same_version(have, wanted)}
    if not differing:
        return []
    return [
        Problem(
            check="live-version",
            found="rspm_version is "
            + f"{wanted}, but installed is "
            + "; ".join(f"{have} on {host}" for host, have in differing.items()),
            why="A change of version moves the database schema, which needs the ordered upgrade",
            fix=f"Run {PLAYBOOK}.upgrade for the change, or set rspm_version back to what is installed",
        )
    ]

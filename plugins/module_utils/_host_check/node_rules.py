# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node needs before anything is changed, as far as no other part decides it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem

MIB = 1024 * 1024
# The vendor's package unpacks to several hundred MiB, and is kept beside it as a file.
TO_INSTALL = 1024 * MIB
TO_RUN = 100 * MIB


def judge_free(free: Mapping[str, int], installed: bool) -> list[Problem]:
    """Return a Problem for each path with too little free space.

    free: bytes that are free on the file system of each path. installed: whether the package is there already.
    """
    needed = TO_RUN if installed else TO_INSTALL
    reason = "A full disk stops the service" if installed else "The package and its installation need that much"
    return [
        Problem(
            check="free-space",
            found=f"{path} has {available // MIB} MiB free, {needed // MIB} MiB are needed",
            why=reason,
            fix="Make room on this host, and run the playbook again",
        )
        for path, available in sorted(free.items())
        if available < needed
    ]


def judge_package(source: str, file: str, found: str | None, url: str, checksum: str) -> list[Problem]:
    """Return what is wrong with where the package is to come from.

    file: path on the controller. found: SHA-256 of that file in hexadecimal, None where there is none.
    checksum: what it should be, as sha256:..., or empty.
    """
    digest = checksum.partition(":")[2].lower()
    if checksum and re.fullmatch(r"sha256:[0-9a-fA-F]{64}", checksum) is None:
        return [
            Problem(
                check="package-checksum",
                found=f"rspm_package_checksum is {checksum!r}",
                why="Only a SHA-256 sum tells that a package is the one that was meant",
                fix="Write it as sha256: and 64 hexadecimal digits (sha256sum prints them)",
            )
        ]
    if source == "url" and not checksum:
        return [
            Problem(
                check="package-checksum",
                found=f"rspm_package_checksum is empty, and the package comes from {url or 'the vendor'}",
                why="What is downloaded on each node has to be the one package that was meant",
                fix="Set rspm_package_checksum to sha256: and the file's sum",
            )
        ]
    if source != "file":
        return []
    if found is None:
        return [
            Problem(
                check="package-file",
                found=f"There is no file {file!r} on the controller",
                why="Every node installs this file",
                fix="Correct rspm_package_file, or put the package there",
            )
        ]
    if digest and digest != found:
        return [
            Problem(
                check="package-checksum",
                found=f"{file} on the controller has the SHA-256 sum {found}, and rspm_package_checksum names {digest}",
                why="It is not the package that was meant: another version, or a download that broke off",
                fix="Fetch the package again, or correct rspm_package_checksum",
            )
        ]
    return []

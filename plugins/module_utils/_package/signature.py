# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether an rpm is signed by a key that is trusted; `dnf download` and `rpm --upgrade` of a file do not ask.

Source: rpmkeys(8). Without --verbose it calls a package that nobody has signed "digests OK", and ends with 0.
"""

from __future__ import annotations

import re

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem

# "Header V4 RSA/SHA256 Signature, key ID 8483c65d: OK", and since rpm 4.20
# "Header OpenPGP V4 RSA/SHA256 signature, key fingerprint: 05b555b38483c65d: OK"
_SIGNATURE = re.compile(r"^\s.*\bsignature, key (?:ID|fingerprint):? ?[0-9a-f]+:\s*(\S+)", re.MULTILINE | re.IGNORECASE)


def import_argv(database: str, key: str) -> list[str]:
    """Return the command that makes a keyring of one key."""
    return ["rpmkeys", "--dbpath", database, "--import", key]


def check_argv(database: str, path: str) -> list[str]:
    """Return the command that checks a file. database: of the keys, "" for the host's own."""
    return ["rpmkeys", *(["--dbpath", database] if database else []), "--checksig", "--verbose", path]


def judge_signature(path: str, key: str, rc: int, stdout: str, stderr: str) -> list[Problem]:
    """Return why a file is not certainly from whom it should be. key: that was given, "" for the host's own keys.

    rc, stdout, stderr: of check_argv.
    """
    verdicts = _SIGNATURE.findall(stdout)
    if rc == 0 and verdicts and all(verdict == "OK" for verdict in verdicts):
        return []
    by = f"by the key {key}" if key else "by a key that this host trusts"
    lines = [line.strip() for line in (stdout + stderr).splitlines() if line.strip() and not line.startswith(path)]
    bad = "; ".join(line for line in lines if not line.endswith(": OK"))
    said = "it has no signature" if not verdicts else bad or "its signature could not be checked"
    return [
        Problem(
            "package-signature",
            f"{path} is not signed {by}: {said}",
            "Whoever can change what the repository delivers would have their program run as root on every node",
            "Set rspm_package_repository.signed_by to the address of the repository's key, or have the host trust it "
            "(rpm --import); for a package that nobody signs, set rspm_package_checksum",
        )
    ]

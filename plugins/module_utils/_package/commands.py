# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands of the package managers for rstudio-pm, and what they print: apt and dpkg, dnf and rpm, zypper and rpm.

Sources: the manual pages of those tools.
"""

from __future__ import annotations

import re

from ansible_collections.rspm.ha.plugins.module_utils._package.rules import (
    DEBIAN,
    NAME,
    REDHAT,
    SUSE,
    DryRun,
    PackageFile,
    PackageState,
)

STATE_FORMAT = "${db:Status-Status}\\t${db:Status-Want}\\t${db:Status-Eflag}\\t${Version}\\t${Config-Version}\\n"
# A host may refuse downgrades (dpkg.cfg); ours are asked for by name
_DPKG_OPTIONS = ("--force-confdef", "--force-confold", "--force-downgrade")
FILE_FORMAT = "%{NAME}\\t%{VERSION}-%{RELEASE}\\t%{ARCH}\\t%{SIZE}\\n"


def parse_dpkg(stdout: str) -> PackageState:
    """Return the state from dpkg-query with STATE_FORMAT; an empty text means that dpkg does not know the package."""
    fields = stdout.strip("\n").split("\t") if stdout.strip() else []
    if len(fields) < 5 or fields[0] in ("not-installed", "config-files"):
        return PackageState("", "absent", False)
    status, want, errors, version, configured = fields[:5]
    installed = status in ("installed", "triggers-pending", "triggers-awaited") and errors == "ok"
    known = version if installed else configured
    return PackageState(version, "installed" if installed else "broken", want == "hold", known)


def parse_rpm(stdout: str, rc: int, locks: str) -> PackageState:
    """Return the state from rpm -q and from the output of the lock tool (LOCKS_ARGV)."""
    versions = [line.strip() for line in stdout.splitlines() if line.strip()] if rc == 0 else []
    if not versions:
        return PackageState("", "absent", False)
    # two entries: rpm was cut off between installing the new and removing the old version
    status = "installed" if len(versions) == 1 else "broken"
    return PackageState(versions[-1], status, _locked(locks, versions[-1]), versions[0])


def _locked(locks: str, version: str) -> bool:
    """Return whether dnf versionlock (either generation) or zypper locks keep this version."""
    release = version.partition("-")[0]
    for line in locks.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 1 and NAME in cells:
            return True
        if line.startswith("!"):
            continue
        if NAME in line and release in line:
            return True
    # dnf5 prints the name and the version in two lines
    return bool(re.search(rf"name: {NAME}\n.*{re.escape(release)}", locks))


def parse_deb_file(stdout: str, path: str, size: int, sha256: str) -> PackageFile:
    """Return what a deb says of itself, from file_argv; empty fields where the file is no package."""
    values = {key: value.strip() for key, _colon, value in (line.partition(":") for line in stdout.splitlines())}
    installed = int(values.get("Installed-Size") or 0) * 1024
    name, version, architecture = (values.get(key, "") for key in ("Package", "Version", "Architecture"))
    return PackageFile(path, name, version, architecture, size, installed, sha256)


def parse_rpm_file(stdout: str, path: str, size: int, sha256: str) -> PackageFile:
    """Return what an rpm says of itself, from file_argv; empty fields where the file is no package."""
    name, version, architecture, installed = (stdout.strip().split("\t") + [""] * 4)[:4]
    return PackageFile(path, name, version, architecture, size, int(installed or 0), sha256)


def parse_apt_simulation(rc: int, stdout: str, stderr: str) -> DryRun:
    """Return what `apt-get --simulate install ./file` would do."""
    installs, removes = [], []
    for line in stdout.splitlines():
        words = line.split()
        if words[:1] == ["Inst"] and words[1] != NAME:
            installs.append(words[1])
        elif words[:1] in (["Remv"], ["Purg"]):
            removes.append(words[1])
    problem = "" if rc == 0 else last_words(stdout, stderr)
    return DryRun(tuple(installs), tuple(removes), problem)


def parse_dnf_simulation(rc: int, stdout: str, stderr: str) -> DryRun:
    """Return what `dnf --assumeno install ./file` would do: it ends with 1 after showing what it would have done."""
    aborted = "Operation aborted" in stdout + stderr
    installs: list[str] = []
    removes: list[str] = []
    target: list[str] | None = None
    for line in stdout.splitlines():
        if re.match(r"(Installing|Upgrading|Downgrading|Reinstalling)\b.*:", line):
            target = installs
        elif re.match(r"Removing\b.*:", line):
            target = removes
        elif not line.startswith(" "):
            target = None
        elif target is not None and line.split() and line.split()[0] != NAME and len(line.split()) >= 4:
            target.append(line.split()[0])
    problem = "" if rc == 0 or aborted else last_words(stdout, stderr)
    return DryRun(tuple(installs), tuple(removes), problem)


def parse_rpm_test(rc: int, stdout: str, stderr: str) -> DryRun:
    """Return what `rpm --upgrade --test file` found."""
    return DryRun((), (), "" if rc == 0 else last_words(stdout, stderr))


def last_words(stdout: str, stderr: str) -> str:
    """Return the end of what a tool said, in one line."""
    lines = [line.strip() for line in (stderr.strip() or stdout.strip()).splitlines() if line.strip()]
    return "; ".join(lines[-8:]) or "it said nothing"


def wants_repair(said: str) -> bool:
    """Return whether apt or dpkg refused because an earlier run of theirs was cut off."""
    return "dpkg was interrupted" in said or "needs to be reinstalled" in said


def parse_available(family: str, stdout: str) -> list[str]:
    """Return the versions that the repositories offer, from `AVAILABLE_ARGV`."""
    versions = []
    for line in stdout.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if family == DEBIAN and len(cells) >= 3 and cells[0] == NAME:
            versions.append(cells[1])
        elif family == SUSE and len(cells) >= 6 and NAME in cells[:2] + cells[2:3]:
            versions.append(cells[3])
        elif family == REDHAT and line.split()[:1] and line.split()[0].rpartition(".")[0] == NAME:
            versions.append(line.split()[1].rpartition(":")[2])
    return list(dict.fromkeys(versions))


def state_argv(family: str) -> list[str]:
    """Return the command that shows the installed package."""
    if family == DEBIAN:
        return ["dpkg-query", "--show", f"--showformat={STATE_FORMAT}", NAME]
    return ["rpm", "--query", "--queryformat", "%{VERSION}-%{RELEASE}\\n", NAME]


def locks_argv(family: str) -> list[str]:
    """Return the command that shows what is held; none on Debian, where the state says it."""
    return {DEBIAN: [], REDHAT: ["dnf", "--quiet", "versionlock", "list"], SUSE: ["zypper", "--quiet", "locks"]}[family]


def hold_argvs(family: str) -> list[list[str]]:
    """Return the commands that hold the installed version, whatever was held before.

    Not by tasks with Ansible's own modules: node_upgrade and server_package install and hold in one call.
    """
    if family == DEBIAN:
        return [["apt-mark", "hold", NAME]]
    if family == REDHAT:
        dnf = ["dnf", "--quiet", "--assumeyes"]
        return [
            [*dnf, "install", "dnf-command(versionlock)"],
            [*dnf, "versionlock", "delete", NAME],
            [*dnf, "versionlock", "add", NAME],
        ]
    return [["zypper", "--non-interactive", "addlock", NAME]]


def file_argv(family: str, path: str) -> list[str]:
    """Return the command that shows what a package file says of itself."""
    if family == DEBIAN:
        return ["dpkg-deb", "--field", path, "Package", "Version", "Architecture", "Installed-Size"]
    return ["rpm", "--query", "--package", "--nosignature", "--queryformat", FILE_FORMAT, path]


def _apt(lock_timeout: int) -> list[str]:
    return ["apt-get", "-o", f"DPkg::Lock::Timeout={lock_timeout}", "--assume-yes", "--quiet"]


def simulate_argv(family: str, path: str, lock_timeout: int) -> list[str]:
    """Return the dry run of installing a file."""
    if family == DEBIAN:
        return [
            *_apt(lock_timeout),
            "--simulate",
            "--allow-downgrades",
            "--allow-change-held-packages",
            "install",
            path,
        ]
    if family == REDHAT:
        return ["dnf", "--assumeno", "--disableplugin=versionlock", "install", path]
    return ["rpm", "--upgrade", "--test", "--oldpackage", path]


def install_argv(family: str, path: str, lock_timeout: int) -> list[str]:
    """Return the command that installs a file, an older version too, keeping a changed configuration file."""
    if family == DEBIAN:
        keep = [word for option in _DPKG_OPTIONS for word in ("-o", f"Dpkg::Options::={option}")]
        return [*_apt(lock_timeout), *keep, "--allow-downgrades", "--allow-change-held-packages", "install", path]
    if family == REDHAT:
        return ["dnf", "--assumeyes", "--disableplugin=versionlock", "install", path]
    return ["rpm", "--upgrade", "--oldpackage", path]


def quick_install_argv(family: str, path: str) -> list[str]:
    """Return the fastest command that installs a file whose dependencies are known to be there."""
    if family == DEBIAN:
        return ["dpkg", *_DPKG_OPTIONS, "--install", path]
    return ["rpm", "--upgrade", "--oldpackage", path]


def unpack_argv(family: str, path: str) -> list[str]:
    """Return the command that replaces the installed files, where the family can do that without configuring them."""
    if family == DEBIAN:
        return ["dpkg", *_DPKG_OPTIONS, "--unpack", path]
    return quick_install_argv(family, path)


def available_argv(family: str) -> list[str]:
    """Return the command that shows which versions the repositories offer."""
    return {
        DEBIAN: ["apt-cache", "madison", NAME],
        REDHAT: ["dnf", "--quiet", "list", "--showduplicates", NAME],
        SUSE: ["zypper", "--quiet", "search", "--details", "--match-exact", "--type", "package", NAME],
    }[family]


def refresh_argv(family: str, lock_timeout: int) -> list[str]:
    """Return the command that reads the repositories' lists anew."""
    return {
        DEBIAN: [*_apt(lock_timeout), "update"],
        REDHAT: ["dnf", "--quiet", "makecache"],
        SUSE: ["zypper", "--non-interactive", "refresh"],
    }[family]


def download_argv(family: str, version: str, folder: str) -> list[str]:
    """Return the command that fetches one version from the repositories into a folder of its own."""
    return {
        DEBIAN: ["env", f"--chdir={folder}", "apt-get", "--quiet", "download", f"{NAME}={version}"],
        REDHAT: ["dnf", "--quiet", "--assumeyes", "download", "--destdir", folder, f"{NAME}-{version}"],
        SUSE: ["zypper", "--non-interactive", "--pkg-cache-dir", folder, "download", f"{NAME}={version}"],
    }[family]

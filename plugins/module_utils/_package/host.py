# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the package managers for rstudio-pm. Decides nothing: rules and commands do."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass

from ansible_collections.rspm.ha.plugins.module_utils._account_files.host import find_account, swappable
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand, Runner, command_failed
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import read_text, sum_of
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem, raise_any
from ansible_collections.rspm.ha.plugins.module_utils._core.product import ACCOUNT
from ansible_collections.rspm.ha.plugins.module_utils._package import commands as tools
from ansible_collections.rspm.ha.plugins.module_utils._package import rules as package

_TIMEOUT = 1800.0
# A package's script may migrate the schema and must not be killed: only what hangs takes a day
_INSTALL_TIMEOUT = 86400.0
# Neither dpkg itself nor apt-get update waits for its lock.
_BUSY = ("lock was locked by another process", "is locked by another process", "Could not get lock")


def load_host() -> package.Host:
    """Return which kind of host this is."""
    return package.parse_host(read_text("/etc/os-release") or "", os.uname().machine)


def require_apart(path: str) -> None:
    """Raise DomainError where the service's account could swap what is installed as root."""
    place = swappable(path, find_account(ACCOUNT))
    if place:
        raise DomainError(package.not_apart(path, place))


def read_ahead(path: str) -> None:
    """Have the kernel read a file into memory meanwhile; one that is not there is found missing by whoever needs it."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class PackageTool:
    """The host's package manager. lock_timeout: seconds to wait for another one that is at work."""

    runner: Runner
    host: package.Host
    lock_timeout: int = 300

    @property
    def family(self) -> str:
        """The host's package family."""
        return self.host.family

    def state(self, *, holds: bool = True) -> package.PackageState:
        """Return what is installed. holds: whether it is looked up what is held, for which dnf takes seconds."""
        shown = self.runner(tools.state_argv(self.family), timeout=60)
        if self.family == package.DEBIAN:
            return tools.parse_dpkg(shown.stdout if shown.rc == 0 else "")
        locks = self.runner(tools.locks_argv(self.family), timeout=120).stdout if holds and shown.rc == 0 else ""
        return tools.parse_rpm(shown.stdout, shown.rc, locks)

    def inspect(self, path: str) -> package.PackageFile:
        """Return what a file says of itself; all fields are empty for a file that is no package."""
        shown = self.runner(tools.file_argv(self.family, path), timeout=120)
        text = shown.stdout if shown.rc == 0 else ""
        parse = tools.parse_deb_file if self.family == package.DEBIAN else tools.parse_rpm_file
        return parse(text, path, os.path.getsize(path), sum_of(path))

    def simulate(self, path: str) -> package.DryRun:
        """Return what installing the file would do."""
        done = self.runner(
            tools.simulate_argv(self.family, path, self.lock_timeout),
            timeout=_TIMEOUT,
            env=package.INSTALL_ENVIRONMENT,
        )
        parse = {
            package.DEBIAN: tools.parse_apt_simulation,
            package.REDHAT: tools.parse_dnf_simulation,
            package.SUSE: tools.parse_rpm_test,
        }[self.family]
        return parse(done.rc, done.stdout, done.stderr)

    def refresh(self) -> None:
        """Read the repositories' lists anew."""
        self._patiently(tools.refresh_argv(self.family, self.lock_timeout), check=True)

    def available(self, *, refresh: bool) -> list[str]:
        """Return the versions that the repositories offer."""
        if refresh:
            self.refresh()
        shown = self.runner(tools.available_argv(self.family), timeout=_TIMEOUT)
        return tools.parse_available(self.family, shown.stdout)

    def download(self, version: str, folder: str) -> str:
        """Fetch the version from the repositories into folder and return the file's path."""
        self._patiently(tools.download_argv(self.family, version, folder), check=True)
        for parent, _folders, names in os.walk(folder):
            for name in names:
                if name.endswith((".deb", ".rpm")):
                    return os.path.join(parent, name)
        raise DomainError(
            Problem(
                check="package-repository",
                found=f"the package manager fetched no file of {package.NAME} {version}",
                why="Nothing can be staged",
                fix=f"Run {' '.join(tools.download_argv(self.family, version, '/tmp'))} by hand",
            )
        )

    def repair(self) -> CompletedCommand:
        """Finish what an interrupted dpkg left; rpm has nothing of the kind, there the installation itself does it."""
        if self.family != package.DEBIAN:
            return CompletedCommand(0, "", "")
        return self._patiently(
            ["dpkg", "--force-confdef", "--force-confold", "--configure", "--pending"], timeout=_INSTALL_TIMEOUT
        )

    def install(self, path: str, *, quick: bool = False) -> CompletedCommand:
        """Install the file. quick: without looking for dependencies, which a dry run found to be there."""
        argv = (
            tools.quick_install_argv(self.family, path)
            if quick
            else tools.install_argv(self.family, path, self.lock_timeout)
        )
        return self._patiently(argv, timeout=_INSTALL_TIMEOUT)

    def unpack(self, path: str) -> str:
        """Replace the installed files and return why that was refused, "" where it was not; a script may refuse it."""
        done = self._patiently(tools.unpack_argv(self.family, path), timeout=_INSTALL_TIMEOUT)
        return tools.last_words(done.stdout, done.stderr) if done.rc else ""

    def hold(self) -> None:
        """Keep updates from changing the installed version."""
        *before, last = tools.hold_argvs(self.family)
        for argv in before:
            self.runner(argv, timeout=300)
        self.runner(last, check=True, timeout=300)

    def _patiently(self, argv: list[str], *, check: bool = False, timeout: float = _TIMEOUT) -> CompletedCommand:
        """Run a package manager, again while another one holds its lock."""
        deadline = time.monotonic() + self.lock_timeout
        # zypper is told by its environment alone
        environment = {**package.INSTALL_ENVIRONMENT, "ZYPP_LOCK_TIMEOUT": str(self.lock_timeout)}
        while True:
            done = self.runner(argv, timeout=timeout, env=environment)
            busy = done.rc != 0 and any(sign in done.stderr for sign in _BUSY)
            if not busy or time.monotonic() > deadline:
                break
            time.sleep(2)
        if check and done.rc != 0:
            raise command_failed(argv, done)
        return done


def install_package(
    tool: PackageTool,
    path: str,
    wanted: str,
    *,
    repair: bool,
    quick: bool = False,
    before: package.PackageState | None = None,
) -> package.PackageState:
    """Install the staged file, after finishing what was cut off, and prove that the wanted version is installed.

    The caller has blocked the unit. quick: as for PackageTool.install. before: what is installed, where the caller has
    just looked. Returns the new state, but not whether it is held; raises DomainError where it is not the wanted one.
    """
    said = ""
    require_apart(path)
    if repair:
        tool.repair()
        before = None
    # after a cut-off dpkg wants the file itself before apt goes on
    for quickly in (quick or repair, False):
        state = before or tool.state(holds=False)
        before = None
        if not package.judge_installed_as(state, wanted, said):
            return state
        done = tool.install(path, quick=quickly)
        said = tools.last_words(done.stdout, done.stderr)
        if done.rc == 0 or (not quickly and not tools.wants_repair(said)):
            break
        tool.repair()
    state = tool.state(holds=False)
    raise_any(package.judge_installed_as(state, wanted, said))
    return state


def remove(path: str) -> None:
    """Remove a file or folder that may be gone."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)

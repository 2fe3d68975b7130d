# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Get the package file of one version onto the node and verify it. rules decides what a good file is."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ansible_collections.rspm.ha.plugins.module_utils._core.host_space import free_bytes
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem, raise_any
from ansible_collections.rspm.ha.plugins.module_utils._core.version import package_url, parse_version, same_version
from ansible_collections.rspm.ha.plugins.module_utils._package import rules as package
from ansible_collections.rspm.ha.plugins.module_utils._package.host import (
    PackageTool,
    remove,
    require_apart,
)
from ansible_collections.rspm.ha.plugins.module_utils._package.host_fetch import fetch, place, prepare_folder
from ansible_collections.rspm.ha.plugins.module_utils._package.host_signature import check_signature


@dataclass(frozen=True)
class StageRequest:
    """What is to be staged. source: "repository", "url" or "file". url: "" for the vendor's. checksum: "sha256:...".

    path: for "file", where the copy lies on this host. key: address or path of the key that has signed an rpm of a
    repository, "" for those that the host trusts.
    """

    version: str
    source: str
    url: str
    checksum: str
    path: str
    folder: str = package.STAGING_FOLDER
    key: str = ""


@dataclass(frozen=True)
class Staged:
    """The result. path: "" where nothing is staged since the version is installed. size in bytes.

    changed: whether a file was, or would be, put into place. also_installs: other packages that come with it.
    """

    path: str
    sha256: str
    size: int
    changed: bool
    installed_version: str
    also_installs: tuple[str, ...] = ()


def stage(tool: PackageTool, request: StageRequest, *, check_mode: bool) -> Staged:
    """Have a verified file of the version on the node, unless it is installed; fetch nothing in check mode.

    Raises DomainError where the file is not what is wanted or would not install; a bad file is removed.
    """
    parse_version(request.version)
    checksum = package.parse_checksum(request.checksum) if request.checksum or request.source == "url" else ""
    state = tool.state()
    target = _target(tool, request)
    require_apart(target)
    if state.installed and same_version(state.version, request.version):
        return Staged(target if os.path.exists(target) else "", checksum, 0, False, state.version)
    found = _verified(tool, request, target, checksum)
    changed = found is None
    if found is None:
        if check_mode:
            return Staged(target, checksum, 0, True, state.version)
        found = _obtain(tool, request, target, checksum)
    raise_any(package.judge_space({path: free_bytes(path) for path in ("/opt", "/var")}, package.space_needed(found)))
    if state.status == "broken":
        # apt would complain of that before it looked at the file; the installation repairs it
        return Staged(target, found.sha256, found.size, changed, state.version)
    dry = tool.simulate(target)
    if dry.problem:
        # a new machine has no package lists yet, an old one may have outdated ones
        tool.refresh()
        dry = tool.simulate(target)
    raise_any(package.judge_dry_run(dry))
    return Staged(target, found.sha256, found.size, changed, state.version, dry.also_installs)


def _target(tool: PackageTool, request: StageRequest) -> str:
    """Return where the file lies when it is staged."""
    if request.source == "file" and request.path:
        return request.path
    return f"{request.folder}/{package.staged_name(tool.family, request.version, tool.host.machine)}"


def _verified(tool: PackageTool, request: StageRequest, target: str, checksum: str) -> package.PackageFile | None:
    """Return the staged file if it is there and good."""
    if not os.path.isfile(target):
        return None
    file = tool.inspect(target)
    return None if _judge(tool, request, file, checksum) else file


def _judge(tool: PackageTool, request: StageRequest, file: package.PackageFile, checksum: str) -> list[Problem]:
    """Return why the file is not the wanted one, or not certainly from whom it should be."""
    problems = package.judge_file(file, request.version, tool.host.machine, checksum)
    # apt has checked what it fetched; a sum says more than a signature
    signed = request.source == "repository" and tool.family != package.DEBIAN and not checksum
    return problems or (check_signature(tool.runner, file.path, request.key) if signed else [])


def _obtain(tool: PackageTool, request: StageRequest, target: str, checksum: str) -> package.PackageFile:
    """Fetch, verify and place the file."""
    prepare_folder(request.folder)
    if request.source == "file":
        if not os.path.isfile(target):
            raise DomainError(package.file_missing(request.path))
        return _checked(tool, request, target, checksum)
    with _part_folder(request.folder) as part_folder:
        try:
            part = _fetch(tool, request, part_folder)
        except OSError as error:
            raise DomainError(package.disk_full(request.folder, str(error))) from error
        file = _checked(tool, request, part, checksum)
        place(part, target)
        return replace(file, path=target)


@contextmanager
def _part_folder(folder: str) -> Iterator[str]:
    """Give a folder beside the staged files that is gone afterwards, with what earlier, cut-off runs left."""
    for name in os.listdir(folder):
        if name.startswith(".part-"):
            remove(f"{folder}/{name}")
    part_folder = tempfile.mkdtemp(prefix=".part-", dir=folder)
    os.chmod(part_folder, 0o755)  # apt reads it as its own user
    try:
        yield part_folder
    finally:
        remove(part_folder)


def _fetch(tool: PackageTool, request: StageRequest, part_folder: str) -> str:
    """Fetch the file from a URL or from the repositories; returns its path in the folder."""
    if request.source == "url":
        host = tool.host
        url = request.url or package_url(request.version, host.family, host.release, host.machine)
        part = f"{part_folder}/{package.staged_name(tool.family, request.version, host.machine)}"
        fetch(url, part, request.folder)
        return part
    offered = tool.available(refresh=False)
    version = package.choose_available(offered, request.version)
    if version is None:
        offered = tool.available(refresh=True)
        version = package.choose_available(offered, request.version)
    if version is None:
        raise package.not_offered(offered, request.version)
    return tool.download(version, part_folder)


def _checked(tool: PackageTool, request: StageRequest, path: str, checksum: str) -> package.PackageFile:
    """Return what the file says of itself; a file that is not the wanted one is removed."""
    file = tool.inspect(path)
    problems = _judge(tool, request, file, checksum)
    if problems:
        remove(path)
        raise DomainError(*problems)
    return file

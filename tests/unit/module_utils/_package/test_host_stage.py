# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Staging and installing, with the package manager played by a small model of it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._package import host_fetch
from ansible_collections.rspm.ha.plugins.module_utils._package import host_stage as staging
from ansible_collections.rspm.ha.plugins.module_utils._package.host import PackageTool, install_package
from ansible_collections.rspm.ha.plugins.module_utils._package.host_stage import StageRequest, stage
from ansible_collections.rspm.ha.plugins.module_utils._package.rules import DEBIAN, REDHAT, SUSE, Host

HOST = Host(DEBIAN, "12", "x86_64")
CONTENT = b"a package"
CHECKSUM = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Apt:
    """apt and dpkg: one package, and files whose control data is given by their content."""

    def __init__(self, **given: Any) -> None:
        self.status: str = given.get("status", "")
        self.version: str = given.get("version", "")
        self.configured: str = given.get("configured", "")
        self.want = "install"
        self.inside: str = given.get("inside", "2026.04.0")
        self.offered: list[str] = given.get("offered", [])
        self.fails: list[str] = given.get("fails", [])
        self.calls: list[list[str]] = []

    def __call__(self, argv: list[str], env: dict[str, str] | None = None, **_more: Any) -> CompletedCommand:
        self.calls.append(argv)
        tool, words = argv[0], " ".join(argv)
        if tool == "dpkg-query":
            if not self.status:
                return CompletedCommand(1, "", "no packages found matching rstudio-pm")
            error = "reinstreq" if self.status == "half-installed" else "ok"
            line = f"{self.status}\t{self.want}\t{error}\t{self.version}\t{self.configured}\n"
            return CompletedCommand(0, line, "")
        if tool == "dpkg-deb":
            return CompletedCommand(0, f"Package: rstudio-pm\nVersion: {self.inside}\nArchitecture: amd64\n", "")
        if "--simulate" in argv:
            return CompletedCommand(0, f"Inst rstudio-pm ({self.inside} local-deb [amd64])\n", "")
        if "--configure" in argv:
            if self.status in ("unpacked", "half-configured"):
                self.status = "installed"
            return CompletedCommand(0, "", "")
        if (tool == "apt-get" and "install" in argv) or "--install" in argv:
            assert env and env["RSTUDIO_INSTALL_NO_LICENSE_INITIALIZATION"] == "1"
            if self.fails:
                return CompletedCommand(100, "", self.fails.pop(0))
            self.status, self.version = "installed", self.inside
            return CompletedCommand(0, "", "")
        if tool == "apt-cache":
            return CompletedCommand(0, "".join(f"rstudio-pm | {v} | x | y\n" for v in self.offered), "")
        if tool == "env":
            folder = argv[1].partition("=")[2]
            Path(folder, "rstudio-pm_x.deb").write_bytes(CONTENT)
            return CompletedCommand(0, "", "")
        if "update" in argv:
            self.offered = ["2026.04.0"]
            return CompletedCommand(0, "", "")
        raise AssertionError(words)

    def names(self) -> list[str]:
        """The calls that are no questions."""
        return [
            "configure" if "--configure" in c else "dpkg" if c[0] == "dpkg" else "apt"
            for c in self.calls
            if c[0] in ("dpkg", "apt-get") and "--simulate" not in c
        ]


def request(folder: Path, **changes: Any) -> StageRequest:
    given = {"version": "2026.04.0", "source": "url", "url": "https://r/p.deb", "checksum": CHECKSUM, "path": ""}
    return StageRequest(**{**given, **changes}, folder=str(folder))


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """URLs that were fetched; each gives CONTENT."""
    urls: list[str] = []

    def fetch(url: str, target: str, _folder: str) -> None:
        urls.append(url)
        Path(target).write_bytes(CONTENT)

    monkeypatch.setattr(staging, "fetch", fetch)
    return urls


def test_fetched_once(tmp_path: Path, fetched: list[str]) -> None:
    tool = PackageTool(Apt(), HOST)
    first = stage(tool, request(tmp_path), check_mode=False)
    assert first.changed and first.path == f"{tmp_path}/rstudio-pm_2026.04.0_amd64.deb"
    assert first.sha256 == CHECKSUM[7:] and first.size == len(CONTENT)
    assert Path(first.path).stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["rstudio-pm_2026.04.0_amd64.deb"]
    second = stage(tool, request(tmp_path), check_mode=False)
    assert not second.changed and second.path == first.path
    assert fetched == ["https://r/p.deb"]


def test_vendors_address_without_a_url(tmp_path: Path, fetched: list[str]) -> None:
    stage(PackageTool(Apt(), HOST), request(tmp_path, url=""), check_mode=False)
    assert fetched == ["https://cdn.posit.co/package-manager/deb/amd64/rstudio-pm_2026.04.0_amd64.deb"]


def test_check_mode_fetches_nothing(tmp_path: Path, fetched: list[str]) -> None:
    folder = tmp_path / "not-there"
    predicted = stage(PackageTool(Apt(), HOST), request(folder), check_mode=True)
    assert predicted.changed and not fetched and not folder.exists()


def test_nothing_to_do_where_it_is_installed(tmp_path: Path, fetched: list[str]) -> None:
    apt = Apt(status="installed", version="2026.04.0")
    result = stage(PackageTool(apt, HOST), request(tmp_path), check_mode=False)
    assert (result.changed, result.path, result.installed_version) == (False, "", "2026.04.0")
    assert not fetched and len(apt.calls) == 1


@pytest.mark.parametrize(
    ("changes", "inside", "check"),
    [
        ({"checksum": "sha256:" + "0" * 64}, "2026.04.0", "package-checksum"),
        ({"checksum": ""}, "2026.04.0", "package-checksum"),
        ({}, "2025.12.0-14", "package-version"),
        ({"version": "latest"}, "2026.04.0", "version-syntax"),
    ],
)
def test_a_wrong_file_leaves_nothing_behind(
    tmp_path: Path, fetched: list[str], changes: dict[str, Any], inside: str, check: str
) -> None:
    with pytest.raises(DomainError) as caught:
        stage(PackageTool(Apt(inside=inside), HOST), request(tmp_path, **changes), check_mode=False)
    assert caught.value.problems[0].check == check
    assert os.listdir(tmp_path) == []


def test_a_damaged_staged_file_is_fetched_again(tmp_path: Path, fetched: list[str]) -> None:
    tool = PackageTool(Apt(), HOST)
    path = Path(stage(tool, request(tmp_path), check_mode=False).path)
    path.write_bytes(b"cut off")
    (tmp_path / ".part-left").mkdir()
    assert stage(tool, request(tmp_path), check_mode=False).changed
    assert path.read_bytes() == CONTENT and os.listdir(tmp_path) == [path.name]


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(url: str, target: str, _folder: str) -> None:
        Path(target).write_bytes(b"some")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(staging, "fetch", fetch)
    with pytest.raises(DomainError, match="No space left on device") as caught:
        stage(PackageTool(Apt(), HOST), request(tmp_path), check_mode=False)
    assert caught.value.problems[0].check == "free-space"
    assert os.listdir(tmp_path) == []


def test_no_space_to_install(tmp_path: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "free_bytes", lambda _path: 1 << 20)
    with pytest.raises(DomainError, match="has 1 MiB free"):
        stage(PackageTool(Apt(), HOST), request(tmp_path), check_mode=False)


def test_local_file(tmp_path: Path) -> None:
    given = request(tmp_path, source="file", url="", checksum="", path=f"{tmp_path}/own.deb")
    with pytest.raises(DomainError, match="there is no package file"):
        stage(PackageTool(Apt(), HOST), given, check_mode=False)
    (tmp_path / "own.deb").write_bytes(CONTENT)
    result = stage(PackageTool(Apt(), HOST), given, check_mode=False)
    assert (result.path, result.changed) == (f"{tmp_path}/own.deb", False)


def test_local_file_of_another_version(tmp_path: Path) -> None:
    (tmp_path / "own.deb").write_bytes(CONTENT)
    given = request(tmp_path, source="file", url="", checksum="", path=f"{tmp_path}/own.deb")
    with pytest.raises(DomainError, match=r"is rstudio-pm 2025\.12\.0-14, wanted is 2026\.04\.0"):
        stage(PackageTool(Apt(inside="2025.12.0-14"), HOST), given, check_mode=False)
    assert os.listdir(tmp_path) == []


def test_repository(tmp_path: Path) -> None:
    apt = Apt(offered=["2025.12.0-14"])
    result = stage(PackageTool(apt, HOST), request(tmp_path, source="repository", checksum=""), check_mode=False)
    assert result.changed and os.listdir(tmp_path) == ["rstudio-pm_2026.04.0_amd64.deb"]
    assert any("update" in call for call in apt.calls)
    with pytest.raises(DomainError, match=r"offer 2026\.04\.0 of rstudio-pm, not 2026\.08\.0"):
        stage(
            PackageTool(apt, HOST),
            request(tmp_path, source="repository", checksum="", version="2026.08.0"),
            check_mode=False,
        )


# --- installing


@pytest.mark.parametrize(
    ("given", "repair", "quick", "names"),
    [
        ({}, False, False, ["apt"]),
        ({}, False, True, ["dpkg"]),
        ({"status": "half-configured", "version": "2026.04.0"}, True, False, ["configure"]),
        ({"status": "half-installed", "version": "2026.04.0"}, True, False, ["configure", "dpkg"]),
        ({"fails": ["E: dpkg was interrupted, you must manually run"]}, False, False, ["apt", "configure", "apt"]),
        ({"fails": ["dpkg: dependency problems"]}, False, True, ["dpkg", "configure", "apt"]),
    ],
)
def test_install_package(given: dict[str, Any], repair: bool, quick: bool, names: list[str]) -> None:
    apt = Apt(**given)
    state = install_package(PackageTool(apt, HOST), "/p.deb", "2026.04.0", repair=repair, quick=quick)
    assert state.installed and state.version == "2026.04.0"
    assert apt.names() == names


def test_a_failing_installation_says_what_the_tool_said() -> None:
    apt = Apt(fails=["No space left on device"] * 9)
    with pytest.raises(DomainError, match="No space left on device") as caught:
        install_package(PackageTool(apt, HOST), "/p.deb", "2026.04.0", repair=False)
    assert caught.value.problems[0].check == "package-install"
    assert apt.names() == ["apt"]


def test_a_package_that_is_not_what_it_claims_is_not_whole() -> None:
    with pytest.raises(DomainError, match=r"is 2025\.12\.0-14 \(installed\), wanted is 2026\.04\.0"):
        install_package(PackageTool(Apt(inside="2025.12.0-14"), HOST), "/p.deb", "2026.04.0", repair=False)


def test_waits_for_dpkgs_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    apt = Apt(fails=["dpkg: error: dpkg frontend lock was locked by another process with pid 7"] * 2)
    assert install_package(PackageTool(apt, HOST), "/p.deb", "2026.04.0", repair=False, quick=True).installed
    assert apt.names() == ["dpkg", "dpkg", "dpkg"]


def test_the_lists_are_waited_for_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """apt-get update itself does not wait: its lock is not dpkg's."""
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    left = ["E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)"] * 2
    environments = []

    def runner(argv: list[str], **given: Any) -> CompletedCommand:
        assert argv[-1] == "update"
        environments.append(given["env"]["ZYPP_LOCK_TIMEOUT"])
        return CompletedCommand(100, "", left.pop()) if left else CompletedCommand(0, "", "")

    PackageTool(runner, HOST, 7).refresh()
    assert environments == ["7"] * 3
    left = ["E: The repository is gone"]
    with pytest.raises(DomainError, match="The repository is gone"):
        PackageTool(runner, HOST, 7).refresh()


@pytest.mark.parametrize("family", [REDHAT, SUSE])
def test_the_installation_of_an_rpm_does_not_wait_for_the_list_of_what_is_held(family: str) -> None:
    calls: list[str] = []

    def runner(argv: list[str], **_options: Any) -> CompletedCommand:
        calls.append(" ".join(argv[:2]))
        version = "2026.04.0-1" if "rpm --upgrade" in calls else "2025.12.0-14"
        return CompletedCommand(0, f"{version}\n" if "--query" in argv else "", "")

    tool = PackageTool(runner, Host(family, "9", "x86_64"))
    before = tool.state()
    calls.clear()
    assert (
        install_package(tool, "/p.rpm", "2026.04.0", repair=False, quick=True, before=before).version == "2026.04.0-1"
    )
    assert calls == ["rpm --upgrade", "rpm --query"]


class Answer:
    """An HTTP answer of some length."""

    def __init__(self, length: int) -> None:
        self.headers = {"Content-Length": str(length)}
        self.left = [CONTENT, b""]

    def read(self, _size: int) -> bytes:
        return self.left.pop(0)


def test_fetch_looks_at_the_space_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "p.part"
    monkeypatch.setattr(host_fetch, "open_url", lambda *_args, **_given: Answer(100 << 20))
    monkeypatch.setattr(host_fetch, "free_bytes", lambda _path: 100 << 20)
    with pytest.raises(DomainError, match=f"{tmp_path} has 100 MiB free, 164 MiB are needed"):
        host_fetch.fetch("https://r/p.deb", str(target), str(tmp_path))
    assert not target.exists()
    monkeypatch.setattr(host_fetch, "free_bytes", lambda _path: 1 << 30)
    host_fetch.fetch("https://r/p.deb", str(target), str(tmp_path))
    assert target.read_bytes() == CONTENT


def test_fetch_says_why_it_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_args: Any, **_given: Any) -> None:
        raise OSError("certificate verify failed for https://u:canary@r")

    monkeypatch.setattr(host_fetch, "open_url", refused)
    with pytest.raises(DomainError, match="certificate verify failed") as caught:
        host_fetch.fetch("https://u:canary@r/p.deb", str(tmp_path / "p"), str(tmp_path))
    assert "canary" not in str(caught.value)

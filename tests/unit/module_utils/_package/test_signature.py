# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An rpm from a repository is signed, with real packages, keys and rpm."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand, command_runner
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._package import host_stage as staging
from ansible_collections.rspm.ha.plugins.module_utils._package.host import PackageTool
from ansible_collections.rspm.ha.plugins.module_utils._package.host_signature import check_signature
from ansible_collections.rspm.ha.plugins.module_utils._package.host_stage import StageRequest
from ansible_collections.rspm.ha.plugins.module_utils._package.rules import DEBIAN, REDHAT, SUSE, Host, PackageFile
from ansible_collections.rspm.ha.plugins.module_utils._package.signature import check_argv, judge_signature

RUN = command_runner(lambda _text: None)
TOOLS = all(shutil.which(tool) for tool in ("rpmkeys", "rpmbuild", "rpmsign", "gpg"))
SPEC = """
Name: rstudio-pm
Version: 2026.04.0
Release: 1
Summary: x
License: x
BuildArch: noarch
%description
x
%files
"""


@dataclass
class Place:
    """Two keys, and a package that nobody has signed."""

    folder: Path

    def key(self, who: str) -> Path:
        """Make a key and return its public part."""
        home = self.folder / who
        home.mkdir(mode=0o700)
        batch = [
            "gpg",
            "--homedir",
            str(home),
            "--batch",
            "--passphrase",
            "",
            "--quick-gen-key",
            who,
            "rsa2048",
            "sign",
        ]
        subprocess.run(batch, check=True, capture_output=True)
        public = self.folder / f"{who}.asc"
        export = ["gpg", "--homedir", str(home), "--armor", "--export", who]
        public.write_bytes(subprocess.run(export, check=True, capture_output=True).stdout)
        return public

    def package(self, who: str = "") -> Path:
        """Build a package and have it signed."""
        spec, top = self.folder / "x.spec", self.folder / f"build-{who}"
        spec.write_text(SPEC)
        build = ["rpmbuild", "--quiet", "-bb", "--define", f"_topdir {top}", str(spec)]
        subprocess.run(build, check=True, capture_output=True)
        built = next(top.rglob("*.rpm"))
        if who:
            named = [
                "--define",
                f"__gpg {shutil.which('gpg')}",
                "--define",
                f"_gpg_name {who}",
                "--define",
                f"_gpg_path {self.folder / who}",
            ]
            subprocess.run(["rpmsign", "--addsign", *named, str(built)], check=True, capture_output=True)
        return built


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    if not TOOLS:
        pytest.skip("needs rpm and gpg: apt-get install rpm gnupg")
    # gpg's sockets need a short path
    return Place(tmp_path_factory.mktemp("k"))


def found(path: Path, key: str) -> str:
    problems = check_signature(RUN, str(path), key)
    return problems[0].found if problems else ""


def test_only_what_the_given_key_has_signed_is_good(place: Place) -> None:
    ours, theirs = place.key("ours"), place.key("theirs")
    signed, unsigned = place.package("ours"), place.package()
    assert found(signed, str(ours)) == ""
    assert found(signed, ours.as_uri()) == ""
    assert "NOKEY" in found(signed, str(theirs))
    assert found(unsigned, str(ours)).endswith("it has no signature")
    # the host's own keys do not know it
    assert "by a key that this host trusts" in found(signed, "")
    content = bytearray(signed.read_bytes())
    content[-1] ^= 1
    signed.write_bytes(content)
    assert found(signed, str(ours)) != ""


def test_a_key_that_can_not_be_had_is_told(place: Place) -> None:
    with pytest.raises(DomainError, match="nowhere"):
        found(place.package(), "file:///nowhere.asc")


OLD = """/tmp/x.rpm:
    Header V3 RSA/SHA256 Signature, key ID 8483c65d: OK
    Header SHA1 digest: OK
    V3 RSA/SHA256 Signature, key ID 8483c65d: OK
    MD5 digest: OK
"""
NEW = """/tmp/x.rpm:
    Header OpenPGP V4 RSA/SHA256 signature, key fingerprint: 05b555b38483c65d: NOTFOUND
    Header SHA256 digest: OK
"""


def test_answers_of_several_versions() -> None:
    assert judge_signature("/tmp/x.rpm", "", 0, OLD, "") == []
    for text, rc in (
        (OLD, 1),
        (OLD.replace("OK", "NOKEY", 1), 0),
        (NEW, 1),
        ("/tmp/x.rpm: digests OK\n", 0),
        ("", 127),
    ):
        assert judge_signature("/tmp/x.rpm", "", rc, text, "")[0].check == "package-signature"
    assert check_argv("", "/x")[-2:] == ["--verbose", "/x"]


@pytest.mark.parametrize(
    ("source", "family", "checksum", "asked"),
    [
        ("repository", REDHAT, "", True),
        ("repository", SUSE, "", True),
        ("repository", REDHAT, "0" * 64, False),
        ("repository", DEBIAN, "", False),
        ("url", REDHAT, "0" * 64, False),
        ("file", REDHAT, "", False),
    ],
)
def test_what_is_asked_for_its_signature(
    source: str, family: str, checksum: str, asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    def run(argv: list[str], **_options: object) -> CompletedCommand:
        calls.append(argv)
        return CompletedCommand(1, "", "")

    file = PackageFile("/x.rpm", "rstudio-pm", "2026.04.0-1", "x86_64", 1, 1, checksum)
    tool = PackageTool(run, Host(family, "9", os.uname().machine))
    request = StageRequest("2026.04.0", source, "", "", "")
    assert bool(staging._judge(tool, request, file, checksum)) is asked
    assert bool(calls) is asked

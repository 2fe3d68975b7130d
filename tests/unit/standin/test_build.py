# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-in's packages: reproducible, honest about what they are, and wrong where a variant is meant to be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "standin"))

import standin_builder
from standin_builder import Recipe

BUILD = str(Path(standin_builder.__file__).with_name("build"))


def field(package: Path, name: str) -> str:
    """Return a field of a package's control file."""
    return subprocess.run(
        ["dpkg-deb", "-f", str(package), name], capture_output=True, text=True, check=True
    ).stdout.strip()


def unpacked(package: Path, tree: Path) -> Path:
    """Unpack a package with its control folder and return the tree."""
    subprocess.run(["dpkg-deb", "-R", str(package), str(tree)], check=True)
    return tree


def make(out: Path, version: str = "2026.08.0", variant: str = "default") -> Path:
    """Build one package."""
    out.mkdir(exist_ok=True)
    return standin_builder.build(out, Recipe(version, 48, variant), standin_builder.EPOCH)[0]


def test_the_command_builds_the_default_versions_the_same_way_each_time(tmp_path: Path) -> None:
    printed = []
    for name, mask in (("a", "022"), ("b", "077")):
        command = ["sh", "-c", f'umask {mask}; exec "$0" --out "$1"', BUILD, str(tmp_path / name)]
        printed.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == [f"rstudio-pm_{version}_amd64.deb" for version in ("2025.12.0-14", "2026.04.0", "2026.08.0")]
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert printed[0].split()[::2] == printed[1].split()[::2]
    assert [len(digest) for digest in printed[0].split()[::2]] == [64, 64, 64]


def test_another_time_of_the_sources_is_another_package(tmp_path: Path) -> None:
    command = [BUILD, "--version", "2026.08.0", "--out"]
    for name, epoch in (("a", "1000000000"), ("b", "1000000001")):
        environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
        subprocess.run([*command, str(tmp_path / name)], check=True, stdout=subprocess.DEVNULL, env=environment)
    first, second = (next((tmp_path / name).iterdir()).read_bytes() for name in "ab")
    assert first != second


def test_a_package_says_what_it_is(tmp_path: Path) -> None:
    package = make(tmp_path / "out", "2025.12.0-14")
    assert field(package, "Package") == "rstudio-pm"
    assert field(package, "Version") == "2025.12.0-14"
    assert "NOT the vendor's product" in field(package, "Description")
    assert {"python3-psycopg2", "passwd"} <= {part.split()[0] for part in field(package, "Depends").split(",")}
    tree = unpacked(package, tmp_path / "tree")
    for program in ("rstudio-pm", "rspm", "license-manager"):
        command = [sys.executable, str(tree / "opt/rstudio-pm/bin" / program), "--version"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "2025.12.0-14" in said
        assert "stand-in" in said


def test_everything_belongs_to_root_and_is_readable(tmp_path: Path) -> None:
    listing = subprocess.run(
        ["dpkg-deb", "-c", str(make(tmp_path / "out"))], capture_output=True, text=True, check=True
    ).stdout
    for line in listing.splitlines():
        mode, owner = line.split()[:2]
        assert owner == "root/root"
        assert mode in ("drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x"), line


def test_the_quiet_variant_starts_nothing(tmp_path: Path) -> None:
    scripts = [
        (unpacked(make(tmp_path / name, variant=name), tmp_path / f"tree-{name}") / "DEBIAN/postinst").read_text()
        for name in ("default", "quiet")
    ]
    assert ['quiet="no"' in script for script in scripts] == [True, False]


@pytest.mark.parametrize(
    ("variant", "control", "binary"),
    [
        ("default", "2026.08.0", "2026.08.0"),
        ("wrong-version", "2026.08.1", "2026.08.0"),
        ("wrong-binary", "2026.08.0", "2026.08.1"),
    ],
)
def test_versions_of_a_variant(tmp_path: Path, variant: str, control: str, binary: str) -> None:
    package = make(tmp_path / "out", variant=variant)
    assert package.name == "rstudio-pm_2026.08.0_amd64.deb"
    assert field(package, "Version") == control
    tree = unpacked(package, tmp_path / "tree")
    command = [sys.executable, str(tree / "opt/rstudio-pm/bin/rspm"), "--version"]
    assert binary in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_free_version_takes_the_newest_schema_unless_told(tmp_path: Path) -> None:
    for name, words, schema in (("a", [], 48), ("b", ["--schema", "60"], 60)):
        command = [BUILD, "--out", str(tmp_path / name), "--version", "2026.08.1", *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        tree = unpacked(tmp_path / name / "rstudio-pm_2026.08.1_amd64.deb", tmp_path / f"tree-{name}")
        assert f'"schema": {schema},' in (tree / "opt/rstudio-pm/lib/build.json").read_text()

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds the stand-in's Debian packages: the same bytes for the same sources."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCHEMAS = {"2025.12.0-14": 41, "2026.04.0": 44, "2026.08.0": 48}
EPOCH = 1767225600  # 2026-01-01, where SOURCE_DATE_EPOCH says nothing else

# Name of a faulty or unusual build: switches baked into it. Some differ in their version (see Recipe), unit or scripts.
VARIANTS: dict[str, dict[str, str]] = {
    "default": {},
    "quiet": {},
    "fails-to-start": {"FAIL_START": "1"},
    "fails-migration": {"FAIL_MIGRATION": "1"},
    "slow-migration": {"MIGRATION_SECONDS": "20"},
    "licensed": {"LICENSE_REQUIRED": "1"},
    "wrong-version": {},
    "wrong-binary": {},
    "pings-early": {"PING_EARLY": "1"},
    "closed-status": {"STATUS_CLOSED": "1"},
    "leaves-worker": {"WORKER": "1"},
    "notify": {},
    "migrates-itself": {},
    "no-way-back": {},
}
# What stands in the place of the unit's type.
UNITS = {"notify": "Type=notify\nTimeoutStartSec=5", "leaves-worker": "Type=simple\nKillMode=process"}
# What the scripts do that others do not: each word is "yes" in the variant's.
SCRIPTS = {"QUIET": "quiet", "MIGRATES": "migrates-itself", "REFUSES": "no-way-back"}

_LAUNCHER = """#!/usr/bin/python3
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "lib"))
from rstudio_pm_standin.{module} import main

sys.exit(main(sys.argv[1:]))
"""
_PROGRAMS = {"rstudio-pm": "server", "rspm": "cli", "license-manager": "licence"}


@dataclass(frozen=True)
class Recipe:
    """One package to build."""

    version: str
    schema: int
    variant: str = "default"
    payload_mib: int = 0

    @property
    def other_version(self) -> str:
        """A version that this package is not."""
        return re.sub(r"\d+$", lambda found: str(int(found.group()) + 1), self.version)

    @property
    def control_version(self) -> str:
        """What the package's control file says."""
        return self.other_version if self.variant == "wrong-version" else self.version

    @property
    def binary_version(self) -> str:
        """What the programs say."""
        return self.other_version if self.variant == "wrong-binary" else self.version

    @property
    def file_name(self) -> str:
        """The name of the package file."""
        return f"rstudio-pm_{self.version}_amd64.deb"


def _put(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(mode)


def stage(tree: Path, recipe: Recipe) -> None:
    """Write what the package installs below tree; also runnable from there."""
    base = tree / "opt/rstudio-pm"
    for name, module in _PROGRAMS.items():
        _put(base / "bin" / name, _LAUNCHER.format(module=module), 0o755)
    for source in sorted((HERE / "rstudio_pm_standin").glob("*.py")):
        _put(base / "lib/rstudio_pm_standin" / source.name, source.read_text("utf-8"))
    facts = {
        "stand_in": True,
        "version": recipe.binary_version,
        "schema": recipe.schema,
        "variant": recipe.variant,
        "switches": VARIANTS[recipe.variant],
    }
    _put(base / "lib/build.json", json.dumps(facts, indent=2) + "\n")
    _put(tree / "etc/rstudio-pm/rstudio-pm.gcfg.defaults", (HERE / "files/rstudio-pm.gcfg").read_text("utf-8"))
    unit = (HERE / "files/rstudio-pm.service").read_text("utf-8")
    unit = unit.replace("Type=simple", UNITS.get(recipe.variant, "Type=simple"))
    _put(tree / "usr/lib/systemd/system/rstudio-pm.service", unit)
    if recipe.payload_mib:
        # Another one in each version, and nothing that could be compressed.
        noise = random.Random(recipe.version)
        with (base / "lib/payload").open("wb") as payload:
            for _mib in range(recipe.payload_mib):
                payload.write(noise.randbytes(1 << 20))
        (base / "lib/payload").chmod(0o644)


def _control(recipe: Recipe, size: int) -> str:
    note = "" if recipe.variant == "default" else f" This is the variant {recipe.variant}, made for a certain test.\n"
    return (
        f"Package: rstudio-pm\nVersion: {recipe.control_version}\nArchitecture: amd64\n"
        "Maintainer: rspm.ha authors <noreply@localhost>\n"
        "Section: misc\nPriority: optional\n"
        f"Installed-Size: {size}\n"
        "Depends: python3 (>= 3.9), python3-psycopg2, passwd, init-system-helpers (>= 1.50)\n"
        "Description: stand-in for a package manager server (test double)\n"
        " This is NOT the vendor's product. It imitates, for the tests of the rspm.ha\n"
        " collection, what the product's documents say of its behaviour.\n"
        f"{note}"
    )


def build(out: Path, recipe: Recipe, epoch: int) -> tuple[Path, str]:
    """Build one package into out and return its path and SHA-256."""
    with tempfile.TemporaryDirectory(prefix="standin-") as scratch:
        tree = Path(scratch) / "tree"
        tree.mkdir(mode=0o755)
        stage(tree, recipe)
        size = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file()) // 1024 + 1
        _put(tree / "DEBIAN/control", _control(recipe, size))
        for script in ("postinst", "prerm", "postrm"):
            text = (HERE / "files" / f"{script}.sh").read_text("utf-8").replace("@VERSION@", recipe.version)
            for word, variant in SCRIPTS.items():
                text = text.replace(f"@{word}@", "yes" if recipe.variant == variant else "no")
            _put(tree / "DEBIAN" / script, text, 0o755)
        for path in [tree, *tree.rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)
            os.utime(path, (epoch, epoch))
        draft = Path(scratch) / recipe.file_name
        command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(tree), str(draft)]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "LC_ALL": "C"}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        draft.chmod(0o644)
        shutil.copy2(draft, out / recipe.file_name)
    path = out / recipe.file_name
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> int:
    """Build the packages that the command line names."""
    parser = argparse.ArgumentParser(description="Build the stand-in's Debian packages.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--version", action="append", metavar="V", help=f"default: {' '.join(SCHEMAS)}")
    parser.add_argument("--variant", choices=sorted(VARIANTS), default="default")
    parser.add_argument("--schema", type=int, metavar="N", help="default: the version's, else the newest known")
    parser.add_argument("--payload", type=int, default=0, metavar="MIB", help="makes the package as big as a real one")
    options = parser.parse_args()
    if not shutil.which("dpkg-deb"):
        parser.error("dpkg-deb is not installed: apt-get install dpkg")
    options.out.mkdir(parents=True, exist_ok=True)
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", EPOCH))
    newest = max(SCHEMAS.values())
    recipes = [
        Recipe(version, options.schema or SCHEMAS.get(version, newest), options.variant, options.payload)
        for version in options.version or SCHEMAS
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, digest in pool.map(lambda recipe: build(options.out, recipe, epoch), recipes):
            print(f"{digest}  {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

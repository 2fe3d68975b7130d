# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run ansible-test sanity on a copy of the collection that holds only what is released of it.

The tests and benchmarks have mypy and ruff, and would take as long again. ansible-test wants the collection below
ansible_collections/rspm/ha and git to say which files there are. Its own state (virtual environments, downloads) goes
below .cache, not into the user's home.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".cache" / "sanity"
COPY = WORK / "ansible_collections" / "rspm" / "ha"
HOME = WORK / "home"

# ansible-test downloads get-pip to put pip into its environments; this has the pip at hand do the same.
GET_PIP = f"""\
import subprocess
import sys

packages = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([{sys.executable!r}, "-m", "pip", "--python", sys.executable, "install"] + packages))
"""

# Asked of ansible-test itself, so that a newer ansible-core with another pip still finds its file.
PIP_VERSIONS = """\
from types import SimpleNamespace
from ansible_test._internal.constants import SUPPORTED_PYTHON_VERSIONS
from ansible_test._internal.python_requirements import get_venv_packages
print(*{get_venv_packages(SimpleNamespace(version=version))["pip"] for version in SUPPORTED_PYTHON_VERSIONS})
"""


def wanted_files() -> set[Path]:
    """Return the files, relative to the checkout, that git tracks or would track, but for what no release holds."""
    ignored = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["build_ignore"]
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.check_output(argv, cwd=ROOT, text=True)
    names = {Path(name) for name in listed.split("\0") if name}
    # git is to ignore what ansible-test writes
    shipped = {name for name in names if name.parts[0] not in ignored or name.name == ".gitignore"}
    return {name for name in shipped if (ROOT / name).is_file() or (ROOT / name).is_symlink()}


def sync() -> None:
    """Make the copy hold exactly the wanted files; what did not change keeps its time, which caches go by."""
    COPY.mkdir(parents=True, exist_ok=True)
    if not (COPY / ".git").exists():
        subprocess.run(["git", "-c", "init.defaultBranch=main", "init", "--quiet", str(COPY)], check=True)
    wanted = wanted_files()
    for folder, folders, files in os.walk(COPY):
        here = Path(folder).relative_to(COPY)
        folders[:] = [name for name in folders if (here / name) not in (Path(".git"), Path("tests/output"))]
        for file in files:
            if here / file not in wanted:
                (COPY / here / file).unlink()
    for name in wanted:
        source, target = ROOT / name, COPY / name
        try:
            if target.is_file() and not source.is_symlink() and filecmp.cmp(source, target, shallow=True):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
        except FileNotFoundError:  # removed since it was listed
            continue


def prepare_home() -> dict[str, str]:
    """Make the home that ansible-test sees; return the environment for it."""
    versions = subprocess.run([sys.executable, "-c", PIP_VERSIONS], check=True, capture_output=True, text=True).stdout
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in versions.split():
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(GET_PIP)
    # The user's pip goes on using the user's mirror and download cache.
    for shared in (".config/pip", ".pip", ".cache/pip"):
        link, target = HOME / shared, Path.home() / shared
        if target.exists() and not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)
    return {**os.environ, "HOME": str(HOME), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def main(arguments: list[str]) -> int:
    """Copy, prepare, run; return ansible-test's exit code."""
    sync()
    # The interpreter at hand: ansible-test would try each name in PATH, shims of absent ones too.
    # That modules keep to an older syntax is ruff's to see (target-version in pyproject.toml).
    arguments = arguments or ["--python", f"{sys.version_info.major}.{sys.version_info.minor}"]
    command = [str(Path(sys.executable).parent / "ansible-test"), "sanity", "--venv", "--color", "no", *arguments]
    return subprocess.run(command, cwd=COPY, env=prepare_home(), check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Makes a small wheel that pip installs for real: `make_wheel.py FOLDER NAME [VERSION]`."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path


def make_wheel(folder: Path, name: str, version: str = "1.0") -> Path:
    """Make a wheel of one module, which knows its VERSION, and return its path."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for inner, text in files.items():
            archive.writestr(inner, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{inner},,\n" for inner in [*files, f"{info}/RECORD"]))
    return path


if __name__ == "__main__":
    make_wheel(Path(sys.argv[1]), *sys.argv[2:4])

"""Where the lab keeps what it makes."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]


def cache_dir() -> Path:
    """Return the folder of images: safe to remove, made again when needed."""
    return Path(os.environ.get("RSPM_LAB_CACHE", str(REPOSITORY / ".cache" / "lab")))


def state_root() -> Path:
    """Return the folder that holds one folder for each lab that is up."""
    return Path("/var/tmp/rspm-lab")


def lab_dir(name: str) -> Path:
    """Return the folder of one lab: its disks, logs and process ids. Gone after `down`."""
    return state_root() / name

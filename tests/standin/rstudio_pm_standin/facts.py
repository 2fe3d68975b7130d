# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was built, the test switches, and the fixed paths."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

NOTICE = "stand-in for tests, not the vendor's product"


def _build() -> dict[str, Any]:
    """Return what the builder wrote beside this package: version, schema and baked switches."""
    facts: dict[str, Any] = json.loads((Path(__file__).parent.parent / "build.json").read_text("utf-8"))
    return facts


BUILD = _build()
VERSION: str = BUILD["version"]
SCHEMA: int = BUILD["schema"]
STRICT_KEYS: bool = int(VERSION.split(".")[0]) >= 2026  # from then on: check-config, unknown keys refused


def rooted(path: str) -> Path:
    """Return a fixed path, below STANDIN_ROOT where the tests of the stand-in set that."""
    return Path(os.environ.get("STANDIN_ROOT", "") + path)


def switch(name: str, default: str = "") -> str:
    """Return a test switch: environment, then the host's switch file, then what was baked in, then default."""
    if f"STANDIN_{name}" in os.environ:
        return os.environ[f"STANDIN_{name}"]
    try:
        for line in rooted("/etc/rstudio-pm-standin/switches").read_text("utf-8").splitlines():
            key, equals, value = line.partition("=")
            if equals and key.strip() == name:
                return value.strip()
    except OSError:
        pass
    return str(BUILD["switches"].get(name, default))


def enabled(name: str) -> bool:
    """Return whether a switch is set to something that means yes."""
    return switch(name).lower() in ("1", "true", "yes", "on")


def node_name() -> str:
    """Return the name under which this machine is a node."""
    return switch("NODE_NAME") or socket.gethostname()


def version_line(program: str) -> str:
    """Return what --version prints."""
    return f"{program} {VERSION} ({NOTICE})"

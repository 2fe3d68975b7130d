"""Starts the lab's command line; called by `lab` beside it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from rspm_lab.cli import main

if __name__ == "__main__":
    sys.exit(main())

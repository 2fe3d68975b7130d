# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stat(1) says of the room on a file system."""

from __future__ import annotations


def parse_free(text: str) -> int | None:
    """Return the free bytes from `stat --file-system --format '%a %S'`, None for anything else."""
    words = text.split()
    return int(words[0]) * int(words[1]) if len(words) == 2 and all(word.isdigit() for word in words) else None

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which process on a host is the server (proc(5))."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ansible_collections.rspm.ha.plugins.module_utils._core.product import BINARY

_SERVER_COMMAND = re.compile(rf"(?:^|/){re.escape(BINARY.lstrip('/'))}(?: \(deleted\))?$")


def is_server(executable: str, arguments: Sequence[str]) -> bool:
    """Return whether a process is the server. executable: of /proc/<pid>/exe. arguments: of /proc/<pid>/cmdline.

    An interpreter that runs the file counts, and so does a process whose file a newer package has replaced.
    """
    return any(_SERVER_COMMAND.search(text) for text in (executable, *arguments[:2]) if text.startswith("/"))

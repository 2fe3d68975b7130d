# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work in a child process: with the ids that alone a file server may grant, and where it hangs it can be left alone."""

from __future__ import annotations

import json
import os
import select
import signal
from typing import Any, Callable

from ansible_collections.rspm.ha.plugins.module_utils._account_files.host import Account, become


def take_ids(uid: int, gid: int, umask: int = 0o022) -> None:
    """Take on ids for good; for after a fork."""
    if (os.geteuid(), os.getegid()) != (uid, gid):
        become(Account("", uid, gid, ()))
    os.umask(umask)


def in_child(work: Callable[[], Any], uid: int, gid: int, timeout: float, umask: int = 0o022) -> dict[str, Any] | None:
    """Return {"result": what work returns}, or errno and text of its OSError; None where it does not end in time."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            try:
                take_ids(uid, gid, umask)
                answer: dict[str, Any] = {"result": work()}
            except OSError as error:
                answer = {"errno": error.errno, "text": str(error)}
            os.write(writer, json.dumps(answer).encode())
        finally:
            os._exit(0)
    os.close(writer)
    ready = select.select([reader], [], [], timeout)[0]
    text = os.read(reader, 65536) if ready else b""
    os.close(reader)
    if not ready:
        os.kill(child, signal.SIGKILL)
    # one that even SIGKILL does not end right now is left to init
    os.waitpid(child, 0 if ready else os.WNOHANG)
    said: dict[str, Any] | None = json.loads(text) if text else None
    return said

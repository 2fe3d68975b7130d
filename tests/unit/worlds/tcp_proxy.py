# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A TCP proxy on the loopback: prints its port, and carries each connection to the port that it is given."""

from __future__ import annotations

import socket
import sys
import threading


def carry(source: socket.socket, target: socket.socket) -> None:
    """Carry bytes one way until the end."""
    try:
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        target.close()


def main() -> None:
    """Accept for ever."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        client = listener.accept()[0]
        server = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        for pair in ((client, server), (server, client)):
            threading.Thread(target=carry, args=pair, daemon=True).start()


main()

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The HTTP/1.1 transport: a thread a connection, keep-alive, and a drain that lets running requests end."""

from __future__ import annotations

import http
import os
import queue
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Callable

_HEAD_LIMIT = 65536
_BODY_LIMIT = 1 << 20
_WHOLE = 1 << 17  # files up to this size go out in one write with their head
_IDLE_SECONDS = 75
_FIRST_SECONDS = 0.5  # that a drain leaves a new connection for its first request


@dataclass(frozen=True)
class Request:
    """What a client asks for; the head keeps its raw form because few requests need a header."""

    method: str
    target: str
    head: bytes
    secure: bool

    def header(self, name: str) -> str:
        """Return a header's value or an empty text."""
        start = name.lower().encode() + b":"
        for line in self.head.split(b"\r\n")[1:]:
            if line[: len(start)].lower() == start:
                return line[len(start) :].strip().decode("latin-1")
        return ""


@dataclass(frozen=True)
class Response:
    """An answer: a body, or an open file that the transport closes."""

    status: int
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    location: str = ""
    file: int = -1
    size: int = 0


Handler = Callable[[Request], Response]
_REASONS = {status.value: status.phrase for status in http.HTTPStatus}


def _head(response: Response, length: int, keep: bool) -> bytes:
    lines = [f"HTTP/1.1 {response.status} {_REASONS[response.status]}", f"Content-Type: {response.kind}"]
    lines.append(f"Content-Length: {length}")
    if response.location:
        lines.append(f"Location: {response.location}")
    if not keep:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class _Link:
    """One client's connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.born = time.monotonic()
        self.busy = False
        self.served = 0  # requests begun
        self.ending = False


class Server:
    """Serves one handler on some listeners."""

    def __init__(self, handler: Handler, log: Callable[[str], None]) -> None:
        self._handler = handler
        self._log = log
        self._lock = threading.Lock()
        self._links: set[_Link] = set()
        self._listeners: list[tuple[socket.socket, threading.Thread]] = []
        self._waiting: queue.SimpleQueue[tuple[_Link, Any | None]] = queue.SimpleQueue()
        self._idle_threads = 0
        self._draining = False
        threading.stack_size(512 * 1024)  # hundreds of connections on a small machine

    def listen(self, host: str, port: int, tls: Any | None = None) -> int:
        """Open a listener, whose clients wait until serve() is called, and return its port; raises OSError."""
        if host:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, port), family=family, backlog=1024)
        elif socket.has_dualstack_ipv6():
            listener = socket.create_server(("", port), family=socket.AF_INET6, backlog=1024, dualstack_ipv6=True)
        else:
            listener = socket.create_server(("", port), backlog=1024)
        thread = threading.Thread(target=self._accept, args=(listener, tls), daemon=True)
        self._listeners.append((listener, thread))
        return int(listener.getsockname()[1])

    def serve(self) -> None:
        """Begin to answer."""
        for _listener, thread in self._listeners:
            thread.start()

    def _accept(self, listener: socket.socket, tls: Any | None) -> None:
        while True:
            try:
                sock, _address = listener.accept()
            except BlockingIOError:
                return  # a draining server has taken the last connection that waited
            except OSError as error:
                if self._draining:
                    return
                self._log(f"accept failed: {error}")
                time.sleep(0.1)
                continue
            link = _Link(sock)
            with self._lock:
                self._links.add(link)
                reuse = self._idle_threads > 0
                self._idle_threads -= reuse
            if reuse:
                self._waiting.put((link, tls))
            else:
                threading.Thread(target=self._work, args=(link, tls), daemon=True).start()

    def _work(self, link: _Link, tls: Any | None) -> None:
        """Serve connections one after the other: making a thread for each is dear on a small machine."""
        while True:
            self._run(link, tls)
            with self._lock:
                self._idle_threads += 1
            link, tls = self._waiting.get()

    def _run(self, link: _Link, tls: Any | None) -> None:
        try:
            link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            limit = struct.pack("ll", _IDLE_SECONDS, 0)
            link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            if tls is not None:
                link.sock = tls.wrap_socket(link.sock, server_side=True)
            self._converse(link, tls is not None)
        except OSError:
            pass  # the client went away, or idled for too long
        finally:
            with self._lock:
                self._links.discard(link)
            link.sock.close()

    def _converse(self, link: _Link, secure: bool) -> None:
        """Answer the requests of a connection until one side wants to end it."""
        rest = b""
        keep = True
        while keep:
            while (end := rest.find(b"\r\n\r\n")) < 0:
                if len(rest) > _HEAD_LIMIT:
                    self._send(link, Response(431), False, False)
                    return
                chunk = link.sock.recv(65536)
                if not chunk:
                    return
                rest += chunk
            head, rest = rest[:end], rest[end + 4 :]
            with self._lock:
                link.busy = True
                link.served += 1
            request = self._parse(head, secure)
            if request is None:
                self._send(link, Response(400), False, False)
                return
            body = self._skip_body(link, request, rest)
            if body is None:
                self._send(link, Response(413), False, False)
                return
            rest = body
            keep = self._answer(link, request)

    def _skip_body(self, link: _Link, request: Request, rest: bytes) -> bytes | None:
        """Return what follows a request's body, or None where the body is not one to read."""
        if request.method in ("GET", "HEAD"):
            return rest
        text = request.header("Content-Length") or "0"
        if request.header("Transfer-Encoding") or not text.isdigit() or int(text) > _BODY_LIMIT:
            return None
        while len(rest) < int(text):
            chunk = link.sock.recv(65536)
            if not chunk:
                raise ConnectionResetError
            rest += chunk
        return rest[int(text) :]

    def _parse(self, head: bytes, secure: bool) -> Request | None:
        try:
            method, target, version = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
        except ValueError:
            return None
        return Request(method, target, head, secure) if version.startswith("HTTP/1.") else None

    def _wants_more(self, request: Request) -> bool:
        wish = request.header("Connection").lower()
        first_line = request.head.split(b"\r\n", 1)[0]
        return "keep-alive" in wish if first_line.endswith(b"1.0") else "close" not in wish

    def _answer(self, link: _Link, request: Request) -> bool:
        """Send the answer to one request and return whether the connection goes on."""
        try:
            response = self._handler(request)
        except Exception as error:  # one request's fault must not end the connection without an answer
            self._log(f"{request.method} {request.target}: {type(error).__name__}: {error}")
            response = Response(500, b"internal error\n")
        keep = self._wants_more(request) and not self._draining
        self._send(link, response, keep, request.method == "HEAD")
        with self._lock:
            link.busy = False
        return keep and not self._draining

    def _send(self, link: _Link, response: Response, keep: bool, head_only: bool) -> None:
        if response.file < 0:
            head = _head(response, len(response.body), keep)
            link.sock.sendall(head if head_only else head + response.body)
            return
        with os.fdopen(response.file, "rb", buffering=0) as stream:
            head = _head(response, response.size, keep)
            if head_only:
                link.sock.sendall(head)
            elif response.size <= _WHOLE:
                link.sock.sendall(head + (stream.read(response.size) or b""))
            else:
                link.sock.sendall(head)
                link.sock.sendfile(stream, count=response.size)

    def settle(self, seconds: float) -> bool:
        """Wait until all requests that run now have ended; return whether they did."""
        with self._lock:
            running = {link: link.served for link in self._links if link.busy}
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with self._lock:
                if not any(link in self._links and link.busy and link.served == n for link, n in running.items()):
                    return True
            time.sleep(0.02)
        return False

    def drain(self, seconds: float) -> None:
        """Stop accepting, end idle connections, and give running requests some seconds to end."""
        self._draining = True
        for listener, thread in self._listeners:
            listener.setblocking(False)
            # accept() of a blocking call under way does not see the change: a connection of our own wakes it.
            self._wake(listener)
            thread.join(1)
            listener.close()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with self._lock:
                if not self._links:
                    return
                for link in self._links:
                    idle = not link.busy and (link.served or time.monotonic() - link.born > _FIRST_SECONDS)
                    if idle and not link.ending:
                        link.ending = True
                        self._end(link)
            time.sleep(0.02)

    def _wake(self, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        with suppress(OSError):
            socket.create_connection(({"::": "::1", "0.0.0.0": "127.0.0.1"}.get(host, host), port), timeout=1).close()

    def _end(self, link: _Link) -> None:
        """Let the connection's thread see the end; a request that has already arrived is still read and answered."""
        with suppress(OSError):
            link.sock.shutdown(socket.SHUT_RD)

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each address answers."""

from __future__ import annotations

import errno
import html
import json
import os
import re
import stat
from collections import deque
from pathlib import Path
from typing import Callable
from urllib.parse import unquote

from . import facts, licence
from .database import DatabaseError, Session
from .publish import normal
from .web import Request, Response

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+~!-]*\Z")
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".gz": "application/gzip",
    ".whl": "application/zip",
    "PACKAGES": "text/plain; charset=utf-8",
}
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)


class App:
    """Answers requests; each package file and index is opened by its name at each request, nothing is remembered."""

    def __init__(self, data_dir: Path, session: Session, log: Callable[[str], None], licence_type: str) -> None:
        self._packages = str(data_dir / "packages")
        self._session = session
        self._log = log
        self._licence = licence.Watch(licence_type)
        self.offline = False
        self.starting = False
        self.downloads: deque[tuple[str, str, int]] = deque(maxlen=100_000)

    def __call__(self, request: Request) -> Response:
        """Return the answer to a request."""
        if self.offline:
            return Response(503, b"this node is offline\n")
        path = request.target.partition("?")[0]
        if path in ("/", "/__ping__"):
            if self._licence.missing():
                return Response(402, b"this node has no licence\n")
            if path == "/" and self.starting:
                return Response(503, b"this node is starting\n")
            return self._front(request) if path == "/" else Response(200, b"ok\n")
        if self.starting:
            return Response(503, b"this node is starting\n")
        if request.method not in ("GET", "HEAD"):
            return Response(405, b"only GET and HEAD\n")
        parts = path[1:].split("/")
        if "%" in path:
            parts = [unquote(part) for part in parts]
        if parts[0] == "__api__":
            return self._api(parts[1:])
        if len(parts) >= 3 and parts[1] == "latest":
            if parts[2] == "simple":
                return self._python(path, parts[0], parts[3:])
            if parts[2:4] == ["src", "contrib"] and len(parts) == 5:
                return self._file(parts[0], parts[4])
        return Response(404, b"not found\n")

    def _front(self, request: Request) -> Response:
        """Return the first page, which says under which address this node was asked."""
        address = request.header("X-RSPM-Request")
        if not address:
            scheme = request.header("X-Forwarded-Proto") or ("https" if request.secure else "http")
            host = request.header("X-Forwarded-Host") or request.header("Host")
            port = request.header("X-Forwarded-Port")
            address = f"{scheme}://{host}{':' + port if port and ':' not in host else ''}/"
        text = f"<title>Package Manager</title><p>{facts.NOTICE}</p><p>{html.escape(address)}</p>\n"
        return Response(200, text.encode(), _KINDS[".html"])

    def _api(self, parts: list[str]) -> Response:
        if parts == ["status"]:
            if facts.enabled("STATUS_CLOSED"):
                return Response(401, b"log in first\n")
            return _json({"version": facts.VERSION, "bioc_versions": [], "stand_in": True})
        try:
            if parts == ["repos"]:
                rows = self._session.run("SELECT id, name, type FROM repos ORDER BY id")
                return _json([{"id": row[0], "name": row[1], "type": row[2], "auth": False} for row in rows])
            if len(parts) == 3 and parts[0] == "repos" and parts[2] == "packages":
                rows = self._session.run(
                    "SELECT name, version, sha256 FROM packages WHERE repo = %s ORDER BY name, id", parts[1]
                )
                return _json([dict(zip(("name", "version", "sha256"), row)) for row in rows])
        except DatabaseError as error:
            self._log(f"the database fails: {error}")
            return Response(500, b"the database fails\n")
        return Response(404, b"not found\n")

    def _python(self, path: str, repo: str, parts: list[str]) -> Response:
        if not parts or (len(parts) == 1 and parts[0]):
            return Response(301, location=path + "/")
        if parts == [""]:
            return self._file(repo, "index.html")
        if len(parts) != 2 or not _SEGMENT.match(parts[0]):
            return Response(404, b"not found\n")
        if normal(parts[0]) != parts[0]:
            return Response(301, location=f"/{repo}/latest/simple/{normal(parts[0])}/{parts[1]}")
        return self._file(repo, parts[0], parts[1] or "index.html")

    def _file(self, *parts: str) -> Response:
        """Return the file below the folder of packages; the name is looked up anew."""
        if not all(_SEGMENT.match(part) for part in parts):
            return Response(404, b"not found\n")
        place = "/".join(parts)
        try:
            descriptor = os.open(f"{self._packages}/{place}", os.O_RDONLY)
            found = os.fstat(descriptor)
        except OSError as error:
            if error.errno in _ABSENT:
                return Response(404, b"not found\n")
            raise
        if stat.S_ISDIR(found.st_mode):
            os.close(descriptor)
            return Response(404, b"not found\n")
        kind = next((kind for end, kind in _KINDS.items() if place.endswith(end)), "application/octet-stream")
        if place.endswith((".whl", ".tar.gz")):
            self.downloads.append((parts[0], parts[-1], found.st_size))
        return Response(200, kind=kind, file=descriptor, size=found.st_size)


def _json(value: object) -> Response:
    return Response(200, (json.dumps(value) + "\n").encode(), "application/json")

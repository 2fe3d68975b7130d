# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Publishing: the file, the row in the database, the index files that the web server opens by name."""

from __future__ import annotations

import gzip
import hashlib
import html
import io
import json
import os
import re
import secrets
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

from . import facts
from .database import Session
from .schema import LOCK_PUBLISH

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_WHEEL = re.compile(r"(?P<name>[A-Za-z0-9._]+)-(?P<version>[^-]+)(-\d[^-]*)?-[^-]+-[^-]+-[^-]+\.whl\Z")
_SDIST = re.compile(r"(?P<name>[A-Za-z0-9._-]+)-(?P<version>\d[^-]*)\.tar\.gz\Z")
_SOURCE = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9.]*)_(?P<version>\d[0-9.-]*)\.tar\.gz\Z")
_FIELDS = ("Package", "Version", "Depends", "Imports", "LinkingTo", "Suggests", "License", "NeedsCompilation")


class PublishError(Exception):
    """A package that can't be published; the text is meant for a person."""


@dataclass(frozen=True)
class Parcel:
    """A package file, read and named."""

    file: str
    name: str
    version: str
    content: bytes
    details: str  # the fields of an R package for PACKAGES

    @property
    def digest(self) -> str:
        """SHA-256 of the content."""
        return hashlib.sha256(self.content).hexdigest()


def normal(name: str) -> str:
    """Return the normal form of a Python project's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parcel(kind: str, file: str, content: bytes) -> Parcel:
    """Return the package in content for a repository of kind R or Python; raises PublishError."""
    if kind == "Python":
        found = _WHEEL.match(file) or _SDIST.match(file)
        if not found:
            raise PublishError(f"{file} is named neither like a wheel nor like a source distribution")
        return Parcel(file, normal(found.group("name")), found.group("version"), content, "")
    found = _SOURCE.match(file)
    if not found:
        raise PublishError(f"{file} is not named like an R source package (name_version.tar.gz)")
    name, version = found.group("name", "version")
    fields = {"Package": name, "Version": version, **_description(name, content)}
    if (fields["Package"], fields["Version"]) != (name, version):
        raise PublishError(f"{file} holds {fields['Package']} {fields['Version']}")
    details = "".join(f"{field}: {fields[field]}\n" for field in _FIELDS if field in fields)
    return Parcel(file, name, version, content, details)


def _description(name: str, content: bytes) -> dict[str, str]:
    """Return the fields of the DESCRIPTION in an R source package; raises PublishError."""
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            member = archive.extractfile(f"{name}/DESCRIPTION")
            text = member.read().decode("utf-8", "replace") if member else ""
    except (KeyError, tarfile.TarError, OSError, EOFError) as error:
        raise PublishError(f"no {name}/DESCRIPTION can be read in the package: {error}") from error
    unfolded = re.sub(r"\n[ \t]+", " ", text)
    parts = (line.partition(":") for line in unfolded.splitlines())
    return {key: value.strip() for key, colon, value in parts if colon}


def _write(path: Path, content: bytes) -> None:
    """Write a file so that readers see it whole or not at all, also after a power cut."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with open(draft, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.chmod(draft, 0o600)
    os.replace(draft, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _folder(path: Path) -> Path:
    """Make a folder and those above it that are missing, each 0700 whatever the umask says."""
    if not path.is_dir():
        _folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
    return path


def _page(title: str, lines: list[str]) -> bytes:
    body = "".join(f"    {line}<br/>\n" for line in lines)
    head = f'<head><meta name="pypi:repository-version" content="1.0"/><title>{html.escape(title)}</title></head>'
    return f"<!DOCTYPE html>\n<html>\n  {head}\n  <body>\n{body}  </body>\n</html>\n".encode()


def write_index(session: Session, data_dir: Path, repo: str, kind: str, name: str = "") -> None:
    """Write a repository's index from the database, and that of one Python project."""
    folder = _folder(data_dir / "packages" / repo)
    if kind == "R":
        rows = session.run("SELECT details FROM packages WHERE repo = %s ORDER BY name, id", repo)
        content = "\n".join(row[0] for row in rows).encode()
        _write(folder / "PACKAGES", content)
        _write(folder / "PACKAGES.gz", gzip.compress(content, mtime=0))
        return
    if name:
        rows = session.run("SELECT path, sha256 FROM packages WHERE repo = %s AND name = %s ORDER BY id", repo, name)
        files = [(path.rsplit("/", 1)[1], digest) for path, digest in rows]
        links = [f'<a href="{html.escape(file)}#sha256={digest}">{html.escape(file)}</a>' for file, digest in files]
        _write(_folder(folder / name) / "index.html", _page(f"Links for {name}", links))
    rows = session.run("SELECT DISTINCT name FROM packages WHERE repo = %s ORDER BY name", repo)
    _write(folder / "index.html", _page("Simple index", [f'<a href="{row[0]}/">{row[0]}</a>' for row in rows]))


def ensure_indexes(session: Session, data_dir: Path) -> None:
    """Write the index of every repository that has none yet."""
    for name, kind in session.run("SELECT name, type FROM repos"):
        if not (data_dir / "packages" / name / ("PACKAGES" if kind == "R" else "index.html")).exists():
            with session.transaction(LOCK_PUBLISH):
                write_index(session, data_dir, name, kind)


def publish(session: Session, data_dir: Path, repo: str, kind: str, item: Parcel) -> str:
    """Publish into one repository and return the path below the data directory; raises PublishError.

    The lock and the database's rows make the indexes right when two nodes publish at once.
    """
    place = f"packages/{repo}/{item.file}" if kind == "R" else f"packages/{repo}/{item.name}/{item.file}"
    with session.transaction(LOCK_PUBLISH):
        known = session.run("SELECT sha256 FROM packages WHERE path = %s", place)
        if known and known[0][0] != item.digest:
            raise PublishError(f"{item.file} is already published in {repo} with other content")
        path = data_dir / place
        _folder(path.parent)
        _write(path, item.content)
        if not known:
            columns: dict[str, object] = {
                "repo": repo,
                "name": item.name,
                "version": item.version,
                "sha256": item.digest,
                "path": place,
                "details": item.details,
            }
            if facts.SCHEMA >= 44:
                columns["published_by"] = facts.node_name()
                entry = (time.time(), facts.node_name(), json.dumps({"add": place}))
                session.run("INSERT INTO audit (at, node, what) VALUES (%s, %s, %s)", *entry)
            if facts.SCHEMA >= 48:
                columns["size"] = len(item.content)
            marks = ", ".join(["%s"] * len(columns))
            session.run(f"INSERT INTO packages ({', '.join(columns)}) VALUES ({marks})", *columns.values())
        write_index(session, data_dir, repo, kind, item.name)
    return place


def verify(session: Session, data_dir: Path) -> tuple[int, list[str]]:
    """Return how many published packages there are, and a text for each that is missing or damaged."""
    faults = []
    rows = session.run("SELECT path, sha256 FROM packages ORDER BY path")
    for place, wanted in rows:
        digest = hashlib.sha256()
        try:
            with open(data_dir / place, "rb") as stream:
                for block in iter(lambda: stream.read(1 << 20), b""):
                    digest.update(block)
        except OSError as error:
            faults.append(f"{place}: {error.strerror}")
            continue
        if digest.hexdigest() != wanted:
            faults.append(f"{place}: SHA-256 is {digest.hexdigest()}, published was {wanted}")
    return len(rows), faults

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compare two trees of files, with the evidence of an earlier comparison that their contents are equal.

A tree is a stream of entries in the order of sort_key, so that trees of any size are compared without being held in
memory. Paths are bytes, relative to the tree's root, which itself is b"". Sources: stat(2), inode(7): every write
through the file system changes ctime, and nothing can set it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

_Item = TypeVar("_Item", bound="Entry | Evidence")

# Nanoseconds. A file may change again within one tick of the clock that stamps it, and ctime would not show it: so only
# a file that was at rest for longer is proved. The file server's stamps may be whole seconds, and its clock differ.
SOURCE_SETTLE_NS = 3_000_000_000
TARGET_SETTLE_NS = 100_000_000
TYPES = {
    "f": "a file",
    "d": "a folder",
    "l": "a symlink",
    "p": "a pipe",
    "s": "a socket",
    "c": "a character device",
    "b": "a block device",
}


class Identity(NamedTuple):
    """Changes whenever the file does. size: bytes. mtime_ns, ctime_ns: nanoseconds. inode: of its file system."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class Entry(NamedTuple):
    """What stat(2) says of one path: a tuple, since there are millions.

    kind: a key of TYPES. mode: permission bits. blocks: bytes that are allocated. extra: target of a symlink (decoded
    with surrogateescape), number of a device, else "".
    """

    path: bytes
    kind: str
    size: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    links: int
    blocks: int
    extra: str

    @property
    def identity(self) -> Identity:
        """Return what would differ had it changed."""
        return Identity(self.size, self.mtime_ns, self.ctime_ns, self.inode)


class Evidence(NamedTuple):
    """Evidence: with these identities both files had this content. digest: MD5 in hex, as rsync says it."""

    path: bytes
    source: Identity
    target: Identity
    digest: str


class Pair(NamedTuple):
    """One path in both trees; None where it is missing."""

    path: bytes
    source: Entry | None
    target: Entry | None
    record: Evidence | None


class Digest(NamedTuple):
    """What was read of a file. identity: None where it could not be read, digest then says why.

    begun_ns: clock of this host when reading began.
    """

    identity: Identity | None
    digest: str
    begun_ns: int


@dataclass(frozen=True)
class Mismatch:
    """A difference. path: as shown to a person. what: for example "mode 0640, not 0644" (target first)."""

    path: str
    what: str

    def to_dict(self) -> dict[str, str]:
        """Return it as a plain mapping for a module result."""
        return {"path": self.path, "what": self.what}


def sort_key(path: bytes) -> bytes:
    """Return what to sort by so that a folder's content follows it: no name holds a NUL."""
    return path.replace(b"/", b"\0")


def shown(path: bytes) -> str:
    """Return the path as printable text without line breaks; the root is "."."""
    text = path.decode("utf-8", "backslashreplace") or "."
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def parents(path: bytes) -> Iterator[bytes]:
    """Return the folders above a path, the root last."""
    while path:
        path = path.rpartition(b"/")[0]
        yield path


def merge(streams: list[Iterable[_Item]]) -> Iterator[list[_Item | None]]:
    """Return for each path, in order, the item of each sorted stream that has it, else None.

    An item's first field is its path, which no other item of its stream has.
    """
    iterators = [iter(stream) for stream in streams]
    heads = [next(iterator, None) for iterator in iterators]
    while True:
        paths = [None if head is None else head[0] for head in heads]
        if paths.count(paths[0]) == len(paths):
            # as for nearly all of millions
            if paths[0] is None:
                return
            row, heads = heads, [next(iterator, None) for iterator in iterators]
            yield row
            continue
        least = min((path for path in paths if path is not None), key=sort_key)
        row = [head if path == least else None for head, path in zip(heads, paths)]
        heads = [
            next(iterator, None) if path == least else head for iterator, head, path in zip(iterators, heads, paths)
        ]
        yield row


def join(sources: Iterable[Entry], targets: Iterable[Entry], records: Iterable[Evidence]) -> Iterator[Pair]:
    """Return the pairs of two sorted trees with the evidence of each; evidence of paths in neither is dropped."""
    streams: list[Iterable[Any]] = [sources, targets, records]
    for source, target, record in merge(streams):
        if source is not None:
            yield Pair(source.path, source, target, record)
        elif target is not None:
            yield Pair(target.path, source, target, record)


def newest(old: Iterable[Evidence], fresh: Iterable[Evidence]) -> Iterator[Evidence]:
    """Return the evidence of two sorted streams; of two for one path the fresh one."""
    streams: list[Iterable[Evidence]] = [old, fresh]
    for before, after in merge(streams):
        chosen = after or before
        if chosen is not None:
            yield chosen


def differences(source: Entry | None, target: Entry | None) -> list[str]:
    """Return in what the target differs from the source, apart from contents and from hard links."""
    if source is None:
        return ["is in the copy but not in the source"]
    if target is None:
        return ["is missing in the copy"]
    # kind to mtime_ns at once, and extra: what holds for nearly all of millions
    if source[1:7] == target[1:7] and source.extra == target.extra:
        return []
    if source.kind != target.kind:
        return [f"is {TYPES[target.kind]}, not {TYPES[source.kind]}"]
    found = []
    if source.kind == "f" and source.size != target.size:
        found.append(f"has {target.size} bytes, not {source.size}")
    # a symlink has no mode of its own
    if source.kind != "l" and source.mode != target.mode:
        found.append(f"has mode {target.mode:04o}, not {source.mode:04o}")
    if source.uid != target.uid:
        found.append(f"has owner {target.uid}, not {source.uid}")
    if source.gid != target.gid:
        found.append(f"has group {target.gid}, not {source.gid}")
    if source.mtime_ns != target.mtime_ns:
        found.append(f"has mtime {target.mtime_ns} ns, not {source.mtime_ns} ns")
    if source.extra != target.extra:
        found.append(f"points to {shown_text(target.extra)}, not to {shown_text(source.extra)}")
    return found


def shown_text(text: str) -> str:
    """Return text that was decoded with surrogateescape as printable text."""
    return shown(text.encode("utf-8", "surrogateescape"))


def proves(record: Evidence | None, source: Entry, target: Entry) -> bool:
    """Return whether the evidence holds for both files as they are now."""
    return record is not None and record.source == source.identity and record.target == target.identity


@dataclass(frozen=True)
class Verdict:
    """What two digests say of a file.

    what: "" where both contents are equal. corrupt: unchanged files with different contents, which no copy that goes
    by size and time would repair. record: evidence for later, None where a file may still be changing.
    """

    what: str
    corrupt: bool = False
    record: Evidence | None = None


def judge_digests(pair: Pair, source: Digest, target: Digest) -> Verdict:
    """Return what the digests of a pair of files of equal size and time prove."""
    if source.identity is None:
        return Verdict(f"could not be read in the source ({source.digest})")
    if target.identity is None:
        return Verdict(f"could not be read in the copy ({target.digest})")
    if pair.source is None or pair.target is None:
        return Verdict("is missing")
    if source.identity != pair.source.identity:
        return Verdict("changed in the source while it was compared")
    if target.identity != pair.target.identity:
        return Verdict("changed in the copy while it was compared")
    if source.digest != target.digest:
        return Verdict(f"has another content (MD5 {target.digest}, not {source.digest})", corrupt=True)
    rested = (
        pair.source.ctime_ns < source.begun_ns - SOURCE_SETTLE_NS
        and pair.target.ctime_ns < target.begun_ns - TARGET_SETTLE_NS
        and pair.source.mtime_ns == pair.target.mtime_ns
    )
    found = Evidence(pair.path, source.identity, target.identity, source.digest)
    return Verdict("", record=found if rested else None)


@dataclass
class HardLinks:
    """Which inode of the source is which of the target; only inodes with more than one name are kept."""

    _names: dict[tuple[int, int], list[bytes]] = field(default_factory=lambda: defaultdict(list))

    def add(self, pair: Pair) -> None:
        """Take note of a pair that is in both trees."""
        source, target = pair.source, pair.target
        if source and target and source.kind == target.kind != "d" and (source.links > 1 or target.links > 1):
            self._names[source.inode, target.inode].append(pair.path)

    def conflicts(self) -> dict[bytes, str]:
        """Return the paths whose inode is not one and the same in the other tree, and what is wrong there."""
        of_source, of_target = defaultdict(set), defaultdict(set)
        for source, target in self._names:
            of_source[source].add(target)
            of_target[target].add(source)
        found: dict[bytes, str] = {}
        for (source, target), paths in self._names.items():
            if len(of_source[source]) > 1:
                found.update(dict.fromkeys(paths, "is not one file with its other names, as it is in the source"))
            elif len(of_target[target]) > 1:
                found.update(dict.fromkeys(paths, "is one file with names that are others in the source"))
        return found


@dataclass
class Totals:
    """How much a tree holds. size: bytes of its files, each name counted. links: symlinks."""

    files: int = 0
    size: int = 0
    folders: int = 0
    links: int = 0
    others: int = 0

    def add(self, entry: Entry) -> None:
        """Count one entry."""
        if entry.kind == "f":
            self.files += 1
            self.size += entry.size
        elif entry.kind == "d":
            self.folders += 1
        elif entry.kind == "l":
            self.links += 1
        else:
            self.others += 1

    @property
    def entries(self) -> int:
        """Return the number of paths."""
        return self.files + self.folders + self.links + self.others


def written_since(pair: Pair, finished_ns: int) -> bool:
    """Return whether something else wrote to the copy after it was finished: a server that lives on it already.

    finished_ns: clock of the host when the copy was verified; the copy's own ctimes are older.
    """
    source, target = pair.source, pair.target
    if target is None or target.kind == "d" or target.ctime_ns <= finished_ns:
        return False
    return (
        source is None or source.kind != target.kind or (source.size, source.mtime_ns) != (target.size, target.mtime_ns)
    )

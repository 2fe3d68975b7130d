# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes that list and read a tree, those of the source with the rights of the account that may read it.

They are forked, so that they need nothing on the disk, and the process that asks them touches no file server itself:
while that is away only they hang. They speak JSON lines; paths are decoded as UTF-8 with surrogateescape.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import select
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from ansible_collections.rspm.ha.plugins.module_utils._account_files.host import Account, become
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.compare import Digest, Entry, Identity
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.plan import SourceFacts

BATCH = 500
# A file server is waited for most of the time: how much is asked of it at a time, and how few paths are not worth it
_THREADS = 4
_FEW = 16
# Linux wants to see more than 8 looks between two pieces of a listing, of which the first is of 18 names (fs/nfs/dir.c)
_ASKED = 16
_READ_SIZE = 1 << 20
# A large buffer costs more than all else of a small file
_FIRST_READ = 1 << 16
_PR_SET_PDEATHSIG = 1
# Seconds in which a process that was killed is gone, unless a file server that is away holds it
_GONE = 5.0
_LOOK_AGAIN = 0.002
_KINDS = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFIFO: "p",
    stat.S_IFSOCK: "s",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
}
_libc = ctypes.CDLL(None, use_errno=True)
Tick = Callable[[], None]
_Made = TypeVar("_Made")


def die_with_parent() -> None:
    """Make the kernel end this process when the one that started it ends; for after a fork."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _decode(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def _entry(path: bytes, found: os.stat_result) -> list[Any]:
    """Return the fields of an Entry."""
    kind, extra = _KINDS.get(stat.S_IFMT(found.st_mode), "f"), ""
    if kind == "l":
        extra = _decode(os.readlink(path))
    elif kind in "cb":
        extra = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
    return [
        _decode(path),
        kind,
        found.st_size if kind == "f" else 0,
        stat.S_IMODE(found.st_mode),
        found.st_uid,
        found.st_gid,
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_ino,
        found.st_nlink,
        found.st_blocks * 512,
        extra,
    ]


def _all(pool: ThreadPoolExecutor | None, function: Callable[[bytes], _Made], paths: Sequence[bytes]) -> list[_Made]:
    """Return what the function makes of each path. pool: for several at a time, None for one after the other."""
    if pool is None or len(paths) < _FEW:
        return [function(path) for path in paths]
    size = -(-len(paths) // _THREADS)
    parts = [paths[begin : begin + size] for begin in range(0, len(paths), size)]
    return [made for part in pool.map(lambda part: [function(path) for path in part], parts) for made in part]


def _walk(pool: ThreadPoolExecutor | None) -> Iterator[list[Any]]:
    """Return the entries below the current folder in the order of sort_key, without those that vanish meanwhile."""
    yield ["", *_entry(b".", os.stat(b"."))[1:]]
    stack = [_scan(pool, b"")]
    while stack:
        made = next(stack[-1], None)
        if made is None:
            stack.pop()
            continue
        path, entry = made
        yield entry
        if entry[1] == "d":
            stack.append(_scan(pool, path))


def _names(folder: bytes, *, asked: bool) -> list[bytes]:
    """Return the names in a folder.

    asked: whether to look at some of them while listing. Then an NFS client has the server send the attributes of all
    along with the names (READDIRPLUS), and looking at each needs no question of its own.
    """
    found = []
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            found.append(entry.name)
            if asked and (number < _ASKED or number % _ASKED == 0):
                _look(entry.path)
    return found


def _scan(pool: ThreadPoolExecutor | None, folder: bytes) -> Iterator[tuple[bytes, list[Any]]]:
    """Return path and entry of what is in a folder, sorted."""
    prefix = folder + b"/" if folder else b""
    try:
        paths = sorted(prefix + name for name in _names(folder or b".", asked=pool is not None))
    except (FileNotFoundError, NotADirectoryError):
        return
    for begin in range(0, len(paths), BATCH):
        block = paths[begin : begin + BATCH]
        for path, entry in zip(block, _all(pool, _look, block)):
            if entry:
                yield path, entry


def _look(path: bytes) -> list[Any] | None:
    """Return the entry of one path, None where there is none."""
    try:
        return [_decode(path), *_entry(path or b".", os.lstat(path or b"."))[1:]]
    except (FileNotFoundError, NotADirectoryError):
        return None


def _digest(path: bytes) -> list[Any]:
    """Return the identity of a file after it was read and its MD5, or None and why it can't be read.

    An identity that is that of before says that nothing changed meanwhile.
    """
    try:
        # opening asks the file server anew, so that neither content nor identity is an old one
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            block, length = os.read(descriptor, _FIRST_READ), _FIRST_READ
            # with the data at once: update takes a lock, which costs more than the sum of a small file
            digest, size = hashlib.md5(block, usedforsecurity=False), len(block)
            # only the end of a file gives less than was asked for; one that grows is not followed to where it gets
            limit = os.fstat(descriptor).st_size if len(block) == length else size
            while len(block) == length and size <= limit:
                block, length = os.read(descriptor, _READ_SIZE), _READ_SIZE
                digest.update(block)
                size += len(block)
            found = os.fstat(descriptor)
            identity = [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
            return [identity, digest.hexdigest()] if size == found.st_size else [None, "it changed"]
        finally:
            os.close(descriptor)
    except OSError as error:
        return [None, error.strerror]


def _change_mode(path: bytes, mode: int) -> None:
    """Give a folder this mode, -1 for its own with all rights of its owner; what fails shows in the comparison."""
    with suppress(OSError):
        found = os.lstat(path or b".").st_mode
        if stat.S_ISDIR(found):
            os.chmod(path or b".", stat.S_IMODE(found) | stat.S_IRWXU if mode < 0 else mode)


def _facts(path: bytes) -> list[Any]:
    """Return the real path, whether it is a folder that can be read, and whether that is empty."""
    real = os.path.realpath(path)
    try:
        with os.scandir(real) as entries:
            return [_decode(real), True, next(entries, None) is None]
    except OSError:
        return [_decode(real), False, True]


def _answers(request: dict[str, Any], pool: ThreadPoolExecutor | None) -> Iterator[Any]:
    """Return the parts of the answer to one request."""
    paths = [_encode(path) for path in request.get("paths", [])]
    if request["do"] == "facts":
        yield [_facts(path) for path in paths]
        return
    os.chdir(_encode(request["root"]))
    if request["do"] == "look":
        yield _all(pool, _look, paths)
    elif request["do"] == "change":
        for path in paths:
            _change_mode(path, request["mode"])
        yield []
    elif request["do"] == "digest":
        yield _all(pool, _digest, paths)
    else:
        batch = []
        for entry in _walk(pool):
            batch.append(entry)
            if len(batch) >= BATCH:
                yield batch
                batch = []
        yield batch


def _serve(channel: socket.socket, account: Account | None, *, parallel: bool) -> None:
    """Answer until nobody asks any more; the body of a worker."""
    # no terminal stops it
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    become(account)
    die_with_parent()
    pool = ThreadPoolExecutor(_THREADS) if parallel else None
    with channel.makefile("rwb") as file:
        for line in file:
            try:
                for part in _answers(json.loads(line), pool):
                    file.write(json.dumps({"part": part}).encode("ascii") + b"\n")
                last: dict[str, Any] = {"end": True}
            except OSError as error:
                where = error.filename if error.filename is not None else b""
                name = _decode(where) if isinstance(where, bytes) else str(where)
                last = {"error": error.strerror, "path": name}
            file.write(json.dumps(last).encode("ascii") + b"\n")
            file.flush()


def _alone_with(channel: socket.socket) -> socket.socket:
    """Close everything that the parent has open but the channel: locks and other workers' channels live by it."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.dup2(channel.fileno(), 3)
    channel.detach()
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 3:
            try:
                os.close(int(name))
            except OSError:
                continue  # that of the listing itself
    return socket.socket(fileno=3)


class Worker:
    """One process that answers for one tree."""

    def __init__(self, side: str, host: str, account: Account | None, *, parallel: bool = False) -> None:
        """Start it. side: what a person calls the tree. account: None = with the rights of this process.

        parallel: whether it looks at and reads several paths at a time.
        """
        self.side, self.host = side, host
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _serve(_alone_with(theirs), account, parallel=parallel)
            finally:
                os._exit(0)
        theirs.close()
        self._socket = ours
        self._buffer = bytearray()

    def send(self, do: str, root: str = "", paths: Iterable[bytes] = (), mode: int = 0) -> None:
        """Ask for something; parts has the answer."""
        request = {"do": do, "root": root, "paths": [_decode(path) for path in paths], "mode": mode}
        self._socket.sendall(json.dumps(request).encode("ascii") + b"\n")

    def parts(self, tick: Tick = lambda: None) -> Iterator[Any]:
        """Return the parts of the answer. tick: called at least twice a second."""
        while True:
            answer = json.loads(self._line(tick))
            if "part" in answer:
                yield answer["part"]
            elif "error" in answer:
                raise DomainError(self._problem(answer["error"], f" at {json.dumps(answer['path'])}"))
            else:
                return

    def facts(self, path: str, tick: Tick) -> SourceFacts:
        """Return what there is at the path."""
        self.send("facts", paths=[os.fsencode(path)])
        ((fact,),) = self.parts(tick)
        return SourceFacts(*fact)

    def walk(self, root: str, tick: Tick) -> Iterator[Entry]:
        """Return the tree's entries in the order of sort_key."""
        self.send("walk", root)
        for part in self.parts(tick):
            for path, *rest in part:
                yield Entry(_encode(path), *rest)

    def look(self, root: str, paths: list[bytes], tick: Tick) -> list[Entry]:
        """Return the entries of those paths that are there."""
        self.send("look", root, paths)
        (part,) = self.parts(tick)
        return [Entry(_encode(entry[0]), *entry[1:]) for entry in part if entry]

    def change(self, root: str, paths: list[bytes], mode: int, tick: Tick) -> None:
        """Give folders this mode, -1 for their own with all rights of their owner."""
        self.send("change", root, paths, mode)
        list(self.parts(tick))

    def digests(self, begun_ns: int) -> list[Digest]:
        """Return identity and content of each path that a digest was asked of. begun_ns: clock when it was."""
        (part,) = self.parts()
        return [Digest(Identity(*identity) if identity else None, text, begun_ns) for identity, text in part]

    def close(self) -> None:
        """End the process, as close_all does."""
        close_all([self])

    def kill(self) -> None:
        """Begin its end; close_all waits for it."""
        self._socket.close()
        os.kill(self.pid, signal.SIGKILL)

    def _line(self, tick: Tick) -> bytes:
        while True:
            end = self._buffer.find(b"\n")
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                return line
            if select.select([self._socket], [], [], 0.5)[0]:
                block = self._socket.recv(1 << 20)
                if not block:
                    raise DomainError(self._problem("its reader ended unexpectedly", ""))
                self._buffer += block
            tick()

    def _problem(self, text: str, where: str) -> Problem:
        return Problem(
            "tree-copy",
            f"the {self.side} can't be read on {self.host}: {text}{where}",
            "The copy would lack what can't be read",
            "See that the account that the server runs as may read it, then run the same command again",
        )


def close_all(workers: Sequence[Worker]) -> None:
    """End the processes and wait until they are gone: until then the mount that a tree is on can't be unmounted.

    Those that hang on a file server that is away end when that is back, and are not waited for so long.
    """
    for worker in workers:
        worker.kill()
    deadline = time.monotonic() + _GONE
    for worker in workers:
        while os.waitpid(worker.pid, os.WNOHANG)[0] == 0 and time.monotonic() < deadline:
            time.sleep(_LOOK_AGAIN)

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a tree is copied with rsync, whether there is room for it, and how far it is. Sources: rsync(1), statvfs(3)."""

from __future__ import annotations

import hashlib
import posixpath
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem
from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import MountEntry
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.compare import Entry, Mismatch

STATE_FOLDER = "/var/lib/rspm-ha/tree_copy"
_FILE_SYSTEM_BLOCK = 4096
# Bytes that a slow file server gives in about as long as a person may wait for a sign of progress
LARGE_FILE = 32 * 1024 * 1024
# So few paths are copied by their names before rsync has looked at a whole tree
_FEW = 1000
_GONE = re.compile(r"(?:No such file or directory|Not a directory|Stale file handle|vanished)")
_FULL = re.compile(r"(?:No space left on device|Disk quota exceeded)")
_PROGRESS = re.compile(rb"^\s*([\d,.]+)\s+\d+%\s")
_ITEM = re.compile(rb"^([<>ch.*][fdLDSdeleting]\S*) +(\d+)(?:$| (?:([0-9a-f]{32})| {32}) (.*)$)")
_ESCAPED = re.compile(rb"\\#([0-7]{3})")
_CHECKSUMS = re.compile(r"^Checksum list:\s+(.*)$", re.MULTILINE)
# What the kernel shows of an NFS mount and what a second mount of the same has to have, too
_MOUNT_OPTIONS = ("vers", "proto", "sec", "port", "rsize", "wsize", "timeo", "retrans")


def state_folder(destination: str) -> str:
    """Return the folder of root's with the lock, the evidence and the progress of the copying to a destination.

    Not beside the copy, where the service's account may write.
    """
    path = posixpath.normpath(destination)
    sign = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return f"{STATE_FOLDER}/{posixpath.basename(path)}-{sign}"


def rsync_argv(
    source: str,
    destination: str,
    *,
    digests: bool,
    large: bool = False,
    listed: bool = False,
    below: bool = False,
    reread: bool = False,
    opened: bool = False,
) -> list[str]:
    """Return the command that makes the destination what the source is.

    digests: whether it is to say what it read of each file; see gives_digests.
    large: whether it is to say how far it is within a file, too, which with small files takes more than it tells.
    listed: whether it gets NUL-terminated paths at its standard input, instead of the whole tree; one of them that is
    not in the source is deleted.
    below: takes with a listed folder all that is in it.
    reread: copies also what has the right size and time.
    opened: leaves folders open for their owner, who is no root and writes to them.
    ACLs and extended attributes are not copied: what NFS has of them is not what rsync knows.
    """
    argv = ["rsync", "-aHSWs", "--numeric-ids", "--force"]
    # whole seconds are too coarse for a file that is written twice in one
    argv += ["--modify-window=-1", "--outbuf=L"]
    if large:
        argv.append("--info=progress2")
    argv += ["--checksum-choice=md5", "-8", "--out-format=%i %l %C %n"] if digests else ["--out-format=%i %l"]
    argv += ["--files-from=-", "--from0", "--delete-missing-args"] if listed else ["--delete"]
    if below:
        argv.append("-r")
    if reread:
        argv.append("--ignore-times")
    if opened:
        argv.append("--chmod=Du+rwx")
    return [*argv, "--", f"{source.rstrip('/')}/", f"{destination.rstrip('/')}/"]


def gives_digests(version_text: str) -> bool:
    """Return whether an rsync can say the MD5 of what it read, by its --version: 3.2 and newer, not where FIPS forbids.

    Then the source need not be read once more to prove the copy.
    """
    found = _CHECKSUMS.search(version_text)
    return found is not None and "md5" in found[1].split()


def rsync_problem(host: str, rc: int, said: str, source: str) -> Problem | None:
    """Return what is wrong after rsync ended, None where nothing is or where the comparison that follows decides.

    What vanishes while it is copied is no error. A full disk is judged by the caller, who knows how much is missing.
    """
    lines = [line for line in said.splitlines() if line.startswith("rsync: ")]
    if rc in (0, 24) or (rc == 23 and all(_GONE.search(line) for line in lines)):
        return None
    text = "; ".join((lines or said.splitlines())[:3]) or "it said nothing"
    return Problem(
        "tree-copy",
        f"rsync on {host} ended with {rc}: {text}",
        f"Not everything of {source} was copied",
        "Repair what it says (the server's account has to be able to read all of it), then run the same command again",
    )


def sync_problem(host: str, rc: int, said: str, destination: str) -> Problem:
    """Return the problem of a copy that the disk did not take for certain."""
    return Problem(
        "tree-copy",
        f"sync of {destination} on {host} ended with {rc}: {'; '.join(said.split(chr(10))[:3]) or 'it said nothing'}",
        "What was copied may be lost with the machine's power",
        "Repair the disk or the file system, then run the same command again",
    )


def is_full(said: str) -> bool:
    """Return whether rsync says that the disk, or a quota, is used up."""
    return bool(_FULL.search(said))


@dataclass(frozen=True)
class Output:
    """What rsync's output lines say. transferred: bytes so far, None where no line says it.

    sent: path and MD5 in hex of each file that was copied, where it says so.
    """

    files: int = 0
    size: int = 0
    deleted: int = 0
    changed: int = 0
    transferred: int | None = None
    sent: dict[bytes, str] = field(default_factory=dict)


def parse_output(lines: Iterable[bytes]) -> Output:
    """Return what the lines of --out-format and --info=progress2 say."""
    files = size = deleted = changed = 0
    transferred = None
    sent: dict[bytes, str] = {}
    for line in lines:
        item = _ITEM.match(line)
        if item is None:
            progress = _PROGRESS.match(line)
            if progress:
                transferred = int(re.sub(rb"\D", b"", progress[1]))
        else:
            changed += 1
            if item[1].startswith(b"*deleting"):
                deleted += 1
            elif item[1][:2] in (b">f", b"cf"):
                files += 1
                size += int(item[2])
                if item[3]:
                    sent[_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), item[4])] = item[3].decode("ascii")
    return Output(files, size, deleted, changed, transferred, sent)


def room_for(entry: Entry) -> int:
    """Return the bytes that a copy of the entry takes on a local disk; holes take none."""
    if entry.kind == "d":
        return _FILE_SYSTEM_BLOCK
    if entry.kind != "f" or not entry.size:
        return 0
    return -(-min(entry.size, entry.blocks or entry.size) // _FILE_SYSTEM_BLOCK) * _FILE_SYSTEM_BLOCK


@dataclass(frozen=True)
class Need:
    """What copying takes. size: bytes more than now. largest: bytes of the largest file, which is replaced at the end.

    inodes: number more than now.
    """

    size: int = 0
    largest: int = 0
    inodes: int = 0

    def plus(self, source: Entry, target: Entry | None) -> Need:
        """Return the need with one more entry that has to be copied; target: what is at its place."""
        room = room_for(source)
        if target is None:
            return Need(self.size + room, max(self.largest, room), self.inodes + 1)
        return Need(self.size + max(0, room - target.blocks), max(self.largest, room), self.inodes)


@dataclass(frozen=True)
class Room:
    """What a file system has left. inodes: None where it makes them as they are needed."""

    size: int
    inodes: int | None


def missing_bytes(need: Need, room: Room) -> int:
    """Return how many bytes the disk lacks, with a hundredth more for what the file system keeps of its own."""
    wanted = need.size + need.size // 100 + (need.largest if need.size < need.largest else 0)
    return max(0, wanted - room.size)


def judge_room(host: str, destination: str, need: Need, room: Room) -> list[Problem]:
    """Return why there is not enough room; nothing is copied then."""
    found = []
    lacking = missing_bytes(need, room)
    if lacking:
        found.append(space_problem(host, destination, lacking, f"{room.size} are free, {need.size} more are needed"))
    if room.inodes is not None and need.inodes > room.inodes:
        found.append(
            Problem(
                "tree-copy-space",
                f"{host} has {room.inodes} free inodes for {destination}, {need.inodes} more are needed",
                "Each file and folder takes one",
                "Give it a file system with more inodes (mkfs.ext4 -N, or XFS), then run the same command again",
            )
        )
    return found


def space_problem(host: str, destination: str, lacking: int, more: str) -> Problem:
    """Return the problem of a disk that is too small. lacking: bytes."""
    return Problem(
        "tree-copy-space",
        f"{host} lacks {lacking} bytes for {destination} ({more})",
        "The data does not fit there; the source is as it was",
        "Free or add at least that much there (df -h shows it), then run the same command again",
    )


def takes_everything(different: int, entries: int, linked: bool) -> bool:
    """Return whether rsync looks at the whole tree rather than at the paths that differ.

    linked: whether a path that differs has more than one name, of which rsync has to see all.
    """
    return linked or (different > _FEW and different * 2 > entries)


@dataclass(frozen=True)
class SourceFacts:
    """What the account that reads sees of the source. real: without symlinks. empty: nothing is in it."""

    real: str
    is_folder: bool
    empty: bool


@dataclass(frozen=True)
class TargetFacts:
    """What is at the destination. real: without symlinks. kind: "absent", "folder" or "other".

    copy_of: source whose copy it is, "" where it is not ours.
    """

    real: str
    kind: str
    empty: bool
    copy_of: str


def _within(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith(outer.rstrip("/") + "/")


def judge_places(host: str, source: str, destination: str, here: SourceFacts, there: TargetFacts) -> list[Problem]:
    """Return why the source may not be copied to the destination."""
    again = "then run the same command again"
    if not here.is_folder:
        return [
            Problem(
                "tree-copy-source",
                f"{source} on {host} is not a folder that the service's account can read",
                "There is nothing to copy",
                f"See that it is mounted (findmnt --target {shlex.quote(source)}), {again}",
            )
        ]
    if here.empty:
        return [
            Problem(
                "tree-copy-source",
                f"{source} on {host} is empty",
                "An absent mount looks like this; its copy would be an empty server",
                f"See that it is mounted (findmnt --target {shlex.quote(source)}), {again}",
            )
        ]
    if _within(there.real, here.real) or _within(here.real, there.real):
        return [
            Problem(
                "tree-copy-destination",
                f"{destination} and {source} on {host} overlap",
                "A copy into its own source has no end, and one around it deletes it",
                f"Name a destination outside of {source}, {again}",
            )
        ]
    if there.kind == "other":
        return [
            Problem(
                "tree-copy-destination",
                f"{destination} on {host} is not a folder",
                "Only a folder can hold the copy, and a link in the way, which the service's account may have made, "
                "is not followed",
                f"Move it away, {again}",
            )
        ]
    if there.kind == "folder" and not there.empty and there.copy_of != source:
        what = f"a copy of {there.copy_of}" if there.copy_of else "not empty and was not made by tree_copy"
        return [
            Problem(
                "tree-copy-destination",
                f"{destination} on {host} is {what}",
                "Everything in it that is not in the source would be deleted",
                f"Move it away (mv {shlex.quote(destination)} {shlex.quote(destination + '.old')}), {again}",
            )
        ]
    return []


def rsync_missing(host: str) -> Problem:
    """Return the problem of a host without rsync."""
    return Problem(
        "tree-copy-rsync",
        f"there is no rsync on {host}",
        "It does the copying",
        "Install the package rsync there, then run the same command again",
    )


def abandoned_problem(host: str, seconds: float) -> Problem:
    """Return the problem of a run that nobody follows any more. seconds: for how long."""
    return Problem(
        "tree-copy-abandoned",
        f"nobody has asked for {seconds:g} s how far the copy on {host} is",
        "The playbook that began it is gone, and the next one must not find it at work",
        "Run the same command again; it goes on from what is there",
    )


def used_problem(host: str, destination: str, path: str) -> Problem:
    """Return the problem of a copy that something wrote to after it was finished."""
    folders = f"{shlex.quote(destination)} {shlex.quote(state_folder(destination))}"
    return Problem(
        "tree-copy-destination",
        f"{destination} on {host} was written to after its copy was finished: {path}",
        "A server may live on it already, and copying again would undo what it wrote",
        f"If it is not needed, rm -r {folders}, then run the same command again",
    )


def mismatch_problem(host: str, destination: str, count: int, found: Sequence[Mismatch]) -> Problem:
    """Return the problem of a copy that is not what the source is."""
    first = "; ".join(f"{each.path} {each.what}" for each in found[:3])
    return Problem(
        "tree-copy-mismatch",
        f"{count} paths in {destination} on {host} are not what the source is: {first}",
        "The copy may not be used: something still writes to one of both, or a disk does not keep what it is given",
        "See that nothing runs that writes there (fuser -vm), and the kernel's log for disk errors, then run the same "
        "command again",
    )


def second_mount(entry: MountEntry, path: str, at: str) -> tuple[list[str], str] | None:
    """Return the command that mounts an NFS file system once more at `at`, and where path then is; None if not NFS.

    A mount of its own has cached nothing yet, so no change of another node is hidden for up to
    acregmax seconds (nfs(5), "nosharecache").
    """
    if not entry.is_nfs:
        return None
    live = dict(option.partition("=")[::2] for option in entry.super_options)
    kept = [f"{name}={live[name]}" for name in _MOUNT_OPTIONS if live.get(name) and live[name] != "0"]
    options = ",".join(["ro", "nosharecache", *kept, *(name for name in ("nolock", "noresvport") if name in live)])
    below = posixpath.relpath(path, entry.mount_point)
    place = posixpath.normpath(posixpath.join(at, entry.root.lstrip("/"), below))
    return ["mount", "-t", entry.fstype, "-o", options, "--", entry.source, at], place


def attribute_seconds(entry: MountEntry) -> int:
    """Return for how long an NFS client may believe old attributes, in seconds; 0 where it is not NFS."""
    live = dict(option.partition("=")[::2] for option in entry.super_options)
    if not entry.is_nfs or "noac" in live:
        return 0
    return max(int(live.get(name) or 60) for name in ("acregmax", "acdirmax"))

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What differs between two trees, what is proved, and how rsync is called and understood."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import parse_mountinfo
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy import compare as tree
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy import plan
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.compare import (
    Digest,
    Entry,
    Evidence,
    HardLinks,
    Identity,
    Pair,
)
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_state import parse_records, record_line
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.progress import (
    Progress,
    parse_progress,
    progress_line,
    seconds_left,
)

NOW = 2_000_000_000_000_000_000
TEXT = "f" * 32
FILE = Entry(b"a", "f", 5, 0o640, 940, 940, 1, 2, 3, 1, 4096, "")
NAMES = st.binary(min_size=1, max_size=3).filter(lambda name: b"/" not in name and b"\0" not in name)
PATHS = st.lists(NAMES, max_size=4).map(b"/".join)


def record_of(source: Entry, target: Entry) -> Evidence:
    return Evidence(source.path, source.identity, target.identity, "d" * 32)


@given(st.sets(PATHS), st.sets(PATHS), st.sets(PATHS))
def test_every_path_of_both_trees_is_paired_once(left: set[bytes], right: set[bytes], known: set[bytes]) -> None:
    def stream(paths: set[bytes]) -> list[Entry]:
        return [FILE._replace(path=path) for path in sorted(paths, key=tree.sort_key)]

    records = [record_of(entry, entry) for entry in stream(known)]
    pairs = list(tree.join(stream(left), stream(right), records))
    assert [pair.path for pair in pairs] == sorted(left | right, key=tree.sort_key)
    for pair in pairs:
        present = (pair.source is not None, pair.target is not None, pair.record is not None)
        assert present == (pair.path in left, pair.path in right, pair.path in known)


@given(st.sets(PATHS))
def test_a_folder_is_followed_by_what_is_in_it(paths: set[bytes]) -> None:
    ordered = sorted(paths, key=tree.sort_key)
    for number, folder in enumerate(ordered):
        inside = [path for path in ordered if path.startswith(folder + b"/")]
        assert ordered[number + 1 : number + 1 + len(inside)] == inside or folder == b""


@given(st.sets(PATHS), st.sets(PATHS))
def test_fresh_evidence_replaces_the_old(old: set[bytes], fresh: set[bytes]) -> None:
    def stream(paths: set[bytes], digest: str) -> list[Evidence]:
        found = record_of(FILE, FILE)
        return [found._replace(path=path, digest=digest) for path in sorted(paths, key=tree.sort_key)]

    merged = list(tree.newest(stream(old, "old"), stream(fresh, "new")))
    assert {each.path: each.digest for each in merged} == dict.fromkeys(old, "old") | dict.fromkeys(fresh, "new")
    assert len(merged) == len(old | fresh)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"size": 6}, "has 6 bytes, not 5"),
        ({"mode": 0o600}, "has mode 0600, not 0640"),
        ({"uid": 0}, "has owner 0, not 940"),
        ({"gid": 7}, "has group 7, not 940"),
        ({"mtime_ns": 9}, "has mtime 9 ns, not 1 ns"),
        ({"kind": "l"}, "is a symlink, not a file"),
    ],
)
def test_each_property_is_compared(change: dict[str, object], what: str) -> None:
    assert tree.differences(FILE, FILE._replace(**change)) == [what]  # type: ignore[arg-type]


def test_symlinks_are_compared_by_what_they_point_to() -> None:
    link = FILE._replace(kind="l", size=0, extra="to\udcff\n")
    assert tree.differences(link, link._replace(mode=0o777)) == []
    assert tree.differences(link, link._replace(extra="x")) == ["points to x, not to to\\xff\\n"]
    assert tree.differences(None, link) == ["is in the copy but not in the source"]
    assert tree.differences(link, None) == ["is missing in the copy"]


@given(st.tuples(*[st.integers(0, 3)] * 4), st.tuples(*[st.integers(0, 3)] * 4))
def test_evidence_holds_only_for_the_same_files(was: tuple[int, ...], now: tuple[int, ...]) -> None:
    names = ("size", "mtime_ns", "ctime_ns", "inode")
    before, after = FILE._replace(**dict(zip(names, was))), FILE._replace(**dict(zip(names, now)))  # type: ignore[arg-type]
    assert tree.proves(record_of(before, FILE), after, FILE) == (was == now)
    assert tree.proves(record_of(FILE, before), FILE, after) == (was == now)
    assert not tree.proves(None, FILE, FILE)


NUMBERS = st.builds(Identity, *[st.integers(-(1 << 70), 1 << 70)] * 4)


@given(st.builds(Evidence, st.binary(), NUMBERS, NUMBERS, st.just("0" * 32)))
def test_evidence_is_one_line_and_read_as_it_was_written(record: Evidence) -> None:
    line = record_line(record)
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert list(parse_records([line])) == [record]


ODD_LINES = st.sampled_from(
    [b"\n", b"[]\n", b"[1,2]\n", b'["a",[1,2,3,4],[5,6', b"],[\n", b"0,0\n", b'{"a":1}\n', b"\xff"]
)


@given(st.lists(st.builds(Evidence, st.binary(), NUMBERS, NUMBERS, st.just("0" * 32)) | ODD_LINES, max_size=6))
def test_evidence_is_read_up_to_the_first_line_that_is_none(items: list[Evidence | bytes]) -> None:
    lines = [record_line(item) if isinstance(item, Evidence) else item for item in items]
    good = list(itertools.takewhile(lambda item: isinstance(item, Evidence), items))
    assert list(itertools.takewhile(lambda record: record is not None, parse_records(lines))) == good
    assert [item if isinstance(item, Evidence) else None for item in items] == list(parse_records(lines))


def test_digests_prove_what_was_at_rest() -> None:
    pair = Pair(b"a", FILE, FILE._replace(inode=9), None)
    source, target = Digest(FILE.identity, TEXT, NOW), Digest(FILE.identity._replace(inode=9), TEXT, NOW)
    assert pair.target is not None
    assert tree.judge_digests(pair, source, target).record == Evidence(b"a", FILE.identity, pair.target.identity, TEXT)
    recent = FILE._replace(ctime_ns=NOW - tree.SOURCE_SETTLE_NS)
    verdict = tree.judge_digests(pair._replace(source=recent), Digest(recent.identity, TEXT, NOW), target)
    assert (verdict.what, verdict.record) == ("", None)
    recent = FILE._replace(inode=9, ctime_ns=NOW - tree.TARGET_SETTLE_NS)
    verdict = tree.judge_digests(pair._replace(target=recent), source, Digest(recent.identity, TEXT, NOW))
    assert (verdict.what, verdict.record) == ("", None)


def test_digests_find_what_is_not_equal() -> None:
    pair = Pair(b"a", FILE, FILE, None)
    good = Digest(FILE.identity, TEXT, NOW)
    other = tree.judge_digests(pair, good, good._replace(digest="y" * 32))
    assert other.corrupt and other.record is None and "another content" in other.what
    moved = good._replace(identity=Identity(5, 1, 2, 4))
    assert tree.judge_digests(pair, moved, good).what == "changed in the source while it was compared"
    assert tree.judge_digests(pair, good, moved).what == "changed in the copy while it was compared"
    assert "Permission" in tree.judge_digests(pair, Digest(None, "Permission denied", NOW), good).what


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=8))
def test_hard_links_are_equal_when_the_groups_are(inodes: list[tuple[int, int]]) -> None:
    links = HardLinks()
    for number, (source, target) in enumerate(inodes):
        path = bytes([97 + number])
        entry = FILE._replace(path=path, links=2)
        links.add(Pair(path, entry._replace(inode=source), entry._replace(inode=target), None))
    pairs = range(len(inodes))
    same = all((inodes[a][0] == inodes[b][0]) == (inodes[a][1] == inodes[b][1]) for a in pairs for b in pairs)
    assert (links.conflicts() == {}) == same


def test_a_copy_that_lives_on_is_seen() -> None:
    finished = 100
    old, new = FILE._replace(ctime_ns=99), FILE._replace(ctime_ns=101)
    assert not tree.written_since(Pair(b"a", FILE, old._replace(size=1), None), finished)
    assert not tree.written_since(Pair(b"a", FILE, new, None), finished)
    assert tree.written_since(Pair(b"a", None, new, None), finished)
    assert tree.written_since(Pair(b"a", FILE, new._replace(mtime_ns=8), None), finished)


def test_the_call_of_rsync() -> None:
    argv = plan.rsync_argv("/mnt/a b", "/var/b", digests=True)
    assert "--delete" in argv and argv[-2:] == ["/mnt/a b/", "/var/b/"]
    assert set(plan.rsync_argv("/mnt/a", "/var/b", digests=True, large=True)) - set(argv) >= {"--info=progress2"}
    listed = plan.rsync_argv("/mnt/a", "/var/b", digests=False, listed=True, reread=True)
    assert "--delete" not in listed and listed[-2:] == ["/mnt/a/", "/var/b/"]
    assert {"--checksum-choice=md5", "-8", "--out-format=%i %l %C %n"} <= set(argv)
    assert "--out-format=%i %l" in listed and "--checksum-choice=md5" not in listed
    assert {"--files-from=-", "--from0", "--delete-missing-args", "--ignore-times"} <= set(listed)


def test_rsync_looks_at_all_where_much_differs_or_names_belong_together() -> None:
    assert plan.takes_everything(1, 10**6, linked=True)
    assert plan.takes_everything(60_000, 100_000, linked=False)
    assert not plan.takes_everything(40_000, 100_000, linked=False)
    assert not plan.takes_everything(900, 900, linked=False)


def test_what_rsync_says() -> None:
    lines = [
        b">f+++++++++ 10",
        b"*deleting 0",
        b"cd+++++++++ 4096",
        b"      1,234  50%  1MB/s 0:00:01",
        b"hf+++++++++ 9",
    ]
    assert plan.parse_output(lines) == plan.Output(files=1, size=10, deleted=1, changed=4, transferred=1234)


@given(st.binary(min_size=1).filter(lambda path: b"\0" not in path))
def test_what_rsync_says_of_the_files_that_it_read(path: bytes) -> None:
    # it escapes what is not printable, and a backslash that looks like the beginning of that
    escaped = re.sub(rb"[\0-\x1f\x7f]|\\(?=#[0-9]{3})", lambda found: b"\\#%03o" % found[0][0], path)
    lines = [b">f+++++++++ 10 " + TEXT.encode() + b" " + escaped, b"cd+++++++++ 0 " + b" " * 32 + b" " + escaped + b"/"]
    said = plan.parse_output(lines)
    assert (said.files, said.changed, said.sent) == (1, 2, {path: TEXT})


def test_which_rsync_can_say_what_it_read() -> None:
    said = "Checksum list:\n    xxh128 xxh3 xxh64 (xxhash) md5 md4 sha1 none\nCompress list:\n    zstd\n"
    assert plan.gives_digests(said)
    assert not plan.gives_digests(said.replace("md5 ", ""))
    assert not plan.gives_digests("rsync  version 3.1.3  protocol version 31\nCopyright md5\n")
    gone = 'rsync: [sender] link_stat "/a" failed: No such file or directory (2)\nrsync error: some (code 23)'
    denied = 'rsync: [sender] send_files failed to open "/a": Permission denied (13)'
    assert plan.rsync_problem("n", 0, "", "/s") is None
    assert plan.rsync_problem("n", 24, "", "/s") is None
    assert plan.rsync_problem("n", 23, gone, "/s") is None
    found = plan.rsync_problem("n", 23, f"{gone}\n{denied}", "/s")
    assert found and "Permission denied" in found.found
    assert plan.rsync_problem("n", 12, "", "/s") is not None
    assert plan.is_full("write failed: No space left on device (28)") and not plan.is_full(denied)


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 1000), st.integers(0, 1000))
def test_too_little_room_is_refused(size: int, free: int, inodes: int, left: int) -> None:
    found = plan.judge_room("n", "/d", plan.Need(size, 0, inodes), plan.Room(free, left))
    assert len(found) == (size + size // 100 > free) + (inodes > left)
    assert plan.judge_room("n", "/d", plan.Need(0, 0, inodes), plan.Room(0, None)) == []


def test_room_is_counted_without_holes_and_without_what_is_there() -> None:
    sparse = FILE._replace(size=10**9, blocks=8192)
    assert plan.room_for(sparse) == 8192
    need = plan.Need().plus(sparse, None).plus(FILE, FILE._replace(blocks=4096))
    assert (need.size, need.inodes) == (8192, 1)
    assert plan.missing_bytes(plan.Need(0, 8192, 0), plan.Room(100, None)) == 8092


def test_places_that_are_refused() -> None:
    seen, absent = plan.SourceFacts("/s", True, False), plan.TargetFacts("/d", "absent", True, "")

    def found(seen: plan.SourceFacts, there: plan.TargetFacts) -> str:
        return " ".join(each.found for each in plan.judge_places("n", "/s", "/d", seen, there))

    assert found(seen, absent) == ""
    assert (
        found(replace(seen, is_folder=False), absent) == "/s on n is not a folder that the service's account can read"
    )
    assert found(replace(seen, empty=True), absent) == "/s on n is empty"
    assert "overlap" in found(seen, replace(absent, real="/s/x"))
    assert "overlap" in found(replace(seen, real="/d/x"), absent)
    assert found(replace(seen, real="/dx"), absent) == ""
    assert "is not a folder" in found(seen, replace(absent, kind="other"))
    full = plan.TargetFacts("/d", "folder", False, "")
    assert found(seen, full) == "/d on n is not empty and was not made by tree_copy"
    assert found(seen, replace(full, copy_of="/t")) == "/d on n is a copy of /t"
    assert found(seen, replace(full, copy_of="/s")) == found(seen, replace(full, empty=True)) == ""


def test_the_second_mount_sees_nothing_old() -> None:
    line = (
        "40 29 0:42 / /mnt/pm rw - nfs4 nfs1:/srv/pm rw,vers=4.2,rsize=1024,acregmax=7,proto=tcp,hard,lookupcache=pos"
    )
    (entry,) = parse_mountinfo(line)
    second = plan.second_mount(entry, "/mnt/pm/data", "/run/x")
    assert second is not None
    argv, place = second
    assert argv[:4] == ["mount", "-t", "nfs4", "-o"] and argv[5:] == ["--", "nfs1:/srv/pm", "/run/x"]
    assert argv[4] == "ro,nosharecache,vers=4.2,proto=tcp,rsize=1024"
    assert place == "/run/x/data"
    assert plan.attribute_seconds(entry) == 60
    bound = replace(entry, root="/data", mount_point="/data")
    again = plan.second_mount(bound, "/data", "/run/x")
    assert again and again[1] == "/run/x/data"
    assert plan.second_mount(replace(entry, fstype="ext4"), "/mnt/pm", "/run/x") is None


def test_the_progress_line() -> None:
    now = Progress("warm", "copy", 41_234, 100_000, 1_200_000_000, 3_400_000_000, 14.1)
    expected = "tree_copy node1: warm pass 41,234 of 100,000 files, 1.2 of 3.4 GB, 85.1 MB/s, 0:22 left"
    assert progress_line("node1", now) == expected
    assert (
        progress_line("n", Progress("last", "compare", 5, 0, 99)) == "tree_copy n: last pass, comparing 5 files, 99 B"
    )
    assert parse_progress(now.to_json()) == now
    for text in ("", "{", '{"a": 1}', "[]", now.to_json().replace('"copy"', '"x"')):
        assert parse_progress(text) is None


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(0, 10**13), st.floats(1, 10**6))
def test_time_left_is_never_negative_and_ends_at_zero(files: int, total: int, size: int, seconds: float) -> None:
    left = seconds_left(Progress("last", "copy", files, total, size, size, seconds))
    assert left is None or left >= 0
    assert seconds_left(Progress("last", "copy", total, total, size, size, seconds)) == 0
    assert progress_line("n", Progress("last", "copy", files, total, size, size, seconds))


@given(st.binary(max_size=20).filter(lambda path: b"\0" not in path))
def test_paths_are_shown_in_one_printable_line(path: bytes) -> None:
    assert tree.shown(path).isprintable() and tree.shown(path)

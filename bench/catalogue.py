"""What is measured, and what is wanted of it. Pure: the benchmarks and the page both read it."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULTS, PIPELINING = "defaults", "pipelining"
SETTINGS = (DEFAULTS, PIPELINING)
# Fewer are a trial.
RUNS = 5

PING = "one ansible.builtin.ping of all hosts"
NEW_SITE, NOOP_SITE = "site on new machines", "no-op site"
LOOK = "by hand: one look at each node over ssh"

# rspm_upgrade_mode
AHEAD, SERVES = "install_before_outage", "first_serves_until_its_turn"
UPGRADE_300, UPGRADE_1 = f"upgrade, {AHEAD}, 3 nodes, 300 MiB", f"upgrade, {AHEAD}, 3 nodes, 1 MiB"
UPGRADE_SIX, UPGRADE_SERVES = f"upgrade, {AHEAD}, 6 nodes, 300 MiB", f"upgrade, {SERVES}, 3 nodes, 300 MiB"
UPGRADE_DOWNLOADS = f"{UPGRADE_300}, with downloads"
BARE = "bare stop; dpkg -i; start on one node, 300 MiB"
BY_HAND = "the guide by hand over ssh, 3 nodes, 300 MiB"
BY_HAND_EARLY = "the guide by hand over ssh, 3 nodes, 300 MiB, all downloads made before"

MIGRATE_FEW, MIGRATE_MANY = "migrate, 10,000 small files", "migrate, 100,000 small files"
MIGRATE_LARGE = "migrate, 8 large files"
REMAINDER = "by hand after a warm rsync, 10,000 small files: stop, rsync, pg_dump | pg_restore, start"
GUIDE = "the guide by hand, 10,000 small files: stop, cp -a, pg_dump | psql, start"
CAREFUL_COPY = "by hand, 8 large files: caches dropped, cp -a, caches dropped, cmp"

# name: what is added to the mount options
MOUNTS = {"default": "", "lookupcache=pos": "lookupcache=pos", "actimeo=5": "actimeo=5", "acdirmax=5": "acdirmax=5"}

OUTAGE, WALL, COPY = "outage (s)", "wall (s)", "copy (s)"
# Seconds that a download takes
SHORT, LONG = 4, 20
REFUSED = "downloads refused"
CPU, TASKS, CHANGES = "controller CPU (s)", "tasks per host, at most", "changes"
SEEN, FOUND, MISSING = "seen elsewhere after (s)", "NFS operations per file served", "NFS operations per 404"


def finished(seconds: float) -> str:
    """Return the figure that counts downloads of a length that had the whole file."""
    return f"downloads of {seconds:g} s finished"


def cut(seconds: float) -> str:
    """Return the figure that counts those that had begun, and had not."""
    return f"downloads of {seconds:g} s cut"


def names(what: str, number: int) -> str:
    """Return the way that does something with so many inventory names."""
    return f"{what}, {number} names"


def at(way: str, side: str) -> str:
    """Return the way that is gone with one of several collections."""
    return f"{way}, {side}"


@dataclass(frozen=True)
class Series:
    """One way's figure in all rounds."""

    benchmark: str
    way: str
    figure: str


@dataclass(frozen=True)
class Wanted:
    """A ratio of two series that is at most so much."""

    what: str
    against: str
    at_most: float
    one: Series
    other: Series


@dataclass(frozen=True)
class Benchmark:
    """One section of the page. figure: the one that is drawn."""

    name: str
    figure: str
    text: str


BENCHMARKS = [
    Benchmark(
        "converge",
        WALL,
        """What `site.yml` costs on the five machines of a cluster of three nodes: on new ones with nothing
        installed, and where there is nothing to do. Beside it: `ansible -m ansible.builtin.ping all`, and a
        loop over ssh that asks each node for package, service, mount and clock, which is the least that a
        no-op has to find out. Each command begins without an open ssh connection.""",
    ),
    Benchmark(
        "upgrade_outage",
        OUTAGE,
        """How long users are without service while a cluster is upgraded, seen by a client at the load
        balancer that asks every 50 ms. Every run begins from the same snapshot. By hand is the guide's
        "Updating HA Nodes" as a careful person types it, who waits for each node before going on to the
        next. The bare commands have the file on the disk and the other nodes stopped before. With downloads,
        three clients fetch a file again and again that takes them 4 s, and three more let it take 20 s, from
        before the upgrade until after it; the machines' socket buffers are small, so that they are under way
        at the node itself, as larger files are. Refused are those that got no answer, or another one.
        A node that the load balancer drains before it stops ends them all. Two nodes stop without that: the
        one that goes first, since its way back would lengthen the outage, and the last old one, since
        nobody could take its place meanwhile. There a request has as long as the server gives it when
        systemd stops it. The stand-in gives it 5 s, so that downloads of 20 s are cut; what the vendor's
        server does is not documented. A stop that waits for them is part of the outage, so the other ways
        have none.""",
    ),
    Benchmark(
        "migrate",
        OUTAGE,
        """What it costs to go from the cluster to one node: time without service, in all, and of the copy
        alone. The outage is what a client at the load balancer sees that asks every 200 ms, whoever migrates.
        By hand PostgreSQL on the target has been made ready before. With 100,000 files a migration that was cut
        off before its outage has left a whole copy, which every run looks through again. `copy` of `migrate` is
        that of all passes, with looking at both trees and verifying what was written.""",
    ),
    Benchmark(
        "visibility",
        SEEN,
        """Two nodes with one NFS 4.2 export, mounted in four ways. A name that the second node was asked for,
        and had not, is published on the first one; *seen* is when the second one serves it, counted from
        the end of the publishing. Operations are those of the second node's NFS client
        (`/proc/self/mountstats`), while one client asks it for 20 names in turn, 20 requests a second:
        names that are there, and names that are not.""",
    ),
    Benchmark(
        "scale",
        WALL,
        """What more names cost, with Ansible's five forks. `site` has nothing to do, and every name is a
        machine of its own, all of them on the cores above: what the machines do themselves, which real ones
        do at the same time, is in the figure. `status` and `ping` are simulated: the names lead to the same
        three machines in turn, each by an ssh connection of its own, since `site` does not accept one
        machine under two names.""",
    ),
]


def _upgrade(what: str, against: str, at_most: float, one: str, other: str) -> Wanted:
    return Wanted(
        what, against, at_most, Series("upgrade_outage", one, OUTAGE), Series("upgrade_outage", other, OUTAGE)
    )


def _migrate(what: str, against: str, at_most: float, one: str, other: str, figure: str = OUTAGE) -> Wanted:
    return Wanted(what, against, at_most, Series("migrate", one, figure), Series("migrate", other, figure))


WANTED = [
    _upgrade(
        "upgrade outage at the balancer, 3 nodes, package of 300 MiB",
        "bare `stop; dpkg -i; start` on one node",
        *(0.5, UPGRADE_300, BARE),
    ),
    _upgrade("upgrade outage, 3 nodes, 300 MiB", "the same, 1 MiB", 1.10, UPGRADE_300, UPGRADE_1),
    _upgrade("upgrade outage, 6 nodes, 300 MiB", "the same, 3 nodes", 1.10, UPGRADE_SIX, UPGRADE_300),
    _upgrade("upgrade outage, 3 nodes, 300 MiB", "the guide by hand over ssh", 0.15, UPGRADE_300, BY_HAND),
    Wanted(
        f"downloads of {SHORT} s that an upgrade cuts",
        "those that it lets finish",
        0,
        Series("upgrade_outage", UPGRADE_DOWNLOADS, cut(SHORT)),
        Series("upgrade_outage", UPGRADE_DOWNLOADS, finished(SHORT)),
    ),
    _migrate(
        "migration outage, warm copy done, 10,000 files",
        "the same remainder typed on the target: stop, rsync, `pg_dump | pg_restore`, start",
        *(1.5, MIGRATE_FEW, REMAINDER),
    ),
    _migrate("migration outage, 100,000 unchanged files", "the same, 10,000 files", 1.3, MIGRATE_MANY, MIGRATE_FEW),
    _migrate(
        "migration outage, 10,000 files",
        "the guide by hand: stop, `cp -a`, dump, start",
        *(0.2, MIGRATE_FEW, GUIDE),
    ),
    _migrate(
        "migration of few large files: total copy",
        "`cp -a` with the machine's caches dropped, read back by `cmp`",
        *(1.0, MIGRATE_LARGE, CAREFUL_COPY, COPY),
    ),
    Wanted(
        "no-op `site` of 3 nodes",
        "one `ansible.builtin.ping` of all hosts",
        18,
        Series("converge", NOOP_SITE, WALL),
        Series("converge", PING, WALL),
    ),
    Wanted(
        "no-op `site`, 30 names, default forks",
        "the same, 3 names",
        5,
        Series("scale", names("site", 30), WALL),
        Series("scale", names("site", 3), WALL),
    ),
]

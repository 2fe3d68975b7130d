"""The cells of the matrix: what is done to the cluster, where, and how it has to end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.standin.standin_plants import PLANTS

OLD, NEW = "2025.12.0-14", "2026.04.0"
# The order of an upgrade; every cell's phase is one of them, or "before" for a fault that is there when the run begins.
PHASES = (
    *("before", "lock", "stage", "restore_point", "drain", "stop", "prove", "commit"),
    *("first", "first_back", "rest", "rest_back", "hold", "unlock"),
)
FIRST, OTHER = "node1", "node3"


@dataclass(frozen=True)
class Act:
    """Something done to a machine (see faults.py), or to the run: machine "" = the run itself."""

    what: str
    machine: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Cell:
    """One fault at one place.

    place: "" = before the run; "hook" = at the hook before the phase; else what a node is seen to be in the middle of
    (see faults.PLACES), on the machine `where`. ended: how the run with the fault may end: killed; refused = nothing
    changed; stopped; upgraded. undo_after: seconds until the fault is undone while the run goes on, 0 = after its end.
    typed: the playbooks that are run then; refused: those of them that have to refuse. end: the version of the cluster
    in the end. says: what the run's output has to name, or that of one that refuses. faulty: name of the variant of the
    package. variables: of the run with the fault. lives: how many processes of the new version the first node may have
    had; 0 = any number. mode: rspm_upgrade_mode of every run. again: whether the older version
    serves again, though the newer one had begun.
    """

    verb: str
    family: str
    phase: str
    fault: str
    acts: tuple[Act, ...]
    ended: tuple[str, ...]
    place: str = "hook"
    where: str = ""
    undo: tuple[Act, ...] = ()
    undo_after: float = 0
    before: tuple[Act, ...] = ()
    typed: tuple[str, ...] = ("upgrade",)
    end: str = NEW
    says: tuple[str, ...] = ()
    faulty: str = ""
    refused: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    lives: int = 0
    mode: str = "first_serves_until_its_turn"
    again: bool = False

    @property
    def name(self) -> str:
        """What a person, and the record, calls it by."""
        return f"{self.verb}-{self.family}-{self.phase}-{self.fault}".replace(" ", "-").replace("_", "-")


KILL = (Act("kill"),)
STOPPED, ENDS = ("stopped",), ("stopped", "upgraded")


def slow(place: str, machine: str) -> tuple[Act, ...]:
    """Return what makes a node be at the place for long enough."""
    acts = {"migrating": Act("switch", machine, "MIGRATION_SECONDS=8"), "stopping": Act("slow_stop", machine)}
    return (acts.get(place) or Act("slow", machine, place),)


def _kills() -> Iterator[Cell]:
    for phase in PHASES[1:]:
        yield Cell("upgrade", "kill", phase, "at its begin", KILL, ("killed",))
    middle = {
        ("first", "in its install"): ("configuring", FIRST),
        ("first", "in the migration"): ("migrating", FIRST),
        ("rest", "in its install"): ("configuring", OTHER),
    }
    for (phase, fault), (place, where) in middle.items():
        yield Cell(
            *("upgrade", "kill", phase, fault, KILL, ("killed",)),
            place=place,
            where=where,
            before=slow(place, where),
        )


def _power_cuts() -> Iterator[Cell]:
    for phase in PHASES[PHASES.index("drain") :]:
        # Cut while it waits, stopped and masked, or while it serves again; the hook lets the run go on into it.
        yield Cell(
            *("upgrade", "power", phase, "other node at its begin", (Act("power_cut", OTHER),), ENDS),
            undo=(Act("power_on", OTHER),),
        )
    for phase, machine, place in (
        ("first", FIRST, "unpacking"),
        ("first", FIRST, "configuring"),
        ("first", FIRST, "migrating"),
        ("rest", OTHER, "unpacking"),
        ("rest", OTHER, "configuring"),
    ):
        who = "first node" if machine == FIRST else "other node"
        yield Cell(
            *("upgrade", "power", phase, f"{who} {place}", (Act("power_cut", machine),), STOPPED),
            place=place,
            where=machine,
            before=slow(place, machine),
            undo=(Act("power_on", machine),),
            says=(machine,),
        )


def _unreachable() -> Iterator[Cell]:
    for what, undo in (("hang", "resume"), ("partition", "heal")):
        yield Cell(
            *("upgrade", "unreachable", "before", f"{what} of a node", (Act(what, OTHER),), ("refused",)),
            place="",
            undo=(Act(undo, OTHER),),
            says=(f"{OTHER} is unreachable", "run the same command again"),
        )
        for phase, machine in (("drain", OTHER), ("first", FIRST), ("first", OTHER), ("rest", OTHER)):
            who = "the first node" if machine == FIRST else "a node"
            yield Cell(
                *("upgrade", "unreachable", phase, f"{what} of {who}", (Act(what, machine),), STOPPED),
                undo=(Act(undo, machine),),
                says=(machine, "rspm.ha.upgrade"),
            )
    yield Cell(
        *("upgrade", "unreachable", "drain", "hang of the load balancer", (Act("hang", "lb"),), STOPPED),
        undo=(Act("resume", "lb"),),
        says=("rspm.ha.upgrade",),
    )


def _databases() -> Iterator[Cell]:
    stop, start = (Act("stop_service", "infra", "postgresql"),), (Act("start_service", "infra", "postgresql"),)
    yield Cell(
        *("upgrade", "database", "before", "stopped", stop, ("refused",)),
        place="",
        undo=start,
        says=("the database on", "can't be reached", "run the same command again"),
    )
    for phase in ("restore_point", "prove", "first", "rest"):
        yield Cell(
            *("upgrade", "database", phase, "stopped", stop, ("refused",) if phase == "restore_point" else STOPPED),
            undo=start,
            says=("rspm.ha.upgrade",),
        )
    yield Cell(
        *("upgrade", "database", "first", "stopped in the migration", stop, STOPPED),
        place="migrating",
        where=FIRST,
        before=slow("migrating", FIRST),
        undo=start,
        says=("rspm.ha.upgrade", "rspm.ha.rollback"),
    )


def _storage() -> Iterator[Cell]:
    for phase in ("stage", "restore_point", "first", "rest"):
        yield Cell(
            *("upgrade", "nfs", phase, "server gone for 30 s", (Act("stop_service", "infra", "nfs-server"),)),
            ("refused", "stopped", "upgraded"),
            undo=(Act("start_service", "infra", "nfs-server"),),
            undo_after=30,
        )
    yield Cell(
        *("upgrade", "nfs", "rest", "server gone for 30 s, a stopped node started by hand"),
        (Act("start", OTHER), Act("stop_service", "infra", "nfs-server")),
        ENDS,
        undo=(Act("start_service", "infra", "nfs-server"),),
        undo_after=30,
    )


def _disks() -> Iterator[Cell]:
    yield Cell(
        *("upgrade", "disk", "before", "full", (Act("fill_disk", OTHER, "20"),), ("refused",)),
        place="",
        undo=(Act("free_disk", OTHER),),
        says=(OTHER, "MiB"),
    )
    yield Cell(
        *("upgrade", "disk", "stage", "full", (Act("fill_disk", OTHER, "0"),), ("refused",)),
        undo=(Act("free_disk", OTHER),),
        says=(OTHER, "rspm.ha.upgrade"),
    )
    for phase, machine in (("first", FIRST), ("rest", OTHER)):
        yield Cell(
            *("upgrade", "disk", phase, "full at install", (Act("fill_disk", machine, "0"),), STOPPED),
            undo=(Act("free_disk", machine),),
            says=(machine, "rspm.ha.upgrade", "its disk is full"),
        )


def _hands() -> Iterator[Cell]:
    for phase in ("first", "rest"):
        for what in ("start", "reboot"):
            yield Cell("upgrade", "hand", phase, f"{what} of a stopped node", (Act(what, OTHER),), ENDS)
    yield Cell(
        *("upgrade", "hand", "first", "unmasked and started", (Act("unmask_and_start", OTHER),), STOPPED),
        says=(OTHER, "session"),
    )


def _faulty_versions() -> Iterator[Cell]:
    for variant in ("fails-to-start", "fails-migration"):
        yield Cell(
            *("upgrade", "version", "first", variant, (), STOPPED),
            place="",
            typed=("rollback",),
            end=OLD,
            says=("rspm.ha.rollback",),
            faulty=variant,
        )
    yield Cell(
        *("upgrade", "version", "rest", "fails to start", (), STOPPED),
        place="",
        before=(Act("switch", OTHER, "FAIL_START=yes"),),
        undo=(Act("switch", OTHER, ""),),
        says=(OTHER, "rspm.ha.upgrade"),
    )
    yield Cell(
        *("upgrade", "version", "rest", "fails to start, back", (), STOPPED),
        place="",
        before=(Act("switch", OTHER, "FAIL_START=yes"),),
        undo=(Act("switch", OTHER, ""),),
        typed=("rollback",),
        end=OLD,
        says=(OTHER, "rspm.ha.rollback"),
    )


NODES = ("node1", "node2", "node3")


def _everywhere(what: str, detail: str) -> tuple[Act, ...]:
    return tuple(Act(what, node, detail) for node in NODES)


def _manners() -> Iterator[Cell]:
    """What the product may do, of which its documents say nothing."""
    long = slow("migrating", FIRST)
    yield Cell(
        *("upgrade", "manner", "first", "migration longer than the health timeout", (), STOPPED),
        place="",
        before=(Act("switch", FIRST, "MIGRATION_SECONDS=40"),),
        says=("left alone", "journalctl --follow", FIRST),
        variables=(("rspm_health_timeout", "12"),),
        lives=1,
    )
    for variant in ("notify", "pings-early"):
        yield Cell(
            *("upgrade", "manner", "first", variant, (), ("upgraded",)),
            place="",
            before=long if variant == "pings-early" else (Act("switch", FIRST, "MIGRATION_SECONDS=20"),),
            faulty=variant,
            lives=1,
        )
    yield Cell("upgrade", "manner", "first", "migrates itself", (), ("upgraded",), place="", faulty="migrates-itself")
    yield Cell(
        *("upgrade", "manner", "rest", "no way back", (), STOPPED),
        place="",
        before=(Act("switch", OTHER, "FAIL_START=yes"),),
        undo=(Act("switch", OTHER, ""),),
        typed=("rollback", "unlock", "upgrade"),
        refused=("rollback",),
        says=("going back to version", "rspm.ha.upgrade"),
        faulty="no-way-back",
    )
    yield Cell(
        *("upgrade", "manner", "before", "status behind a login", (), ("upgraded",)),
        place="",
        before=_everywhere("switch", "STATUS_CLOSED=yes"),
        undo=_everywhere("switch", ""),
    )
    yield Cell(
        *("upgrade", "manner", "before", "workers that a stop leaves", (), ("upgraded",)),
        place="",
        before=_everywhere("worker", ""),
    )
    for what, (plant, remove, _look) in PLANTS.items():
        yield Cell(
            *("upgrade", "manner", "restore_point", what, (Act("sql", "infra", plant),), ("refused", "upgraded")),
            place="",
            undo=(Act("sql", "infra", remove),),
        )


def serving_cells() -> Iterator[Cell]:
    """Return the cells of an upgrade as it is without a word."""
    for cells in (_kills, _power_cuts, _unreachable, _databases, _storage, _disks, _hands, _faulty_versions, _manners):
        yield from cells()

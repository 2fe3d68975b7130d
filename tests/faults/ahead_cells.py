"""The cells of an upgrade that is installed before its outage: what breaks where nodes serve, wait or change places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.faults.cells import ENDS, FIRST, KILL, OLD, OTHER, PHASES, STOPPED, Act, Cell, slow

MODE = "install_before_outage"
AHEAD_PHASES = (*PHASES[: PHASES.index("commit")], "install", "first_awaited", *PHASES[PHASES.index("commit") :])
# It serves until it hands over to the first.
GIVER = "node2"
# The new phases, and those in which what they have left is all that there is.
_NEW = ("install", "commit", "first")


def _cell(phase: str, fault: str, acts: tuple[Act, ...], ended: tuple[str, ...] = STOPPED) -> Cell:
    """Return a cell at the hook before a phase; whatever is powered off or hangs comes back at its end."""
    back = {"power_cut": "power_on", "hang": "resume", "partition": "heal"}
    undo = tuple(Act(back[act.what], act.machine) for act in acts if act.what in back)
    return Cell("upgrade", "ahead", phase, fault, acts, ended, undo=undo, mode=MODE)


def _at(cell: Cell, place: str, where: str) -> Cell:
    """Return the cell with its fault where a node is in the middle of something, which takes long enough for that."""
    return replace(cell, place=place, where=where, before=slow(place, where))


def _kills() -> Iterator[Cell]:
    for phase in AHEAD_PHASES[1:]:
        yield _cell(phase, "kill at its begin", KILL, ("killed",))
    for phase, fault, place, where in (
        ("install", "kill while the first unpacks", "unpacking", FIRST),
        ("install", "kill while the first configures", "configuring", FIRST),
        ("first", "kill while the node that serves stops", "stopping", GIVER),
        ("first", "kill in the migration", "migrating", FIRST),
    ):
        yield _at(_cell(phase, fault, KILL, ("killed",)), place, where)


def _back() -> Iterator[Cell]:
    """What is typed is the way back: before the schema can have moved, and after that was written down."""
    for phase in _NEW:
        yield replace(_cell(phase, "kill at its begin, back", KILL, ("killed",)), typed=("rollback",), end=OLD)
    stopping = _cell("first", "kill while the node that serves stops, back", KILL, ("killed",))
    yield replace(_at(stopping, "stopping", GIVER), typed=("rollback",), end=OLD)


_WHO = {FIRST: "the first node", GIVER: "the node that serves", OTHER: "another node"}


def _machines() -> Iterator[Cell]:
    for what, name, places in (
        ("power_cut", "power cut", ("unpacking", "configuring")),
        ("hang", "hang", ("unpacking",)),
    ):
        for machine, who in _WHO.items():
            for phase in _NEW:
                yield _cell(phase, f"{name} of {who} at its begin", (Act(what, machine),), ENDS)
            for place in places:
                # a node that is not asked meanwhile may be back in time
                cell = _cell("install", f"{name} of {who} while the first is {place}", (Act(what, machine),), ENDS)
                yield _at(cell, place, FIRST)
    for what, name in (("power_cut", "power cut"), ("hang", "hang"), ("partition", "partition")):
        for machine in (FIRST, GIVER):
            cell = _cell("first", f"{name} of {_WHO[machine]} while they change places", (Act(what, machine),))
            yield replace(_at(cell, "stopping", GIVER), says=("rspm.ha.upgrade",))
    both = (Act("power_cut", FIRST), Act("power_cut", GIVER))
    yield _at(_cell("first", "power cut of both while they change places", both), "stopping", GIVER)
    cut = (Act("power_cut", FIRST),)
    yield _at(_cell("first", "power cut of the first node in the migration", cut), "migrating", FIRST)


def _services() -> Iterator[Cell]:
    for service, name in (("postgresql", "databases"), ("nfs-server", "storage")):
        stop, start = (Act("stop_service", "infra", service),), (Act("start_service", "infra", service),)
        for phase in ("install", "first"):
            cell = _cell(phase, f"{name} gone for 30 s", stop, ENDS)
            yield replace(cell, undo=start, undo_after=30)
        handing = _at(_cell("first", f"{name} gone for 30 s while they change places", stop, ENDS), "stopping", GIVER)
        yield replace(handing, undo=start, undo_after=30)
    full = _cell("install", "disk full", (Act("fill_disk", FIRST, "0"),))
    yield replace(full, undo=(Act("free_disk", FIRST),), says=(FIRST, "rspm.ha.upgrade"))


def _hands() -> Iterator[Cell]:
    for phase in _NEW:
        for what in ("start", "reboot"):
            for machine in (FIRST, OTHER):
                yield _cell(phase, f"{what} of {_WHO[machine]}", (Act(what, machine),), ENDS)
        yield _cell(phase, f"reboot of {_WHO[GIVER]}", (Act("reboot", GIVER),), ENDS)
    unmasked = _cell("first", "another node unmasked and started", (Act("unmask_and_start", OTHER),))
    yield replace(unmasked, says=(OTHER,))


def _versions() -> Iterator[Cell]:
    # It fails before it reaches a database: the node that served serves again, and the way back restores nothing.
    unmoved = (f"serves with {OLD} again", "loses nothing", "rspm.ha.rollback")
    for variant, says in (
        ("fails-to-start", unmoved),
        ("fails-migration", ("the schema may have moved", "in rstudio_pm ")),
    ):
        cell = replace(_cell("first", variant, ()), place="", faulty=variant, says=says)
        yield replace(cell, typed=("rollback",), end=OLD)
    # The cause is mended where it is, and the same command goes on with what is installed.
    mended = replace(_cell("first", "fails to start until it is mended", ()), place="", says=unmoved, again=True)
    yield replace(mended, before=(Act("switch", FIRST, "FAIL_START=yes"),), undo=(Act("switch", FIRST, ""),))
    both = replace(_cell("first", "fails-to-start, then a mended package", ()), place="", says=unmoved, again=True)
    yield replace(both, faulty="fails-to-start", typed=("rollback", "upgrade"))
    # Its script wants the databases, and finds none; the version that the run is repeated with does not.
    yield replace(
        _cell("install", "migrates itself", ()),
        place="",
        faulty="migrates-itself",
        says=("first_serves_until_its_turn",),
    )


def ahead_cells() -> Iterator[Cell]:
    """Return all of them."""
    for cells in (_kills, _back, _machines, _services, _hands, _versions):
        yield from cells()

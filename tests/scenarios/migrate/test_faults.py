"""Whatever goes wrong on the way to one node: the same command again ends it right, or it is refused by name."""

from __future__ import annotations

import pytest

from tests.faults.migration_cells import FAMILIES, FAULTS
from tests.scenarios import support
from tests.scenarios.migrate.faults import (
    CORRUPT,
    Fault,
    cable,
    change_files,
    corrupt_a_byte,
    cut,
    full_disk,
    kill_call,
    when_switched,
    while_copied,
)
from tests.scenarios.migrate.migration import (
    MOVED,
    OTHERS,
    TARGET,
    answers,
    chosen,
    has_it_all,
    is_out,
    look,
    migrate,
    migrate_meanwhile,
    settled,
)
from tests.scenarios.support import Lab

# In the order of FAULTS: the phase in which each comes about, how, and the phase that the run may not come to.
WHERE: tuple[tuple[str, Fault, str], ...] = (
    ("begin", full_disk, "serve"),
    ("warm", cut(TARGET), "serve"),
    ("warm", cable("infra", 30), "serve"),
    ("serve", cut(TARGET), "drain"),
    ("move", while_copied(full_disk), "route"),
    ("move", while_copied(kill_call), "route"),
    ("move", while_copied(cut(TARGET)), "route"),
    ("move", while_copied(cut("infra")), "route"),
    ("move", while_copied(cable("infra", 30)), "route"),
    ("move", when_switched(kill_call), "route"),
    ("move", when_switched(cut(TARGET)), "route"),
    ("retire", cut("node2"), "close_databases"),
)


@pytest.mark.cell("fault", FAMILIES["fault"][0])
def test_the_same_command_goes_on_after_every_fault(cluster: Lab) -> None:
    before = look(cluster)
    for text, (phase, fault, until) in zip(FAULTS, WHERE, strict=True):
        if text.endswith("at its start"):
            # the run before may have come further
            cluster.ssh(TARGET, "systemctl stop rstudio-pm")
        code, said = migrate_meanwhile(phase, lambda act=fault: act(cluster), until, **chosen(MOVED))  # type: ignore[misc]
        print(f"{text}: the run ended with {code}: " + " ".join(said.split("PLAY RECAP")[0].split()[-120:]))
        for name in cluster.machines:
            settled(cluster, name)
        cluster.ssh(TARGET, "rm -f /lab-fill")
    done = migrate(**chosen(MOVED))
    assert done.run.code == 0, done.run.output[-4000:]
    has_it_all(cluster, MOVED, before)
    for node in OTHERS:
        is_out(cluster, node, MOVED)


@pytest.mark.cell("content", "files change between the warm copy and the last pass")
def test_what_changes_between_warm_and_last_pass_is_in_the_copy(cluster: Lab) -> None:
    # PostgreSQL is made ready after the warm copy
    code, said = migrate_meanwhile("serve", lambda: change_files(cluster), **chosen(MOVED))
    assert code == 0, said[-4000:]
    has_it_all(cluster, MOVED, look(cluster))


@pytest.mark.cell("content", "a byte of the copy is corrupt")
def test_a_corrupt_byte_in_the_copy_is_found(cluster: Lab) -> None:
    before = look(cluster)
    code, said = migrate_meanwhile("serve", lambda: corrupt_a_byte(cluster), **chosen(MOVED))
    assert code == 0, said[-4000:]
    assert CORRUPT in said and "it was copied again" in said
    has_it_all(cluster, MOVED, before)


@pytest.mark.cell("content", "the target has a database of somebody else's")
def test_a_foreign_database_on_the_target_is_refused_and_the_cluster_goes_on(cluster: Lab) -> None:
    cluster.ssh(TARGET, "systemctl start postgresql")
    cluster.ssh(
        TARGET, "cd /; su postgres -c 'createdb rstudio_pm; psql -d rstudio_pm -c \"CREATE TABLE theirs (x int)\"'"
    )
    refused = migrate(**chosen(MOVED))
    assert refused.run.code != 0
    assert "rstudio_pm" in refused.run.messages()
    assert all(answers(cluster, node) for node in support.NODES)

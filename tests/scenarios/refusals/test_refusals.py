"""What can't work is refused by name, on machines that are still new, and nothing is changed on any of them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios import support
from tests.scenarios.support import Lab, Run

# The external scenario has the build that demands a licence.
PACKAGE = support.PACKAGES / "licensed" / "rstudio-pm_2026.04.0_amd64.deb"


@pytest.fixture(scope="module")
def untouched() -> dict[str, list[str]]:
    """What every machine is before anything is asked for."""
    return support.fingerprint()


def refused(untouched: dict[str, list[str]], *args: str, **variables: Any) -> str:
    """Run site.yml, see that it fails and changes nothing on any host, and return what it says."""
    run = site(*args, **variables)
    assert run.code != 0, "site.yml went through"
    assert run.changed() == []
    assert support.differences(untouched, support.fingerprint()) == []
    return run.messages()


def site(*args: str, **variables: Any) -> Run:
    return support.run_playbook("site", *args, **variables)


def test_different_versions_in_host_vars(untouched: dict[str, list[str]], tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yml"
    overlay.write_text("all:\n  hosts:\n    node2.example.org:\n      rspm_version: 2026.08.0\n")
    assert refused(untouched, "-i", str(overlay)) == (
        "node1, node2, node3: [one-version] different versions are asked for: 2026.04.0 on node1, node3; 2026.08.0 on "
        "node2. All nodes of a cluster must run the same version, since they share one database schema. Set "
        "rspm_version once, in group_vars/all.yml, and remove it from host_vars."
    )


# Whatever stands in the way is told at once, so several of them share a run.


def test_a_missing_mount_server_a_database_that_refuses_connections_and_a_wrong_file(
    untouched: dict[str, list[str]], lab: Lab
) -> None:
    absent = support.absent_address(lab)
    found = hashlib.sha256(PACKAGE.read_bytes()).hexdigest()
    said = refused(
        untouched,
        rspm_storage_kind="nfs",
        rspm_storage_path="/mnt/rstudio-pm",
        rspm_nfs_server=absent,
        rspm_database_host=support.full("lb"),
        rspm_package_checksum="sha256:" + "0" * 64,
    )
    assert sorted(said.splitlines()) == [
        "node1, node2, node3: [database-unreachable] Nothing listens at lb:5432 (connection refused). All nodes work "
        "on one database, and this one can't reach it. Start PostgreSQL there, have listen_addresses name an address "
        "that this host reaches, or correct rspm_database_host and rspm_database_port.",
        f"node1, node2, node3: [package-checksum] {PACKAGE} on the controller has the SHA-256 sum {found}, and "
        f"rspm_package_checksum names {'0' * 64}. It is not the package that was meant: another version, or a download "
        "that broke off. Fetch the package again, or correct rspm_package_checksum.",
        f"node1, node2, node3: [storage-server] The NFS server {absent} does not answer on TCP port 2049: No route to "
        "host. The data directory lies on it, and no node can start without it. Start the NFS server, open the port "
        "to this node, or correct rspm_nfs_server.",
    ]


def test_an_existing_mount_that_is_none_a_database_that_can_not_be_reached_and_a_full_disk(
    untouched: dict[str, list[str]], lab: Lab
) -> None:
    absent = support.absent_address(lab)
    support.lab_module.fill_disk(lab, "node2", 20)
    try:
        said = refused(untouched, rspm_storage_path="/srv/nothing", rspm_database_host=absent)
    finally:
        lab.ssh("node2", "rm -f /lab-fill; sync")
    database, *space, storage = sorted(said.splitlines(), key=lambda line: line.partition("[")[2])
    assert database.startswith("node1, node2, node3: [database-unreachable] ") and f"{absent}:5432" in database
    assert space[0].startswith("node2: [free-space] /opt has ")
    for line in space:
        assert "MiB free, 1024 MiB are needed. The package and its installation need that much." in line
    assert storage.startswith(
        "node1, node2, node3: [storage-type] Nothing is mounted at /srv/nothing, where an NFS mount was to be found."
    )


# Planted on machines of their own, and taken away again: command, and what makes it undone.
HOLD = (
    "import fcntl, time; f = open('/var/lib/dpkg/lock-frontend', 'r+'); fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(99)"
)
PLANTED = {
    # Another installation is at work, and does not come to its end.
    "node1": (f'systemd-run --unit=lab-plant python3 -c "{HOLD}"', "systemctl stop lab-plant"),
    "node2": (
        "systemd-run --unit=lab-plant python3 -m http.server 4242; touch /var/lib/dpkg/updates/0001",
        "systemctl stop lab-plant; rm /var/lib/dpkg/updates/0001",
    ),
    "node3": (
        "mkdir -p /etc/rstudio-pm /var/lib/rstudio-pm/db; touch /var/lib/rstudio-pm/db/rstudio-pm.sqlite3; "
        "echo '[Server]' >/etc/rstudio-pm/rstudio-pm.gcfg",
        "rm -r /etc/rstudio-pm /var/lib/rstudio-pm",
    ),
}


def test_what_is_planted_on_each_machine_is_told_alone_for_it(lab: Lab, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yml"
    absent = support.absent_address(lab)
    overlay.write_text(f"all:\n  hosts:\n    lb.example.org:\n      ansible_host: {absent}\n")
    for name, (plant, _undo) in PLANTED.items():
        lab.ssh(name, plant)
    try:
        said = refused(
            support.fingerprint(),
            *("-i", str(overlay)),
            rspm_package_lock_timeout=1,
            rspm_ntp_servers=[absent, "time.example.invalid"],
        )
    finally:
        for name, (_plant, undo) in PLANTED.items():
            lab.ssh(name, undo)
    found: dict[str, set[str]] = {}
    for names, check in re.findall(r"^([\w, ]+): \[([\w-]+)\]", said, re.MULTILINE):
        for name in names.split(", "):
            found.setdefault(name, set()).add(check)
    everywhere = {"name-resolution", "time-server"}
    assert found == {
        "node1": {"package-manager-locked", *everywhere},
        "node2": {"port-taken", "package-manager-broken", *everywhere},
        "node3": {"single-server", *everywhere},
        "lb": {"unreachable"},
    }, said


def test_a_wrong_password(untouched: dict[str, list[str]]) -> None:
    assert refused(untouched, rspm_database_password="not-the-one") == (
        "node1, node2, node3: [database-password] infra:5432 refuses role packages on database team: wrong password, "
        "or no such role. Without it no node can start. Correct rspm_database_password in the vault, or set the role's "
        "password in PostgreSQL."
    )


def test_a_database_that_does_not_let_the_nodes_in(untouched: dict[str, list[str]]) -> None:
    said = refused(untouched, rspm_database_user="stranger")
    assert said.count("[database-client-rule]") == 3, said
    assert "pg_hba.conf" in said


def test_sqlite_with_more_than_one_node(untouched: dict[str, list[str]]) -> None:
    assert refused(untouched, rspm_config={"Database": {"Provider": "sqlite"}}) == (
        "node1, node2, node3: [sqlite-with-several-nodes] SQLite with more than one node: rspm_config sets "
        "Database.Provider to sqlite, and rspm_nodes has 3 hosts. HA requires using a PostgreSQL database, and all "
        "nodes in the cluster must use the same one. Remove Database.Provider from rspm_config and set "
        "rspm_database_host, or keep one node."
    )


def test_an_invalid_key_of_the_configuration(untouched: dict[str, list[str]]) -> None:
    assert refused(untouched, rspm_config={"Server": {"Data Dir": "/x"}}) == (
        "node1, node2, node3: [gcfg-value] rspm_config: key 'Data Dir' of section Server has an invalid name. "
        "rstudio-pm.gcfg would be read wrongly or not at all. Use letters, digits and -."
    )


def test_a_key_that_a_variable_decides(untouched: dict[str, list[str]]) -> None:
    assert refused(untouched, rspm_config={"server": {"datadir": "/x"}}) == (
        "node1, node2, node3: [owned-setting] rspm_config sets server.datadir. It is decided by rspm_data_dir, and the "
        "two could differ. Remove server.datadir from rspm_config and set rspm_data_dir."
    )


def test_a_check_on_machines_that_are_new_does_not_fail(untouched: dict[str, list[str]]) -> None:
    run = site("--check", "--diff")
    assert run.code == 0, run.output[-4000:]
    assert any("rspm.ha.server" in change for change in run.changed())
    assert support.differences(untouched, support.fingerprint()) == []


def test_a_download_whose_checksum_does_not_fit(untouched: dict[str, list[str]], web: str) -> None:
    """It is found by the nodes that download it, which have by then what logs in to the databases, and nothing else."""
    run = site(
        rspm_package_source="url",
        rspm_package_url=f"{web}/{PACKAGE.name}",
        rspm_package_checksum="sha256:" + "0" * 64,
    )
    said = run.messages()
    assert run.code != 0, "site.yml went through"
    assert all("rspm.ha.packages : Install the packages" in change for change in run.changed()), run.changed()
    changed = support.differences(untouched, support.fingerprint())
    assert [line for line in changed if re.search(r"rspm|rstudio|chrony|nfs|\.deb\b", line)] == []
    assert "[package-checksum]" in said and "0" * 64 in said

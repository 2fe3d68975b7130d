"""A cluster on the team's own database and its own mount."""

from __future__ import annotations

import pytest

from tests.scenarios import support
from tests.scenarios.support import NODES, Lab, Run

pytestmark = pytest.mark.usefixtures("site")


@pytest.fixture(scope="module")
def site() -> Run:
    """The run that made the cluster, with all the files on its machines that Ansible's defaults make."""
    run = support.run_playbook("site", timeout=1500, as_it_comes=True)
    assert run.code == 0, run.output[-6000:]
    return run


def test_a_second_run_changes_nothing() -> None:
    run = support.run_playbook("site")
    assert run.code == 0, run.output[-4000:]
    assert run.changed() == []


def test_all_nodes_serve_through_the_balancer(lab: Lab) -> None:
    assert set(support.versions(lab).values()) == {"2026.04.0"}
    assert support.get(support.address(lab, "lb"))[0] == 200


def test_main_and_usage_data_are_in_two_schemas_of_the_teams_database(lab: Lab) -> None:
    query = "SELECT DISTINCT schemaname FROM pg_tables WHERE schemaname IN ('pm', 'metrics', 'public') ORDER BY 1"
    assert support.ask_database(lab, query, "team") == ["metrics", "pm"]


def test_the_teams_mount_was_left_as_it_was(lab: Lab) -> None:
    for node in NODES:
        assert lab.ssh(node, "grep -c rstudio-pm /etc/fstab || true").strip() == "0"
        assert "acdirmax=3" in lab.ssh(node, "findmnt -n -o OPTIONS /shared/packages")


def test_a_new_file_is_seen_within_the_limit_of_actimeo(lab: Lab) -> None:
    for node in NODES[1:]:
        assert support.get(f"{support.address(lab, node)}:4242", "/pypi/latest/simple/seen/")[0] == 404
    support.publish(lab, "seen", "node1")
    for node in NODES[1:]:
        address = f"{support.address(lab, node)}:4242"
        support.wait_for(node, lambda a=address: support.get(a, "/pypi/latest/simple/seen/")[0] == 200, 5, 0.1)


def test_the_service_waits_for_the_teams_mount_at_boot(lab: Lab) -> None:
    for node in NODES:
        assert "shared-packages.mount" in lab.ssh(node, "systemctl show -P After rstudio-pm").split()


def test_the_secret_is_in_no_file_that_others_can_read(lab: Lab) -> None:
    for name in [*NODES, "lb"]:
        found = lab.ssh(name, "grep -rlsF canary-Zx9 /etc /var/lib /var/log /opt /tmp /run 2>/dev/null || true").split()
        assert set(found) <= {"/etc/rstudio-pm/rstudio-pm.gcfg", "/var/lib/rstudio-pm/.rstudio-pm/rspm-ha.lic"}

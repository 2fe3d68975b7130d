"""What must not begin is refused by name, and nothing is changed on any machine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios import support
from tests.scenarios.support import NODES, Lab, Run
from tests.scenarios.upgrade import story
from tests.scenarios.upgrade.story import MIDDLE, NEWEST, OLDEST

OLDER = "2025.06.0-3"
pytestmark = pytest.mark.usefixtures("site")

FAILING = Path(__file__).parent / "failing_hook.yml"


@pytest.fixture(scope="module")
def untouched(site: Run) -> dict[str, list[str]]:
    """What every machine is before anything is asked for."""
    return support.fingerprint()


def refused(untouched: dict[str, list[str]], run: Run) -> str:
    """See that a run failed and changed nothing on any machine, and return what it said."""
    assert run.code != 0, run.output[-4000:]
    assert run.changed() == []
    assert support.differences(untouched, support.fingerprint()) == []
    return run.messages()


def test_a_downgrade(untouched: dict[str, list[str]]) -> None:
    said = refused(
        untouched, support.run_playbook("upgrade", rspm_version=OLDER, rspm_package_file=story.package(OLDEST))
    )
    for node in NODES:
        assert f"[downgrade] {node} has {OLDEST}, newer than {OLDER}. An older version can't use the schema" in said
    assert "rspm.ha.rollback" in said


def test_different_versions_in_host_vars(untouched: dict[str, list[str]], tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yml"
    wanted = {"node1": MIDDLE, "node2": NEWEST, "node3": MIDDLE}
    hosts = {support.full(node): {"rspm_version": wanted[node]} for node in NODES}
    overlay.write_text(json.dumps({"all": {"hosts": hosts}}))
    said = refused(untouched, support.run_playbook("upgrade", "-i", str(overlay)))
    assert f"[one-version] different versions are asked for: {MIDDLE} on node1, node3; {NEWEST} on node2." in said


def test_a_hook_of_no_phase(untouched: dict[str, list[str]]) -> None:
    said = refused(untouched, story.upgrade(MIDDLE, rspm_upgrade_hooks={"before_lunch": []}))
    assert "before_lunch belongs to no phase, and would never run" in said


def test_a_hook_that_is_no_file(untouched: dict[str, list[str]]) -> None:
    said = refused(untouched, story.upgrade(MIDDLE, rspm_upgrade_hooks={"after_stop": ["/none"]}))
    assert "after_stop: /none is no file" in said


def test_a_rollback_without_a_restore_point(untouched: dict[str, list[str]]) -> None:
    said = refused(untouched, support.run_playbook("rollback"))
    assert f"[restore-point] the restore point is absent; installed is {OLDEST} on {', '.join(NODES)}." in said


def test_a_check_predicts_and_changes_nothing(untouched: dict[str, list[str]], lab: Lab) -> None:
    held = story.kept(lab)
    run = story.upgrade(MIDDLE, "--check", "--diff")
    assert run.code == 0, run.output[-4000:]
    assert f"upgrade from {OLDEST} to {MIDDLE}: predicted." in run.output
    for task in ("Take the lock", "Stop the node that serves, and start the first one, which migrates the schema"):
        assert any(change.endswith(task) for change in run.changed()), run.changed()
    assert support.differences(untouched, support.fingerprint()) == []
    assert story.kept(lab) == held


class TestByHand:
    """One node's package was changed outside of the collection."""

    @pytest.fixture(scope="class")
    def package_gone(self, lab: Lab, untouched: dict[str, list[str]]) -> Iterator[None]:
        """node3 has no package; in the end it is again what it was."""
        for name in (OLDEST, MIDDLE):
            support.copy(lab, "node3", story.package(name), f"/run/{name}.deb")
        lab.ssh("node3", "systemctl stop rstudio-pm && dpkg --force-hold --remove rstudio-pm")
        yield
        lab.ssh("node3", f"dpkg --force-hold --install /run/{OLDEST}.deb && apt-mark hold rstudio-pm")
        lab.ssh("node3", "systemctl unmask rstudio-pm && systemctl enable rstudio-pm && systemctl start rstudio-pm")
        address = f"{support.address(lab, 'node3')}:4242"
        support.wait_for("node3", lambda: support.get(address)[0] == 200, 60)

    def test_missing(self, package_gone: None) -> None:
        now = support.fingerprint(NODES)
        said = refused(now, story.upgrade(MIDDLE))
        assert "[package-state] the package on node3 is absent." in said
        assert "On node3: install it with ansible-playbook -i <inventory> rspm.ha.site" in said

    def test_mixed(self, package_gone: None, lab: Lab) -> None:
        lab.ssh("node3", f"systemctl mask rstudio-pm && dpkg --force-hold --install /run/{MIDDLE}.deb")
        now = support.fingerprint(NODES)
        said = refused(now, story.upgrade(MIDDLE))
        assert re.search(
            rf"\[mixed-versions\] .*: {OLDEST} on node1, node2; {re.escape(MIDDLE)} on node3\..* Bring node1, node2 to "
            rf"{re.escape(MIDDLE)}: on each, systemctl mask --now rstudio-pm",
            said,
        ), said


def test_a_package_that_is_not_the_version_it_claims(lab: Lab) -> None:
    before = support.fingerprint()
    run = story.upgrade(MIDDLE, variant="wrong-version")
    assert run.code != 0
    assert "[package-version]" in run.messages(), run.messages()
    assert f"No node was stopped or changed, and the cluster serves {OLDEST}." in run.messages()
    assert support.differences(before, support.fingerprint()) == []


def test_a_hook_that_fails_stops_the_run_at_its_phase(lab: Lab) -> None:
    before = support.fingerprint(NODES)
    hook = str(support.person().bring(FAILING))
    with support.Clients(support.address(lab, "lb")) as clients:
        run = story.upgrade(MIDDLE, rspm_upgrade_hooks={"before_drain": [hook]})
    assert run.code != 0
    assert f"The upgrade from {OLDEST} to {MIDDLE} stopped in phase drain." in run.messages(), run.messages()
    assert "node2: The team does not want it now." in run.messages()
    assert not any("Drain the node" in result["task"] for result in run.results)
    # the staged file, the sum of the saved one, and no more
    changed = support.differences(before, support.fingerprint(NODES))
    kept = ("/var/cache/rspm-ha", "/var/lib/rspm-ha/restore-point-package.json")
    assert [line for line in changed if not any(path in line for path in kept)] == []
    assert set(support.versions(lab).values()) == {OLDEST}
    assert clients.failures == []

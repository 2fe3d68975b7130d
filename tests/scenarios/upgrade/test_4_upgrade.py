"""An upgrade under load: what it promises, judged from outside."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.faults import outside
from tests.faults.matrix import publish_kept
from tests.scenarios import support
from tests.scenarios.support import NODES, Lab
from tests.scenarios.upgrade import story
from tests.scenarios.upgrade.story import NEWEST, OLDEST, Step

pytestmark = pytest.mark.usefixtures("site")

HOOK = Path(__file__).parent / "hook.yml"
PHASES = (
    "lock stage restore_point drain stop prove install first_awaited commit first first_back rest rest_back hold unlock"
).split()


@pytest.fixture(scope="module")
def step(lab: Lab) -> Step:
    """One upgrade: what was published before is known, and clients ask all the time."""
    publish_kept(lab)
    hook = str(support.person().bring(HOOK))
    hooks = {"before_stop": [hook], "after_stop": [hook]}
    folder = support.person().new_folder("reports-")
    return story.perform(
        lab, OLDEST, NEWEST, outside.KEPT, folder, operators=2, variant="quiet", rspm_upgrade_hooks=hooks
    )


def test_the_cluster_is_upgraded_once(step: Step, lab: Lab) -> None:
    assert [run.code for run in step.runs].count(0) == 1, "\n".join(run.output[-4000:] for run in step.runs)
    assert set(support.versions(lab).values()) == {step.target}
    assert step.watch.starts(step.target) == dict.fromkeys(NODES, 1)
    for node in NODES:
        log = lab.ssh(node, "cat /var/log/dpkg.log")
        assert len(re.findall(rf" upgrade rstudio-pm:amd64 \S+ {re.escape(step.target)}\n", log)) == 1


def test_the_other_operator_is_refused_with_the_words_of_the_lock(step: Step) -> None:
    for run in step.runs:
        if run is not step.done:
            assert re.search(
                rf"\[cluster-lock\] .*locked by \S+@\S+ since \d{{4}}-\d\d-\d\d \d\d:\d\d UTC for upgrade to "
                rf"{re.escape(step.target)}, phase '\w+'",
                run.messages(),
            ), run.messages()
            assert run.changed() == []


def test_versions_were_never_mixed(step: Step) -> None:
    assert step.watch.mixed() == []
    assert {life.version for life in step.watch.lives} == {step.origin, step.target}
    assert step.watch.pause() < 1, f"a node was not looked at for {step.watch.pause():.2f} s"


def test_nothing_is_lost(step: Step, lab: Lab) -> None:
    assert all(digest for files in step.before.values() for digest in files.values()), step.before
    assert story.served(lab, step.names) == step.before
    for node in NODES:
        assert story.listed(lab, node) >= set(step.names)


def test_the_schema_has_moved(step: Step, lab: Lab) -> None:
    assert story.schemas(lab) == {story.SCHEMAS[step.target]}


def test_every_node_is_held_enabled_and_not_blocked(step: Step, lab: Lab) -> None:
    asked = (
        "dpkg-query -W -f '${Version} ${db:Status-Status}\n' rstudio-pm; apt-mark showhold; "
        "for each in ActiveState LoadState UnitFileState NeedDaemonReload ConditionResult; do "
        "systemctl show -P $each rstudio-pm; done; ls /etc/systemd/system/rstudio-pm.service.d"
    )
    expected = [f"{step.target} installed", "rstudio-pm", "active", "loaded", "enabled", "no", "yes"]
    expected += ["rspm-ha-licence.conf", "rspm-ha.conf"]
    assert {node: lab.ssh(node, asked, check=False).splitlines() for node in NODES} == dict.fromkeys(NODES, expected)


def test_the_outage_is_the_one_that_the_clients_saw(step: Step) -> None:
    seen, told = step.clients.outages(), step.report["outage"]
    assert step.clients.answered > 100
    assert len(seen) == 1, seen
    assert told["still_down"] is False
    assert len(told["outages"]) == 1
    assert abs(told["total_seconds"] - seen[0]) < 1 + 0.1 * seen[0], (told, seen)


def test_the_report_tells_every_phase_and_node(step: Step) -> None:
    report = step.report
    assert (report["purpose"], report["outcome"], report["stopped_in"]) == ("upgrade", "done", "")
    assert (report["from_version"], report["to_version"]) == (step.origin, step.target)
    assert report["nodes"] == {
        node: {
            "before": {"installed": step.origin, "runs": step.origin},
            "after": {"installed": step.target, "runs": step.target},
        }
        for node in NODES
    }
    phases = {phase["name"]: phase for phase in report["phases"]}
    assert list(phases) == PHASES
    assert all(phase["seconds"] >= 0 and phase["from"] <= phase["to"] for phase in phases.values())
    places = phases["first"]["nodes"]
    assert report["first"] in places and {each["action"] for each in places.values()} == {"hand_over"}
    # nobody waits for an installation
    assert "install" not in [part["step"] for each in places.values() for part in each["steps"]]
    assert set(phases["rest"]["nodes"]) == set(NODES) - {report["first"]}
    assert report["failures"] == {}
    shown = step.done.output
    for text in ("of which", "hand over", "restore_point", "Outage at the load balancer: "):
        assert text in shown


def test_the_hooks_ran_at_their_phase_on_every_node(step: Step, lab: Lab) -> None:
    notes = {node: lab.ssh(node, "cat /run/hook-notes").splitlines() for node in NODES}
    # one of those that do not go first serves until then
    after = sorted(last for _first, last in notes.values())
    assert after == ["stop active", "stop inactive", "stop inactive"], notes
    assert notes[step.report["first"]] == ["stop active", "stop inactive"]
    assert {first for first, _last in notes.values()} == {"stop active"}


def test_the_same_again_changes_nothing(step: Step, lab: Lab, tmp_path: Path) -> None:
    before = support.fingerprint(NODES)
    run = story.upgrade(step.target, rspm_report_file=str(tmp_path / "report.json"))
    assert run.code == 0, run.output[-4000:]
    assert run.changed() == []
    assert support.differences(before, support.fingerprint(NODES)) == []
    report = support.read_json(tmp_path / "report.json")
    assert report["outcome"] == "nothing to do"
    assert report["says"] == [f"Nothing was to be done: every node has and runs {step.target}."]
    assert "Nothing was to be done" in run.output


class TestAWayBackFromWhatIsFinished:
    """Weeks later somebody types rollback."""

    def test_it_is_refused_without_the_word(self, step: Step, lab: Lab) -> None:
        assert f"rspm.ha.rollback -e rspm_rollback_to={step.report['restore_point']}" in " ".join(step.report["says"])
        before = support.fingerprint()
        run = support.run_playbook("rollback")
        assert run.code != 0 and run.changed() == []
        said = run.messages()
        assert f"[rollback-to] {', '.join(NODES)} have come to {step.target}, in an upgrade that is finished" in said, (
            said
        )
        assert f"rspm.ha.rollback -e rspm_rollback_to={step.report['restore_point']}" in said
        assert support.differences(before, support.fingerprint()) == []

    def test_with_it_what_is_there_is_saved_first(self, step: Step, lab: Lab, tmp_path: Path) -> None:
        support.publish(lab, "of_the_newer", "node2")
        report_file = str(tmp_path / "report.json")
        run = support.run_playbook(
            "rollback", rspm_rollback_to=step.report["restore_point"], rspm_report_file=report_file
        )
        assert run.code == 0, run.output[-6000:]
        assert set(support.versions(lab).values()) == {step.origin}
        assert "of-the-newer" not in story.listed(lab, "node1")
        report = support.read_json(tmp_path / "report.json")
        assert {"save", "final_save"} <= {phase["name"] for phase in report["phases"]}
        saved = report["saved"]
        assert f"What was there before it is saved until the next upgrade: {saved}." in run.output
        shown = f"pg_restore --data-only --table packages --file - {saved}/main.dump"
        rows = lab.ssh("node1", f"runuser -u rstudio-pm -- {shown}")
        assert "of_the_newer" in rows or "of-the-newer" in rows

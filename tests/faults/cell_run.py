"""One cell: bring the fault about, see how the run ends, do what it says, and judge the end from outside."""

from __future__ import annotations

import time
import traceback
from dataclasses import asdict, dataclass, field
from typing import Any

from rspm_lab.lab import Lab

from tests.faults import outside
from tests.faults.cells import FIRST, NEW, OLD, Cell
from tests.faults.controller import Controller
from tests.faults.faults import do, wait_for_place
from tests.faults.sampler import Sampler
from tests.scenarios.support import NODES, PACKAGES, Run, address, get, publish, run_playbook, wait_for

_TARGETS = {"rspm_version": NEW}


@dataclass
class Outcome:
    """What a cell came to. ended: how the run with the fault ended. wrong: what is not as it should be; empty: passed.

    seen: what was seen, for a person. took: seconds of each part. says: what the run with the fault said at its end.
    """

    cell: str
    verb: str
    family: str
    phase: str
    fault: str
    ended: str = ""
    typed: list[str] = field(default_factory=list)
    end: str = ""
    date: str = ""
    seconds: float = 0
    took: dict[str, float] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    says: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, object]:
        """Return it as its record keeps it."""
        return asdict(self)


class CellRun:
    """A cell on a lab whose nodes are watched."""

    def __init__(self, lab: Lab, cell: Cell) -> None:
        self._lab, self._cell = lab, cell
        self.outcome = Outcome(cell.name, cell.verb, cell.family, cell.phase, cell.fault)
        self._mark = time.monotonic()

    def _took(self, part: str) -> None:
        now = time.monotonic()
        self.outcome.took[part] = round(now - self._mark, 1)
        self._mark = now

    def _variables(self, *, faulty: bool) -> dict[str, Any]:
        folder = PACKAGES / self._cell.faulty if faulty else PACKAGES
        return {
            **_TARGETS,
            "rspm_upgrade_mode": self._cell.mode,
            "rspm_package_file": str(folder / f"rstudio-pm_{NEW}_amd64.deb"),
        }

    def break_it(self, sampler: Sampler) -> None:
        """Bring the fault about, see how the run ends, and undo it; what is wrong is in the outcome."""
        cell = self._cell
        for act in cell.before:
            do(self._lab, act)
        self._took("ready")
        before = outside.node_views(self._lab)
        if not cell.place:
            self._act(None)
        run = Controller(cell.verb, f"before_{cell.phase}" if cell.place == "hook" else "", **self._with_fault())
        try:
            said = self._faulty_run(run)
        finally:
            run.close()
        self._judge_ended(said, before, sampler)
        self._took("run with the fault")
        if self.outcome.ended != "upgraded":
            self._ask_status()
        if not cell.undo_after:
            for act in cell.undo:
                do(self._lab, act)
        self._took("status and repair")

    def end_it(self, sampler: Sampler, digests: dict[str, str]) -> None:
        """Do what the run said, and judge the end. digests: of what was published before."""
        cell, wrong = self._cell, self.outcome.wrong
        self._type_what_it_says()
        wrong += outside.judge(self._lab, cell.end, digests)
        self._took("judged")
        self._run_again_and_publish()
        wrong += sampler.mixed()
        begun = [life for life in sampler.lives() if life.node == FIRST and life.version == NEW]
        if cell.lives and len(begun) != cell.lives:
            wrong.append(f"{FIRST} had {len(begun)} processes of {NEW}, not {cell.lives}")
        if cell.end == NEW and not cell.again:
            wrong += sampler.older_after_newer(OLD, NEW)
        self.outcome.end = "upgraded" if cell.end == NEW else "as before"

    def _with_fault(self) -> dict[str, Any]:
        return {**self._variables(faulty=bool(self._cell.faulty)), **dict(self._cell.variables)}

    def _faulty_run(self, run: Controller) -> Run:
        cell = self._cell
        if cell.place:
            wait_for_place(self._lab, run, cell.place, cell.where)
            self._act(run)
        run.open_gate()
        if cell.undo_after:
            time.sleep(cell.undo_after)
            for act in cell.undo:
                do(self._lab, act)
        ended = run.wait()
        self.outcome.says = last_words(ended)
        return ended

    def _act(self, run: Controller | None) -> None:
        for act in self._cell.acts:
            if seen := do(self._lab, act, run).strip():
                self.outcome.seen.append(f"{act.what} on {act.machine}: {' / '.join(seen.splitlines())}")

    def _judge_ended(self, said: Run, before: dict[str, outside.NodeView], sampler: Sampler) -> None:
        cell, outcome = self._cell, self.outcome
        if said.code < 0:
            outcome.ended = "killed"
        elif said.code == 0:
            outcome.ended = "upgraded"
        else:
            outcome.ended = "refused" if self._unchanged(before) else "stopped"
        if outcome.ended not in cell.ended:
            outcome.wrong.append(f"the run with the fault: {outcome.ended}, not {' or '.join(cell.ended)}")
        if outcome.ended in ("refused", "stopped"):
            text = said.output + said.messages()
            said_so = () if cell.refused else cell.says
            outcome.wrong += [f"the run does not say {words!r}" for words in said_so if words not in text]
            if "rspm.ha." not in text and "same command again" not in text:
                outcome.wrong.append("the run does not say what to type")
        outcome.wrong += sampler.mixed()
        versions = sorted({f"{life.node} {life.version}" for life in sampler.lives()})
        outcome.seen.append(f"ran until then: {', '.join(versions)}")

    def _unchanged(self, before: dict[str, outside.NodeView]) -> bool:
        """Whether every node that can be asked is as it was, down to its process, and no lock is left."""
        down = {act.machine for act in self._cell.acts if act.what in ("hang", "partition", "power_cut")}
        asked = [node for node in NODES if node not in down]
        now = outside.node_views(self._lab, asked)
        return all(now[node] == before[node] for node in asked) and not outside.leftovers(self._lab)

    def _ask_status(self) -> None:
        """Ask status.yml, which has to answer whatever is broken."""
        told = run_playbook("status", timeout=180)
        if told.code not in (0, 2, 4) or "Lock: " not in told.output:
            self.outcome.wrong.append(f"status.yml ends with {told.code}: {told.messages()[-500:]}")
        words = f"rspm.ha.{self._cell.verb}"
        unfinished = any("is held" in left for left in outside.leftovers(self._lab))
        if unfinished and words not in told.output:
            self.outcome.wrong.append(f"status.yml does not say that one goes on with {words}")
        self.outcome.seen += [f"status: {line}" for line in last_words(told)]

    def _type_what_it_says(self) -> None:
        for playbook in self._cell.typed:
            if playbook == self._cell.verb and self.outcome.ended == "upgraded":
                continue
            unlocking = {"rspm_unlock_run_id": outside.lock_run_id(self._lab)} if playbook == "unlock" else {}
            run = Controller(playbook, **self._variables(faulty=False), **unlocking)
            try:
                said = run.wait()
                self.outcome.typed.append(playbook)
                if playbook in self._cell.refused:
                    self._judge_refusal(playbook, said)
                elif said.code:
                    words = "\n".join(last_words(said))
                    self.outcome.wrong.append(f"{playbook}, as it says: ended with {said.code}: {words}")
            finally:
                run.close()
        self._took("what it says to type")

    def _judge_refusal(self, playbook: str, said: Run) -> None:
        if not said.code:
            self.outcome.wrong.append(f"{playbook} did not refuse")
        text = said.output + said.messages()
        self.outcome.wrong += [f"{playbook} does not say {words!r}" for words in self._cell.says if words not in text]
        self.outcome.says = last_words(said)

    def _run_again_and_publish(self) -> None:
        """A second run has nothing to do, and the cluster takes new packages that every node serves."""
        again = run_playbook(self._cell.typed[-1], timeout=300, **self._variables(faulty=False))
        if again.code or again.changed():
            said = again.messages() or again.output[-600:]
            self.outcome.wrong.append(f"the second run: {again.code}, changed {again.changed()}: {said}")
        publish(self._lab, "later", NODES[0])
        for node in NODES:
            if not outside.fetch(f"{address(self._lab, node)}:4242", ["later"])["later"]:
                self.outcome.wrong.append(f"{node} does not serve what was published afterwards")
        self._took("second run")


def run_cell(lab: Lab, cell: Cell) -> Outcome:
    """Bring about the fault of a cell on a cluster that serves what is KEPT; what hinders its judging is wrong too."""
    run = CellRun(lab, cell)
    try:
        digests = wait_until_served(lab)
        with Sampler(lab) as sampler:
            wait_for("samples of every node", lambda: all(sampler.samples.values()), 30)
            run.break_it(sampler)
            run.end_it(sampler, digests)
    except Exception as error:  # whatever it is, the matrix goes on, and the record says it
        run.outcome.wrong.append(f"{type(error).__name__}: {error}")
        if not isinstance(error, AssertionError):
            run.outcome.seen.append(traceback.format_exc())
    return run.outcome


def wait_until_served(lab: Lab) -> dict[str, str]:
    """Wait until the whole cluster serves after a restore, and return the digests of the published packages."""

    def ready() -> bool:
        answers = all(get(f"{address(lab, node)}:4242")[0] == 200 for node in NODES)
        return answers and set(outside.balancer_states(lab).values()) == {"UP"}

    wait_for("the cluster of the snapshot", ready, 120, 0.5)
    digests = outside.fetch(address(lab, "lb"), outside.KEPT)
    assert all(digests.values()), f"the snapshot does not serve what was published: {digests}"
    return digests


def last_words(run: Run) -> list[str]:
    """Return what a run said at its end: its failures' messages, else the end of its last message."""
    lines = run.messages().splitlines() if run.code else []
    if not lines:
        shown = [result["msg"] for result in run.results if result["msg"]]
        last = shown[-1] if shown else ""
        lines = list(last) if isinstance(last, list) else str(last).splitlines()
    return [str(line) for line in lines if str(line) != "None"][:40]

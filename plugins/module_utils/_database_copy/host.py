# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copy both databases, and make the source read-only. rules decides what may be done."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_timeline import Timeline
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem, raise_any
from ansible_collections.rspm.ha.plugins.module_utils._database_copy import catalog, content
from ansible_collections.rspm.ha.plugins.module_utils._database_copy import rules as copy
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.failure import CHECK, judge_space
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.host_scan import (
    address_of,
    ask,
    load_facts,
    open_side,
    scan,
)
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.host_tools import (
    WorkFolder,
    free_bytes,
    load_tools,
    work_folder,
)
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.report import Contents, Observed
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.rules import (
    CopyStep,
    Facts,
    Part,
    TargetState,
    Tools,
)
from ansible_collections.rspm.ha.plugins.module_utils._postgres.client_tools import (
    SCHEMAS_QUERY,
    quote_pattern,
    restore_list,
    wipe_statement,
)
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import Connection
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host_sessions import judge_left_sessions, watch_over
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import Database

_SESSION_TIMEOUT = 30.0


@dataclass(frozen=True)
class Sides:
    """Sessions with both sides of each part, by the part's name; one thread at a time asks over each."""

    source: dict[str, Connection]
    target: dict[str, Connection]


@dataclass(frozen=True)
class Found:
    """What a copy begins with. work: the folder that it has for itself. tools: None where they may not be needed."""

    work: WorkFolder
    observed: Observed
    tools: Tools | None
    sides: Sides


@dataclass
class Copier:
    """Copies on this host. jobs: sessions and processes at a time; host: its name, for a person.

    contents: what was read of source and target, by the part's name. sent: rights that were, or would be, carried over.
    """

    runner: Runner
    timeline: Timeline
    source: Database
    target: Database
    work_path: str
    jobs: int
    host: str
    contents: Contents = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parts = copy.parts_of(self.source, self.target)

    def observe(self, *, target_needed: bool) -> Observed:
        """Return what is on both sides. Raises DomainError; for the target only where it is needed."""
        with self.timeline.step("observe"):
            load = partial(load_facts, end_leftovers=target_needed)
            source = {part.name: load(self.source, part.source, part.schema) for part in self.parts}
            target: dict[str, Facts | None] = {}
            problem = ""
            for part in self.parts:
                try:
                    target[part.name] = load(self.target, part.target, part.schema)
                except DomainError as error:
                    if target_needed:
                        raise
                    target[part.name], problem = None, str(error)
        return Observed(source, target, problem)

    def plan(self, observed: Observed) -> dict[str, CopyStep]:
        """Return what is done with each part; raises DomainError with everything that keeps it from being done."""
        self._judge(observed)
        with self._sides(observed) as sides:
            return self._steps(observed, sides)

    def _judge(self, observed: Observed) -> None:
        """Raise DomainError with everything that keeps a copy from being made, whatever is written meanwhile."""
        problems = []
        for part in self.parts:
            facts = observed.target[part.name]
            if facts is not None:
                problems += copy.judge_sides(part, observed.source[part.name], facts, self.target.user)
                if facts.identity == observed.source[part.name].identity:
                    # one database by two names, or a server that was cloned
                    self._require_another(part)
        raise_any(problems)

    @contextmanager
    def _sides(self, observed: Observed) -> Iterator[Sides]:
        """Log in to every part, to the target as far as that could be done."""
        with ExitStack() as opened:
            source, target = (
                {
                    part.name: opened.enter_context(closing(open_side(database, getattr(part, side))))
                    for part in self.parts
                    if getattr(observed, side)[part.name] is not None
                }
                for side, database in (("source", self.source), ("target", self.target))
            )
            yield Sides(source, target)

    def _steps(self, observed: Observed, sides: Sides) -> dict[str, CopyStep]:
        """Return what is done with each part. A finished copy is compared, so nobody may write meanwhile."""
        steps: dict[str, CopyStep] = {}
        refused: list[Problem] = []
        for part in self.parts:
            try:
                steps[part.name] = self._step(part, observed, sides)
            except DomainError as error:
                refused += error.problems
        filled = [observed.source[name] for name, step in steps.items() if step is not CopyStep.KEEP]
        if filled:
            needed = max(facts.data_bytes for facts in filled)
            refused += judge_space(self.work_path, free_bytes(self.work_path), needed)
        raise_any(refused)
        return steps

    def tools(self, observed: Observed) -> Tools:
        """Return the tools that fit both servers."""
        majors = [
            facts.version // 10000 for facts in (observed.source["main"], observed.target["main"]) if facts is not None
        ]
        return copy.choose_tools(load_tools(self.runner), majors[0], majors[-1])

    @contextmanager
    def prepared(self) -> Iterator[Found]:
        """Give what a copy begins with. All that can be judged while the source is still written to is judged."""
        with work_folder(self.runner, self.work_path, self.host) as work:
            observed = self.observe(target_needed=True)
            self._judge(observed)
            new = any(state is not TargetState.FINISHED for state in observed.states().values())
            tools = self.tools(observed) if new else None
            # a login takes longer than most of what is asked over it
            with self._sides(observed) as sides:
                yield Found(work, observed, tools, sides)

    def copy(self, found: Found) -> dict[str, CopyStep]:
        """Have both databases in the target, verified; returns what was done."""
        watched = [(self.source, found.sides.source["main"]), (self.target, found.sides.target["main"])]
        self._prove_no_session("sessions", watched)
        steps = self._steps(found.observed, found.sides)
        filled = [part for part in self.parts if steps[part.name] is not CopyStep.KEEP]
        if filled:
            tools = found.tools or self.tools(found.observed)
            for part in filled:
                self._fill(found, tools, part)
        for part in self.parts:
            if part not in filled:
                self._grant(part, found.sides, fresh=False)
        self._prove_no_session("sessions afterwards", watched)
        return steps

    def kept_rights(self, part: Part) -> list[str]:
        """Return what carries rights over to a copy that is kept, as for roles that were made since."""
        return content.grant_statements(*self.contents[part.name], fresh=False)

    def set_read_only(self, *, check_mode: bool) -> bool:
        """Make the source read-only for the role, and prove it with new sessions; returns if changed."""
        names = list(dict.fromkeys(part.source for part in self.parts))
        changed = [name for name in names if not self._read_only(name)]
        if check_mode:
            return bool(changed)
        # a session keeps the settings that it began with
        with closing(open_side(self.source, names[0])) as connection:
            self._prove_no_session("sessions", [(self.source, connection)])
        with self.timeline.step("retire"):
            for name in changed:
                with closing(open_side(self.source, name)) as connection:
                    where = address_of(self.source, name)
                    ask(connection, where, "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
                    ask(connection, where, copy.read_only_statement(self.source.user, name))
            problems = [
                copy.still_writable(address_of(self.source, name), self.source.user)
                for name in names
                if not self._read_only(name)
            ]
        raise_any(problems)
        return bool(changed)

    def _read_only(self, name: str) -> bool:
        with closing(open_side(self.source, name)) as connection:
            rows = ask(connection, address_of(self.source, name), f"SHOW {copy.READ_ONLY}")
        return rows[0][copy.READ_ONLY] == "on"

    def _step(self, part: Part, observed: Observed, sides: Sides) -> CopyStep:
        source, target = observed.source[part.name], observed.target[part.name]
        if target is None:
            return CopyStep.FILL
        equal, digest = False, ""
        if copy.state_of(target, source.identity) is TargetState.FINISHED:
            with self.timeline.step(f"compare {part.name}"):
                both = self._scan_both(part, sides, content.row_hashes(source.hash_probe, target.hash_probe))
            equal = not content.compare(*both, same_major=source.version // 10000 == target.version // 10000)
            digest = both[1].digest()
        return copy.decide(part, target, source.identity, equal, digest)

    def _scan_both(self, part: Part, sides: Sides, hashes: Sequence[str]) -> tuple[content.Content, content.Content]:
        with ThreadPoolExecutor(max_workers=2) as pool:
            both = [pool.submit(one, part, sides, hashes) for one in (self._scan_source, self._scan_target)]
            self.contents[part.name] = (both[0].result(), both[1].result())
        return self.contents[part.name]

    def _scan_source(self, part: Part, sides: Sides, hashes: Sequence[str]) -> content.Content:
        first = sides.source[part.name]
        return scan(first, self.source, part.source, part.schema, hashes, self.jobs, part.target)

    def _scan_target(self, part: Part, sides: Sides, hashes: Sequence[str]) -> content.Content:
        first = sides.target[part.name]
        return scan(first, self.target, part.target, part.schema, hashes, self.jobs, part.target)

    def _fill(self, found: Found, tools: Tools, part: Part) -> None:
        work, source, target = found.work, found.observed.source[part.name], found.observed.target[part.name]
        if target is None:
            raise TypeError("a copy is made only where there is a target")
        where = address_of(self.target, part.target, part.schema)
        do = partial(ask, found.sides.target[part.name], where)
        hashes = content.row_hashes(source.hash_probe, target.hash_probe)
        only = [f"--schema={quote_pattern(part.schema)}"] if part.schema else []
        with self.timeline.step(f"dump {part.name}"):
            work.dump(tools, self.source, part.source, only, self.jobs, part.name, source.address)
            listed = work.listed(tools, part.name)
        marker = copy.CopyMark(source.identity, source.address)
        with self.timeline.step(f"empty {part.name}"):
            now = [row["name"] or "" for row in do(catalog.objects_query(part.schema))]
            raise_any(copy.judge_unchanged(where, target.objects, now))
            do(copy.comment_statement(part, target.comment, marker))
            existing = self._empty(do, part, where)
        with ThreadPoolExecutor(max_workers=1) as pool:
            # what is written between the dump and this is found; what is written later is kept out by the sessions
            scanned = pool.submit(self._scan_source, part, found.sides, hashes)
            with self.timeline.step(f"restore {part.name}"):
                chosen = restore_list(listed, existing)
                work.restore(tools, self.target, part.target, chosen, self.jobs, part.name, where)
            work.remove(part.name)
            with self.timeline.step(f"verify {part.name}"):
                self.contents[part.name] = (scanned.result(), self._scan_target(part, found.sides, hashes))
        both = self.contents[part.name]
        same_major = source.version // 10000 == target.version // 10000
        copy.judge_copy(source.address, where, content.compare(*both, same_major=same_major))
        self._grant(part, found.sides, fresh=True)
        with self.timeline.step(f"finish {part.name}"):
            if both[1].tables:
                # a restore leaves no statistics, and the first queries would be slow without
                do(f"ANALYZE {', '.join(both[1].tables)}")
            done = replace(marker, digest=both[1].digest())
            do(copy.comment_statement(part, target.comment, done))

    def _empty(self, do: Callable[[str], list[dict[str, str | None]]], part: Part, where: str) -> list[str]:
        """Drop what is there of an earlier try, and return the schemas that are left."""
        do(wipe_statement(part.schema))
        for statement in catalog.wipe_queries(part.schema):
            do(statement)
        left = [row["name"] or "" for row in do(catalog.objects_query(part.schema))]
        if left:
            raise DomainError(
                Problem(
                    CHECK,
                    f"{where} still has {copy.shown(left)} after an unfinished copy was removed",
                    f"Role {self.target.user} does not own it, and a copy must not be mixed with it",
                    f"As an administrator there: {copy.removal(part)}, and have the role database make it anew",
                )
            )
        return [row["nspname"] or "" for row in do(SCHEMAS_QUERY)]

    def _grant(self, part: Part, sides: Sides, *, fresh: bool) -> None:
        """Carry the rights over."""
        source, target = self.contents[part.name]
        statements = content.grant_statements(source, target, fresh=fresh)
        self.sent += statements
        if not statements:
            return
        where = address_of(self.target, part.target, part.schema)
        do = partial(ask, sides.target[part.name], where)
        with self.timeline.step(f"rights {part.name}"):
            for statement in statements:
                do(statement)
            given = content.parse_grants(do(catalog.grants_query(part.schema, part.target)))
        # what a role may not pass on, PostgreSQL leaves out with no more than a warning
        self.contents[part.name] = (source, replace(target, grants=given))
        copy.judge_rights(where, content.grant_statements(*self.contents[part.name], fresh=fresh))

    def _require_another(self, part: Part) -> None:
        """Raise DomainError where source and target are one database by two names."""
        key = secrets.randbits(62)
        where = address_of(self.target, part.target)
        with closing(open_side(self.source, part.source)) as one, closing(open_side(self.target, part.target)) as other:
            ask(one, address_of(self.source, part.source), catalog.lock_query(key))
            held = ask(other, where, catalog.lock_held_query(key))[0]["held"]
        if held != "0":
            raise DomainError(
                Problem(
                    CHECK,
                    f"{where} and {address_of(self.source, part.source)} are the same database",
                    "Copying it onto itself would empty it first",
                    "Give the address of the node's own PostgreSQL as the target",
                )
            )

    def _prove_no_session(self, step: str, watched: Sequence[tuple[Database, Connection]]) -> None:
        """Raise DomainError where anybody else works on one of these; each has a session over which it is asked."""
        problems = []
        with self.timeline.step(step):
            for database, connection in watched:
                why = (
                    "What a node writes after the copy has begun would be lost with the old database"
                    if database is self.source
                    else "What works on the target sees it half filled, and changes it"
                )
                left = judge_left_sessions(watch_over(connection, database, _SESSION_TIMEOUT))
                problems += [replace(problem, why=why) for problem in left]
        raise_any(problems)

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copying the databases to another server: what is there, whether it may be done, and what went wrong.

Sources: the manual pages of pg_dump and pg_restore, and PostgreSQL's manual for COMMENT, pg_shdescription, and the
read-only setting.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.content import Difference, quote
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.failure import CHECK
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import Database
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import literal

_REPEAT = "run the same command again"
_MARKER = re.compile(r"\s*rspm\.ha database_copy (\{.*\})$", re.DOTALL)
READ_ONLY = "default_transaction_read_only"
_SHOWN = 5


class TargetState(str, Enum):
    """What a target is: not reachable yet, without objects, a copy of this source, or something else."""

    ABSENT = "absent"
    EMPTY = "empty"
    UNFINISHED = "ours_unfinished"
    FINISHED = "ours_finished"
    FOREIGN = "foreign"


class CopyStep(Enum):
    """What is done with a target: filled, emptied and filled, or left."""

    FILL = "fill"
    REPLACE = "replace"
    KEEP = "keep"


@dataclass(frozen=True)
class Part:
    """One of the two databases. source, target: names of databases; schema: the only one that counts, "" = all."""

    name: str
    source: str
    target: str
    schema: str


@dataclass(frozen=True)
class CopyMark:
    """What is written into the comment of the target. source: identity of the source, address: as people write it.

    digest: of the target's content as it was verified, "" while the copy is not finished.
    """

    source: str
    address: str
    digest: str = ""


@dataclass(frozen=True)
class Facts:
    """One side of a part.

    version: e.g. 150004. identity: of cluster, database and schema, the same whatever name the server is reached by.
    hash_probe: its hashes of a text that is always the same.
    bytes: of tables and indexes; data_bytes: of tables. tables, rows: their number, and PostgreSQL's estimate.
    objects: some names of what is in it. owner: whether the role owns the database, and the schema where there is one.
    comment: of the database, or of the schema. extensions: installed; creatable: extensions that the role could create.
    """

    address: str
    version: int
    encoding: str
    identity: str
    bytes: int
    data_bytes: int
    tables: int
    rows: int
    objects: tuple[str, ...]
    owner: bool
    hash_probe: str = ""
    comment: str = ""
    schema_exists: bool = True
    in_recovery: bool = False
    large_objects: int = 0
    extensions: tuple[str, ...] = ()
    creatable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tools:
    """pg_dump and pg_restore in one folder, and their major version."""

    folder: str
    major: int


class CopyDiffers(DomainError):
    """Raised where the target is not what the source is; carries every difference that was found."""

    def __init__(self, problem: Problem, mismatches: Sequence[Difference]) -> None:
        super().__init__(problem)
        self.mismatches = mismatches


def judge_copy(source: str, target: str, mismatches: Sequence[Difference]) -> None:
    """Raise CopyDiffers unless there is no difference. source, target: addresses."""
    if not mismatches:
        return
    first = "; ".join(
        f"{item.object}: {item.source or 'nothing'} in the source, {item.target or 'nothing'} in the target"
        for item in mismatches[:_SHOWN]
    )
    raise CopyDiffers(
        Problem(
            CHECK,
            f"{target} differs from {source} in {len(mismatches)} place{'s' if len(mismatches) > 1 else ''}: {first}",
            "A node on it would serve something else than the cluster did; nothing was changed in the source",
            f"See that nothing else writes to either of them, and {_REPEAT}, which copies anew",
        ),
        mismatches,
    )


def judge_rights(target: str, left: Sequence[str]) -> None:
    """Raise DomainError unless every right was carried over. left: the statements that did not do their work."""
    if left:
        raise _refused(
            f"in {target} these have no effect: {shown(left)}",
            "Other roles would not have the rights there that they have in the source",
            f"As an administrator there run them, or revoke those rights in the source, and {_REPEAT}",
        )


def parts_of(source: Database, target: Database) -> tuple[Part, Part]:
    """Return both parts. Raises DomainError where they can not be copied one to one."""
    pairs = ((source.schema, target.schema), (source.usage_schema, target.usage_schema))
    if any(one != other for one, other in pairs) or (source.name == source.usage_name) != (
        target.name == target.usage_name
    ):
        raise _refused(
            f"the source has its data in {_layout(source)}, the target in {_layout(target)}",
            "A dump is restored into the schemas that it came from",
            "Give the target the layout of the source: rspm_database_name, _usage_name, _schema and _usage_schema",
        )
    if source.name == source.usage_name and (not source.schema or source.schema == source.usage_schema):
        raise _refused(
            f"both kinds of data are in {_layout(source)}",
            "In one database each kind of data has a schema of its own",
            "Set rspm_database_schema and rspm_database_usage_schema",
        )
    return (
        Part("main", source.name, target.name, source.schema),
        Part("usage", source.usage_name, target.usage_name, source.usage_schema),
    )


def _layout(database: Database) -> str:
    both = ((database.name, database.schema), (database.usage_name, database.usage_schema))
    return " and ".join(f"{name}, schema {schema}" if schema else name for name, schema in both)


def _refused(found: str, why: str, fix: str) -> DomainError:
    return DomainError(Problem(CHECK, found, why, fix))


def parse_comment(comment: str) -> tuple[str, CopyMark | None]:
    """Return the comment without the marker, and the marker."""
    match = _MARKER.search(comment)
    if match is None:
        return comment, None
    try:
        marker = CopyMark(**json.loads(match.group(1)))
    except (ValueError, TypeError):
        return comment, None
    return comment[: match.start()], marker


def comment_statement(part: Part, comment: str, marker: CopyMark) -> str:
    """Return the statement that writes the marker behind whatever the comment was."""
    kept, _old = parse_comment(comment)
    text = f"{kept} rspm.ha database_copy {json.dumps(asdict(marker), sort_keys=True)}".strip()
    what = f"SCHEMA {quote(part.schema)}" if part.schema else f"DATABASE {quote(part.target)}"
    return f"COMMENT ON {what} IS {literal(text)}"


def state_of(facts: Facts | None, identity: str) -> TargetState:
    """Return the state of a target (None = not reachable). identity: of the source."""
    if facts is None:
        return TargetState.ABSENT
    marker = parse_comment(facts.comment)[1]
    if marker is not None and marker.source == identity:
        return TargetState.FINISHED if marker.digest else TargetState.UNFINISHED
    return TargetState.FOREIGN if facts.objects else TargetState.EMPTY


def overall(states: Iterable[TargetState]) -> TargetState:
    """Return one state for both parts: the worst, and unfinished where one part is further than the other."""
    found = set(states)
    for state in (TargetState.FOREIGN, TargetState.ABSENT):
        if state in found:
            return state
    return found.pop() if len(found) == 1 else TargetState.UNFINISHED


def decide(part: Part, facts: Facts, identity: str, equal: bool, digest: str) -> CopyStep:
    """Return what is done with a target.

    equal: whether a finished copy has the source's content. digest: of the target's content now, for a finished copy.
    Raises DomainError for what is not ours to drop.
    """
    state = state_of(facts, identity)
    marker = parse_comment(facts.comment)[1]
    if state is TargetState.FOREIGN:
        of = f" and is marked as a copy of {marker.address}" if marker else ""
        raise _refused(
            f"{facts.address} is not empty: it has {shown(facts.objects)}{of}",
            "It is no copy of this source, and a copy would replace it",
            f"Check what it is. If nobody needs it, remove it as an administrator of that server, {removal(part)}, have"
            f" the role database make it anew, and {_REPEAT}",
        )
    if state is not TargetState.FINISHED or marker is None:
        return CopyStep.REPLACE if facts.objects else CopyStep.FILL
    if equal:
        return CopyStep.KEEP
    if facts.objects and digest != marker.digest:
        raise _refused(
            f"{facts.address} was written to since it was copied from {marker.address}, and the two differ",
            "Either both served since then, or somebody changed the copy; copying again would lose what was written",
            "Find out which of the two is the right one. To copy again, remove the target as an administrator of that"
            f" server, {removal(part)}, have the role database make it anew, and {_REPEAT}",
        )
    return CopyStep.REPLACE if facts.objects else CopyStep.FILL


def judge_unchanged(target: str, before: Sequence[str], now: Sequence[str]) -> list[Problem]:
    """Return the problem of a target in which there is something else than what was decided upon."""
    if set(before) == set(now):
        return []
    return [
        Problem(
            CHECK,
            f"{target} had {shown(before) or 'nothing'} when it was looked at, and has {shown(now) or 'nothing'} now",
            "Somebody works on it, and a copy would remove it",
            f"Find out who does, and {_REPEAT}",
        )
    ]


def removal(part: Part) -> str:
    """Return the statement that removes a target."""
    if part.schema:
        return f"DROP SCHEMA {quote(part.schema)} CASCADE in {part.target}"
    return f"DROP DATABASE {quote(part.target)}"


def shown(names: Sequence[str]) -> str:
    """Return some names as text."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def judge_sides(part: Part, source: Facts, target: Facts, user: str) -> list[Problem]:
    """Return why the target can not take a copy of the source. user: role of the nodes on the target."""
    found: list[tuple[str, str, str]] = []
    if target.version // 10000 < source.version // 10000:
        found.append(
            (
                f"{target.address} is PostgreSQL {release(target.version)}, {source.address} is"
                f" {release(source.version)}",
                "An older server can not take what a newer one holds",
                f"Install PostgreSQL {source.version // 10000} or newer on the target",
            )
        )
    if target.encoding != source.encoding:
        found.append(
            (
                f"{target.address} has the encoding {target.encoding}, {source.address} has {source.encoding}",
                "Text would be changed on its way, or refused",
                f"Make the target with it: CREATE DATABASE {quote(part.target)} OWNER {quote(user)}"
                f" ENCODING {literal(source.encoding)[1:]} TEMPLATE template0",
            )
        )
    if target.in_recovery:
        found.append((f"{target.address} is a standby", "It takes no changes", "Name the primary server as the target"))
    if part.schema and not (source.schema_exists and target.schema_exists):
        lacking = target if source.schema_exists else source
        found.append(
            (
                f"{lacking.address} has no schema {part.schema}",
                "The data is copied from schema to schema",
                f"Correct rspm_database_schema or rspm_database_usage_schema, or create it in {lacking.address}:"
                f" CREATE SCHEMA {quote(part.schema)} AUTHORIZATION {quote(user)}",
            )
        )
    elif not target.owner:
        what = f"SCHEMA {quote(part.schema)}" if part.schema else f"DATABASE {quote(part.target)}"
        found.append(
            (
                f"role {user} does not own {what} of {target.address}",
                "It has to create what is copied, and to note there how far the copy is",
                f"As an administrator of that server: ALTER {what} OWNER TO {quote(user)}",
            )
        )
    missing = sorted(set(source.extensions) - set(target.extensions) - set(target.creatable))
    if missing:
        found.append(
            (
                f"{target.address} lacks extension {', '.join(missing)}, and role {user} may not create it",
                f"What is in {source.address} needs it",
                "Install the extension's package on the target, and as an administrator there: "
                + "; ".join(f"CREATE EXTENSION {quote(name)}" for name in missing),
            )
        )
    if part.schema and source.large_objects:
        found.append(
            (
                f"the role owns {source.large_objects} large objects in {source.address}",
                "They belong to no schema, so that a dump of one leaves them out",
                "Move the data to a database for each kind, or remove the large objects that nobody needs (vacuumlo)",
            )
        )
    return [Problem(CHECK, *item) for item in found]


def release(version: int) -> str:
    """Return a version number as people write it: 150018 is 15.18."""
    return f"{version // 10000}.{version % 10000}"


def parse_major(text: str) -> int:
    """Return the major version in what `pg_dump --version` prints, 0 where there is none."""
    match = re.search(r"\b(\d+)(?:\.|\w|\b)", text.partition(")")[2])
    return int(match.group(1)) if match else 0


def choose_tools(candidates: Iterable[Tools], source: int, target: int) -> Tools:
    """Return the tools that fit, the newest of them. source, target: major versions. Raises DomainError.

    pg_dump must not be older than the source, and pg_restore sets what an older target does not know.
    """
    known = list(candidates)
    fitting = [tools for tools in known if source <= tools.major <= target]
    if fitting:
        return max(fitting, key=lambda tools: tools.major)
    there = ", ".join(f"{tools.major} in {tools.folder}" for tools in known) or "none"
    wanted = f"{source}" if source == target else f"{source} to {target}"
    raise _refused(
        f"no pg_dump and pg_restore of PostgreSQL {wanted} are on this host (found: {there})",
        f"The source is PostgreSQL {source}, the target {target}; older tools can't read the one, newer ones may"
        " write what the other does not know",
        f"Install postgresql-client-{target} (EL, SUSE: postgresql{target}, or postgresql of that stream) on this host,"
        f" and {_REPEAT}",
    )


def read_only_statement(user: str, database: str) -> str:
    """Return the statement that makes a database read-only for the role. A role may do it to itself."""
    return f"ALTER ROLE {quote(user)} IN DATABASE {quote(database)} SET {READ_ONLY} = on"


def still_writable(address: str, user: str) -> Problem:
    """Return the problem of a new session that may write although it should not."""
    return Problem(
        CHECK,
        f"a new session of role {user} in {address} is able to write",
        "Another setting counts more than the role's own in that database",
        f"Remove {READ_ONLY} from rspm_database_options, or from what \\drds shows in psql, and {_REPEAT}",
    )


def removal_commands(source: Database) -> list[str]:
    """Return the statements with which an administrator of the source's server removes what was copied."""
    if source.schema or source.usage_schema:
        pairs = ((source.name, source.schema), (source.usage_name, source.usage_schema))
        return [
            f"\\connect {quote(name)}\nDROP SCHEMA {quote(schema)} CASCADE;"
            if schema
            else f"DROP DATABASE {quote(name)};"
            for name, schema in pairs
        ]
    return [f"DROP DATABASE {quote(name)};" for name in (source.name, source.usage_name)]

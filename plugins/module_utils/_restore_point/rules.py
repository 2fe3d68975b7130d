# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The restore point: what it holds, which states it may take, and the statements that make room for its databases.

Sources: the manual pages of pg_dump and pg_restore, and PostgreSQL's manual for the password file and the catalogs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import Enum

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import PLAYBOOK, DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._core.version import same_version
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import Database


class RestoreState(Enum):
    """How far the restore point has come, as written beside it on the shared storage."""

    ABSENT = "absent"
    INCOMPLETE = "incomplete"
    COMPLETE = "complete"
    """Made and verified; no node was let start the newer version since, or one that was has certainly moved nothing."""
    IN_USE = "in_use"
    """The newer version may have run since: only the restore point leads back, and it must never be made anew."""
    RESTORING = "restoring"
    """A restore has begun and isn't proven done: the databases are of no version."""
    RESTORED = "restored"
    """The databases and the key are proven to be those of the restore point."""


METADATA, CONFIG, KEY = "restore-point.json", "rstudio-pm.gcfg", "rstudio-pm.key"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_REPEAT = "run the same command again"


@dataclass(frozen=True)
class Metadata:
    """What is written beside the restore point.

    from_version, to_version: of the upgrade that it was made for; run_id: of the run that made it. created: UTC in ISO
    8601. restored: when a restore of it began last, "" for never. server_version: of PostgreSQL, e.g. 150004. folder:
    name of the folder with the files. files: SHA-256 by name.
    package: name of the package file in it, "" where the node had none staged. key_path: where the key lay, "" where
    there was none. tools: major version of PostgreSQL's tools that wrote the dumps. rows: by table, by the dump's file.
    """

    state: RestoreState
    run_id: str
    from_version: str
    to_version: str
    created: str
    folder: str
    server_version: int = 0
    files: Mapping[str, str] = field(default_factory=dict)
    package: str = ""
    key_path: str = ""
    tools: int = 0
    rows: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    restored: str = ""


ABSENT = Metadata(RestoreState.ABSENT, "", "", "", "", "")


def render(metadata: Metadata) -> str:
    """Return the text of the metadata file."""
    return json.dumps({**asdict(metadata), "state": metadata.state.value}, indent=2, sort_keys=True) + "\n"


def parse(text: str, path: str) -> Metadata:
    """Return what the file says; raises DomainError for one that nothing can be made of."""
    try:
        values = json.loads(text)
        found = Metadata(**{**values, "state": RestoreState(values["state"])})
    except (ValueError, TypeError, KeyError) as error:
        raise DomainError(
            Problem(
                "restore-point",
                f"{path} is no description of a restore point ({error})",
                "Whether the schema may have moved, and what leads back, is written in it",
                "Bring the file back from a backup of the shared storage",
            )
        ) from error
    # they become parts of paths that root writes
    odd = [name for name in (found.folder, *found.files, *filter(None, [found.package])) if not _NAME.fullmatch(name)]
    if odd or (found.package and found.package not in found.files):
        raise _refused(
            f"{path} names {', '.join(odd) or found.package}",
            "It may only name a folder beside it, and the files in that",
            "Bring the file back from a backup of the shared storage",
        )
    return found


def _refused(found: str, why: str, fix: str) -> DomainError:
    return DomainError(Problem("restore-point", found, why, fix))


def must_create(now: Metadata, run_id: str, from_version: str, to_version: str) -> bool:
    """Return whether the restore point has to be made, False where this run has made it and taken it into use.

    Until then one that is there may be older than what the nodes have written since an interruption.

    Raises DomainError where one that may be needed yet would be replaced, and for a run id that is no name.
    """
    if not _NAME.fullmatch(run_id):
        raise _refused(f"the run id is {run_id!r}", "It is a part of a folder's name", "Give that of cluster_lock")
    ours = now.run_id == run_id and same_version(now.to_version, to_version)
    if now.state is RestoreState.RESTORING:
        raise _refused(
            f"a restore to {now.from_version} has begun and is not finished",
            "Until then the databases are of no version, and a copy of them is worth nothing",
            f"Run {PLAYBOOK}.rollback, which finishes it",
        )
    if now.state is RestoreState.IN_USE and not ours and not same_version(now.to_version, from_version):
        raise _refused(
            f"the restore point of the upgrade from {now.from_version} to {now.to_version} is in use",
            "That upgrade is not finished, and only its restore point leads back",
            f"Finish it: set rspm_version to {now.to_version} and run {PLAYBOOK}.upgrade, "
            "or go back with rspm.ha.rollback",
        )
    return not (now.state is RestoreState.IN_USE and ours and same_version(now.from_version, from_version))


def judge_move(now: RestoreState, wanted: RestoreState) -> list[Problem]:
    """Return why a restore point may not be taken into use, or be restored."""
    usable = {
        RestoreState.IN_USE: (RestoreState.COMPLETE, RestoreState.IN_USE, RestoreState.RESTORED),
        RestoreState.RESTORED: (
            RestoreState.COMPLETE,
            RestoreState.IN_USE,
            RestoreState.RESTORING,
            RestoreState.RESTORED,
        ),
    }[wanted]
    if now in usable:
        return []
    return [
        Problem(
            "restore-point",
            f"the restore point is {now.value}",
            "No complete restore point is there to go back to",
            f"Finish the rollback that has begun: {PLAYBOOK}.rollback"
            if now is RestoreState.RESTORING
            else f"Run {PLAYBOOK}.upgrade, which makes it first",
        )
    ]


def take_back(now: Metadata, version: str) -> Metadata:
    """Return the restore point as it was before a node was let start the version, which has certainly moved nothing.

    Raises DomainError where it is not in use for that version.
    """
    if now.state is RestoreState.IN_USE and same_version(now.to_version, version):
        return replace(now, state=RestoreState.COMPLETE)
    raise _refused(
        f"the restore point is {now.state.value}, and of an upgrade to {now.to_version or 'nothing'}",
        f"Only one that is in use for {version} can be taken back",
        f"See what every node is, with {PLAYBOOK}.status",
    )


@dataclass(frozen=True)
class Dump:
    """One dump: its file, the database, and the schema in it ("" = all)."""

    file: str
    database: str
    schema: str


def dumps_of(database: Database) -> tuple[Dump, Dump]:
    """Return the dumps of the main and of the usage database."""
    return (
        Dump("main.dump", database.name, database.schema),
        Dump("usage.dump", database.usage_name, database.usage_schema),
    )


def judge_removal(now: RestoreState, path: str) -> list[Problem]:
    """Return why a restore point may not be removed."""
    if now is not RestoreState.RESTORING:
        return []
    return [
        Problem(
            "restore-point",
            f"a restore of {path} has begun and is not finished",
            "Until then the databases are of no version, and nothing else leads out of that",
            f"Run {PLAYBOOK}.rollback, which finishes it",
        )
    ]


def judge_files(expected: Mapping[str, str], found: Mapping[str, str], path: str) -> list[Problem]:
    """Return the problem of files that are not as they were written. Both: SHA-256 by name."""
    bad = sorted(name for name, digest in expected.items() if found.get(name) != digest)
    if not bad:
        return []
    return [
        Problem(
            "restore-point",
            f"of the restore point in {path} {', '.join(bad)} {'is' if len(bad) == 1 else 'are'} missing or changed",
            "What it would restore is not what was saved",
            f"Bring the files back from a backup of the shared storage, and {_REPEAT}",
        )
    ]


def parse_known(text: str) -> dict[str, str]:
    """Return the SHA-256 of the saved package by its name, as a node's own file has it; empty for one that has none."""
    try:
        found = json.loads(text)
        return {str(name): str(digest) for name, digest in found.items()}
    except (ValueError, AttributeError):
        return {}


def judge_package(now: Metadata, name: str, known: str, target: str) -> list[Problem]:
    """Return why the saved package may not be installed here.

    name: that the package of the version has on this host. known: its SHA-256 as root on this node knows it, "" = not.
    """
    if now.package != name:
        return [
            Problem(
                "restore-point",
                f"the restore point names {now.package} as the package of {now.from_version}, which is {name} here",
                "The package is installed as root, and what names it may be written by the service's account",
                f"Copy {name} to {target.rpartition('/')[0]} as root, and correct the name in {METADATA}",
            )
        ]
    if known:
        return []
    return [
        Problem(
            "restore-point-package",
            f"nothing on this node but the shared storage knows the SHA-256 of {now.package}",
            "It is installed as root, and the service's account may write to that storage",
            f"Copy it as root from another node's {target}, or from the vendor, to {target} here, and {_REPEAT}",
        )
    ]


def not_readable(path: str, said: str) -> Problem:
    """Return the problem of a file of the restore point that can't be taken over."""
    return Problem(
        "restore-point",
        f"{path} can't be read ({said})",
        "What it would restore is not at hand; a link in its way is not followed",
        f"Bring the file back from a backup of the shared storage, and {_REPEAT}",
    )


def no_tools(host: str) -> Problem:
    """Return the problem of a host without PostgreSQL's tools."""
    return Problem(
        "restore-point-tools",
        f"there is no pg_dump, pg_restore and psql on {host}",
        "The databases are saved and restored with PostgreSQL's own tools",
        f"Install the package postgresql-client (EL, SUSE: postgresql) of the database server's version, and {_REPEAT}",
    )


def tool_failed(argv: list[str], rc: int, said: str) -> Problem:
    """Return the problem of a command that did not do its work. rc: 124 out of time, 127 not there."""
    return Problem(
        "restore-point",
        f"{' '.join(argv)} {'ran out of time' if rc == 124 else f'ended with {rc}'}: {said or 'it said nothing'}",
        "The restore point is not complete, or not restored",
        f"Repair what it says (a right, a full disk), and {_REPEAT}",
    )

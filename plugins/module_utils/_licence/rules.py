# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The product's licence on one node: what license-manager says, and what has to be done (vendor: licensing)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import PLAYBOOK, DomainError, Problem

PROGRAM = "/opt/rstudio-pm/bin/license-manager"
# Where the product looks for a licence file wherever Server.DataDir is, below the home of its account.
FOLDER = ".rstudio-pm"
FILE_NAME = "rspm-ha.lic"

_SECTION = re.compile(r"-+\s*(.*?)\s*-+")
_LINE = re.compile(r"([A-Za-z][\w -]*?)\s*:\s*(.*)")
# "Evaluation" ends by itself, so that it does not count as a licence.
_WITHOUT = {"deactivated", "not activated", "not-activated", "evaluation", "expired"}
_MARK = "# rspm.ha: the licence that was applied: "


@dataclass(frozen=True)
class Licence:
    """What a node is to have. kind: "key", "file" or "server". value: the key, the file's text, or host and port."""

    kind: str
    value: str

    @property
    def mark(self) -> str:
        """A drop-in of the unit that names the licence without telling it, so that another one needs a restart."""
        digest = hashlib.sha256(f"{self.kind}:{self.value}".encode("utf-8", "surrogatepass")).hexdigest()
        return f"{_MARK}{self.kind} {digest[:16]}\n"


@dataclass(frozen=True)
class LicenceState:
    """What a node has.

    key, file: whether it is licensed by a key, and by a file. server: the licence server that it is told, "" for none.
    ours: text of the licence file that the collection has put there, None for none. mark: of Licence.mark, "" for none.
    """

    key: bool = False
    file: bool = False
    server: str = ""
    ours: str | None = None
    mark: str = ""

    @property
    def active(self) -> bool:
        """Whether the node has a licence of its own."""
        return self.key or self.file


def wanted_licence(key: str, content: str, server: str) -> Licence | None:
    """Return the one licence that is given, None where none is; raises DomainError where it can't be one."""
    given = [
        Licence(*each) for each in (("key", key.strip()), ("file", content), ("server", server.strip())) if each[1]
    ]
    if not given:
        return None
    problem = judge_licence(given)
    if problem:
        raise DomainError(problem)
    return given[0]


def judge_licence(given: list[Licence]) -> Problem | None:
    """Return what is wrong with the licences that rspm_licence names."""
    kind, value = given[0].kind, given[0].value
    if len(given) > 1:
        return _wrong(
            f"rspm_licence names {len(given)} licences",
            "Nobody can tell which one counts",
            "Give one: file, key or server",
        )
    if kind == "server" and not re.fullmatch(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}", value):
        return _wrong(
            f"rspm_licence.server is {value!r}",
            "license-manager is given a host and a port",
            "Write it as licences.example.org:8999",
        )
    if kind == "key" and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", value):
        return _wrong(
            "rspm_licence.key has other characters than letters, digits and hyphens",
            "It would be no key, or an option of license-manager",
            "Correct it",
        )
    if kind == "file" and not value.strip():
        return _wrong("the licence file is empty", "The product would answer 402", "Correct rspm_licence.file")
    if kind == "file" and "\r\n" in value:
        return _wrong(
            "the licence file has the line ends of Windows",
            "The product reads no licence in it, and answers 402",
            "Convert it with dos2unix, or download it again on Linux",
        )
    return None


def parse_status(rc: int, output: str) -> LicenceState:
    """Return the state that `license-manager status` tells; raises DomainError where it tells something unknown."""
    sections: dict[str, dict[str, str]] = {}
    values: dict[str, str] = {}
    for line in map(str.strip, output.splitlines()):
        header = _SECTION.fullmatch(line)
        entry = _LINE.fullmatch(line)
        if header:
            values = {}
            sections[header[1].lower()] = values
        elif entry:
            sections.setdefault("", values)
            values[entry[1].lower()] = entry[2]
    key, file, server, judged = False, False, "", False
    for name, said in sections.items():
        if "license-server" in said or "floating" in name:
            server = said.get("license-server", server)
            continue
        status = said.get("status", "").lower()
        if not status:
            continue
        if status != "activated" and status not in _WITHOUT:
            raise _unknown(rc, output)
        judged = True
        if status == "activated" and ("file" in name or "license-file" in said):
            file = True
        elif status == "activated":
            key = True
    if not judged and not server:
        raise _unknown(rc, output)
    return LicenceState(key=key, file=file, server=server)


def shown(output: str) -> str:
    """Return what license-manager printed as one line, without keys."""
    text = re.sub(r"(?im)^(\s*product-key\s*:\s*)\S+", r"\1***", output)
    text = re.sub(r"\b[A-Z0-9]{4}(-[A-Z0-9]{4}){3,}\b", "***", text)
    return "; ".join(line.strip() for line in text.splitlines() if line.strip()) or "nothing"


def decide(wanted: Licence, state: LicenceState) -> bool:
    """Return whether wanted has to be applied.

    A licence that somebody else has put there is left alone; one of the collection's is replaced by another.
    """
    if wanted.kind == "server":
        return state.server != wanted.value
    if wanted.kind == "file" and state.ours is not None:
        return state.ours != wanted.value
    return not state.active or (bool(state.mark) and state.mark != wanted.mark)


def replaces_another_kind(wanted: Licence, state: LicenceState) -> bool:
    """Return whether the collection has applied a licence of another kind before, which is given back first."""
    return state.mark.startswith(_MARK) and not state.mark.startswith(f"{_MARK}{wanted.kind} ")


def judge_node(applied: bool, allowed: bool, state: LicenceState | None, *, known: bool = False) -> list[Problem]:
    """Return the problem of a node that would answer 402.

    applied: whether the same run applies one. allowed: rspm_allow_unlicensed. state: None where the product is not
    there. known: whether rspm_licence names one, which an upgrade does not apply.
    """
    if applied or allowed or (state and (state.active or state.server or state.ours is not None)):
        return []
    if known:
        return [
            Problem(
                check="licence",
                found="this node has no active licence, and rspm_licence was not applied to it yet",
                why="An upgrade would end with a node that answers 402 to everybody",
                fix=f"Run {PLAYBOOK}.site first, which applies it",
            )
        ]
    return [
        Problem(
            check="licence",
            found=f"rspm_licence is empty, and this node has {'no active licence' if state else 'none yet'}",
            why="Without a licence the product answers 402 to everybody once an evaluation is over",
            fix=(
                "Set rspm_licence, to the licence file best: {file: /path/on/the/controller.lic}. To go on without, "
                "such as for an evaluation, set rspm_allow_unlicensed to true"
            ),
        )
    ]


def no_licence_file(path: str) -> Problem:
    """Return the problem of a licence file that the controller does not have."""
    return Problem(
        check="licence",
        found=f"there is no licence file {path!r} on the controller, or it is empty",
        why="Every node gets this file",
        fix="Correct rspm_licence.file, or put the file there",
    )


def out_of_time(verb: str, timeout: float) -> Problem:
    """Return the problem of a license-manager that did not end in time."""
    return Problem(
        check="licence",
        found=f"{PROGRAM} {verb} gave no answer for {timeout:g} s",
        why="The vendor's activation server, or the licence server, can't be reached from this node",
        fix=f"Let this node reach it, or use a licence file, which needs no server, and run {PLAYBOOK}.site again",
    )


def refused(verb: str, rc: int, output: str) -> Problem:
    """Return the problem of a license-manager that failed."""
    return Problem(
        check="licence",
        found=f"{PROGRAM} {verb} ended with {rc}: {shown(output)}",
        why="Without a licence the product answers 402 to everybody",
        fix="Correct rspm_licence, or ask the vendor whether activations are left, and run the playbook again",
    )


def without_effect(verb: str) -> Problem:
    """Return the problem of a license-manager that succeeded while its status does not show it."""
    return Problem(
        check="licence",
        found=f"{PROGRAM} {verb} ended well, but {PROGRAM} status does not show the licence",
        why="Without a licence the product answers 402 to everybody",
        fix=f"Run {PROGRAM} status on the node, and repair what it says",
    )


def not_installed() -> Problem:
    """Return the problem of a node without the product."""
    return Problem(
        check="licence",
        found=f"there is no {PROGRAM}",
        why="A licence is applied with it",
        fix=f"Run {PLAYBOOK}.site, which installs it first",
    )


def not_given_back(rc: int, output: str) -> Problem:
    """Return the problem of a licence that a node could not give back."""
    return Problem(
        check="licence",
        found=f"{PROGRAM} deactivate ended with {rc}: {shown(output)}",
        why="The activation still counts for a machine that does not use it",
        fix="Repair what it says and run the playbook again, or keep it: -e rspm_migration_deactivate_licence=false",
    )


def summary(state: LicenceState) -> str:
    """Return the state for a person, without a secret."""
    parts = [name for name, yes in (("licence file", state.file or state.ours is not None), ("key", state.key)) if yes]
    return ", ".join(parts + ([f"licence server {state.server}"] if state.server else [])) or "no licence"


def _wrong(found: str, why: str, fix: str) -> Problem:
    return Problem(check="licence", found=found, why=why, fix=f"{fix}, in rspm_licence")


def _unknown(rc: int, output: str) -> DomainError:
    return DomainError(
        Problem(
            check="licence",
            found=f"{PROGRAM} status ended with {rc} and says what is not known: {shown(output)}",
            why="Whether the node has a licence can't be told from it",
            fix=f"Run {PROGRAM} status on the node, and repair what it says",
        )
    )

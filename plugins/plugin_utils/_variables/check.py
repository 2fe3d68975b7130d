# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with what was typed: the inventory's groups, the variables of all hosts, and the command's options."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.rspm.ha.plugins.plugin_utils._variables.spec import Option, faults

NODES = "rspm_nodes"
GROUPS = (NODES, "rspm_database", "rspm_nfs_server", "rspm_load_balancer")
PREFIX = "rspm_"
# How Ansible comes to a machine: only that what they need is defined.
CONNECTION = (
    *("ansible_host", "ansible_port", "ansible_user", "ansible_password", "ansible_ssh_pass"),
    *("ansible_become_user", "ansible_become_password", "ansible_become_pass", "ansible_ssh_private_key_file"),
)
EXAMPLE = "all: {children: {rspm_nodes: {hosts: {node1: , node2: }}}}"


@dataclass(frozen=True)
class Verb:
    """What a verb needs.

    groups: the groups whose hosts must all be there. needed: the variables that must have a value.
    """

    groups: tuple[str, ...]
    needed: tuple[str, ...] = ()


_CLUSTER = ("rspm_version", "rspm_database_password", "rspm_database_host", "rspm_nfs_server")
VERBS = {
    "site": Verb(GROUPS, ("rspm_address", *_CLUSTER)),
    "preflight": Verb(GROUPS, ("rspm_address", *_CLUSTER)),
    "upgrade": Verb((NODES,), _CLUSTER),
    "rollback": Verb((NODES,), ("rspm_database_password", "rspm_database_host")),
    "migrate_to_single_node": Verb(GROUPS, ("rspm_database_password", "rspm_database_host", "rspm_migration_target")),
    "status": Verb((NODES,)),
    "unlock": Verb(()),
}


@dataclass(frozen=True)
class Given:
    """A variable's value on one host, or why there is none.

    unset: the role's default, which nobody typed. missing: a variable that its value needs and that is not defined.
    unreadable: why the value can't be worked out otherwise.
    """

    value: object = None
    unset: bool = False
    missing: str = ""
    unreadable: str = ""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: with what, as it was typed; on which hosts, none where it is nobody's; what to do."""

    subject: str
    found: str
    fix: str
    hosts: tuple[str, ...] = ()


def distance(one: str, other: str) -> int:
    """Return how many letters have to be typed otherwise (changed, left out, put in, or two swapped)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        older, before, row = before, row, [i]
        for j, right in enumerate(other, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (left != right)))
            if i > 1 and j > 1 and left == other[j - 2] and one[i - 2] == right:
                row[j] = min(row[j], older[j - 2] + 1)
    return row[-1]


def _nearest(name: str, known: Sequence[str], cutoff: float) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
    return near[0] if near else ""


def group_faults(groups: Mapping[str, Sequence[str]], needs_nodes: bool = True) -> Iterator[Fault]:
    """Return what is wrong with the inventory's groups.

    groups: the names of the hosts of every group, `all` among them.
    """
    if not groups.get("all"):
        yield Fault(
            "inventory", "there is no host in it", f"Give the file with -i. The least that it holds is {EXAMPLE}"
        )
        return
    others = [name for name in groups if name not in (*GROUPS, "all", "ungrouped")]
    told = set()
    for group in GROUPS:
        for name in others:
            # a group of the team's own within ours is no slip of the keyboard
            near = distance(name.lower().replace("-", "_"), group) <= 2
            if near and set(groups[name]) - set(groups.get(group, ())):
                told.add(group)
                yield Fault(name, f"is a group that nothing uses, with {', '.join(groups[name])}", f"Name it {group}")
    if needs_nodes and not groups.get(NODES) and NODES not in told:
        near_name = _nearest(NODES, others, 0.5)
        fix = f"Is it {near_name}? Then name that {NODES}" if near_name else f"Put the nodes into it: {EXAMPLE}"
        yield Fault(NODES, "has no host" if NODES in groups else "is no group of the inventory", fix)


def limit_faults(verb: str, groups: Mapping[str, Sequence[str]], within: Sequence[str]) -> Iterator[Fault]:
    """Return the hosts that `--limit` leaves out although the verb needs them. within: those that it leaves."""
    wanted = [host for group in VERBS[verb].groups for host in groups.get(group, ())]
    left_out = [host for host in dict.fromkeys(wanted) if host not in within]
    if left_out:
        yield Fault(
            "--limit",
            f"leaves out {', '.join(left_out)}, which the playbook needs",
            "Type the command without it",
        )


def option_faults(arguments: Mapping[str, object]) -> Iterator[Fault]:
    """Return the options of the command line that would leave out tasks, on whose order everything rests."""
    for name in ("start_at_task", "step"):
        if arguments.get(name):
            yield Fault(f"--{name.replace('_', '-')}", "would leave out tasks", "Type the command without it")
    tags, skipped = arguments.get("tags"), arguments.get("skip_tags")
    if isinstance(tags, (list, tuple)) and [tag for tag in tags if tag != "all"]:
        yield Fault("--tags", "would leave out tasks", "Type the command without it, and without ANSIBLE_RUN_TAGS")
    if skipped:
        yield Fault(
            "--skip-tags", "would leave out tasks", "Type the command without it, and without ANSIBLE_SKIP_TAGS"
        )


def _needs(verb: str, name: str, host: str, groups: Mapping[str, Sequence[str]], values: Mapping[str, Given]) -> bool:
    """Return whether a variable has to have a value on a host."""
    if name == "rspm_package_checksum":
        # what is fetched from an address is signed by nobody: deb files never are
        installs = "rspm_version" in VERBS[verb].needed and host in groups.get(NODES, ())
        return installs and values.get("rspm_package_source", Given("url")).value == "url"
    if name not in VERBS[verb].needed:
        return False
    kind = values.get("rspm_storage_kind", Given("nfs")).value
    if name == "rspm_nfs_server" and kind != "nfs":
        return False
    if name == "rspm_migration_target" and values["rspm_migration"].value == "abort":
        return False
    # the hosts' own addresses, which are not known before they are asked
    if values[name].unset and groups.get(_SERVES.get(name, "")):
        return False
    on = (NODES, "rspm_database") if name == "rspm_database_password" else (NODES,)
    return any(host in groups.get(group, ()) for group in on)


def value_faults(
    options: Mapping[str, Option],
    given: Mapping[str, Mapping[str, Given]],
    groups: Mapping[str, Sequence[str]],
    verb: str = "",
) -> Iterator[Fault]:
    """Return what is wrong with the variables of all hosts.

    given: by host and name, every variable that starts with rspm_, and those of CONNECTION that are set.
    """
    for host, values in given.items():
        for name, each in values.items():
            if name not in options and name not in CONNECTION:
                near = _nearest(name, list(options), 0.7)
                fix = (
                    f"Is it {near}?"
                    if near
                    else "See docs/variables.md for those that there are, or give it another prefix"
                )
                yield Fault(name, "is no variable of the collection", fix, (host,))
            elif each.unset and (each.missing or each.unreadable):
                continue  # the default follows from what somebody typed, and that is told
            elif each.missing:
                yield Fault(name, f"needs {each.missing}, which is not defined", f"Define {each.missing}", (host,))
            elif each.unreadable:
                yield Fault(name, each.unreadable, "See what ansible-inventory --host <host> says", (host,))
            elif name in CONNECTION:
                continue
            elif verb and each.value in ("", None) and _needs(verb, name, host, groups, values):
                yield Fault(name, "is empty", _HOW.get(name, "Set it"), (host,))
            elif not each.unset:
                for found, fix in faults(options[name], each.value):
                    subject, _unused, rest = found.partition(" ")
                    known = subject == name
                    yield Fault(name, rest if known else found, fix, (host,))


_SERVES = {"rspm_database_host": "rspm_database", "rspm_nfs_server": "rspm_nfs_server"}
_HOW = {
    "rspm_version": "Set it to the version that all nodes are to run, such as 2026.08.0",
    "rspm_address": "Set it to the URL that users type",
    "rspm_database_password": "Set it in a vault: openssl rand -hex 24 makes one",
    "rspm_database_host": "Put a host into the group rspm_database, or set it",
    "rspm_nfs_server": "Put a host into the group rspm_nfs_server, set it, or set rspm_storage_kind",
    "rspm_package_checksum": "Set it to sha256: and the sum of the package at rspm_package_url, as the vendor or your "
    "own mirror publishes it",
    "rspm_migration_target": "Set it to the name of the node that stays",
}


def merged(found: Sequence[Fault], everywhere: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return the rows of the table: what, where, and what is wrong with it; each once, with all of its hosts."""
    hosts: dict[tuple[str, str, str], list[str]] = {}
    for fault in found:
        hosts.setdefault((fault.subject, fault.found, fault.fix), []).extend(fault.hosts)
    rows = []
    for (subject, text, fix), on in hosts.items():
        names = list(dict.fromkeys(on))
        where = "" if not names else "all hosts" if set(names) >= set(everywhere) else ", ".join(names)
        rows.append((subject, where, f"{text}. {fix}{'' if fix.endswith('?') else '.'}"))
    return rows


def table(found: Sequence[Fault], everywhere: Sequence[str], first: bool = True) -> str:
    """Return all faults as a plain table with a heading. first: nothing was done before."""
    rows = merged(found, everywhere)
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [
        f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}" if widths[1] else f"{row[0]:<{widths[0]}}  {row[2]}"
        for row in rows
    ]
    count = "1 problem" if len(rows) == 1 else f"{len(rows)} problems"
    return "\n".join(
        [f"{count} with what was typed.{' No machine was asked or changed.' if first else ''}", "", *lines]
    )

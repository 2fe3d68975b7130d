# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a migration to one node will do, and what it did: for a program and for a person."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.plan import state_folder
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.report import (
    done_phases,
    outage,
    outage_line,
    phase_table,
    plan_lines,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.model import ABORT

_BEFORE_STOP = ("", "lock", "begin", "warm", "serve", "ready_target", "drain")
_BEFORE_SWITCH = (*_BEFORE_STOP, "stop_others")
# In which the switch is written
SWITCHING = "move"
UNKNOWN = "unknown"

# What the lab's machines did, rounded down, to reckon with: files and bytes a second of a copy, bytes of databases.
_FILES, _BYTES, _ROWS_BYTES = 250.0, 20e6, 2e6
# Seconds of an outage that depend on nothing: stopping and starting. The lab's machines take 3 to 4 for all of a small
# cluster; a server that has more to begin with than the stand-in takes longer.
_FIXED = 10.0


def estimate(data: Mapping[str, Any], databases: Mapping[str, Any]) -> dict[str, float]:
    """Return how long it is likely to take, in seconds: before (copying while the cluster serves), and the outage.

    data: tree_copy's prediction, {} where data is kept. databases: what database_copy observed, likewise.
    """
    before, copies = 60.0, [0.0]
    if data:
        compare = sum(step["seconds"] for step in data["timeline"] if step["step"] == "compare")
        before += data["copied_files"] / _FILES + data["copied_bytes"] / _BYTES + compare
        copies.append(2 * compare)
    if databases:
        before += 30
        copies.append(5 + databases["bytes"] / _ROWS_BYTES)
    # both are copied at the same time
    return {"before_seconds": round(before), "outage_seconds": round(_FIXED + max(copies))}


def outline(plan: Mapping[str, Any], choices: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return a plan (Plan.to_dict()) as lines for a person.

    choices: target, load_balancer, data, data_dir, database. found: data and databases, as estimate takes them.
    """
    if not plan["phases"]:
        return [f"Nothing is to be done: the cluster is {plan['target'] or 'as it was'}."]
    lines = [f"{plan['target']} stays, with rstudio-pm {plan['version']}."] if plan["target"] else []
    data, databases = known(found.get("data"), "files"), known(found.get("databases"), "tables")
    if data:
        lines.append(
            f"Data: {data['files']} files, {_size(data['bytes'])} go to {choices['data_dir']}; {data['copied_files']} "
            f"files, {_size(data['copied_bytes'])} are not there yet; {_size(data['free_bytes'])} are free."
        )
    if databases:
        lines.append(
            f"Databases: {databases['tables']} tables, about {databases['rows']} rows, {_size(databases['bytes'])}."
        )
    if data or databases:
        times = estimate(data, databases)
        lines.append(
            f"Likely {_duration(times['before_seconds'])} while the cluster serves, then "
            f"{_duration(times['outage_seconds'])} without service."
        )
    return [*lines, *plan_lines(plan["phases"])]


def known(result: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    """Return a module's result, {} for one of a task that was skipped. name: of what every other result has."""
    return result if result and name in result else {}


def _size(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def report(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run did, with a table of it.

    run: purpose (migrate, abort), outcome (done, stopped, predicted, nothing to do), plan, choices, record, began,
    done (as done_phases takes it), failures (text by name), at (the phase that began last), measured (service_probe's
    result, {} for nothing), data and databases (what the last copies returned, {}), left: what
    stays of the old cluster (data: server and path; databases: commands; nodes; balancers; inventory).
    """
    plan = run["plan"]
    # what is given up leaves the old home in use
    migrated = (run["purpose"], run["outcome"]) == ("migrate", "done")
    result: dict[str, Any] = {
        "purpose": run["purpose"],
        "outcome": run["outcome"],
        "target": plan["target"],
        "choices": dict(run["choices"]),
        "began": run["began"],
        "stopped_in": run["at"] if run["outcome"] == "stopped" else "",
        "phases": done_phases(run["done"]),
        "outage": outage(run["measured"]),
        "data": _counts(run["data"], ("files", "bytes", "copied_files", "copied_bytes", "verified", "read_bytes")),
        "databases": _counts(run["databases"], ("tables", "rows", "bytes", "verified_tables")),
        "failures": dict(run["failures"]),
        "left": left_behind(run["choices"], run["left"]) if migrated else [],
    }
    result["says"] = _says(result, run["record"], plan.get("copied", {}))
    result["table"] = _table(result)
    return result


def _counts(found: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: found[name] for name in names if name in found}


def left_behind(choices: Mapping[str, Any], left: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what is still there of the old cluster, and the commands that remove it."""
    kept: list[dict[str, Any]] = []

    def add(what: str, where: str, *commands: str) -> None:
        kept.append({"what": what, "where": where, "commands": list(commands)})

    nodes, target = ", ".join(left["nodes"]), choices["target"]
    if choices["data"] == "move":
        gone = f"rm -rf --one-file-system {left['data_path']}"
        add("the old data, which no node mounts any more", left["data_server"], gone)
        add("the evidence of the copy", target, f"rm -rf {state_folder(choices['data_dir'])}")
    if choices["database"] == "move":
        drops = [f"sudo -u postgres psql -c '{each}'" for each in left["database_commands"]]
        add("the old databases, read-only", left["database_server"], *drops)
    if choices["load_balancer"] == "route" and left["balancers"]:
        what = "the load balancer, which still sends its users to the node"
        add(what, ", ".join(left["balancers"]), "systemctl disable --now rspm-haproxy")
    if left["mount"]:
        where = nodes + (f", {target}" if choices["data"] == "move" else "")
        what = "the mount of the shared storage, which is the team's"
        add(what, where, f"umount {left['mount']}", "and its line in /etc/fstab")
    if left["foreign_storage"]:
        add("an export to nodes that are retired", left["data_server"], f"take {nodes} out of /etc/exports")
    if left["foreign_database"]:
        add("client rules for nodes that are retired", left["database_server"], f"take {nodes} out of pg_hba.conf")
    if left["nodes"] and left["licences"]:
        what = "licences, where they were activated (or run this with rspm_migration_deactivate_licence)"
        add(what, nodes, "/opt/rstudio-pm/bin/license-manager deactivate")
    if left["nodes"]:
        what = "rstudio-pm, blocked for good, and its configuration"
        add(what, nodes, "apt-get purge rstudio-pm (or dnf remove rstudio-pm)")
    return kept


def _says(result: Mapping[str, Any], record: str, copied: Mapping[str, Any]) -> list[str]:
    """Return how the run ended, and what to type next. copied: of the plan.

    record: the state that is written down, UNKNOWN where the node that writes it has not told.
    """
    target, phase = result["target"], result["stopped_in"]
    if result["outcome"] == "nothing to do":
        return ["Nothing was to be done."]
    if result["purpose"] == "abort" and result["outcome"] != "stopped":
        lines = [f"The migration is given up, and the cluster serves as before: {result['outcome']}."]
        if copied.get("data_dir"):
            known = state_folder(copied["data_dir"])
            lines.append(
                f"What was copied stays on {target} for another try. To remove it: rm -rf "
                f"{shlex.quote(copied['data_dir'])} {shlex.quote(known)}"
            )
        if copied.get("databases"):
            lines.append(f"So do the databases on {target}. To remove them: sudo -u postgres dropdb, for each of both")
        return lines
    if result["outcome"] != "stopped":
        return [f"From HA to {target} alone: {result['outcome']}."]
    where = f"in phase {phase}" if phase else "before its first phase"
    lines = [f"The {'way back' if result['purpose'] == 'abort' else 'migration'} stopped {where}."]
    lines += [f"{host}: {text}" for host, text in result["failures"].items()]
    if result["purpose"] == "abort":
        return [*lines, f"To go on, once the cause is gone: {ABORT}."]
    if phase in _BEFORE_STOP:
        lines.append("No node was stopped, and the cluster serves.")
    if record not in ("switched", "finished") and phase in (*_BEFORE_SWITCH, SWITCHING):
        lines.append(
            "To go on, once the cause is gone, type the same command again. To give up and start the old cluster, "
            f"which has lost nothing: {ABORT}."
        )
        if phase == SWITCHING and record == UNKNOWN:
            lines.append(
                f"{target} has not told whether the switch is written. Where it is, the way back is refused, and the "
                "same command goes on."
            )
    else:
        lines.append(
            "The node may have written to its own data and databases, so this can't be undone: once the cause is gone, "
            "type the same command again. The old nodes stay blocked, so that nothing is written to the old ones."
        )
    return lines


def _table(result: Mapping[str, Any]) -> list[str]:
    lines = [*result["says"], "", *phase_table(result["phases"], "host")]
    if result["data"]:
        lines.append("Data: " + ", ".join(f"{name} {value}" for name, value in result["data"].items()))
    if result["databases"]:
        lines.append("Databases: " + ", ".join(f"{name} {value}" for name, value in result["databases"].items()))
    for kept in result["left"]:
        lines.append(f"Still there on {kept['where']}: {kept['what']}. To remove it: {'; '.join(kept['commands'])}")
    return [*lines, "", outage_line(result["outage"])]

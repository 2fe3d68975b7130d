# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service rstudio-pm: its unit, whether it answers, and what makes it run the wanted version and configuration.

Sources: systemctl(1) and systemd.unit(5) for the unit's properties, the vendor's documents for the unit's name and the
answers of /__ping__ and /__api__/status.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.rspm.ha.plugins.module_utils._config.gcfg import Document, last
from ansible_collections.rspm.ha.plugins.module_utils._config.rules import port_of
from ansible_collections.rspm.ha.plugins.module_utils._config.unit import DROPIN_FOLDER, changed_since_start
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import PLAYBOOK, DomainError, Problem, raise_any
from ansible_collections.rspm.ha.plugins.module_utils._core.product import UNIT
from ansible_collections.rspm.ha.plugins.module_utils._core.version import reports_version, same_version
from ansible_collections.rspm.ha.plugins.module_utils._package.rules import PackageState

# A drop-in that keeps the unit from starting. `systemctl mask` is not safe while the package is being installed: it
# puts a link to /dev/null where an installer may copy its unit file to, and a failing start can fail the installation.
BLOCK_PATH = f"{DROPIN_FOLDER}/rspm-ha-block.conf"
_BLOCK_HEAD = "# Blocked by rspm.ha for: "
BLOCKED_FOR_INSTALL = "install"
BLOCKED_FOR_GOOD = "migrated"

UNIT_PROPERTIES = (
    "LoadState",
    "UnitFileState",
    "ActiveState",
    "SubState",
    "MainPID",
    "NRestarts",
    "NeedDaemonReload",
    "ConditionResult",
    "ExecMainStartTimestampMonotonic",
    "ExecMainExitTimestampMonotonic",
    "ControlGroup",
    "Job",
)
# After so many failed starts within so many seconds waiting is of no use.
_CRASHES = 3
_CRASHING_SECONDS = 60


@dataclass(frozen=True)
class UnitState:
    """The unit as systemd has it.

    load_state, file_state, active_state, sub_state: systemd's words ("loaded", "enabled", "active", "running").
    pid: main process, 0 where there is none. started_at: its start in seconds since the epoch, 0 where there is none.
    restarts: automatic restarts since the last start by hand. blocked_for: why the collection keeps the unit from
    starting ("install", "upgrade"), "" where it does not. condition_failed: the last start was skipped by a condition.
    job: whether systemd still has a job for it, so that the other fields are those from before the job.
    stopped_at: the end of its last process since the boot, in seconds since the epoch; 0 where none ended or one runs.
    """

    load_state: str
    file_state: str
    active_state: str
    sub_state: str
    pid: int
    started_at: float
    restarts: int
    need_daemon_reload: bool
    condition_failed: bool
    control_group: str
    blocked_for: str
    job: bool = False
    stopped_at: float = 0.0

    @property
    def masked(self) -> bool:
        """Whether somebody masked the unit."""
        return "masked" in (self.load_state, self.file_state) or self.file_state == "masked-runtime"

    @property
    def enabled(self) -> bool:
        """Whether it starts at boot."""
        return self.file_state in ("enabled", "enabled-runtime", "alias", "static")

    @property
    def running(self) -> bool:
        """Whether there is, or is about to be, a process."""
        return self.pid != 0 or self.active_state in ("active", "activating", "reloading", "deactivating")

    @property
    def blocked(self) -> bool:
        """Whether nothing can start it: neither a person nor a package's scripts nor a reboot."""
        return self.load_state != "loaded" or self.masked or bool(self.blocked_for)


@dataclass(frozen=True)
class ApiState:
    """What the server answers to a request from its own machine.

    url: what was asked. health_code: HTTP status of /__ping__, 0 where nothing answered. version: of /__api__/status,
    "" where it says none. error: why nothing answered, "" where something did. starting: whether /__ping__ answers and
    /__api__/status does not yet: a server may listen before it has moved the schema.
    """

    url: str
    health_code: int
    version: str
    error: str = ""
    starting: bool = False

    def healthy(self, allow_unlicensed: bool) -> bool:
        """Whether the node can serve; a server without a licence answers 402."""
        return not self.starting and (self.health_code == 200 or (allow_unlicensed and self.health_code == 402))


@dataclass(frozen=True)
class ConfigState:
    """The configuration on disk against what the running process was started with.

    config_hash: equal on all nodes with the same rstudio-pm.gcfg, "" where there is none. data_dir, key_path: as the
    configuration has them. key_hash: SHA-256 of the key file, "" where there is none. files: SHA-256 of what a start
    reads, by path. started_with: the same as it was at the start, empty where that is not known.
    """

    config_hash: str
    data_dir: str
    key_path: str
    key_hash: str
    files: Mapping[str, str]
    started_with: Mapping[str, str]


@dataclass(frozen=True)
class ProbeTarget:
    """Where to ask the server on its own machine. server_name: whose certificate it shows, for https."""

    scheme: str
    host: str
    port: int
    server_name: str

    @property
    def url(self) -> str:
        """The target as a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def probe_target(document: Document) -> ProbeTarget:
    """Return where the server listens, as its configuration has it; plain HTTP first, :4242 where it says nothing."""
    scheme = "http"
    listen = last(document, "HTTP", "Listen")
    if not listen and last(document, "HTTPS", "Listen"):
        scheme, listen = "https", last(document, "HTTPS", "Listen")
    host = listen.rpartition(":")[0].strip("[]")
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    name = last(document, "Server", "Address").partition("://")[2].partition("/")[0].partition(":")[0]
    return ProbeTarget(scheme, host, port_of(listen) or 4242, name or host)


def parse_unit(text: str, block_text: str, wall_minus_monotonic: float) -> UnitState:
    """Return the state from `systemctl show`'s output.

    block_text: content of BLOCK_PATH, "" where it is absent. wall_minus_monotonic: seconds between the two clocks.
    """
    values = dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)
    pid = int(values.get("MainPID") or 0)
    started, ended = (int(values.get(f"ExecMain{end}TimestampMonotonic") or 0) / 1e6 for end in ("Start", "Exit"))
    return UnitState(
        load_state=values.get("LoadState", "not-found"),
        file_state=values.get("UnitFileState", ""),
        active_state=values.get("ActiveState", "inactive"),
        sub_state=values.get("SubState", "dead"),
        pid=pid,
        started_at=round(started + wall_minus_monotonic, 1) if pid and started else 0.0,
        restarts=int(values.get("NRestarts") or 0),
        need_daemon_reload=values.get("NeedDaemonReload") == "yes",
        condition_failed=values.get("ConditionResult") == "no",
        control_group=values.get("ControlGroup", ""),
        blocked_for=blocked_for(block_text),
        job=int(values.get("Job") or 0) != 0,
        stopped_at=round(ended + wall_minus_monotonic, 1) if ended and not pid else 0.0,
    )


def block_text(purpose: str) -> str:
    """Return the drop-in that keeps the unit from starting: its condition can't be met.

    A stop ends all of its processes then, also where the unit would leave some of them (KillMode=process): any of them
    may use the databases.
    """
    return f"{_BLOCK_HEAD}{purpose}\n[Unit]\nConditionPathExists=!{BLOCK_PATH}\n[Service]\nKillMode=control-group\n"


def blocked_for(text: str) -> str:
    """Return the purpose that a block was made for, "unknown" where it does not say, "" where there is none."""
    if not text:
        return ""
    first = text.splitlines()[0]
    return first[len(_BLOCK_HEAD) :].strip() if first.startswith(_BLOCK_HEAD) else "unknown"


def parse_status(body: str) -> str:
    """Return the version in the answer of /__api__/status, "" where there is none."""
    try:
        answer = json.loads(body)
    except ValueError:
        return ""
    version = answer.get("version") if isinstance(answer, dict) else None
    return version if isinstance(version, str) else ""


def file_reasons(unit: UnitState, config: ConfigState) -> list[str]:
    """Return why the process was started with other files than those on disk; [] also where nothing runs."""
    if not unit.running:
        return []
    if not config.started_with:
        return ["it was not started with the collection's configuration"]
    return [f"{path} changed since it started" for path in changed_since_start(config.started_with, config.files)]


def restart_reasons(package: PackageState, unit: UnitState, api: ApiState, config: ConfigState) -> list[str]:
    """Return why the process has another version or configuration than the disk; [] also where nothing runs."""
    reasons = file_reasons(unit, config)
    if unit.running and api.version and package.version and not reports_version(api.version, package.version):
        reasons.append(f"it runs {api.version}, installed is {package.version}")
    return reasons


@dataclass(frozen=True)
class StartDecision:
    """What makes the node run the wanted version as configured.

    action: "none", "start" or "restart". enable: it has to be enabled first. unblock: the block of the installation
    ends. reasons: why, for a person.
    """

    action: str
    enable: bool
    unblock: bool
    reasons: Sequence[str]

    @property
    def changes(self) -> bool:
        """Whether anything is to be done."""
        return self.action != "none" or self.enable or self.unblock


def decide_start(
    package: PackageState,
    unit: UnitState,
    api: ApiState,
    config: ConfigState,
    wanted: str,
    *,
    planning: bool,
    predicted: bool = False,
) -> StartDecision:
    """Return what has to be done so that the node runs version wanted as configured.

    planning: check mode, in which the package may not be there yet because nothing was installed.
    predicted: in check mode, that the configuration would have been changed before.
    Raises DomainError where a start would be wrong.
    """
    if not package.installed:
        if planning:
            return StartDecision("start", True, False, ("it is not installed yet",))
        raise _refused(
            f"rstudio-pm is {'not installed' if package.absent else 'broken'}",
            "There is nothing to start",
            f"Run {PLAYBOOK}.site",
        )
    if not same_version(package.version, wanted):
        raise _refused(
            f"installed is {package.version}, rspm_version is {wanted}",
            "Starting it would run a version that the cluster is not meant to have",
            f"Run {PLAYBOOK}.upgrade, or set rspm_version to {package.version}",
        )
    raise_any(judge_unit(unit))
    reasons = restart_reasons(package, unit, api, config)
    if planning and predicted and not reasons:
        reasons = ["its configuration would change"]
    action = "none" if unit.running and not reasons else "restart" if unit.running else "start"
    if not unit.running:
        reasons = ["it does not run"]
    return StartDecision(action, not unit.enabled, bool(unit.blocked_for), tuple(reasons))


def judge_unit(unit: UnitState) -> list[Problem]:
    """Return why the unit must not be started, whatever is installed."""
    if unit.masked:
        return [
            _refusal(
                "the unit rstudio-pm is masked",
                "Somebody keeps this node from starting",
                "If that is over, run systemctl unmask rstudio-pm and the playbook again",
            )
        ]
    if unit.blocked_for == BLOCKED_FOR_GOOD:
        return [
            _refusal(
                f"this node was retired by a migration to a single node ({BLOCK_PATH})",
                "It would write to databases and data that are in use elsewhere, or are the old ones",
                "Take it out of the group rspm_nodes, as in the inventory that the migration wrote",
            )
        ]
    if unit.blocked_for not in ("", BLOCKED_FOR_INSTALL):
        return [
            _refusal(
                f"the unit rstudio-pm is blocked for: {unit.blocked_for} ({BLOCK_PATH})",
                "A run that did not finish keeps this node from starting",
                f"Finish it with the command that it was started with: {PLAYBOOK}.{unit.blocked_for}",
            )
        ]
    return []


def _refusal(found: str, why: str, fix: str) -> Problem:
    return Problem(check="node-start", found=found, why=why, fix=fix)


def _refused(found: str, why: str, fix: str) -> DomainError:
    return DomainError(_refusal(found, why, fix))


def missing_for_health(unit: UnitState | None, api: ApiState, wanted: str, *, allow_unlicensed: bool) -> str | None:
    """Return what is still missing until the node is healthy, None where it is. unit: None = not looked at."""
    if api.health_code == 0:
        state = f", the unit is {unit.active_state} ({unit.sub_state})" if unit else ""
        return f"nothing answers at {api.url} ({api.error}){state}"
    if api.starting:
        return f"{api.url}/__ping__ answers {api.health_code}, but /__api__/status does not yet"
    if not api.healthy(allow_unlicensed):
        meaning = {402: ", which means that it has no licence", 503: ", which means that it is offline"}
        return f"{api.url}/__ping__ answers {api.health_code}{meaning.get(api.health_code, '')}"
    if api.version and not reports_version(api.version, wanted):
        return f"{api.url}/__api__/status says version {api.version}, not {wanted}"
    return None


def reason_to_give_up(unit: UnitState, waited: float) -> str | None:
    """Return why waiting longer won't help, None where it may. waited: seconds since the start."""
    if unit.active_state == "failed" and not unit.job:
        return "the unit failed"
    if unit.condition_failed and not unit.running and not unit.job:
        return "systemd skipped the start, since a condition of the unit is not met"
    if unit.restarts >= _CRASHES and waited >= _CRASHING_SECONDS:
        return f"it ended by itself {unit.restarts} times in {waited:.0f} s"
    return None


def start_failed(host: str, cause: str, waited: float, journal: Sequence[str]) -> DomainError:
    """Return the error of a node that does not get healthy. journal: its last lines, secrets removed."""
    return DomainError(
        Problem(
            check="node-health",
            found=f"{host} is not healthy after {waited:.0f} s: {cause}. Last lines of its journal:\n"
            + "\n".join(f"    {line}" for line in journal),
            why="A node that does not serve is not put back behind the load balancer, and the run stops here",
            fix=f"See journalctl -u {UNIT} -n 100 on {host}, repair the cause, and run the same command again",
        )
    )

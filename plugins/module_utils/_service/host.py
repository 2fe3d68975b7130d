# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read, start and stop the unit rstudio-pm, and ask the server from its own machine. Decides nothing."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import time

from ansible_collections.rspm.ha.plugins.module_utils._config.gcfg import Document, hide, last, parse, secrets_of
from ansible_collections.rspm.ha.plugins.module_utils._config.rules import KEY_PATH
from ansible_collections.rspm.ha.plugins.module_utils._config.unit import (
    CONFIG_PATH,
    DROPIN_FOLDER,
    PATIENCE_PATH,
    STARTED_WITH_PATH,
    config_hash,
    parse_sums,
    patience_text,
)
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import (
    make_folder,
    read_text,
    sum_of,
    sync_folder,
    write_file,
)
from ansible_collections.rspm.ha.plugins.module_utils._core.host_user import as_account
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._core.product import UNIT
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import (
    BLOCK_PATH,
    UNIT_PROPERTIES,
    ApiState,
    ConfigState,
    ProbeTarget,
    StartDecision,
    UnitState,
    block_text,
    missing_for_health,
    parse_status,
    parse_unit,
    probe_target,
    reason_to_give_up,
    start_failed,
)

_STORAGE_TIMEOUT = 10.0
_JOURNAL_LINES = 20
# Asking systemd takes processor time that the starting service needs; asking the port takes next to none
_UNIT_INTERVAL = 1.0


def load_unit(runner: Runner) -> UnitState:
    """Return the unit's state."""
    shown = runner(["systemctl", "show", UNIT, "--property", ",".join(UNIT_PROPERTIES)], timeout=30)
    return parse_unit(shown.stdout, read_text(BLOCK_PATH) or "", time.time() - time.monotonic())


def block(runner: Runner, purpose: str) -> None:
    """Keep the unit from starting, also after a reboot, whoever asks; a process that runs goes on."""
    make_folder(DROPIN_FOLDER)
    write_file(BLOCK_PATH, block_text(purpose), 0o644)
    daemon_reload(runner)


def unblock() -> None:
    """End what block did. A start needs no daemon-reload after it, which a node that is down would have to wait for."""
    if os.path.lexists(BLOCK_PATH):
        os.unlink(BLOCK_PATH)
        sync_folder(DROPIN_FOLDER)


def be_patient() -> None:
    """Let the next start take as long as it needs, once systemd has read its unit files again."""
    make_folder(DROPIN_FOLDER)
    write_file(PATIENCE_PATH, patience_text(), 0o644)


def daemon_reload(runner: Runner) -> None:
    """Make systemd read its unit files again."""
    runner(["systemctl", "daemon-reload"], check=True, timeout=120)


def stop(runner: Runner, timeout: float = 150) -> None:
    """Stop the unit and wait for it."""
    runner(["systemctl", "stop", UNIT], check=True, timeout=timeout)


def begin(runner: Runner, action: str, *, forget: bool = True) -> None:
    """Ask for "start" or "restart" without waiting: the unit's type decides how long that would take.

    forget: earlier failures first, so that restarts are counted from here; needless for one that was stopped well.
    """
    if forget:
        runner(["systemctl", "reset-failed", UNIT], timeout=30)
    runner(["systemctl", "--no-block", action, UNIT], check=True, timeout=60)


def enable(runner: Runner) -> None:
    """Make the unit start at boot."""
    runner(["systemctl", "enable", UNIT], check=True, timeout=120)


def load_journal(runner: Runner, lines: int, secrets: set[str]) -> list[str]:
    """Return the unit's last journal lines without secrets."""
    shown = runner(["journalctl", "--unit", UNIT, "--lines", str(lines), "--no-pager", "--output", "cat"], timeout=30)
    return hide(shown.stdout, secrets).splitlines()


def load_document() -> Document:
    """Return the configuration on disk, empty where there is none or it is no gcfg."""
    try:
        return parse(read_text(CONFIG_PATH) or "")
    except DomainError:
        return {}


def load_config(runner: Runner, document: Document) -> ConfigState:
    """Return the configuration on disk and what the process was started with. document: of load_document."""
    data_dir = last(document, "Server", "DataDir", "/var/lib/rstudio-pm")
    key_path = last(document, "Server", "EncryptionKeyPath", f"{data_dir}/rstudio-pm.key")
    paths = [CONFIG_PATH]
    if key_path == KEY_PATH:
        paths.append(KEY_PATH)
    if os.path.isdir(DROPIN_FOLDER):
        paths += [
            f"{DROPIN_FOLDER}/{name}"
            for name in sorted(os.listdir(DROPIN_FOLDER))
            if name.endswith(".conf")
            and not name.startswith(".")
            and f"{DROPIN_FOLDER}/{name}" not in (BLOCK_PATH, PATIENCE_PATH)
        ]
    files = {path: digest for path in paths for digest in [sum_of(path)] if digest}
    # on shared storage, where a plain read could hang for as long as the server is away
    key = runner(as_account(["sha256sum", key_path]), timeout=_STORAGE_TIMEOUT)
    text = read_text(CONFIG_PATH)
    return ConfigState(
        config_hash="" if text is None else config_hash(text),
        data_dir=data_dir,
        key_path=key_path,
        key_hash=key.stdout.split(" ")[0] if key.rc == 0 else "",
        files=files,
        started_with=parse_sums(read_text(STARTED_WITH_PATH) or ""),
    )


def _get(target: ProbeTarget, path: str, timeout: float) -> tuple[int, str]:
    """Return status and body of one request; raises OSError or HTTPException where there is no answer."""
    connection = http.client.HTTPConnection(target.host, target.port, timeout=timeout)
    try:
        if target.scheme == "https":
            plain = socket.create_connection((target.host, target.port), timeout=timeout)
            # the name in the certificate is the cluster's, the connection goes to this machine
            connection.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=target.server_name)
        connection.request("GET", path, headers={"Host": f"{target.server_name}:{target.port}"})
        response = connection.getresponse()
        return response.status, response.read(1 << 20).decode("utf-8", "replace")
    finally:
        connection.close()


def load_api(target: ProbeTarget, timeout: float = 5) -> ApiState:
    """Ask the server on this machine for its health and its version; timeout in seconds a request."""
    try:
        code, _body = _get(target, "/__ping__", timeout)
    except (OSError, http.client.HTTPException) as error:
        return ApiState(target.url, 0, "", str(error) or type(error).__name__)
    try:
        status, body = _get(target, "/__api__/status", timeout)
    except (OSError, http.client.HTTPException):
        status, body = 0, ""
    # a team may have closed it (401), or an old version not know it (404)
    starting = status == 0 or status >= 500
    return ApiState(target.url, code, parse_status(body) if status == 200 else "", starting=starting)


def known_secrets(document: Document) -> set[str]:
    """Return the secrets that no output of this host may show."""
    return secrets_of(document) | {text.strip() for text in [read_text(KEY_PATH)] if text and text.strip()}


def carry_out(runner: Runner, decision: StartDecision) -> None:
    """Do what decide_start found, without waiting for health."""
    if decision.unblock:
        unblock()
        daemon_reload(runner)
    if decision.enable:
        enable(runner)
    if decision.action != "none":
        begin(runner, decision.action)


def wait_for_health(
    runner: Runner, host: str, wanted: str, *, allow_unlicensed: bool, timeout: float, interval: float = 0.5
) -> tuple[ApiState, float]:
    """Wait until the node is healthy and of the wanted version; returns its last answer and the seconds it took.

    Raises DomainError, with the journal's last lines, after timeout seconds or where waiting can't help.
    """
    document = load_document()
    target = probe_target(document)
    begun = time.monotonic()
    next_look = _UNIT_INTERVAL
    while True:
        api = load_api(target)
        waited = time.monotonic() - begun
        unit = load_unit(runner) if waited >= min(next_look, timeout) else None
        missing = missing_for_health(unit, api, wanted, allow_unlicensed=allow_unlicensed)
        if missing is None:
            return api, waited
        cause = reason_to_give_up(unit, waited) if unit else None
        if cause or waited >= timeout:
            journal = load_journal(runner, _JOURNAL_LINES, known_secrets(document))
            raise start_failed(host, f"{cause}, and {missing}" if cause else missing, waited, journal)
        if unit:
            next_look = waited + _UNIT_INTERVAL
        time.sleep(interval)

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The unit of the service: its drop-in, what it was started with, and what check-config and the key say of a change.

Sources: systemd.unit(5), systemd.exec(5), systemd-escape(1); the vendor's pages on check-config and on encryption.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from ansible_collections.rspm.ha.plugins.module_utils._config.gcfg import Document, last
from ansible_collections.rspm.ha.plugins.module_utils._config.rules import KEY_PATH, LISTENERS, port_of
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import PLAYBOOK, DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._core.product import ACCOUNT, UNIT

CONFIG_PATH = "/etc/rstudio-pm/rstudio-pm.gcfg"
DROPIN_FOLDER = f"/etc/systemd/system/{UNIT}.d"
DROPIN_PATH = f"{DROPIN_FOLDER}/rspm-ha.conf"
# There from before the schema may move until the unit has started. The last by name, so that no other one overrules it.
PATIENCE_PATH = f"{DROPIN_FOLDER}/zz-rspm-ha-patience.conf"
# Root-only: what the running process was started with, written by the unit itself at every start.
STARTED_WITH_PATH = "/run/rspm-ha/started-with"


def low_ports(document: Document) -> list[int]:
    """Return the listeners' ports below 1024, which need a capability."""
    ports = (port_of(last(document, *setting.split("."))) for setting in LISTENERS)
    return sorted({port for port in ports if port is not None and port < 1024})


def account_missing(account: str) -> Problem:
    """Return the problem of a host without the service's account."""
    return Problem(
        "service-account",
        f"there is no user and group {account}",
        "The configuration and the key belong to the account that the server runs as",
        f"Run {PLAYBOOK}.site, which makes it before it installs the package",
    )


def mount_unit(path: str) -> str:
    """Return the name of the systemd mount unit of a mount point, as systemd-escape --path --suffix=mount has it."""
    inner = "/".join(part for part in path.split("/") if part)
    escaped = "".join(
        "-"
        if character == "/"
        else character
        if (character.isascii() and character.isalnum()) or character in ":_" or (character == "." and index)
        else "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8"))
        for index, character in enumerate(inner)
    )
    return f"{escaped or '-'}.mount"


def dropin(mount_point: str, document: Document, key_path: str) -> str:
    """Return the text of the unit's drop-in.

    mount_point: what to wait for, "" where the data is on a local disk. document: the configuration.
    key_path: key file that the collection owns, "" where the server keeps its own in the data directory.
    """
    mount = f" {mount_unit(mount_point)}" if mount_point else ""
    watched = " ".join(f'"{path}"' for path in (CONFIG_PATH, key_path) if path)
    lines = [
        "# Written by the collection rspm.ha.",
        "[Unit]",
    ]
    if mount:
        lines += [
            "# Wanted, not required: a mount that comes too late at boot would cancel the start for good. The check",
            "# below fails instead, and the start is tried again, the mount with it.",
        ]
    lines += [
        f"Wants=network-online.target{mount}",
        f"After=network-online.target remote-fs.target{mount}",
        "# The database or the storage may come minutes later than this machine; never give up.",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Restart=on-failure",
        "RestartSec=5",
    ]
    if mount:
        lines += [
            "# As the server's account: with root_squash what root asks is refused, now and then a stat too.",
            f'ExecStartPre=mountpoint -q "{mount_point}"'.replace("%", "%%"),
        ]
    lines += [
        "# What this start reads, so that a later run knows whether what runs is what is configured.",
        f"ExecStartPre=+-/bin/sh -c 'umask 077; mkdir -p {STARTED_WITH_PATH.rpartition('/')[0]};"
        f" sha256sum {watched} {DROPIN_FOLDER}/*.conf >{STARTED_WITH_PATH} 2>/dev/null'",
    ]
    if low_ports(document):
        lines.append("AmbientCapabilities=CAP_NET_BIND_SERVICE")
    return "\n".join(lines) + "\n"


def starts_alike(loaded: str, wanted: str) -> bool:
    """Whether a start with one drop-in is one with the other: where only the mount differs that is waited for."""
    mount = ("#", "Wants=", "After=", "ExecStartPre=mountpoint ")
    left, right = ([line for line in text.splitlines() if not line.startswith(mount)] for text in (loaded, wanted))
    return left == right


def patience_text() -> str:
    """Return the drop-in that lets a start take as long as it needs, and that is gone once the unit has started.

    A unit that tells systemd when it is ready (Type=notify) is killed after 90 s otherwise, while it moves the schema.
    It removes itself, so that it lasts through a reboot in the middle and needs nobody to clean up.
    """
    return f"[Service]\nTimeoutStartSec=infinity\nExecStartPost=+-/bin/rm -f {PATIENCE_PATH}\n"


def parse_sums(text: str) -> dict[str, str]:
    """Return path -> hash from the output of sha256sum."""
    sums = {}
    for line in text.splitlines():
        digest, _space, path = line.partition("  ")
        if path:
            sums[path] = digest
    return sums


def changed_since_start(started: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the files whose content differs from what the running process was started with, sorted."""
    return sorted(path for path in {*started, *now} - {PATIENCE_PATH} if started.get(path) != now.get(path))


_CHECK_LINE = re.compile(r"\[?\b(PASS|FAIL|INFO)\b\]?[\s:]*(.*)")
_OTHERS_BUSINESS = re.compile(r"\b(?:database|licen[cs]e|connectivity)\b(?!\.)", re.IGNORECASE)
_LISTENERS_CHECK = re.compile(r"\b(?:listeners?|start-?up)\b(?!\.)", re.IGNORECASE)
_PATHS_CHECK = re.compile(r"\bpaths?\b(?!\.)", re.IGNORECASE)
_NO_SUCH_COMMAND = re.compile(r"unknown (?:command|flag|shorthand)|invalid choice", re.IGNORECASE)
_OUT_OF_TIME = 124


def failed_checks(output: str, *, running: bool, storage_ready: bool) -> list[str]:
    """Return the failures of `rspm check-config` that judge the configuration file itself.

    The database and the licence are judged elsewhere, and may come later than the file. running: the service holds its
    ports now, so that a busy listener says nothing about the file. storage_ready: whether the data directory is there.
    """
    ignored = [_OTHERS_BUSINESS]
    if running:
        ignored.append(_LISTENERS_CHECK)
    if not storage_ready:
        ignored.append(_PATHS_CHECK)
    failures: list[str] = []
    details = False
    for line in output.splitlines():
        match = _CHECK_LINE.search(line)
        if match:
            said = match.group(2).strip()
            name = said.partition(":")[0] if ":" in said else " ".join(said.split()[:3])
            details = match.group(1) == "FAIL" and not any(pattern.search(name) for pattern in ignored)
            if details:
                failures.append(said)
        elif details and line.startswith((" ", "\t")) and line.strip():
            failures[-1] += f" {line.strip()}"
        else:
            details = False
    return failures


def judge_check(rc: int, output: str, *, running: bool, storage_ready: bool) -> list[Problem]:
    """Return what `rspm check-config` finds wrong with a configuration; [] if the version has no such command."""
    failures = failed_checks(output, running=running, storage_ready=storage_ready)
    if not failures and (rc in (0, _OUT_OF_TIME) or _CHECK_LINE.search(output) or _NO_SUCH_COMMAND.search(output)):
        return []
    said = failures or [line.strip() for line in output.splitlines() if line.strip()][-3:]
    return [
        Problem(
            "config-invalid",
            f"rspm check-config refuses the configuration: {'; '.join(said) or f'it ended with {rc}'}",
            "The server would not start with it; what is on the node now was not touched",
            "Correct rspm_config in the inventory",
        )
    ]


def judge_read(path: str, rc: int, stdout: str, stderr: str, *, known_account: bool) -> str | None:
    """Return the content of a file on shared storage from what cat said, None where there is no such file.

    known_account: whether the service's account could read it; root alone may be refused by a file server.
    Raises DomainError where nobody can tell.
    """
    if rc == 0:
        return stdout
    if "No such file" in stderr or "Not a directory" in stderr or (not known_account and rc == 1):
        return None
    why_not = "in time" if rc in (_OUT_OF_TIME, 137) else f"by {ACCOUNT}: {stderr.strip()}"
    raise DomainError(
        Problem(
            "storage-answers",
            f"{path} could not be read {why_not}",
            "The encryption key may be there, and must not be replaced by another one",
            f"See that runuser -u {ACCOUNT} -- cat {path} answers on this host, and run this again",
        )
    )


def judge_key(wanted: str, owned: str | None, in_data_dir: str | None, data_key_path: str) -> list[Problem]:
    """Return why the encryption key must not become the wanted one; no key is in the text.

    wanted: rspm_encryption_key, "" where the server keeps its own. owned: content of KEY_PATH, None where it is absent.
    in_data_dir: content of the key file in the data directory (data_key_path), None where it is absent.
    """
    lost = "A different key would make the stored credentials and the encrypted settings unreadable"
    if not wanted.strip():
        if owned is not None and owned.strip() != (in_data_dir or "").strip():
            return [
                Problem(
                    "encryption-key",
                    f"rspm_encryption_key is empty, but this node uses the key in {KEY_PATH}",
                    lost,
                    f"Set rspm_encryption_key to the content of {KEY_PATH}",
                )
            ]
        return []
    return [
        Problem(
            "encryption-key",
            f"{path} holds a different key than rspm_encryption_key",
            lost,
            f"Set rspm_encryption_key to the content of {path}, or empty it so that the server keeps its own key",
        )
        for path, content in ((KEY_PATH, owned), (data_key_path, in_data_dir))
        if content is not None and content.strip() != wanted.strip()
    ]


def config_hash(text: str) -> str:
    """Return a hash to compare nodes by; slow on purpose, since the text holds a password and results are logged."""
    return hashlib.pbkdf2_hmac("sha256", text.encode("utf-8", "surrogateescape"), b"rspm.ha", 100_000).hex()

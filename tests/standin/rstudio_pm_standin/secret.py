# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The encryption key and the values encrypted with it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from .gcfg import ConfigError

_MAGIC = b"\x8bstandin1"


def read_key(path: Path) -> bytes:
    """Return the key; raises ConfigError where the file is absent, open to others or empty."""
    from_environment = os.environ.get("PACKAGEMANAGER_ENCRYPTION_KEY")
    if from_environment:
        return from_environment.strip().encode()
    try:
        mode = path.stat().st_mode & 0o7777
        if mode != 0o600:
            raise ConfigError(f"the encryption key {path} has mode {mode:04o}; it must be 0600")
        key = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"the encryption key {path} can't be read: {error.strerror}") from error
    if not key:
        raise ConfigError(f"the encryption key {path} is empty")
    return key


def new_key(path: Path) -> bool:
    """Make the key file unless one is there, and return whether this call made it.

    A link either makes the name or fails: of two nodes that start at once on shared storage, one wins.
    """
    if path.exists():
        return False
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, secrets.token_hex(256).encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
        return True
    except OSError as error:
        raise ConfigError(f"the encryption key {path} can't be made: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)


def _stream(key: bytes, nonce: bytes, length: int) -> bytes:
    blocks = (hmac.new(key, nonce + i.to_bytes(4, "big"), hashlib.sha256).digest() for i in range(length // 32 + 1))
    return b"".join(blocks)[:length]


def encrypt(key: bytes, text: str) -> str:
    """Return text encrypted; another result each time."""
    nonce = secrets.token_bytes(16)
    plain = text.encode()
    body = nonce + bytes(a ^ b for a, b in zip(plain, _stream(key, nonce, len(plain))))
    return base64.b64encode(_MAGIC + body + hmac.new(key, body, hashlib.sha256).digest()).decode()


def decrypt(key: bytes, text: str) -> str:
    """Return the plain text of an encrypted value, and any other value as it is; raises ConfigError."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return text
    if not raw.startswith(_MAGIC) or len(raw) < len(_MAGIC) + 48:
        return text
    body, proof = raw[len(_MAGIC) : -32], raw[-32:]
    if not hmac.compare_digest(proof, hmac.new(key, body, hashlib.sha256).digest()):
        raise ConfigError("an encrypted value in the configuration was not made with this node's encryption key")
    return bytes(a ^ b for a, b in zip(body[16:], _stream(key, body[:16], len(body) - 48))).decode()

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The effective configuration: the file, what the environment overrides, and the defaults."""

from __future__ import annotations

import os
from pathlib import Path

from . import facts
from .gcfg import ConfigError, Document, boolean, duration, parse
from .keys import KNOWN, check_listen, check_value, unknown

DEFAULT_FILE = "/etc/rstudio-pm/rstudio-pm.gcfg"


class Settings:
    """Reads one key at a time; names are case-insensitive."""

    def __init__(self, document: Document, path: Path = Path(DEFAULT_FILE)) -> None:
        self.document = document
        self.path = path

    def text(self, name: str, default: str = "") -> str:
        """Return the last value of Section.Key; the environment wins over the file."""
        section, key = name.split(".")
        override = os.environ.get(f"PACKAGEMANAGER_{section}_{key}".upper())
        if override is not None:
            return override
        values = self.document.values.get((section.lower(), key.lower()))
        return values[-1] if values else default

    def boolean(self, name: str, default: bool) -> bool:
        """Return a boolean key."""
        text = self.text(name)
        return boolean(text) if text else default

    def seconds(self, name: str, default: float) -> float:
        """Return a duration key in seconds."""
        text = self.text(name)
        return duration(text) if text else default

    @property
    def data_dir(self) -> Path:
        """The data directory."""
        return Path(self.text("Server.DataDir") or facts.rooted("/var/lib/rstudio-pm"))

    @property
    def key_path(self) -> Path:
        """The file of the encryption key."""
        return Path(self.text("Server.EncryptionKeyPath") or self.data_dir / "rstudio-pm.key")

    @property
    def sqlite_dir(self) -> Path:
        """The folder of the SQLite databases."""
        return Path(self.text("SQLite.Dir") or self.data_dir / "db")

    @property
    def provider(self) -> str:
        """The database provider, lower case only; raises ConfigError."""
        provider = self.text("Database.Provider") or "sqlite"
        if provider not in ("sqlite", "postgres"):
            raise ConfigError(f"Database.Provider is {provider!r}; it must be 'sqlite' or 'postgres', in lower case")
        if provider == "postgres" and not self.text("Postgres.URL"):
            raise ConfigError("Database.Provider is 'postgres', but Postgres.URL is not set")
        return provider

    def listeners(self) -> tuple[tuple[str, int] | None, tuple[str, int] | None]:
        """Return the HTTP and the HTTPS listener; raises ConfigError."""
        texts = (self.text("HTTP.Listen", ":4242"), self.text("HTTPS.Listen"))
        http, https = (check_listen(text) if text else None for text in texts)
        if http is None and https is None:
            raise ConfigError("neither HTTP.Listen nor HTTPS.Listen is set")
        if http == https:
            raise ConfigError("HTTP.Listen and HTTPS.Listen must differ")
        if https and not (self.text("HTTPS.Certificate") and self.text("HTTPS.Key")):
            raise ConfigError("HTTPS.Listen needs HTTPS.Certificate and HTTPS.Key")
        return http, https

    def faults(self) -> list[str]:
        """Return a text for every known key whose value is not of its type."""
        found = []
        for (section, key), (spelling, kind, _repeated) in KNOWN.items():
            override = os.environ.get(f"PACKAGEMANAGER_{section}_{key}".upper())
            values = [override] if override is not None else self.document.values.get((section, key), [])
            for value in values:
                try:
                    check_value(kind, value)
                except ConfigError as error:
                    found.append(f"{spelling}: {error}")
        return found

    def unknown(self) -> list[str]:
        """Return a text for every unknown key."""
        return unknown(self.document)


def load(path: Path) -> Settings:
    """Return the settings in the file; raises ConfigError."""
    try:
        return Settings(parse(path.read_text("utf-8")), path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration file {path} can't be read: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error

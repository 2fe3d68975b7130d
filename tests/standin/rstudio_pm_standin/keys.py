# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keys that the configuration may hold, with their types."""

from __future__ import annotations

from .gcfg import ConfigError, Document, boolean, duration

# One line a key: name, type, and "*" where the key may be repeated.
_TABLE: dict[str, str] = {
    "Server": """Address:url DataDir:path EncryptionKeyPath:path LauncherDir:path TempDir:path RVersion:path*
        PythonVersion:path* ServiceLog:str AccessLog:str AccessLogFormat:str UsageDataEnabled:bool HideVersion:bool""",
    "HTTP": "Listen:listen ForceSecure:bool NoWarning:bool",
    "HTTPS": "Listen:listen Certificate:path Key:path Permanent:bool MinimumTLS:str",
    "HTTPRedirect": "Listen:listen",
    "Database": "Provider:str ConnectionTimeout:duration",
    "Postgres": "URL:str Password:str UsageDataURL:str UsageDataPassword:str",
    "SQLite": "Dir:path",
    "Storage": """Default:str Packages:str Persistent:str CRAN:str PyPI:str Bioconductor:str OpenVSX:str
        Cache:str Metrics:str""",
    "S3Storage": "Bucket:str Prefix:str Region:str Profile:str Endpoint:str EnableSharedConfig:bool",
    "Metrics": "Enabled:bool Listen:listen",
    "StorageAudit": "Enabled:bool",
    "StorageAlerts": "UIMessageType:str",
    "Logging": "SystemLog:str SystemLogLevel:str SystemLogFormat:str ServiceLog:str AccessLog:str",
    "Debug": "Log:str*",
    "Licensing": "LicenseType:str",
    "CRAN": "SyncSchedule:str",
    "Bioconductor": "SyncSchedule:str",
    "PyPI": "SyncSchedule:str",
    "Git": "PollInterval:duration BuildRetries:int AllowUnsandboxedGitBuilds:bool BuilderDir:path",
    "Manifest": "Password:str",
    "Authentication": "NewReposAuthByDefault:bool",
    "OpenIDConnect": """Issuer:str ClientId:str ClientSecret:str ClientSecretFile:path Scope:str* GroupsClaim:str
        UniqueIdClaim:str UsernameClaim:str RequireUsernameClaim:bool Logging:bool""",
    "Proxy": "URL:str User:str Password:str",
    "Swagger": "Enabled:bool",
}

KNOWN: dict[tuple[str, str], tuple[str, str, bool]] = {
    (section.lower(), name.lower()): (f"{section}.{name}", kind.rstrip("*"), kind.endswith("*"))
    for section, keys in _TABLE.items()
    for name, kind in (entry.split(":") for entry in keys.split())
}


def unknown(document: Document) -> list[str]:
    """Return a text for every key of the document that is not known."""
    return [
        f"unknown key {spelling} in line {line}"
        for name, (spelling, line) in document.spelled.items()
        if name not in KNOWN
    ]


def check_listen(text: str) -> tuple[str, int]:
    """Return host and port of a listener such as :4242; raises ConfigError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"not a listener such as :4242 or 127.0.0.1:4242: {text!r}")
    return host.strip("[]"), int(port)


def check_value(kind: str, text: str) -> None:
    """Raise ConfigError where text is not a value of the kind."""
    if kind == "bool":
        boolean(text)
    elif kind == "duration":
        duration(text)
    elif kind == "int" and not text.strip().lstrip("+-").isdigit():
        raise ConfigError(f"not a number: {text!r}")
    elif kind == "listen" and text:
        check_listen(text)
    elif kind == "path" and text and not text.startswith("/"):
        raise ConfigError(f"not an absolute path: {text!r}")
    elif kind == "url" and text and not text.startswith(("http://", "https://")):
        raise ConfigError(f"not an http or https address: {text!r}")

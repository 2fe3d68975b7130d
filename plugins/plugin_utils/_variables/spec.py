# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a variable may be, as roles/rspm/meta/argument_specs.yml says, and what is wrong with a value."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._core.version import parse_version
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import ENVIRONMENT, judge_options

_SHOWN = 60


@dataclass(frozen=True)
class Option:
    """One variable of the spec.

    kind: its type, as an argument spec names it. elements: that of a list's items. secret: its value is never shown.
    inner: the keys of a mapping, empty where any may be given.
    """

    name: str
    kind: str
    elements: str = ""
    choices: tuple[object, ...] = ()
    secret: bool = False
    inner: Mapping[str, Option] = field(default_factory=dict)


def read_options(spec: Mapping[str, Mapping[str, object]], secret: bool = False) -> dict[str, Option]:
    """Return the options of an argument spec's entry point. secret: they are parts of one that is."""
    return {name: _read(name, option, secret) for name, option in spec.items()}


def _read(name: str, option: Mapping[str, object], within: bool) -> Option:
    choices, nested = option.get("choices"), option.get("options")
    secret = within or option.get("no_log") is True
    inner = read_options(nested, secret) if isinstance(nested, Mapping) else {}
    return Option(
        name=name,
        kind=str(option.get("type", "str")),
        elements=str(option.get("elements") or ""),
        choices=tuple(choices) if isinstance(choices, (list, tuple)) else (),
        # what is typed in the place of a mapping with a secret may be the secret
        secret=secret or any(each.secret for each in inner.values()),
        inner=inner,
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_integer(value: object) -> bool:
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return is_integer or (isinstance(value, str) and re.fullmatch(r"[+-]?\d+", value.strip()) is not None)


def _is_float(value: object) -> bool:
    return _is_number(value) or (
        isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d+)?", value.strip()) is not None
    )


# By type: whether a value is of it, what it is called, and an example. Stricter than Ansible, which takes `a,b` for a
# list and `false` for a truth value and hands both on as texts, of which the second is true.
_KINDS: dict[str, tuple[Callable[[object], bool], str, str]] = {
    "str": (lambda value: isinstance(value, str) or _is_number(value), "a text", '"text"'),
    "path": (lambda value: isinstance(value, str), "a path", "/a/path"),
    "int": (_is_integer, "a whole number", "42"),
    "float": (_is_float, "a number", "0.5"),
    "bool": (lambda value: isinstance(value, bool), "true or false", "true"),
    "list": (lambda value: isinstance(value, (list, tuple)), "a list", "[a, b]"),
    "dict": (lambda value: isinstance(value, Mapping), "a mapping", "{key: value}"),
}
_FORMS = (
    (bool, "a truth value"),
    (str, "a text"),
    (Mapping, "a mapping"),
    ((list, tuple), "a list"),
    (object, "a number"),
)


def _form(value: object) -> str:
    return next(form for kind, form in _FORMS if isinstance(value, kind))


def _shown(option: Option, value: object) -> str:
    """Return a value as a person typed it, of a secret only what form it has."""
    if option.secret or isinstance(value, (Mapping, list, tuple)):
        return _form(value)
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def faults(option: Option, value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Return what is wrong with a value, and what to do about it. Of a secret no part of the value is in either."""
    name = path or option.name
    fits, called, example = _KINDS[option.kind]
    if value is None:
        yield f"{name} has no value", f"Give it one, or remove the line {option.name}:"
    elif not fits(value):
        typed = (
            f"With -e, type it as -e '{{\"{option.name}\": ...}}'" if option.kind in ("bool", "list", "dict") else ""
        )
        yield (
            f"{name} is {_shown(option, value)}, not {called}",
            ". ".join(part for part in (f"Write it as {example}", typed) if part),
        )
    elif option.choices and str(value) not in map(str, option.choices):
        yield (
            f"{name} is {_shown(option, value)}",
            "Use " + ", ".join(str(choice) for choice in option.choices if choice != ""),
        )
    else:
        yield from _inner_faults(option, value, name)
        rule = _RULES.get(option.name)
        if rule is not None and not rule.holds(value):
            yield f"{name} is {_shown(option, value)}", rule.wanted


def _inner_faults(option: Option, value: object, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, (list, tuple)) and option.elements:
        item = Option(option.name, option.elements, secret=option.secret)
        for number, each in enumerate(value):
            yield from faults(item, each, f"item {number + 1} of {name}")
    elif isinstance(value, Mapping) and option.inner:
        for key, each in value.items():
            if key not in option.inner:
                near = not option.secret or difflib.get_close_matches(str(key), list(option.inner), cutoff=0.7)
                yield (
                    f"{name} has {f'the key {key}' if near else 'a key of another name'}",
                    "Use " + ", ".join(option.inner),
                )
            else:
                inner = option.inner[key]
                kept = Option(option.name, inner.kind, inner.elements, inner.choices, inner.secret)
                yield from faults(kept, each, f"{name}.{key}")


@dataclass(frozen=True)
class _Rule:
    """What more than its type a value has to keep. It is asked only about values of the right type."""

    holds: Callable[[object], bool]
    wanted: str


def _between(low: float, high: float, wanted: str) -> _Rule:
    return _Rule(lambda value: low <= float(str(value)) <= high, wanted)


def _is_version(value: object) -> bool:
    try:
        parse_version(str(value))
    except DomainError:
        return value == ""
    return True


_PORT = _between(1, 65535, "Use a port from 1 to 65535")
_SECONDS = _between(1, 10**7, "Use 1 or more")
_ID = _between(1, 2**32 - 2, "Use an id that is not root's, from 1 on")
_ADDRESS = _Rule(
    lambda value: re.fullmatch(r"(https?://[^\s/]+\S*)?", str(value)) is not None,
    "Write the whole URL, such as https://packages.example.org",
)
_ABSOLUTE = _Rule(lambda value: str(value).startswith("/"), "Write the path from / on")

_RULES = {
    "rspm_version": _Rule(_is_version, "Write it as the vendor does, such as 2026.08.0 or 2025.12.0-14, in quotes"),
    "rspm_address": _ADDRESS,
    "rspm_migration_address": _ADDRESS,
    "rspm_package_checksum": _Rule(
        lambda value: re.fullmatch(r"(sha256:[0-9A-Fa-f]{64})?", str(value)) is not None,
        "Write sha256: and the 64 digits that sha256sum shows",
    ),
    "rspm_licence": _Rule(
        lambda value: not isinstance(value, Mapping) or len([each for each in value.values() if each]) <= 1,
        "Give one of file, content, key and server",
    ),
    "rspm_uid": _ID,
    "rspm_gid": _ID,
    "rspm_clock_limit": _between(0.001, 10**4, "Use seconds, more than 0"),
    "rspm_clock_timeout": _SECONDS,
    "rspm_health_timeout": _SECONDS,
    "rspm_load_balancer_drain_timeout": _between(0, 10**7, "Use 0 or more"),
    "rspm_database_port": _PORT,
    "rspm_http_port": _PORT,
    "rspm_load_balancer_port": _PORT,
    "rspm_database_max_connections": _SECONDS,
    "rspm_load_balancer_max_connections": _SECONDS,
    "rspm_nfs_cache": _Rule(
        lambda value: re.fullmatch(r"lookupcache=pos|(actimeo|acdirmax)=[0-5]", str(value)) is not None,
        "Use lookupcache=pos, or actimeo=N or acdirmax=N with N of at most 5",
    ),
    "rspm_database_options": _Rule(
        lambda value: not isinstance(value, Mapping) or not judge_options(value),
        f"Use options of libpq that have no variable of their own: {', '.join(ENVIRONMENT)}",
    ),
    "rspm_package_folder": _ABSOLUTE,
    "rspm_storage_path": _ABSOLUTE,
    "rspm_data_dir": _ABSOLUTE,
    "rspm_nfs_export": _ABSOLUTE,
    "rspm_migration_data_dir": _ABSOLUTE,
}

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The administrator's command."""

from __future__ import annotations

import argparse
import json
import os
import pwd
import secrets
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

from . import check_config, database, facts, licence, nodes, publish, schema, secret, settings
from .gcfg import ConfigError


class CliError(Exception):
    """A command that can't be done; the text is meant for a person."""


def _become_service_user() -> None:
    """Give up root, so that no file of root's lands in the data directory, which may be on NFS."""
    if os.geteuid() != 0 or "STANDIN_ROOT" in os.environ:
        return
    try:
        account = pwd.getpwnam(licence.ACCOUNT)
    except KeyError:
        return
    os.initgroups(account.pw_name, account.pw_gid)
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    # libpq looks below HOME, and root's is closed to the account.
    os.environ["HOME"] = account.pw_dir


def _open(arguments: argparse.Namespace) -> tuple[settings.Settings, database.Session]:
    """Return the settings and a session of a database that has this version's schema."""
    config = settings.load(Path(arguments.config))
    _become_service_user()
    session = database.main_session(config)
    schema.require(session)
    return config, session


def _nodes(arguments: argparse.Namespace) -> int:
    _config, session = _open(arguments)
    found = nodes.every(session)
    if arguments.output == "json":
        print(json.dumps([node.to_dict() for node in found], indent=2))
        return 0
    print(f"{'NAME':<24} {'VERSION':<16} {'STATUS':<12} LAST SEEN")
    for node in found:
        seen = datetime.fromtimestamp(node.last_seen, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        print(f"{node.name:<24} {node.version:<16} {node.status:<12} {seen}")
    return 0


def _switch(arguments: argparse.Namespace) -> int:
    """Take nodes offline or online and wait until they say so."""
    _config, session = _open(arguments)
    names = [name.strip() for name in (arguments.nodes or facts.node_name()).split(",") if name.strip()]
    rows = {node.name: node for node in nodes.every(session)}
    for name in names:
        if name not in rows:
            raise CliError(f"there is no node {name!r}; nodes are: {', '.join(rows) or 'none'}")
        if rows[name].status in ("stopped", "unreachable"):
            raise CliError(f"the node {name} is {rows[name].status}")
    nodes.want(session, names, arguments.state)
    until = time.monotonic() + arguments.timeout
    while True:
        waiting = [node.name for node in nodes.every(session) if node.name in names and node.state != arguments.state]
        if not waiting:
            print(f"{', '.join(names)}: {arguments.state}")
            return 0
        if time.monotonic() > until:
            raise CliError(f"not {arguments.state} after {arguments.timeout} s: {', '.join(waiting)}")
        time.sleep(0.1)


def _add(arguments: argparse.Namespace) -> int:
    """Publish package files into one repository, or into those that are subscribed to a source."""
    try:
        files = [(os.path.basename(path), Path(path).read_bytes()) for path in arguments.path]
    except OSError as error:
        raise CliError(f"can't read {error.filename}: {error.strerror}") from error
    config, session = _open(arguments)
    if arguments.repo:
        repos = session.run("SELECT name, type FROM repos WHERE name = %s", arguments.repo)
    else:
        repos = session.run(
            """SELECT repos.name, repos.type FROM repos JOIN subscriptions ON subscriptions.repo = repos.name
               WHERE subscriptions.source = %s""",
            arguments.source,
        )
    if not repos:
        raise CliError(f"there is no repository {arguments.repo or f'that is subscribed to {arguments.source}'}")
    for file, content in files:
        for repo, kind in repos:
            item = publish.parcel(kind, file, content)
            print(f"added {publish.publish(session, config.data_dir, repo, kind, item)} sha256:{item.digest}")
    return 0


def _create(arguments: argparse.Namespace) -> int:
    config, session = _open(arguments)
    if not publish.NAME.match(arguments.name):
        raise CliError(f"not a name: {arguments.name!r}")
    kind = {"r": "R", "python": "Python", "local": "R", "local-python": "Python"}[arguments.type.lower()]
    table = "repos" if arguments.what == "repo" else "sources"
    if session.run(f"SELECT 1 FROM {table} WHERE name = %s", arguments.name):
        raise CliError(f"the {arguments.what} {arguments.name} exists already")
    session.run(f"INSERT INTO {table} (name, type) VALUES (%s, %s)", arguments.name, kind)
    publish.ensure_indexes(session, config.data_dir)
    print(f"created {arguments.what} {arguments.name} of type {kind}")
    return 0


def _subscribe(arguments: argparse.Namespace) -> int:
    _config, session = _open(arguments)
    repo = session.run("SELECT type FROM repos WHERE name = %s", arguments.repo)
    source = session.run("SELECT type FROM sources WHERE name = %s", arguments.source)
    if not repo or repo != source:
        raise CliError(f"there must be a repo {arguments.repo} and a source {arguments.source} of the same type")
    session.run("INSERT INTO subscriptions VALUES (%s, %s) ON CONFLICT DO NOTHING", arguments.repo, arguments.source)
    print(f"subscribed {arguments.repo} to {arguments.source}")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    config, session = _open(arguments)
    count, faults = publish.verify(session, config.data_dir)
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{count} packages, {len(faults)} missing or damaged")
    return 1 if faults else 0


def _encrypt(arguments: argparse.Namespace) -> int:
    if arguments.action == "generate":
        key = secrets.token_hex(256)
        if not arguments.file_out:
            print(key)
            return 0
        descriptor = os.open(arguments.file_out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(key + "\n")
        return 0
    config = settings.load(Path(arguments.config))
    text = sys.stdin.readline().rstrip("\n")
    _become_service_user()
    print(secret.encrypt(secret.read_key(config.key_path), text))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    try:
        text = Path(arguments.config).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"the configuration file {arguments.config} can't be read: {error}") from error
    _become_service_user()
    return check_config.run(text, Path(arguments.config))


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-c", "--config", default=settings.DEFAULT_FILE, metavar="FILE")
    parser = argparse.ArgumentParser(prog="rspm", description=f"Administer the package manager ({facts.NOTICE}).")
    parser.add_argument("--version", action="version", version=facts.version_line("rspm"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    cluster = commands.add_parser("cluster", help="list or switch nodes").add_subparsers(dest="what", required=True)
    listing = cluster.add_parser("nodes", parents=[common])
    listing.add_argument("-o", "--output", choices=("text", "json"), default="text")
    listing.set_defaults(run=_nodes)
    for state in ("offline", "online"):
        several = cluster.add_parser(state, parents=[common])
        several.add_argument("--nodes", required=True, metavar="A,B")
        local = commands.add_parser(state, parents=[common], help=f"take this node {state}")
        local.set_defaults(nodes="")
        for switch in (several, local):
            switch.add_argument("--timeout", type=float, default=60, metavar="SECONDS")
            switch.set_defaults(run=_switch, state=state)

    add = commands.add_parser("add", parents=[common], help="publish package files")
    target = add.add_mutually_exclusive_group(required=True)
    target.add_argument("--repo")
    target.add_argument("--source")
    add.add_argument("--path", action="append", required=True, metavar="FILE")
    add.set_defaults(run=_add)

    create = commands.add_parser("create", help="make a repository or a source")
    creations = create.add_subparsers(dest="what", required=True)
    for what, kinds in (("repo", ("r", "python")), ("source", ("local", "local-python"))):
        make = creations.add_parser(what, parents=[common])
        make.add_argument("--name", required=True)
        make.add_argument("--type", choices=kinds, default=kinds[0], type=str.lower)
        make.set_defaults(run=_create)

    subscribe = commands.add_parser("subscribe", parents=[common], help="let a repository carry a source")
    subscribe.add_argument("--repo", required=True)
    subscribe.add_argument("--source", required=True)
    subscribe.set_defaults(run=_subscribe)

    commands.add_parser("verify", parents=[common], help="check every published file").set_defaults(run=_verify)
    encrypt = commands.add_parser("encrypt", parents=[common], help="encrypt a line of standard input")
    encrypt.add_argument("action", nargs="?", choices=("generate",))
    encrypt.add_argument("--file-out")
    encrypt.set_defaults(run=_encrypt)
    if facts.STRICT_KEYS:
        commands.add_parser("check-config", parents=[common], help="check a configuration").set_defaults(run=_check)
    return parser


def main(arguments: list[str]) -> int:
    """Run rspm."""
    os.umask(0o077)
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (CliError, ConfigError, database.DatabaseError, publish.PublishError, OSError) as error:
        print(f"rspm: {error}", file=sys.stderr)
        return 1

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks the inventory and the variables of all hosts at once, on the controller, and shows no value of a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible import context
from ansible.errors import AnsibleError, AnsibleUndefinedVariable

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.read_action import ROLE, ControllerAction
from ansible_collections.rspm.ha.plugins.plugin_utils._variables.check import (
    CONNECTION,
    GROUPS,
    PREFIX,
    VERBS,
    Fault,
    Given,
    group_faults,
    limit_faults,
    table,
    value_faults,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._variables.read_paths import path_faults
from ansible_collections.rspm.ha.plugins.plugin_utils._variables.spec import Option, read_options


class ActionModule(ControllerAction):
    """The action of the module of the same name."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result, which has failed where anything is wrong."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        _unused, arguments = self.validate_argument_spec({"verb": {"type": "str", "choices": list(VERBS)}})
        verb = arguments["verb"] or ""
        spec = self._loader.load_from_file(str(ROLE / "meta" / "argument_specs.yml"))["argument_specs"]
        options = read_options(spec["variables"]["options"])
        groups = {name: list(hosts) for name, hosts in variables.get("groups", {}).items()}
        hosts = list(dict.fromkeys(host for group in GROUPS for host in groups.get(group, [])))

        found: list[Fault] = []
        if verb:
            found += group_faults(groups)
            hosts = hosts or groups.get("all", [])
            if context.CLIARGS.get("subset"):
                found += limit_faults(verb, groups, variables.get("ansible_play_hosts_all", []))
        else:
            hosts = list(dict.fromkeys([*hosts, *variables.get("ansible_play_hosts", [])]))
        given = {}
        for host in hosts:
            try:
                given[host] = self._given(host, options, variables)
            except AnsibleError as error:
                # of a file that is wholly in a vault, for which there is no password
                found.append(
                    Fault(
                        "variables",
                        f"can't be read: {_first_line(error)}",
                        "Give --vault-password-file or --ask-vault-pass",
                        (host,),
                    )
                )
        found += value_faults(options, given, groups, verb)
        found += path_faults(verb, given)
        result["changed"] = False
        if found:
            result.update(failed=True, msg=table(found, hosts, first=bool(verb)))
        return result

    def _given(self, host: str, options: Mapping[str, Option], variables: Mapping[str, Any]) -> dict[str, Given]:
        """Return what a host's variables are, with the defaults of those that nobody set."""
        defaults = self.defaults()
        typed = variables["hostvars"].raw_get(host)
        own = variables if host == variables.get("inventory_hostname") else {}
        # of the play: a value of its own has taken the place of the default
        typed = {
            **typed,
            **{name: own[name] for name in own if name.startswith(PREFIX) and own[name] != defaults.get(name)},
        }
        templar = self._templar.copy_with_new_env(
            available_variables={**defaults, **typed, "hostvars": variables["hostvars"]}
        )
        other = [name for name in typed if name not in options and (name.startswith(PREFIX) or name in CONNECTION)]
        names = [*options, *other]
        return {name: self._value(name, name not in typed, templar, {**defaults, **typed}) for name in names}

    def _value(self, name: str, unset: bool, templar: Any, values: Mapping[str, Any]) -> Given:
        """Return one variable's value, or why it has none, in words without a value."""
        try:
            return Given(templar.template(values[name]), unset)
        except AnsibleUndefinedVariable as error:
            lacking = re.search(r"'(\w+)' is undefined", str(error))
            if lacking:
                return Given(unset=unset, missing=lacking[1])
            # what machines tell of themselves is not known before they are asked
            if "ansible_facts" in str(values[name]):
                return Given(unset=True)
            lacking = re.search(r"has no attribute '(\w+)'", str(error))
            return Given(unset=unset, missing=lacking[1] if lacking else "something")
        except AnsibleError as error:
            if "decrypt" in str(error).lower():
                return Given(unreadable="is in a vault that can't be opened: the vault's password is missing or wrong")
            return Given(unreadable=f"can't be worked out ({type(error).__name__})")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")

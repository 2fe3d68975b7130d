#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: package_stage
short_description: Stage and verify the package file of one version on a node
version_added: 1.0.0
description:
  - Has the package file of the wanted version in a staging folder on the node, so that nothing has to be fetched
    while the service is stopped.
  - The file is verified before it is put into place. That is its checksum where one is given, its name, the version
    inside of it, its architecture, the free space for its installation, and a dry run of the package manager.
  - What comes from a repository is signed. apt checks that itself. An rpm is checked with C(rpmkeys) against O(key),
    unless a checksum is given.
  - Does nothing where the wanted version is installed.
  - Refuses where a step of an earlier run, whose controller may be gone, is still at work on the node.
options:
  version:
    description: Product version in full, as the vendor writes it.
    type: str
    required: true
  source:
    description:
      - V(url) fetches O(url), V(repository) asks the package repositories of the host, and V(file) takes O(path).
    type: str
    choices: [repository, url, file]
    default: url
  url:
    description:
      - Where to fetch the package, for O(source=url). Empty means the vendor's address for this version and host.
      - Certificates are checked, and the environment's proxies are used.
    type: str
    default: ""
  checksum:
    description: V(sha256:) and 64 hexadecimal digits. Required for O(source=url).
    type: str
    default: ""
  key:
    description:
      - Address, or path on the node, of the key that an rpm from a repository has to be signed with, and of no other.
      - Empty means any key that the host trusts (C(rpm --import)).
    type: str
    default: ""
  path:
    description: The package file on the node, for O(source=file).
    type: path
  folder:
    description: Staging folder.
    type: path
    default: /var/cache/rspm-ha
extends_documentation_fragment:
  - rspm.ha.attributes
  - rspm.ha.node.packages
attributes:
  check_mode:
    description: Fetches nothing and says whether it would. A file that is already there is verified.
  diff_mode:
    description: There is nothing to show.
    support: none
  idempotent:
    description: A verified file is not fetched again.
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Stage the package on the node
  rspm.ha.package_stage:
    version: 2026.08.0
    checksum: sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9
  register: staged

- name: Stage the package from the team's own repository
  rspm.ha.package_stage:
    version: 2025.12.0-14
    source: repository
"""

RETURN = r"""
path:
  description: The staged file. Empty where the version is installed and no file is left of it.
  returned: success
  type: str
  sample: /var/cache/rspm-ha/rstudio-pm_2026.08.0_amd64.deb
sha256:
  description: Its SHA-256, the wanted one in check mode. Empty where no file was looked at.
  returned: success
  type: str
  sample: b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9
size:
  description: Its size in bytes, 0 where no file was looked at.
  returned: success
  type: int
  sample: 83886080
installed_version:
  description: What the package manager has installed. Empty where that is nothing.
  returned: success
  type: str
  sample: 2025.12.0-14
also_installs:
  description: Other packages that the installation brings along.
  returned: success
  type: list
  elements: str
  sample: []
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample: [{"check": "package-checksum", "found": "the package has the checksum ...", "why": "...", "fix": "..."}]
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import module_runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_module import problems_told
from ansible_collections.rspm.ha.plugins.module_utils._core.host_work import node_work
from ansible_collections.rspm.ha.plugins.module_utils._package.host import PackageTool, load_host
from ansible_collections.rspm.ha.plugins.module_utils._package.host_stage import StageRequest, stage


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "source": {"type": "str", "choices": ["repository", "url", "file"], "default": "url"},
            "url": {"type": "str", "default": ""},
            "checksum": {"type": "str", "default": ""},
            "key": {"type": "str", "default": "", "no_log": False},
            "path": {"type": "path"},
            "folder": {"type": "path", "default": "/var/cache/rspm-ha"},
            "lock_timeout": {"type": "int", "default": 300},
        },
        required_if=[("source", "file", ["path"])],
        supports_check_mode=True,
    )
    request = StageRequest(
        version=module.params["version"],
        source=module.params["source"],
        url=module.params["url"],
        checksum=module.params["checksum"],
        path=module.params["path"] or "",
        folder=module.params["folder"],
        key=module.params["key"],
    )
    with problems_told(module), node_work("staging of the package", module.check_mode):
        tool = PackageTool(module_runner(module), load_host(), module.params["lock_timeout"])
        module.exit_json(**asdict(stage(tool, request, check_mode=module.check_mode)))


if __name__ == "__main__":
    main()

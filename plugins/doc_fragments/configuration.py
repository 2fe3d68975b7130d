# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a module is told of the server's configuration; what it is told is in module_utils/_config/options."""

from __future__ import annotations

from textwrap import indent

from ansible_collections.rspm.ha.plugins.doc_fragments import database

_ALL = r"""
data_dir:
  description: Server.DataDir, the same on every node.
  type: path
  required: true
storage_path:
  description:
    - Mount point that C(data_dir) lies on. The server does not start without it. Empty for a local disk.
  type: str
  default: ""
address:
  description: Server.Address, the URL that users reach the cluster at.
  type: str
  default: ""
http_port:
  description: Port of HTTP.Listen.
  type: int
  default: 4242
node_count:
  description: How many nodes the cluster has.
  type: int
  default: 1
encryption_key:
  description:
    - The encryption key of all nodes, written to C(/etc/rstudio-pm/rstudio-pm.key).
    - When empty, the first node makes one in the data directory, where all nodes find it.
  type: str
  default: ""
config:
  description:
    - Any other setting. A mapping of sections to mappings of keys to a scalar, or to a list for a repeated key.
    - A key that one of the other options decides is refused.
  type: dict
  default: {}
secrets:
  description: Values in the other options that no output may show. The module's action finds them.
  type: list
  elements: str
  default: []
"""


# The option that other modules have too, as it is below "options:".
_DATABASE = database.ModuleDocFragment.CONFIGURED.partition("options:\n")[2]


class ModuleDocFragment:
    """The configuration as the options of a module, or as one of them."""

    DOCUMENTATION: str = f"options:\n{indent(_ALL, '  ')}{_DATABASE}"
    NESTED: str = f"""
options:
  configuration:
    description: What the configuration says then, as the options of M(rspm.ha.server_config).
    type: dict
    required: true
    suboptions:
{indent(_ALL, " " * 6)}
{indent(_DATABASE, " " * 4)}
"""

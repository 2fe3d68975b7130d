# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a module is told of the shared storage; what it is told is in module_utils/_storage/rules."""

from __future__ import annotations

from textwrap import indent

_STORAGE = r"""
  kind:
    description:
      - V(nfs) for a mount that is ours, V(existing) for one that the team makes and that is only verified.
      - V(local) for a disk of a cluster's only node. The folder is made there with mode 0701 for the service account.
    type: str
    choices: [nfs, existing, local]
    required: true
  path:
    description: Mount point. For V(existing) it may also be a folder on the mount, for V(local) on any disk.
    type: path
    required: true
  server:
    description: Name or address of the NFS server. Needed for V(nfs).
    type: str
    default: ""
  export:
    description: Absolute path of the export on the server. Needed for V(nfs).
    type: str
    default: ""
  nfs_version:
    description: Version of NFS.
    type: str
    choices: ["3", "4", "4.1", "4.2"]
    default: "4.2"
  cache:
    description: How the nodes find new files soon. V(lookupcache=pos), or V(actimeo=N) or V(acdirmax=N) with N up to 5.
    type: str
    default: lookupcache=pos
  security:
    description:
      - How requests are proved and protected on their way (C(sec) in nfs(5)). V(sys) is in clear, V(krb5p) encrypts.
        What Kerberos needs has to be there. Where all mount options are given it has to be what those say.
    type: str
    choices: [sys, krb5, krb5i, krb5p]
    default: sys
  options:
    description: All mount options, in place of the ones that follow from version, cache and security.
    type: list
    elements: str
    default: []
"""


class ModuleDocFragment:
    """The storage, as the options of a module or as one of them."""

    # with a type, since ansible-test takes what has none for plain text
    DOCUMENTATION: str = f"options:{_STORAGE}"
    NESTED: str = f"options:\n  storage:\n    type: dict\n    suboptions:{indent(_STORAGE, '    ')}"

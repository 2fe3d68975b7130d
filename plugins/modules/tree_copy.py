#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: tree_copy
short_description: Copy a folder to another one on the same host, and verify the copy
version_added: 1.0.0
description:
  - Copies a data directory from a mounted file server to a local folder with C(rsync), several at a time where there is
    much to copy, and compares both afterwards. Names may be any bytes; sparse files stay sparse and hard links stay
    links. ACLs and extended attributes are not copied.
  - While the servers still run, O(pass=warm) copies what it can, as often as one likes. When all are stopped,
    O(pass=last) copies the rest and ends only with a copy in which every path has the type, size, mode, owner, group,
    mtime, content (MD5), symlink target and hard links of the source.
  - Of a file that is copied, C(rsync) 3.2 and newer says what it read, and that is compared with what the copy holds
    then, so that the source is read once. It is said as MD5, which finds damage; it is no protection from a forger.
  - What a pass has proved equal is not read again by the next one, as long as size, mtime, ctime and inode of both
    files stay what they were. So the last pass reads little, however much there is.
  - Source and copy are read, and the copy is written, as the account C(rstudio-pm), where there is one. An NFS server
    may not let root read, and root writes nothing where the account could put a link. So the copy is the account's,
    also what in the source belongs to others, with a group that the account is in. The last pass mounts NFS once more
    for itself, so that it sees nothing that is out of date.
  - Lock and evidence are in a folder below C(/var/lib/rspm-ha/tree_copy), which may be removed when the copy is in
    use. A run that is cut off, also by a power cut, leaves nothing that the next one can't go on from.
  - Shows at least every five seconds how far it is. A copy that nobody follows any more, because the playbook was
    ended, ends by itself after half a minute.
requirements:
  - rsync 3.1.3 or newer on the host
options:
  source:
    description: Folder to copy. Refused where it is empty, as an absent mount is.
    type: path
    required: true
  destination:
    description: Folder that becomes the copy. Refused where it holds anything that this module did not put there.
    type: path
    required: true
  pass:
    description:
      - With V(warm) the source may change meanwhile, and what has is left for the next pass.
      - With V(last) nothing may change any more. Fails unless the copy is equal in the end.
    type: str
    choices: [warm, last]
    required: true
  follower:
    description: Id of whoever asks for the progress. Set by the action plugin of the same name.
    type: str
    default: ""
extends_documentation_fragment:
  - rspm.ha.attributes
attributes:
  check_mode:
    description: Compares both folders without reading contents, and reports what would be copied and whether it fits.
  diff_mode:
    description: Shows how many files and bytes are in place before and after.
  idempotent:
    description: Copies only what differs, and reads only what is not proved equal yet.
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Copy most of the data to the local disk while the cluster serves
  rspm.ha.tree_copy:
    source: /mnt/rstudio-pm/data
    destination: /var/lib/rstudio-pm/data
    pass: warm

- name: Copy the rest of the data to the local disk and verify all of it
  rspm.ha.tree_copy:
    source: /mnt/rstudio-pm/data
    destination: /var/lib/rstudio-pm/data
    pass: last
"""

RETURN = r"""
files:
  description: Files in the source, each name counted.
  returned: success
  type: int
  sample: 100000
bytes:
  description: Bytes of these files.
  returned: success
  type: int
  sample: 3400000000
folders:
  description: Folders in the source, itself included.
  returned: success
  type: int
  sample: 1201
links:
  description: Symlinks in the source.
  returned: success
  type: int
  sample: 17
copied_files:
  description: Files that were, or in check mode would be, copied.
  returned: success
  type: int
  sample: 120
copied_bytes:
  description: Bytes of these files.
  returned: success
  type: int
  sample: 4100000
deleted:
  description: Paths that were, or would be, deleted from the copy since the source does not have them.
  returned: success
  type: int
  sample: 2
verified:
  description: Paths that are proved equal, contents included. In check mode those that need nothing.
  returned: success
  type: int
  sample: 101218
read_bytes:
  description: Bytes that were read from both sides for comparing contents.
  returned: success
  type: int
  sample: 8200000
remaining:
  description: Paths that still differ after O(pass=warm), since they changed meanwhile.
  returned: success
  type: int
  sample: 3
free_bytes:
  description: Bytes that the file system of the copy had left before.
  returned: success
  type: int
  sample: 52000000000
mismatches:
  description:
    - With O(pass=last) up to 20 paths that differ in the end; it has failed then.
    - Else up to 20 files of the right size and time with another content than the source. They have been copied again
      and are equal now, but the disk or whatever wrote to them should be looked at; there is a warning, too.
  returned: always
  type: list
  elements: dict
  contains:
    path:
      description: Relative to the folders; what can't be printed is shown as an escape sequence.
      type: str
      sample: cran/packages/digest_0.6.37.tar.gz
    what:
      description: What differs.
      type: str
      sample: has mode 0600, not 0640
timeline:
  description:
    - What was done, in that order. Also tells how far a failure came.
    - C(step), which is C(mount), C(wait), C(compare), C(copy), C(sync) or C(verify), C(at) and C(seconds) as
      RV(rspm.ha.node_upgrade#module:timeline) has them.
  returned: always
  type: list
  elements: dict
  sample: [{"step": "copy", "at": "2026-11-24T05:50:01.123Z", "seconds": 1.204}]
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample: [{"check": "tree-copy-space", "found": "node1 lacks 3400000 bytes for ...", "why": "...", "fix": "..."}]
"""

import socket
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import module_runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_timeline import Timeline
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host import MismatchError, TreeCopy
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_result import listed, result_of, warnings_of


def run(module: AnsibleModule, timeline: Timeline) -> dict[str, Any]:
    """Do the work and return the result."""
    given = module.params
    copy = TreeCopy(
        module_runner(module),
        timeline,
        socket.gethostname(),
        given["source"],
        given["destination"],
        given["pass"],
        given["follower"],
    )
    outcome = copy.observe() if module.check_mode else copy.run()
    for found in warnings_of(outcome, given["destination"]):
        module.warn(found)
    return {**result_of(outcome, module.check_mode), "timeline": timeline.steps}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "path", "required": True},
            "destination": {"type": "path", "required": True},
            # no password, though it begins like one
            "pass": {"type": "str", "choices": ["warm", "last"], "required": True, "no_log": False},
            "follower": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    timeline = Timeline()
    try:
        module.exit_json(**run(module, timeline))
    except DomainError as error:
        found = listed(error.outcome.remaining) if isinstance(error, MismatchError) else []
        module.fail_json(**error.to_result(), timeline=timeline.steps, mismatches=found)


if __name__ == "__main__":
    main()

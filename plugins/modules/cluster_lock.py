#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cluster_lock
short_description: Take, renew, show or release the lock of a cluster
version_added: 1.0.0
description:
  - Takes, renews, shows or releases the lock of a cluster. It lies on the shared storage, so that every operator's
    machine sees it through any node, and it doesn't depend on the database that a rollback restores.
  - The lock outlives the process that took it. A run whose lock is broken or taken over fails the next time that it
    renews the lock, which it does at each phase.
notes:
  - The lock has no age limit. A dump of a large database may be silent for longer than any limit, and a second run
    beside it would do harm. It has a lease instead, O(lease), which a process beside the playbook on the controller
    renews on the node that it was taken on, over the connection of the task, each thirtieth of it. It ends with the
    playbook, however that ends. Where the connection is neither C(ssh) nor C(local) there is no lease.
  - A holder counts as gone only where that is known. On the controller that it ran on (the same boot of the same
    kernel, and the same pid namespace), by its process. From anywhere else, such as another container, by its lease.
    That is after four thirds of it by the clock of the node, after all of it by the clock of the storage, and after a
    tenth of it in which nothing was renewed. A run that can't renew its own for two thirds of it ends itself.
  - Then a run of the same O(verb) and O(target) takes the lock over; so does a C(rollback) of the upgrade to
    O(target). The id of the work, RV(lock.run_id), is kept.
  - In any other case a person has to break the lock with O(state=free) and O(run_id), after making sure that nothing
    runs.
  - Files are written as the service account, since root may be squashed on NFS. The lock is atomic on NFS 3 and 4
    (link(2)). Each time it is taken leaves one small file, which is the history of who changed the cluster.
options:
  state:
    description:
      - V(held) takes the lock, or renews it with O(phase).
      - V(free) releases it at the end of the run that holds it, or breaks it with O(run_id).
      - V(left) is for a run that ends before its work is done; whoever does the same work next takes it over at once.
      - V(observed) changes nothing and says what V(held) could do.
    type: str
    choices: [held, free, left, observed]
    required: true
  path:
    description: Folder of the lock, on the shared storage and outside of the data directory.
    type: path
    required: true
  holder:
    description: Process on the controller that the lock is for; by default the Ansible process that runs the task.
    type: str
    default: ""
  holder_gone:
    description:
      - A holder that is known to be gone, or V(lives) where the one that has the lock is known to live;
        RV(holder_gone) of an earlier task. With O(state=observed) and O(verb) the controller finds it out by itself.
    type: str
    default: ""
  operator:
    description: Who runs this, for people; by default the user on the controller.
    type: str
    default: ""
  verb:
    description: Work that the lock is for, such as C(upgrade), C(rollback) or C(migrate).
    type: str
    default: ""
  target:
    description: Version that the work leads to. For a rollback, the version whose upgrade it undoes.
    type: str
    default: ""
  phase:
    description: What the run does next. The lock says so to others.
    type: str
    default: ""
  run_id:
    description:
      - With O(state=held), the id that the lock was taken with; fails unless this run still holds it.
      - With O(state=free), breaks the lock of this id, whoever holds it.
    type: str
    default: ""
  lease:
    description: Seconds after whose end another run may take over what this one holds and does not renew.
    type: int
    default: 900
extends_documentation_fragment:
  - rspm.ha.attributes
  - rspm.ha.node
attributes:
  action:
    description: Says which run it is for, and renews the lease beside the playbook.
    support: full
  check_mode:
    description: Predicts whether the lock would be had, and writes nothing.
  diff_mode:
    description: Shows what the lock says before and after.
  idempotent:
    description: A lock that is held with the same phase, or is free already, is left as it is.
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Read who holds the lock
  rspm.ha.cluster_lock:
    state: observed
    path: /mnt/rstudio-pm/.rspm-ha/lock
    uid: 940
    gid: 940
    verb: upgrade
    target: 2026.08.0
  run_once: true
  register: lock_before

- name: Take the lock for the upgrade
  rspm.ha.cluster_lock:
    state: held
    path: /mnt/rstudio-pm/.rspm-ha/lock
    uid: 940
    gid: 940
    holder_gone: "{{ lock_before.holder_gone }}"
    verb: upgrade
    target: 2026.08.0
    phase: stage
  run_once: true
  register: lock

- name: Check that the lock is still held, and write the phase into it
  rspm.ha.cluster_lock:
    state: held
    path: /mnt/rstudio-pm/.rspm-ha/lock
    uid: 940
    gid: 940
    verb: upgrade
    target: 2026.08.0
    phase: first
    run_id: "{{ lock.lock.run_id }}"
  run_once: true

- name: Release the lock
  rspm.ha.cluster_lock:
    state: free
    path: /mnt/rstudio-pm/.rspm-ha/lock
    uid: 940
    gid: 940
  run_once: true

- name: Let another controller continue the same work
  rspm.ha.cluster_lock:
    state: left
    path: /mnt/rstudio-pm/.rspm-ha/lock
    uid: 940
    gid: 940
  run_once: true

- name: Break the lock of a run that has died
  rspm.ha.cluster_lock:
    state: free
    path: /mnt/rstudio-pm/.rspm-ha/lock
    uid: 940
    gid: 940
    run_id: 3f0c2a9d7e51
  run_once: true
"""

RETURN = r"""
lock:
  description: What the lock says at the end, empty while it is free. In check mode what it would say.
  returned: success
  type: dict
  contains:
    run_id:
      description: Id of the work. A take-over keeps it.
      type: str
      sample: 3f0c2a9d7e51
    holder:
      description: Process on the controller.
      type: str
      sample: "0efd71f0-7296-4793-8c94-7b93e6838908:pid:[4026531836]/4711/256009"
    operator:
      description: Who, and on which machine.
      type: str
      sample: anna@ops1
    verb:
      description: What for.
      type: str
      sample: upgrade
    target:
      description: Version that the work leads to.
      type: str
      sample: 2026.08.0
    since:
      description: UTC time at which it was taken, or taken over.
      type: str
      sample: "2026-11-24T03:10:00Z"
    updated:
      description: UTC time of the last sign of the holder.
      type: str
      sample: "2026-11-24T03:12:41Z"
    phase:
      description: What the holder does.
      type: str
      sample: stage
    node:
      description: Node on which it was last written.
      type: str
      sample: node1
view:
  description: What this run may do with the lock that was there before.
  returned: when O(state) is V(held) or V(observed)
  type: str
  sample: free
says:
  description: The lock that was there before, for a person, and how to break it.
  returned: success
  type: str
  sample: >-
    locked by anna@ops1 since 2026-11-24 03:10 UTC for upgrade to 2026.08.0, phase 'stage' (last sign 2026-11-24 03:12
    UTC, on node1); to break it: ansible-playbook -i <inventory> rspm.ha.unlock -e rspm_unlock_run_id=3f0c2a9d7e51
holder_gone:
  description: The holder of the lock if it is known to be gone, V(lives) if it is known to live, else empty.
  returned: when O(state) is V(observed) and O(verb) is given
  type: str
  sample: ""
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample:
    - check: cluster-lock
      found: The cluster is locked by anna@ops1 since 2026-11-24 03:10 UTC for upgrade to 2026.08.0
      why: Two runs at once would stop, start and upgrade nodes against each other
      fix: Wait for its end
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._core.host_module import problems_told
from ansible_collections.rspm.ha.plugins.module_utils._lock import host
from ansible_collections.rspm.ha.plugins.module_utils._lock.host_lease import make_request
from ansible_collections.rspm.ha.plugins.module_utils._lock.lease import LEASE, seems_over
from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import (
    Decision,
    LockRecord,
    LockView,
    Request,
    describe,
    may_take,
    refusal,
)


def hold(folder: host.LockFolder, request: Request, now: str, write: bool, seconds: int = LEASE) -> dict[str, Any]:
    """Take, take over or renew the lock. seconds: of the lease. Raises DomainError where it is not to be had."""
    while True:
        stored = folder.read()
        decision = may_take(stored.record, request, now, seems_over(stored.sign, time.time()))
        if decision.view is LockView.HELD:
            raise refusal(decision.says)
        number = stored.number
        if not write or decision.record is None:
            break
        if decision.view is LockView.OURS:
            folder.rewrite(number, decision.record)
            break
        taken_over_by_lease = decision.view is LockView.TAKEABLE and not request.gone
        if taken_over_by_lease and not folder.is_silent(stored):
            raise refusal(decision.says)
        number += 1
        if folder.create(number, decision.record):
            break
        # someone else was first: the next look says who (at the latest when the NFS client looks again)
        time.sleep(0.2)
    result = _result(stored.record, decision.record or stored.record, decision, decision.record is not None)
    if write:
        place = [folder.path, str(number), str(folder.uid), str(folder.gid)]
        result["lease"] = {"seconds": seconds, "number": number, "run_id": result["lock"]["run_id"], "place": place}
    return result


def free(folder: host.LockFolder, holder: str, run_id: str, now: str, write: bool) -> dict[str, Any]:
    """Let the lock go. Raises DomainError where it is neither the holder's own nor the one of run_id."""
    stored = folder.read()
    if stored.record is None:
        return _result(None, None, None, False)
    own = bool(holder) and stored.record.holder == holder
    if not own and stored.record.run_id != run_id:
        raise refusal(describe(stored.record))
    if write:
        folder.release(stored.number, {"how": "ended" if own else "broken", "at": now})
    return _result(stored.record, None, None, True)


def leave(folder: host.LockFolder, holder: str, write: bool) -> dict[str, Any]:
    """Let whoever does the same work take the lock over, if it is the holder's."""
    stored = folder.read()
    mine = stored.record is not None and stored.record.holder == holder
    ended = stored.sign is not None and stored.sign.lease == 0
    if mine and not ended and write:
        folder.leave(stored.number)
    return _result(stored.record, stored.record, None, mine and not ended)


def _result(
    before: LockRecord | None, after: LockRecord | None, decision: Decision | None, changed: bool
) -> dict[str, Any]:
    shown = [record.to_dict() if record else {} for record in (before, after)]
    result: dict[str, Any] = {
        "changed": changed,
        "lock": shown[1],
        "says": describe(before) if before else "free",
        "diff": {"before": shown[0], "after": shown[1]},
    }
    if decision is not None:
        result["view"] = decision.view.value
    return result


def run(given: dict[str, Any], node: str, now: str, write: bool) -> dict[str, Any]:
    """Do what the parameters ask for. Raises DomainError."""
    folder = host.LockFolder(given["path"], given["uid"], given["gid"])
    if given["state"] == "held":
        return hold(folder, make_request(given, node), now, write, given["lease"])
    if given["state"] == "left":
        return leave(folder, given["holder"], write)
    if given["state"] == "free":
        return free(folder, given["holder"], given["run_id"], now, write)
    stored = folder.read()
    over = seems_over(stored.sign, time.time())
    return _result(stored.record, stored.record, may_take(stored.record, make_request(given, node), now, over), False)


def main() -> None:
    """Run the module."""
    text = {"type": "str", "default": ""}
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "required": True, "choices": ["held", "free", "left", "observed"]},
            "path": {"type": "path", "required": True},
            "uid": {"type": "int", "required": True},
            "gid": {"type": "int", "required": True},
            "holder": text,
            "holder_gone": text,
            "operator": text,
            "verb": text,
            "target": text,
            "phase": text,
            "run_id": text,
            "lease": {"type": "int", "default": LEASE},
        },
        supports_check_mode=True,
    )
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with problems_told(module):
        module.exit_json(**run(module.params, host.this_node(), now, not module.check_mode))


if __name__ == "__main__":
    main()

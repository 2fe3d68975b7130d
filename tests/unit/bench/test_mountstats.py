"""Operations are counted of the mount that is asked for, and of no other."""

from __future__ import annotations

import pytest

from bench.mountstats import operations, sent

TEXT = """device proc mounted on /proc with fstype proc
device 10.0.0.1:/other mounted on /mnt/rstudio-pm-other with fstype nfs4 statvers=1.1
\topts:\trw,vers=4.2
\tper-op statistics
\t        READ: 900 900 0 1 2 3 4 5 0
device 10.0.0.1:/srv mounted on /mnt/rstudio-pm with fstype nfs4 statvers=1.1
\topts:\trw,vers=4.2,lookupcache=pos
\tage:\t100
\tbytes:\t1 2 3 4 5 6 7 8
\tRPC iostats version: 1.1  p/v: 100003/4 (nfs)
\txprt:\ttcp 0 1 2 0 0 10 10 0 10 0 2 0 0
\tper-op statistics
\t        NULL: 1 1 0 44 24 0 0 0 0
\t        READ: 12 12 0 2000 300 0 5 5 0
\t      LOOKUP: 30 30 0 2000 300 0 5 5 3
device tmpfs mounted on /run with fstype tmpfs
"""


def test_the_operations_of_one_mount() -> None:
    assert operations(TEXT, "/mnt/rstudio-pm") == {"NULL": 1, "READ": 12, "LOOKUP": 30}
    assert operations(TEXT, "/mnt/rstudio-pm-other") == {"READ": 900}


@pytest.mark.parametrize("mount_point", ["/run", "/mnt", "/mnt/rstudio"])
def test_what_is_no_nfs_mount_is_refused(mount_point: str) -> None:
    with pytest.raises(ValueError, match="nothing is mounted"):
        operations(TEXT, mount_point)


def test_what_was_sent_between_two_looks() -> None:
    before = operations(TEXT, "/mnt/rstudio-pm")
    assert sent(before, {**before, "READ": 20, "OPEN": 3}) == {"READ": 8, "OPEN": 3}

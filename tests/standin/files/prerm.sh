#!/bin/sh
# Part of a test double, written as Debian's own helpers write such scripts.
set -e

if [ "$1" = "remove" ] && [ -d /run/systemd/system ]; then
    deb-systemd-invoke stop rstudio-pm.service >/dev/null || true
fi
rm -rf /opt/rstudio-pm/lib/rstudio_pm_standin/__pycache__

exit 0

#!/bin/sh
# Part of a test double, written as Debian's own helpers write such scripts.
set -e

# dpkg asks the package that is there first, and the one that comes if that refuses.
refuses="@REFUSES@"
if [ "$1" = "upgrade" ] && [ "$refuses" = "yes" ] && dpkg --compare-versions "$2" lt "@VERSION@"; then
    echo "rstudio-pm: going back to version $2 is not supported" >&2
    exit 1
fi
if [ "$1" = "failed-upgrade" ]; then
    exit 1
fi

if [ "$1" = "remove" ] && [ -d /run/systemd/system ]; then
    deb-systemd-invoke stop rstudio-pm.service >/dev/null || true
fi
rm -rf /opt/rstudio-pm/lib/rstudio_pm_standin/__pycache__

exit 0

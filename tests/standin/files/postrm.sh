#!/bin/sh
# Part of a test double, written as Debian's own helpers write such scripts.
set -e

if [ "$1" = "remove" ] && [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null || true
fi
if [ "$1" = "purge" ]; then
    # The data directory and the account stay: they may be shared with other machines.
    rm -rf /etc/rstudio-pm /var/log/rstudio/rstudio-pm
    deb-systemd-helper purge rstudio-pm.service >/dev/null || true
fi

exit 0

#!/bin/sh
# Part of a test double, written as Debian's own helpers write such scripts.
set -e

quiet="@QUIET@"
migrates="@MIGRATES@"

if [ "$1" = "configure" ]; then
    if ! getent group rstudio-pm >/dev/null; then
        groupadd --system rstudio-pm
    fi
    if ! getent passwd rstudio-pm >/dev/null; then
        useradd --system --gid rstudio-pm --home-dir /var/lib/rstudio-pm --no-create-home \
            --shell /usr/sbin/nologin --comment "Package Manager (stand-in)" rstudio-pm
    fi

    # What is there already stays as it is: the data directory may be a mount where a chown is refused.
    if [ ! -d /var/lib/rstudio-pm ]; then
        install -d -o rstudio-pm -g rstudio-pm -m 0701 /var/lib/rstudio-pm
    fi
    if [ ! -d /var/log/rstudio/rstudio-pm ]; then
        install -d -m 0755 /var/log/rstudio
        install -d -o rstudio-pm -g rstudio-pm -m 0775 /var/log/rstudio/rstudio-pm
    fi
    if [ ! -e /etc/rstudio-pm/rstudio-pm.gcfg ]; then
        install -o rstudio-pm -g rstudio-pm -m 0640 \
            /etc/rstudio-pm/rstudio-pm.gcfg.defaults /etc/rstudio-pm/rstudio-pm.gcfg
    fi

    # By content and not by time: every build's files bear the same time.
    python3 -m compileall -q --invalidation-mode checked-hash /opt/rstudio-pm/lib || true

    if [ "$migrates" = "yes" ] && [ -n "$2" ]; then
        runuser -u rstudio-pm -- /opt/rstudio-pm/bin/rstudio-pm --migrate
    fi

    deb-systemd-helper unmask rstudio-pm.service >/dev/null || true
    if deb-systemd-helper --quiet was-enabled rstudio-pm.service; then
        deb-systemd-helper enable rstudio-pm.service >/dev/null || true
    else
        deb-systemd-helper update-state rstudio-pm.service >/dev/null || true
    fi

    if [ -d /run/systemd/system ]; then
        systemctl --system daemon-reload >/dev/null || true
        if [ "$quiet" = "no" ]; then
            if [ -n "$2" ]; then
                action=restart
            else
                action=start
            fi
            # Neither a masked unit nor one that fails to start makes the installation fail.
            deb-systemd-invoke "$action" rstudio-pm.service >/dev/null || true
        fi
    fi
fi

exit 0

#!/bin/sh
# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The guide's "Updating HA Nodes" as a careful person types it, who waits for each node before going on to the next.
#
#     SSH='ssh OPTIONS' upgrade_outage_by_hand.sh fetch-first|fetch-in-turn URL ADDRESS...
set -eu

when=$1
url=$2
shift 2
file=/root/${url##*/}

fetch="curl -fsS -w 'fetched in %{time_total} s\\n' -o $file $url"

on() {
    # word splitting is meant: the command comes with its options
    $SSH "root@$1" "$2"
}

if [ "$when" = fetch-first ]; then
    for address; do
        on "$address" "$fetch"
    done
fi

# 1. Stop all RStudio Package Manager nodes in your cluster.
for address; do
    on "$address" "systemctl stop rstudio-pm"
done

# 2. Upgrade one RStudio Package Manager node. 3. Upgrade the remaining nodes.
for address; do
    on "$address" "
        set -e
        [ -e $file ] || $fetch
        dpkg -i $file
        systemctl start rstudio-pm
        until curl -fsS -o /dev/null http://localhost:4242/__ping__ 2> /dev/null; do sleep 0.5; done
    "
done

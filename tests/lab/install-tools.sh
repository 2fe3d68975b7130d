#!/bin/sh
# Installs, on a Debian host and as root, what the lab and the tests of PostgreSQL need and what is not there.
set -eu
wanted="iproute2 nftables ethtool gcc libc6-dev mmdebstrap e2fsprogs util-linux openssh-client mount procps"
wanted="$wanted postgresql python3-psycopg2 haproxy rsync python3-venv rpm gnupg"
missing=
for package in $wanted; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
# Servers are for tests to start, on ports of their own; none is to run by itself.
policy=/usr/sbin/policy-rc.d
[ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' > "$policy"; chmod 755 "$policy"; trap 'rm -f "$policy"' EXIT; }
apt-get update -q > /dev/null
# shellcheck disable=SC2086 # one word a package
apt-get install -y -q --no-install-recommends $missing > /dev/null

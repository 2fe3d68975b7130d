#!/usr/bin/env bash
# Makes a folder with an ansible-playbook of a newer ansible-core than this machine's Python can run, with the Python of
# Debian sid, of which nothing is installed on this machine. Needs mmdebstrap. Usage: ansible_next.sh FOLDER VERSION PYTHON
set -euo pipefail

folder=$(realpath -m "$1") version=$2 python=$3
work=$folder.part

echo "ansible-core $version: fetching Debian sid's Python and the wheels (less than a minute with a near mirror)"
rm -rf "$folder" "$work"
mkdir -p "$work"
# The machine's own way to the mirror, as in the lab.
mapfile -t apt < <(apt-config dump | sed -n 's/^Acquire::\(https\?::Proxy \|Check-\)/--aptopt=&/p')
mmdebstrap --quiet --variant=extract "${apt[@]}" --include=python3,libpython3-stdlib sid "$work/root" 2> "$work/log" \
    || { cat "$work/log" >&2; exit 1; }
interpreter=$(basename "$(readlink "$work/root/usr/bin/python3")")
# Wheels only, for that Python; which one runs pip does not matter.
"$python" -m pip install --quiet --disable-pip-version-check --no-warn-conflicts --target "$work/site" \
    --only-binary=:all: --implementation cp --python-version "${interpreter#python}" --ignore-requires-python \
    "ansible-core==$version.*"
loader=$(cd "$work" && ls root/usr/lib/*/ld-linux*.so.*)
cat > "$work/ansible-playbook" <<EOF
#!/bin/sh
export PYTHONHOME='$folder/root/usr' PYTHONPATH='$folder/site'
exec '$folder/$loader' --library-path '$folder/$(dirname "$loader")' '$folder/root/usr/bin/$interpreter' -m ansible playbook "\$@"
EOF
chmod +x "$work/ansible-playbook"
mv "$work" "$folder"

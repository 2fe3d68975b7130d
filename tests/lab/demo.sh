#!/bin/sh
# A whole cluster on this machine, made by site.yml, and a look at it. Called by `make demo`.
set -eu
here=$(dirname "$(readlink -f "$0")")
lab="$here/lab"
address=$("$lab" status | awk '$1 == "lb" { print $3 }')
node=$("$lab" status | awk '$1 == "node1" { print $3 }')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

printf '\nPublishing a package on node1 ...\n'
name="demo_$(date +%s)"
python3 "$here/../standin/make_wheel.py" "$work" "$name"
"$lab" ssh node1 "cat > /tmp/$name-1.0-py3-none-any.whl" < "$work/$name-1.0-py3-none-any.whl"
"$lab" ssh node1 "/opt/rstudio-pm/bin/rspm add --repo=pypi --path /tmp/$name-1.0-py3-none-any.whl"

printf '\nInstalling it through the load balancer, which asks any node:\n'
printf '  pip install --index-url http://%s/pypi/latest/simple/ %s\n' "$address" "$name"
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --isolated --disable-pip-version-check --no-deps \
    --index-url "http://$address/pypi/latest/simple/" --trusted-host "$address" "$name"

cat <<END

Your cluster answers at http://$address/ (nodes at http://$node:4242/ and so on).

  curl http://$address/__api__/status     what the cluster says of itself
  tests/lab/lab status                    the machines
  tests/lab/lab ssh node1                 a shell on one of them
  tests/lab/lab power-cut node2           what happens when ...
  tests/lab/lab power-on node2
  make demo-site                          site.yml once more: it changes nothing
  make lab-down                           stop, and leave nothing behind
END

#!/usr/bin/env bash
# Builds the collection into .cache/build, and imports it as Galaxy does. Other checks have linted the same files.
set -euo pipefail

rm -rf .cache/build
ansible-galaxy collection build --output-path .cache/build
cd .cache/build
GALAXY_IMPORTER_RUN_ANSIBLE_LINT=no python -m galaxy_importer.main rspm-ha-*.tar.gz | tee import.log
# Galaxy imports with these all the same.
if grep -qE '^(WARNING|ERROR)' import.log; then
    exit 1
fi

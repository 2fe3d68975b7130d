#!/bin/sh
# An inventory script: how Ansible reaches the machines of the lab named by RSPM_LAB.
exec "$(dirname "$0")/lab" inventory

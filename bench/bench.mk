# What the performance claims rest on.
.PHONY: bench-converge
bench-converge: venv lab-tools packages build ## tasks, wall time and controller CPU of site.yml, bare and no-op, three nodes
	@$(LAB) down && $(LAB) up --image bare
	@$(lab-environment) python bench/converge.py

# The machines have the memory for the names of all files of both trees, as servers do.
.PHONY: bench-migrate
bench-migrate: venv lab-tools packages build ## outage and total time of the migration to one node, against the same by hand
	@$(LAB) down && $(LAB) up --memory 2048
	@$(lab-environment) python bench/migrate.py

UPGRADE_PACKAGES := .cache/upgrade-outage

# What a server gets from the vendor's site through a company's proxy; 0 = as fast as this machine can.
MEGABITS ?= 25

# The machines have the memory for the packages of both versions and what they unpack to, as servers do.
.PHONY: bench-upgrade
bench-upgrade: venv lab-tools packages build ## outage of the upgrade, against the guide's steps by hand and a bare dpkg -i
	@tests/standin/build --out $(UPGRADE_PACKAGES) --version 2025.12.0-14 --version 2026.04.0 --payload 100 > /dev/null
	@$(LAB) down && $(LAB) up --memory 1536 node1 node2 node3 node4 node5 node6 infra lb
	@$(lab-environment) python bench/upgrade_outage.py --packages $(UPGRADE_PACKAGES) --megabits $(MEGABITS) --json .cache/bench-upgrade.json

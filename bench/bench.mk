# What the performance claims rest on.
.PHONY: bench-converge
bench-converge: venv lab-tools packages ## tasks, wall time and controller CPU of site.yml, bare and no-op, three nodes
	@$(LAB) down && $(LAB) up --image bare
	@$(lab-environment) python bench/converge.py

.PHONY: bench-migrate
bench-migrate: venv lab-tools packages ## outage and total time of the migration to one node, against the same by hand
	@$(LAB) down && $(LAB) up
	@$(lab-environment) python bench/migrate.py

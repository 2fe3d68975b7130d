# What the performance claims rest on.
.PHONY: bench-converge
bench-converge: venv lab-tools packages ## tasks, wall time and controller CPU of site.yml, bare and no-op, three nodes
	@$(LAB) down && $(LAB) up --image bare
	@$(lab-environment) python bench/converge.py

# What the performance claims rest on: every benchmark writes its runs to .cache/bench. RUNS=1 is a trial.
BENCHMARKS := converge upgrade migrate visibility scale
RUNS ?= 5
# What bench-converge, bench-upgrade or bench-migrate is to measure, as "three bare --setting pipelining"; empty: all of it.
ONLY ?=
BENCH_PACKAGES := .cache/bench-packages
bench-run = $(lab-environment) python

.PHONY: bench
bench: venv lab-tools packages build ## all benchmarks (hours; RUNS=5), docs/performance.md and its plots; fails where one missed
	@rm -rf .cache/bench
	@for name in $(BENCHMARKS); do $(MAKE) --no-print-directory bench-$$name || echo "bench-$$name did not reach all"; done
	@$(LAB) down
	@$(MAKE) --no-print-directory bench-page

.PHONY: bench-page
bench-page: venv ## docs/performance.md and its plots, of what was measured last; fails where something was not, or missed
	@$(bench-run) bench/report.py --page

.PHONY: bench-converge
bench-converge: venv lab-tools packages build ## what site.yml costs, on new machines and as a no-op, against a ping
	@$(LAB) down && $(LAB) up --image bare
	@$(bench-run) bench/converge.py --runs $(RUNS) $(ONLY)

# What a server gets from the vendor's site through a company's proxy; 0 = as fast as this machine can.
MEGABITS ?= 25

# The machines have the memory for the packages of both versions and what they unpack to, as servers do.
.PHONY: bench-upgrade
bench-upgrade: venv lab-tools packages build ## outage of the upgrade, against the guide's steps by hand and a bare dpkg -i
	@for size in 1 300; do tests/standin/build --out $(BENCH_PACKAGES)/$$size --version 2025.12.0-14 --version 2026.04.0 \
	  --payload $$size > /dev/null; done
	@$(LAB) down && $(LAB) up --memory 1536 node1 node2 node3 node4 node5 node6 infra lb
	@$(bench-run) bench/upgrade_outage.py --runs $(RUNS) --packages $(BENCH_PACKAGES) --megabits $(MEGABITS) $(ONLY)

# The machines have the memory for the names of all files of both trees, as servers do.
.PHONY: bench-migrate
bench-migrate: venv lab-tools packages build ## outage and total time of the migration to one node, against the same by hand
	@$(LAB) down && $(LAB) up --memory 2048
	@$(bench-run) bench/migrate.py --runs $(RUNS) $(ONLY)

.PHONY: bench-visibility
bench-visibility: venv lab-tools packages build ## how soon a new file is seen, and NFS operations, by mount options
	@$(LAB) down && $(LAB) up node1 node2 infra
	@$(bench-run) bench/visibility.py --runs $(RUNS)

.PHONY: bench-scale
bench-scale: venv lab-tools packages build ## what more inventory names cost
	@$(LAB) down && $(LAB) up --off --memory 512 $$(seq -f node%.0f 30) infra lb
	@$(bench-run) bench/scale.py --runs $(RUNS)

# Not part of `bench`: it is for a change that must not cost anything. AGAINST="9a67985 v1.0.0", ONLY="few upgrade".
AGAINST ?= HEAD~1
.PHONY: bench-against
bench-against: venv lab-tools packages build ## migration and upgrade against those of other commits (AGAINST), in one run
	@tests/standin/build --out $(BENCH_PACKAGES)/300 --version 2025.12.0-14 --version 2026.04.0 --payload 300 > /dev/null
	@$(LAB) down && $(LAB) up --memory 2048
	@$(bench-run) bench/against.py --runs $(RUNS) --packages $(BENCH_PACKAGES) $(addprefix --commit ,$(AGAINST)) $(ONLY)

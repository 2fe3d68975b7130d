# What needs the lab: root on an x86-64 Linux machine.
LAB := tests/lab/lab
RSPM_LAB ?= lab
RSPM_TEST_PACKAGES := $(CURDIR)/.cache/packages
# The longest first: they run side by side.
SCENARIOS := cluster upgrade migrate external mirror
export RSPM_LAB RSPM_TEST_PACKAGES

# Molecule looks for pytest and ansible-playbook on the path.
lab-environment = COLUMNS=150 PATH="$(CURDIR)/$(VENV_BIN):$$PATH" ANSIBLE_CONFIG="$(CURDIR)/ansible.cfg"

.PHONY: lab-tools
lab-tools:
	@tests/lab/install-tools.sh

.PHONY: packages
packages: ## build the stand-in's packages into .cache/packages
	@tests/standin/build --out $(RSPM_TEST_PACKAGES) > /dev/null
	@for variant in quiet licensed fails-migration wrong-version; do \
	  tests/standin/build --out $(RSPM_TEST_PACKAGES)/$$variant --variant $$variant > /dev/null; done

.PHONY: test-lab
test-lab: venv lab-tools packages build ## the lab's own test, then every scenario on it
	@$(LAB) build --image full && $(LAB) build --image bare
	@$(lab-environment) pytest -q tests/lab
	@$(lab-environment) python tests/tools/scenarios.py $(SCENARIOS)

scenario-%: venv lab-tools packages build
	@echo "== scenario $*"
	@# A run that was killed left its lab, and molecule's belief that there is one.
	@$(lab-environment) molecule destroy --scenario-name default > /dev/null 2>&1 || $(LAB) down
	@$(lab-environment) molecule test --scenario-name $*

.PHONY: lab-up
lab-up: venv lab-tools ## five new lab machines, with a time server
	@$(LAB) down && $(LAB) up
	@$(lab-environment) ansible-playbook -i extensions/molecule/inventory -i tests/lab/inventory.sh tests/lab/ntp.yml

.PHONY: lab-down
lab-down: ## remove the lab
	@$(LAB) down

# The names that the inventory uses are those that a team's name server would know.
demo-run = $(LAB) names infra lb && $(lab-environment) ansible-playbook -i examples/inventory -i tests/lab/inventory.sh \
  -e vault_rspm_database_password=demo-only -e 'vault_become_password={{ lab_password }}' \
  -e '{"vault_rspm_licence": {"content": "demo"}}' -e rspm_address=http://lb.example.org -e '{"rspm_ntp_servers": ["infra.example.org"]}' \
  -e rspm_package_file=$(RSPM_TEST_PACKAGES)/rstudio-pm_2026.08.0_amd64.deb

.PHONY: demo
demo: venv lab-tools packages ## a whole cluster on this machine, and a look at it
	@$(LAB) down && $(LAB) up
	@$(demo-run) tests/lab/ntp.yml playbooks/site.yml
	@tests/lab/demo.sh

.PHONY: demo-site
demo-site: venv ## site.yml on the demo's cluster once more
	@$(demo-run) playbooks/site.yml

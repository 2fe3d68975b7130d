# The fault matrix of the verbs that change a live cluster. FAULT=text chooses cells by name, FRESH=1 runs all anew,
# SHARE=1/2 takes every second one, for two labs (RSPM_LAB) at a time.
faults-run = PYTHONPATH=tests/lab $(lab-environment) $(VENV_BIN)/python -m tests.faults.matrix

.PHONY: fault-packages
fault-packages: packages
	@for variant in fails-to-start pings-early notify migrates-itself no-way-back; do tests/standin/build \
	  --out $(RSPM_TEST_PACKAGES)/$$variant --variant $$variant --version 2026.04.0 > /dev/null; done

.PHONY: test-faults
test-faults: venv lab-tools fault-packages build ## every fault at every phase (hours; goes on where it was, writes docs/fault-matrix.md)
	@$(faults-run) $(if $(FAULT),--only '$(FAULT)') $(if $(FRESH),--fresh) $(if $(SHARE),--share '$(SHARE)')
	@$(if $(FAULT)$(SHARE),,RSPM_MIGRATE=all RSPM_FRESH=$(FRESH) $(MAKE) --no-print-directory scenario-migrate)

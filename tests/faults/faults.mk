# The fault matrix of the verbs that change a live cluster. FAULT=text chooses cells by name, FRESH=1 runs all anew.
faults-run = PYTHONPATH=tests/lab $(lab-environment) $(VENV_BIN)/python -m tests.faults.matrix

.PHONY: test-faults
test-faults: venv lab-tools packages build ## every fault at every phase (hours; goes on where it was, writes docs/fault-matrix.md)
	@$(faults-run) $(if $(FAULT),--only '$(FAULT)') $(if $(FRESH),--fresh)
	@$(if $(FAULT),,RSPM_MIGRATE=all RSPM_FRESH=$(FRESH) $(MAKE) --no-print-directory scenario-migrate)

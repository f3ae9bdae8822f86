# `make run` and `make test` need Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HERE := $(CURDIR)
CONFIG := $(HERE)/config.json
BUILD := build
CRON_LINE = sed -e '/^\#/d' -e "s|PYTHON|$(HERE)/$(BIN)/python|" -e "s|PROJECT|$(HERE)|" \
	-e "s|CONFIG|$(CONFIG)|" -e 's|%|\\%|g' cronjob.txt
JOB = '$(HERE)/fullprocess.py' --config '$(CONFIG)'

.PHONY: run demo test torture check serve cron uncron clean
.DEFAULT_GOAL := run

run: $(VENV)/.run
	@$(BIN)/python fullprocess.py
	@echo "report:  $(HERE)/models/summary_report.pdf"
	@echo "clients: $(HERE)/models/atrisk.csv"
	@echo "API:     . .venv/bin/activate && python app.py, then curl http://127.0.0.1:8000/scoring"

demo: $(VENV)/.run
	@$(BIN)/python benchmarks/demo.py

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --dist loadfile

torture: $(VENV)/.dev
	RISK_NEW_EXAMPLES=1 $(BIN)/python -m pytest -m 'torture or not slow'
	tests/environments.sh

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --dist loadfile tests/test_layers.py tests/docs

serve: $(VENV)/.run
	@$(BIN)/python app.py

cron: OTHERWISE = give this line to another scheduler
cron: $(VENV)/.run crontab-without
	@[ -f '$(CONFIG)' ] || { echo "$(CONFIG): no such file" >&2; exit 66; }
	@$(CRON_LINE) >> $(BUILD)/crontab.new
	@crontab $(BUILD)/crontab.new
	@echo "installed: a run every ten minutes for $(CONFIG); its log is logs/pipeline.log beside that file"

uncron: OTHERWISE = take this line out of your other scheduler
uncron: crontab-without
	@crontab $(BUILD)/crontab.new
	@echo "removed: cron no longer runs $(CONFIG)"

# The user's crontab without our line; an error of crontab must never look like an empty crontab.
.PHONY: crontab-without
crontab-without:
	@case '$(CONFIG)' in /*) ;; *) echo "CONFIG must be an absolute path, not $(CONFIG)" >&2; exit 64;; esac
	@command -v crontab > /dev/null || { { echo "crontab: no such program. Install cron" \
		"(Debian, Ubuntu: apt install cron; Fedora: dnf install cronie), or $(OTHERWISE):"; \
		$(CRON_LINE); } >&2; exit 69; }
	@mkdir -p $(BUILD)
	@LC_ALL=C crontab -l > $(BUILD)/crontab.old 2> $(BUILD)/crontab.err \
		|| grep -q "no crontab for" $(BUILD)/crontab.err || { cat $(BUILD)/crontab.err >&2; exit 1; }
	@grep -v -F "$(JOB)" $(BUILD)/crontab.old > $(BUILD)/crontab.new || true

clean:
	rm -rf $(VENV) $(BUILD) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.run: requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@$(PYTHON) -m venv $(VENV)
	@echo "installing the packages of requirements.txt into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

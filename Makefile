# `make run` and `make test` need Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HERE := $(CURDIR)
BUILD := build

.PHONY: run demo test torture check serve cron uncron clean
.DEFAULT_GOAL := run

run: $(VENV)/.run
	@$(BIN)/python fullprocess.py
	@echo "report: $(HERE)/models/summary_report.pdf"
	@echo "API:    make serve, then curl http://127.0.0.1:8000/scoring"

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
	$(BIN)/python -m pytest tests/test_layers.py tests/docs/test_docs.py

serve: $(VENV)/.run
	@$(BIN)/python app.py

cron: $(VENV)/.run crontab-without
	@sed -e '/^#/d' -e "s|PYTHON|$(HERE)/$(BIN)/python|" -e "s|PROJECT|$(HERE)|g" -e 's|%|\\%|g' cronjob.txt \
		>> $(BUILD)/crontab.new
	@crontab $(BUILD)/crontab.new
	@echo "installed: a tick every ten minutes; the log is $(HERE)/logs/pipeline.log"

uncron: crontab-without
	@crontab $(BUILD)/crontab.new
	@echo "taken out: cron fires no tick of this folder any more"

# The user's crontab without our line; an error of crontab must never look like an empty crontab.
.PHONY: crontab-without
crontab-without:
	@mkdir -p $(BUILD)
	@LC_ALL=C crontab -l > $(BUILD)/crontab.old 2> $(BUILD)/crontab.err \
		|| grep -q "no crontab for" $(BUILD)/crontab.err || { cat $(BUILD)/crontab.err >&2; exit 1; }
	@grep -v -F "'$(HERE)/fullprocess.py'" $(BUILD)/crontab.old > $(BUILD)/crontab.new || true

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

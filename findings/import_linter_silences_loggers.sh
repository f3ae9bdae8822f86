#!/usr/bin/env bash
# import-linter 2.17, https://import-linter.readthedocs.io (docs: "lint-imports" is a command; `lint_imports`
# in importlinter.cli is what it calls, and what a test that wants no second interpreter calls).
# The guess: a function that reads files and returns 0 or 1 leaves the process as it was, so a test may
#   call it beside other tests.
# What happens: each call configures logging with dictConfig and its default `disable_existing_loggers`,
#   so every logger that exists by then is switched off for the rest of the process. Warnings of the code
#   under test vanish; assertions about log lines fail in whatever tests happen to run later.
# What to do: run it in an interpreter of its own, or put `disabled` of the loggers back.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check import-linter==2.17
mkdir "$work/shop"
touch "$work/shop/__init__.py"
echo "from shop import prices" > "$work/shop/till.py"
echo "APPLE = 3" > "$work/shop/prices.py"
cat > "$work/pyproject.toml" <<'TOML'
[tool.importlinter]
root_package = "shop"

[[tool.importlinter.contracts]]
name = "the till stands above the prices"
type = "layers"
containers = ["shop"]
layers = ["till", "prices"]
TOML
cd "$work"
PYTHONPATH=$work "$work/venv/bin/python" - <<'PY'
import contextlib, io, logging, sys
from importlinter.cli import lint_imports

before = logging.getLogger("shop.before")
handler = logging.StreamHandler(heard := io.StringIO())
logging.getLogger("shop").addHandler(handler)
before.warning("one")
with contextlib.redirect_stdout(io.StringIO()):
    code = lint_imports(no_cache=True)
before.warning("two")
logging.getLogger("shop.after").warning("three")
print("exit code of the contracts:", code)
print("logger that was there before is disabled:", before.disabled)
print("heard:", heard.getvalue().split())
sys.exit(not (code == 0 and before.disabled and "two" not in heard.getvalue()))
PY

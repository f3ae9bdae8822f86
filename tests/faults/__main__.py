"""Torture the pipeline: faults at every write, kills, power cuts, full disks, readers, a long soak.

  python tests/faults inject --form full        every call that writes, with every fault
  python tests/faults all --form middle         each harness, as long as CI has time
  python tests/faults inject --sabotage overwrite   the control: must fail

Exit code 0 when nothing was wrong, 1 otherwise. docs/faults.md says what each proves.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # a library with threads must never be forked
    os.environ[_name] = "1"
TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS), str(TESTS / "support")]

from faults import harnesses, sabotage  # noqa: E402
from faults.harness import Report  # noqa: E402


def main(argv: list[str] | None = None) -> int:
    """Run one harness, or all."""
    options = parse(argv)
    names = list(harnesses.ALL) if options.harness == "all" else [options.harness]
    codes = []
    for name in names:
        folder = Path(tempfile.mkdtemp(prefix="risk-faults-", dir=options.folder))
        started = time.monotonic()
        report = Report(f"{name}, {options.form} form, seed {options.seed}")
        try:
            harnesses.ALL[name](options, folder, random.Random(options.seed), report)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        codes.append(report.tell(time.monotonic() - started))
    return max(codes)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python tests/faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("harness", choices=[*harnesses.ALL, "all"])
    parser.add_argument("--form", choices=("short", "middle", "full"), default="short")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10**6), help="default: drawn, and printed"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time")
    parser.add_argument("--minutes", type=float, help="stop after so many minutes")
    parser.add_argument("--rounds", type=int, help="of soak: so many")
    parser.add_argument("--scenarios", nargs="*", help="of inject and kills: only these")
    parser.add_argument("--sabotage", choices=sabotage.ALL, help="take a mechanism away: the run must fail")
    parser.add_argument("--folder", help="where to work (default: the temporary folder)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())

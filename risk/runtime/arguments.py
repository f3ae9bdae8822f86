"""The command line that all scripts share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from risk.errors import EXIT_CODES, UsageError

Options = Callable[[argparse.ArgumentParser], None]


EPILOG = """\
example:
  python {name}.py --config /srv/risk/config.json --json

exit codes:
{codes}
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise UsageError(f"{message}; see {self.prog} --help")


class _Formatter(argparse.HelpFormatter):
    """Help in 78 columns, examples as they are; a terminal would be asked for its width at every run."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=78)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        import textwrap

        paragraphs = text.strip().split("\n\n")
        return "\n\n".join(part if "\n  " in part else textwrap.fill(part, width) for part in paragraphs)


def parse(
    name: str, argv: list[str] | None, description: str | None, options: Options | None
) -> dict[str, Any]:
    parser = _Parser(
        prog=f"{name}.py",
        description=description,
        formatter_class=_Formatter,
        epilog=EPILOG.format(
            name=name, codes="\n".join(f"  {code:3} {text}" for code, text in EXIT_CODES.items())
        ),
    )
    parser.add_argument(
        "--config",
        metavar="PATH",
        default=Path(__file__).resolve().parents[2] / "config.json",
        help="config.json to use (default: the one beside the scripts)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    loud = parser.add_mutually_exclusive_group()
    loud.add_argument(
        "-q", dest="verbosity", action="store_const", const=-1, default=0, help="print errors only"
    )
    loud.add_argument("-v", dest="verbosity", action="store_const", const=1, help="print details, too")
    if options is not None:
        options(parser)
    return vars(parser.parse_args(argv))

"""Export of every table of the history as CSV."""

from __future__ import annotations

from pathlib import Path

from risk.files import put
from risk.history import store
from risk.text import escape_for_spreadsheet, render_csv_row


def write_tables(database_url: str, folder: Path) -> dict[str, int]:
    """Write every table, as they are at one moment, and return the number of rows of each.

    Raises
    ------
    ServiceError
        When the database does not answer.
    """
    counts = {}
    with store.read(database_url) as history:
        for name, columns, rows in history.tables():
            counts[name] = 0
            with put(folder / f"{name}.csv") as handle:
                handle.write(render_csv_row(columns))
                for row in rows:
                    cells = (int(cell) if isinstance(cell, bool) else cell for cell in row)
                    handle.write(render_csv_row([*map(escape_for_spreadsheet, cells)]))
                    counts[name] += 1
    return counts

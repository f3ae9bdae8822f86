"""Reading the history as any client would, and histories as earlier versions left them."""

import re
from pathlib import Path

import sqlalchemy as sa

from risk.history import connections, migrations

AT = "2026-01-31T12:00:00.000001Z"
EARLIER = sorted((Path(__file__).parents[1] / "unit" / "history" / "schemas").glob("version_*.sql"))


def rows_of(url, name):
    """Read a table as any client would, not through our own reader."""
    with connections.connect(url, reads=True) as connection:
        quoted = connection.dialect.identifier_preparer.quote(name)
        return [dict(row) for row in connection.exec_driver_sql(f"select * from {quoted}").mappings()]


def make_earlier(url, path):
    """Make a history as an earlier version left it, with data."""
    version = int(re.search(r"version_(\d+)", path.name).group(1))
    lines = [line for line in path.read_text().splitlines() if not line.startswith("--")]
    with connections.connect(url) as connection:
        if connection.dialect.name == "mysql":
            connection.execute(sa.text("set session sql_mode = 'ANSI_QUOTES'"))
        for statement in "\n".join(lines).split(";"):
            if statement.strip():
                connection.exec_driver_sql(statement)
        if connection.dialect.name == "mysql":
            connection.execute(sa.text("set session sql_mode = default"))
        metadata = sa.MetaData()
        metadata.reflect(connection)
        tables = metadata.tables
        connection.execute(sa.insert(tables["schema_version"]), {"version": version})
        for number, (source, n) in enumerate([("s", 10), ("s", 5), ("p", 7), ("s", None)]):
            file = {"id": f"f{number}", "at": f"2026-01-0{number + 1}", "source": source, "rows_new": n}
            if version >= 2:
                file["rows_total"] = (10, 15, 7, 15)[number]
            connection.execute(sa.insert(tables["ingested_files"]), file)
        release = {"id": "r", "at": AT, "release": "abc", "action": "deployed", "score": 1 / 3}
        connection.execute(sa.insert(tables["releases"]), release)
        connection.execute(sa.insert(tables["drift"]), {"id": "d", "at": AT, "reason": "fell"})


def shape(url):
    with connections.connect(url, reads=True) as connection:
        inspector = sa.inspect(connection)
        names = [name for name in inspector.get_table_names() if name in migrations.METADATA.tables]
        return {name: {c["name"]: str(c["type"]) for c in inspector.get_columns(name)} for name in names}


class Hurried:
    """A clock that lets each delivery bring one group and no more."""

    def monotonic(self):
        self.now = getattr(self, "now", 0) + 1000
        return self.now

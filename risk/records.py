"""What happened before: a history in SQL that outlives every file.

SQLAlchemy Core on SQLite. A row's `id` is made of what the row says, so writing it again changes
nothing. Times are UTC text, floats are doubles, what is not finite is NULL.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from risk.errors import ServiceError

VERSION = 1
BUSY_S = 3.0
Rows = Mapping[str, Sequence[Mapping[str, Any]]]

NAME, DIGEST, TIME, SENTENCE = sa.String(255), sa.String(64), sa.String(32), sa.String(1000)
METADATA = sa.MetaData()
SCHEMA_VERSION = sa.Table("schema_version", METADATA, sa.Column("version", sa.Integer, primary_key=True))


def _table(name: str, /, **columns: Any) -> sa.Table:
    listed = [sa.Column(column, kind) for column, kind in columns.items()]
    return sa.Table(
        name,
        METADATA,
        sa.Column("id", DIGEST, primary_key=True),
        sa.Column("at", TIME, nullable=False, index=True),
        *listed,
    )


_table(
    "ticks",
    listing_digest=DIGEST,
    config_digest=DIGEST,
    release_before=NAME,
    release_after=NAME,
    files_new=sa.Integer,
    rows_new=sa.Integer,
    drift=sa.Boolean,
    deployed=sa.Boolean,
    reason=SENTENCE,
)
_table(
    "ingested_files",
    source=sa.String(1000),
    batch=sa.Integer,
    name=NAME,
    sha256=DIGEST,
    rows_read=sa.Integer,
    rows_new=sa.Integer,
    rows_duplicate=sa.Integer,
    rows_rejected=sa.Integer,
    rows_unlabelled=sa.Integer,
    refused=SENTENCE,
)
_table(
    "scores",
    data=NAME,
    model_sha256=DIGEST,
    n=sa.Integer,
    n_positive=sa.Integer,
    f1=sa.Double,
    f1_low=sa.Double,
    f1_high=sa.Double,
    auc=sa.Double,
    average_precision=sa.Double,
)
_table("timings", stage=NAME, duration_s=sa.Double, n_rows=sa.Integer)
_table("missing_values", table_digest=DIGEST, column_name=NAME, count=sa.Integer, percent=sa.Double)
_table(
    "drift",
    release=NAME,
    rule=NAME,
    drift=sa.Boolean,
    recorded_score=sa.Double,
    new_score=sa.Double,
    new_low=sa.Double,
    new_high=sa.Double,
    n=sa.Integer,
    auc=sa.Double,
    leaver_share=sa.Double,
    reason=SENTENCE,
)
_table("releases", release=NAME, action=NAME, deployed_by=NAME, estimator=NAME, score=sa.Double)


def utc_now() -> str:
    """Name this moment: UTC, microseconds, text that sorts."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class History:
    """An open history; rows written through it stand or fall together."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection

    def add(self, rows: Rows, at: str) -> None:
        """Write rows by table name; what is there already stays as it is.

        A row may bring its own `key` (what makes it unique); otherwise its values and `at` do.
        """
        for name, listed in rows.items():
            table = METADATA.tables[name]
            values = [_complete(table, dict(row), at) for row in listed]
            known = self._known(table, [value["id"] for value in values])
            fresh = {value["id"]: value for value in values if value["id"] not in known}
            if fresh:
                self.connection.execute(sa.insert(table), list(fresh.values()))

    def _known(self, table: sa.Table, ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            found |= set(self.connection.scalars(sa.select(table.c.id).where(table.c.id.in_(part))))
        return found

    def latest_timings(self) -> dict[str, dict[str, Any] | None]:
        """Return the last recorded run of ingestion and training, and how many there were."""
        timings = METADATA.tables["timings"]
        result: dict[str, dict[str, Any] | None] = {}
        for stage in ("ingestion", "training"):
            mine = timings.c.stage == stage
            row = self.connection.execute(
                sa.select(timings.c.duration_s, timings.c.at)
                .where(mine)
                .order_by(timings.c.at.desc())
                .limit(1)
            ).first()
            count = self.connection.scalar(sa.select(sa.func.count()).where(mine))
            result[stage] = row and {"duration_s": row.duration_s, "n_runs": count, "at": row.at}
        return result


def _complete(table: sa.Table, row: dict[str, Any], at: str) -> dict[str, Any]:
    key = row.pop("key", None) or [at, row]
    text = json.dumps([table.name, key], sort_keys=True, default=str)
    values: dict[str, Any] = {"id": hashlib.sha256(text.encode()).hexdigest(), "at": at}
    for column in table.columns.keys() - values.keys():
        value = row.pop(column, None)
        if isinstance(value, float) and not math.isfinite(value):
            value = None
        if isinstance(value, str):
            value = value[: getattr(table.columns[column].type, "length", None)]
        values[column] = value
    if row:
        raise ValueError(f"{table.name} has no column {', '.join(row)}")
    return values


@contextmanager
def open(url: str) -> Iterator[History]:
    """Open the history in one transaction, and make its tables when they are not there.

    Raises
    ------
    ServiceError
        When the database does not answer or refuses; the text holds no password.
    """
    shown = sa.make_url(url).render_as_string(hide_password=True)
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_S}, poolclass=sa.NullPool)
    sa.event.listen(engine, "connect", _set_up)
    try:
        with engine.begin() as connection:
            _ensure_schema(connection, shown)
            yield History(connection)
    except sa.exc.SQLAlchemyError as error:
        why = getattr(error, "orig", None) or error
        raise ServiceError(f"{shown}: the history cannot be used ({why}); the pipeline goes on") from error
    finally:
        engine.dispose()


def _set_up(connection: Any, _: object) -> None:
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")


def _ensure_schema(connection: sa.Connection, shown: str) -> None:
    known = sa.inspect(connection).has_table(SCHEMA_VERSION.name)
    newest = sa.select(sa.func.max(SCHEMA_VERSION.c.version))
    version = connection.scalar(newest) if known else None
    if version is None:  # none yet, or whoever made the tables died before saying so
        METADATA.create_all(connection)
        connection.execute(sa.insert(SCHEMA_VERSION), {"version": VERSION})
        version = VERSION
    if version != VERSION:
        raise ServiceError(
            f"{shown}: the history has schema version {version}, this program knows {VERSION}; "
            "use the program that wrote it, or name another database_url"
        )

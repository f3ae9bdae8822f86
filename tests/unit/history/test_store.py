"""The history: written once, read back to the last bit, on every database."""

import math
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from history_kit import EARLIER, make_earlier, rows_of, shape
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from risk.errors import ServiceError
from risk.history import connections, delivery, migrations, store, tables, trends

ROOT = Path(__file__).resolve().parents[3]
SECRET = "hidden-word"  # noqa: S105
AT = "2026-01-31T12:00:00.000001Z"
SCORES = migrations.METADATA.tables["scores"]


def write(url, rows, at=AT):
    with store.open(url) as opened:
        opened.add(rows, at)


# --- values --------------------------------------------------------------------------------------------


def test_values_come_back_as_they_were_written(database_url):
    value = 0.1 + 0.2
    verdict = {
        "rule": "score",
        "new_score": value,
        "n": 2**31 - 1,
        "drift": True,
        "reason": "é🙂 Ćwikła ÆØÅ 株式会社",
    }
    write(database_url, {"drift": [verdict]})
    (row,) = rows_of(database_url, "drift")
    assert row["new_score"] == value and row["n"] == 2**31 - 1 and row["drift"] in (1, True)
    assert row["reason"] == verdict["reason"] and row["at"] == AT


FLOATS = [5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1 / 3, math.pi, 1e22, 1e23, 0.1,
          123456789.12345679, 9007199254740993.0, -0.0, 1e-7]  # fmt: skip


def test_floats_come_back_to_the_last_bit(database_url):
    write(database_url, {"scores": [{"n": number, "f1": value} for number, value in enumerate(FLOATS)]})
    back = {row["n"]: row["f1"] for row in rows_of(database_url, "scores")}
    assert [back[number] for number in range(len(FLOATS))] == FLOATS


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=200, max_size=200))
def test_any_float_comes_back_to_the_last_bit(database_url, values):
    rows = [{"key": [number, value.hex()], "n": number, "f1": value} for number, value in enumerate(values)]
    with store.open(database_url) as opened:
        opened.add({"scores": rows}, AT)
        scores = SCORES.c
        back = dict(tuple(row) for row in opened.connection.execute(sa.select(scores.n, scores.f1)))
        opened.connection.execute(sa.delete(SCORES))
    # Minus zero is the one value that a database may take for another (MariaDB keeps no sign of it).
    assert all(struct.pack("d", back[n] + 0.0) == struct.pack("d", v + 0.0) for n, v in enumerate(values))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_null(database_url, value):
    write(database_url, {"scores": [{"f1": value}]})
    assert rows_of(database_url, "scores")[0]["f1"] is None


@pytest.mark.parametrize("text", ["x" * 1000, "🙂" * 1000, "é" * 1000], ids=["ascii", "emoji", "accents"])
def test_a_reason_of_1000_characters_fits(database_url, text):
    write(database_url, {"drift": [{"reason": text}]})
    assert rows_of(database_url, "drift")[0]["reason"] == text


def test_longer_texts_are_cut_to_their_column(database_url):
    write(database_url, {"drift": [{"reason": "x" * 5000}]})
    assert len(rows_of(database_url, "drift")[0]["reason"]) == 1000


@pytest.mark.parametrize(
    "text",
    ["", " both sides ", "a\0b", "half \ud83d", "line\nline\r\n", "'; drop table drift; --", "100 %s :x"],
)
def test_odd_texts_are_kept_as_far_as_a_database_can(database_url, text):
    write(database_url, {"drift": [{"reason": text}]})
    (row,) = rows_of(database_url, "drift")
    assert row["reason"] == text.replace("\0", "\N{REPLACEMENT CHARACTER}").replace("\ud83d", "?")


def test_microseconds_stay_and_times_sort(database_url):
    moments = ["2026-01-31T12:00:00.000002Z", "2026-01-31T12:00:00.000001Z", "2025-12-31T23:59:59.999999Z"]
    for moment in moments:
        write(database_url, {"timings": [{"stage": "training", "duration_s": 1.0}]}, at=moment)
    assert sorted(row["at"] for row in rows_of(database_url, "timings")) == sorted(moments)
    with store.open(database_url) as opened:
        assert opened.latest_timings()["training"]["at"] == moments[0]


# --- keys ----------------------------------------------------------------------------------------------


def test_the_same_row_written_twice_is_there_once(database_url):
    row = {"key": ["a"], "release": "r", "action": "deployed"}
    write(database_url, {"releases": [row, row]})
    write(database_url, {"releases": [row]}, at="2027-01-01T00:00:00.000000Z")
    assert len(rows_of(database_url, "releases")) == 1
    write(database_url, {"releases": [row | {"key": ["b"]}]})
    assert len(rows_of(database_url, "releases")) == 2


def test_rows_of_one_write_stand_or_fall_together(database_url):
    with pytest.raises(ValueError, match="no column wrong"):
        write(database_url, {"releases": [{"release": "r"}], "scores": [{"wrong": 1}]})
    write(database_url, {})
    assert rows_of(database_url, "releases") == []


def test_timings_are_the_last_run_and_how_many_there_were(database_url):
    row = {"stage": "training", "duration_s": 1.0}
    write(database_url, {"timings": [row]}, at="2026-01-01T00:00:00.000000Z")
    write(database_url, {"timings": [row | {"duration_s": 2.0}]}, at="2026-01-02T00:00:00.000000Z")
    with store.open(database_url) as opened:
        found = opened.latest_timings()
    assert found == {
        "ingestion": None,
        "training": {"duration_s": 2.0, "n_runs": 2, "at": "2026-01-02T00:00:00.000000Z"},
    }


WRITER = """
import sys
sys.path.insert(0, {root!r})
from risk.history import store
for number in range({n}):
    with store.open(sys.argv[1]) as history:
        print(number, flush=True)
        rows = [{{"key": [number, part], "release": "r", "action": sys.argv[2]}} for part in range(20)]
        history.add({{"releases": rows}}, "2026-01-31T12:00:00.000001Z")
"""


def writer(url, name, n=15):
    code = WRITER.format(root=str(ROOT), n=n)
    return subprocess.Popen(
        [sys.executable, "-c", code, url, name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    "rows",
    [
        {"scores": [{"n": 2**70}]},
        {"unheard": [{}]},
        {"scores": [{"unheard": 1}]},
        {"scores": [{"f1": "word"}]},
        {"ticks": [{"drift": "perhaps"}]},
    ],
    ids=["too large", "no such table", "no such column", "no number", "neither true nor false"],
)
def test_a_row_that_is_refused_leaves_nothing_of_its_write(database_url, rows):
    write(database_url, {})
    with pytest.raises((ServiceError, *delivery.REFUSALS)), store.open(database_url) as opened:
        opened.add({"releases": [{"key": [1]}]}, AT)
        opened.add(rows, AT)
    assert rows_of(database_url, "releases") == []


def test_two_writers_at_once_lose_and_double_nothing(database_url):
    """They begin with no table, and write the same rows: schema and keys are both fought over."""
    both = [writer(database_url, name) for name in ("one", "two")]
    for process in both:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert len(rows_of(database_url, "releases")) == 15 * 20


def test_killed_during_a_write_the_database_holds_whole_writes_only(database_url):
    write(database_url, {})
    process = writer(database_url, "killed", n=100_000)
    for _ in range(5):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    n_rows = len(rows_of(database_url, "releases"))
    assert n_rows >= 4 * 20 and n_rows % 20 == 0
    write(database_url, {"releases": [{"release": "after"}]})
    assert len(rows_of(database_url, "releases")) == n_rows + 1


# --- the schema ----------------------------------------------------------------------------------------


def test_there_is_a_fixture_of_every_earlier_version():
    assert [path.name for path in EARLIER] == [f"version_{n}.sql" for n in range(1, tables.VERSION)]


@pytest.mark.parametrize("path", EARLIER, ids=lambda path: path.stem)
def test_an_earlier_version_is_upgraded_with_its_data(database_url, path):
    make_earlier(database_url, path)
    write(database_url, {"releases": [{"release": "new", "model_sha256": "0" * 64}]})
    files = {row["id"]: row for row in rows_of(database_url, "ingested_files")}
    assert [files[f"f{n}"]["rows_total"] for n in range(4)] == [10, 15, 7, 15]
    assert {row["release"]: row["score"] for row in rows_of(database_url, "releases")} == {
        "abc": 1 / 3,
        "new": None,
    }
    assert {row["version"] for row in rows_of(database_url, "schema_version")} >= {tables.VERSION}
    assert set(shape(database_url)) == set(migrations.METADATA.tables)


@pytest.mark.parametrize("path", EARLIER, ids=lambda path: path.stem)
def test_an_upgraded_history_has_the_shape_of_a_new_one(database_url, path, tmp_path):
    make_earlier(database_url, path)
    write(database_url, {})
    upgraded = shape(database_url)
    with connections.connect(database_url) as connection:
        migrations.METADATA.drop_all(connection)
    write(database_url, {})
    new = shape(database_url)
    assert {n: set(columns) for n, columns in upgraded.items()} == {n: set(c) for n, c in new.items()}
    assert upgraded["ingested_files"]["rows_total"] == new["ingested_files"]["rows_total"]


@pytest.mark.parametrize("path", EARLIER, ids=lambda path: path.stem)
def test_an_upgrade_that_was_cut_off_is_taken_up_again(database_url, path):
    """MySQL commits each DDL statement: the half of a step may stand when the other was never run."""
    make_earlier(database_url, path)
    with connections.connect(database_url) as connection:
        if path.stem == "version_1":
            connection.exec_driver_sql("alter table releases add column model_sha256 varchar(64)")
        if path.stem == "version_3":
            migrations.METADATA.tables["client_lists"].create(connection)
        else:
            connection.exec_driver_sql("alter table drift add column advice varchar(1000)")
            migrations.METADATA.tables["gates"].create(connection)
    write(database_url, {"drift": [{"advice": "look"}]})
    assert rows_of(database_url, "ingested_files")[0]["rows_total"] == 10
    assert {row["advice"] for row in rows_of(database_url, "drift")} == {None, "look"}


def test_a_schema_of_a_newer_version_is_refused(database_url):
    write(database_url, {})
    with connections.connect(database_url) as connection:
        connection.execute(sa.update(migrations.SCHEMA_VERSION).values(version=99))
    with pytest.raises(ServiceError, match="schema version 99"):
        write(database_url, {})
    with pytest.raises(ServiceError, match="schema version 99"), store.read(database_url):
        pass


def test_tables_without_a_version_are_completed(database_url):
    """Whoever made them died before saying so."""
    with connections.connect(database_url) as connection:
        migrations.SCHEMA_VERSION.create(connection)
        migrations.METADATA.tables["ticks"].create(connection)
    write(database_url, {"scores": [{"f1": 0.5}]})
    assert rows_of(database_url, "scores")[0]["f1"] == 0.5


# --- reading -------------------------------------------------------------------------------------------


def test_a_reader_sees_one_moment_while_others_write(database_url):
    write(database_url, {"releases": [{"release": "a"}], "scores": [{"f1": 0.1}]})
    with store.read(database_url) as opened:
        tables = opened.tables()
        seen = {}
        for name, columns, rows in tables:
            seen[name] = [dict(zip(columns, row, strict=True)) for row in rows]
            if len(seen) == 1:
                write(database_url, {"releases": [{"release": "b"}], "scores": [{"f1": 0.2}]})
    assert [row["release"] for row in seen["releases"]] == ["a"] and [
        row["f1"] for row in seen["scores"]
    ] == [0.1]
    assert len(rows_of(database_url, "releases")) == 2, "the writer did not wait for the reader"


NAMES = ["größe", "Größe", "GROSSE", "a", "A", "á", "株式会社", "b c", "%s", "q'q", "never", "never 2"]


def test_trends_of_the_columns_that_moved_most_are_as_those_of_all_rows(database_url):
    """What a database takes for equal letters are other columns here."""
    values = {
        name: [0.0, 0.0, 0.0] if name.startswith("never") else [1.0, 1.0 + number, 2.0 * (number % 3)]
        for number, name in enumerate(NAMES)
    }
    every = {
        "missing_values": [
            {"at": f"{day}T12:00:00.000001Z", "column_name": name, "percent": found[number]}
            for name, found in values.items()
            for number, day in enumerate(("2026-01-01", "2026-01-02", "2026-01-03"))
        ],
        "column_drift": [{"at": AT, "column_name": name, "psi": 0.0} for name in NAMES[:8]],
    }
    for table, rows in every.items():
        for row in rows:
            kept = {name: value for name, value in row.items() if name != "at"}
            write(database_url, {table: [kept]}, at=row["at"])
    write(database_url, {"column_drift": [{"column_name": "without", "psi": None}]})
    with store.read(database_url) as opened:
        rows, left_out = opened.trend_rows()
    assert len({row["column_name"] for row in rows["missing_values"]}) == trends.MOST_COLUMNS
    assert left_out == {"missing_values": 6, "column_drift": 2}
    assert trends.build(rows, left_out=left_out) == trends.build(every)


def test_reading_makes_nothing(database_url):
    with pytest.raises(ServiceError, match=r"no history yet|schema version None"), store.read(database_url):
        pass
    if database_url.startswith("sqlite"):
        assert not Path(database_url.removeprefix("sqlite:///")).exists()


def test_old_detail_is_pruned_and_scores_verdicts_and_releases_stay(database_url):
    rows = {name: [{"key": [name]}] for name in migrations.METADATA.tables if name != "schema_version"}
    write(database_url, rows, at="2020-01-01T00:00:00.000000Z")
    newer = {name: [{"key": [name, 2]}] for name in rows}
    write(database_url, newer, at="2026-01-01T00:00:00.000000Z")
    with store.open(database_url) as opened:
        assert opened.prune("2026-01-01T00:00:00.000000Z") == 5
    left = {name: len(rows_of(database_url, name)) for name in rows}
    kept = {"scores", "drift", "releases", "gates", "estimates", "client_lists"}
    assert {name for name, count in left.items() if count == 2} == kept
    assert set(left.values()) == {1, 2}


def test_much_old_detail_is_pruned_piece_by_piece(database_url):
    """All of it at once would never be done within the time of a tick, and be tried for ever."""
    for day in range(1, 8):
        rows = {"timings": [{"stage": "training"}], "missing_values": [{"column_name": n} for n in "abc"]}
        write(database_url, rows, at=f"2026-01-{day:02d}T00:00:00.000000Z")
    pruned, left = [], []
    for _ in range(4):
        with store.open(database_url) as opened:
            pruned.append(opened.prune("2026-01-06T00:00:00.000000Z", at_once=4))
        left.append(min(row["at"][8:10] for row in rows_of(database_url, "missing_values")))
    assert pruned == [4 + 6, 1 + 6, 3, 0] and left == ["03", "05", "06", "06"]


# --- SQLite ----------------------------------------------------------------------------------------------


def test_a_file_is_written_through_to_the_disk_and_waited_for(tmp_path):
    asked = ("pragma journal_mode", "pragma synchronous", "pragma busy_timeout")
    with connections.connect(f"sqlite:///{tmp_path / 'records.db'}") as connection:
        answers = [connection.exec_driver_sql(line).scalar() for line in asked]
    assert answers == ["wal", 2, 3000]


@pytest.mark.parametrize("name", ["with space.db", "é+ü.db", "#frag;ment&.db"])
def test_a_file_may_have_an_odd_name(tmp_path, name):
    write(f"sqlite:///{tmp_path / name}", {"releases": [{"release": "a"}]})
    assert (tmp_path / name).is_file()
    with store.read(f"sqlite:///{tmp_path / name}") as opened:
        assert opened.latest_timings() == {"ingestion": None, "training": None}


@pytest.mark.parametrize(
    ("change", "waits"),
    [
        ("drop table timings", True),
        ("alter table timings rename column duration_s to dur", True),
        ("alter table timings add column site text not null default 'berlin'", False),
    ],
)
def test_tables_modified_outside_this_pipeline_wait_until_they_are_mended(tmp_path, change, waits):
    url = f"sqlite:///{tmp_path / 'records.db'}"
    write(url, {})
    with connections.connect(url) as connection:
        connection.exec_driver_sql(change)
    rows = {"timings": [{"stage": "training", "duration_s": 1}]}
    if waits:
        with pytest.raises(ServiceError, match="cannot be used") as raised:
            write(url, rows)
        assert not delivery._is_refusal(raised.value)
    else:
        write(url, rows)
        assert rows_of(url, "timings")[0]["site"] == "berlin"


# --- trouble -------------------------------------------------------------------------------------------


def test_a_file_that_is_no_database_is_a_service_error(tmp_path):
    (tmp_path / "records.db").write_text("no database " * 100)
    with pytest.raises(ServiceError, match="cannot be used"):
        write(f"sqlite:///{tmp_path / 'records.db'}", {})


@pytest.mark.parametrize("scheme", ["mysql", "postgresql"])
def test_no_error_names_the_password(scheme):
    with pytest.raises(ServiceError, match="cannot be used") as caught:
        write(f"{scheme}://risk:hidden-word@127.0.0.1:1/risk", {})
    told = [str(caught.value)]
    problem = caught.value
    assert "risk:***@127.0.0.1:1" in told[0]
    while problem is not None:
        told.append(str(problem))
        problem = problem.__cause__ or problem.__context__
    assert not [text for text in told if "hidden-word" in text]


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_wrong_password_is_a_service_error_without_it(kind, servers):
    """MariaDB refuses an unknown user; PostgreSQL, which trusts loopback here, an unknown database."""
    url = sa.make_url(servers(kind).url).set(username="nobody", password=SECRET, database="absent")
    with pytest.raises(ServiceError, match="cannot be used") as caught:
        write(url.render_as_string(hide_password=False), {})
    assert SECRET not in str(caught.value)


def test_a_driver_that_is_not_there_is_said_with_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['psycopg'] = None; sys.path.insert(0, sys.argv[1])\n"
        "from risk.history import store\n"
        "from risk.errors import ServiceError\n"
        "try:\n    store.open('postgresql://u@h/d').__enter__()\n"
        "except ServiceError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, ROOT], capture_output=True, text=True, check=True)
    assert "requirements-postgres.txt" in done.stdout


def test_the_drivers_are_imported_only_when_the_url_asks(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from risk.history import store\n"
        "with store.open('sqlite:///' + sys.argv[2] + '/r.db') as h: h.add({}, 'x')\n"
        "print([n for n in ('mysql', 'psycopg') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, ROOT, tmp_path], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"

"""Spark gives what DuckDB gives: the same bytes, the same accounting, the same figures."""

import contextlib
import csv
import io
import json
import os
import random
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from makers import HEADER, make_clients
from workspaces import Workspace

import ingestion
import scoring
from config import load_config
from risk.data import frames, ledger, profiles
from risk.data.ledger import Ledger
from risk.data.schema import Schema
from risk.digests import sha256
from risk.engines import partitions, spark_session, table_reader
from risk.engines.spark_session import ClusterSettings
from risk.engines.spark_table import SparkTable
from risk.engines.statistics import DuckDBTable
from risk.errors import ArtifactError, ServiceError
from risk.files import render_json
from risk.limits import Room
from risk.model import registry
from risk.monitoring import column_drift
from risk.prediction import spark_batch

pytestmark = pytest.mark.slow
CANARY = "canaryQ7xZ=:\\ x"
CONF = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.ui.enabled": False,
    "spark.sql.shuffle.partitions": 2,
    "spark.default.parallelism": 2,
    # Tables of a few rows: to compile queries and hot code costs more than they do.
    "spark.sql.codegen.wholeStage": False,
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.hadoop.fs.s3a.secret.key": CANARY,
}
LOCAL = {"name": "spark", "master": "local[2]", "conf": CONF}
HEAD = b"corporation,activity,colour,exited\n"
SEVERAL = settings(
    deadline=None,
    database=None,
    derandomize=True,
    max_examples=5,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
ARTIFACTS = ("finaldata.csv", "ingestedfiles.txt", "rejectedrows.csv", ".finaldata.json")


def write(rows, separator=",", line_end="\n", mark="", quoting=csv.QUOTE_MINIMAL):
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator=line_end, quoting=quoting).writerows(rows)
    return (mark + text.getvalue()).encode()


def make_workspace(folder, capsys, engine, files):
    made = Workspace(Path(folder) / engine["name"], capsys)
    made.configure(engine=engine)
    (made.root / "sourcedata").mkdir()
    for name, data in files.items():
        (made.root / "sourcedata" / name).write_bytes(data)
    return made


def results(workspace):
    folder = workspace.root / "ingesteddata"
    return {name: (folder / name).read_bytes() for name in ARTIFACTS if (folder / name).exists()}


def ingest(workspace):
    """Ingest, and give everything that may be compared: exit code, counts, bytes, and what was said."""
    workspace.capsys.readouterr()
    code = ingestion.main(["--config", str(workspace.config_path), "--json"])
    out, said = workspace.capsys.readouterr()
    return code, json.loads(out or "null"), results(workspace), sorted(set(said.splitlines()))


def both(capsys, files, later=None):
    """Ingest the same files by both engines, and more files into the same tables."""
    found = {}
    for engine in ({"name": "duckdb"}, LOCAL):
        with tempfile.TemporaryDirectory() as folder:
            workspace = make_workspace(folder, capsys, engine, files)
            told = [ingest(workspace)]
            for name, data in (later or {}).items():
                (workspace.root / "sourcedata" / name).write_bytes(data)
            if later:
                told.append(ingest(workspace))
            found[engine["name"]] = told
    return found["duckdb"], found["spark"]


def test_duplicates_bad_rows_and_odd_files_end_in_the_same_bytes(capsys):
    header = [HEADER]
    rows = make_clients(60, "a")
    files = {
        "a.csv": write(header + rows),
        "b.csv": write(header + rows[20:40] + make_clients(20, "b"), ";", "\r\n", "\ufeff"),
        "c.csv": write([HEADER[::-1], *[row[::-1] for row in make_clients(5, "c")]], "|"),
        "d.csv": write(
            [
                *header,
                ["x", "many", "red", "1"],
                ["y", "one", "#", "1"],
                ["y", "2 x", "", "0"],
                ["y", "-", "", ""],
                ["#1", "2", "a", "0"],
                *rows[:3],
            ]
        ),
        "e.csv": HEAD + b"a,1,red,1\nb,2\n\n,,,\n" + HEAD,
        "f.csv": b"",
        "g.csv": HEAD,
        "h.csv": HEAD + b'a,1,"red\n\nblue",1\nb,1e101,red,1\nc,NA,"x""y",\n',
        "i.csv": HEAD + b'a,1,"red,1\nb,2,red,1\n',
        "j.csv": b"corporation,colour,exited\na,red,1\n",
        "k.csv": b"corporation,activity,colour,exited\rz,7,red,1\r",
        "o.csv": HEAD + b"a,1,red,1\nb,2,red,perhaps\n",
        "l.csv": HEAD + ' é\u2028漢🙂\\,\u00a07 ,na,Yes\nx,true,"a\r\nb",no\n'.encode(),
    }
    later = {"m.csv": write(header + rows[:10] + make_clients(10, "m")), "n.csv": write(header + rows[:2])}
    duckdb, on_spark = both(capsys, files, later)
    assert on_spark == duckdb
    assert [told[0] for told in duckdb] == [0, 0]
    assert duckdb[0][1]["rows_rejected"] >= 3 and duckdb[1][1]["rows_new"] == 10


CELL = st.one_of(
    st.sampled_from(["", "a", "1", "-2.5", " 3 ", "NA", "true", "nan", "1_0", "1e101", "inf", "yes", "0"]),
    st.lists(
        st.sampled_from([*"ab01.,;|\t \"'#\\%_\u00a0é漢🙂\u2028\u0085\ufeff", "\n", "\r\n"]), max_size=4
    ).map("".join),
)
ROW = st.tuples(
    st.sampled_from(["x", "y", "z"]), CELL, CELL, st.sampled_from(["1", "0", "", "no", "perhaps"])
)
FILE = st.builds(
    lambda rows, *how: write([HEADER, *rows], *how),
    st.lists(ROW, max_size=6),
    st.sampled_from(",;|"),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\ufeff"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
FIRST = write([HEADER, *make_clients(5, "first"), ["x", "1", "a", "0"]])


@SEVERAL
@given(st.lists(FILE, min_size=1, max_size=3), st.lists(FILE, max_size=1))
@example([b"", HEAD, FIRST, FIRST], [FIRST])
def test_any_written_tables_end_in_the_same_bytes(capsys, files, later):
    named = {f"{number}.csv": data for number, data in enumerate([FIRST, *files])}
    duckdb, on_spark = both(capsys, named, {f"later{number}.csv": data for number, data in enumerate(later)})
    assert on_spark == duckdb


NUMBERS = st.one_of(
    st.sampled_from(["", "NA", "true", "False", "0", "-0.0", "1e100", "-1e100", "1e-320", "7", "7.0"]),
    st.integers(-5, 5).map(str),
    st.floats(-1e6, 1e6).map(repr),
)


@pytest.fixture
def cluster(tmp_path):
    conf = {
        name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in CONF.items()
    }
    return spark_session.connect(ClusterSettings("local[2]", conf, 60, tmp_path / "spark.log"))


@settings(SEVERAL, max_examples=4)
@given(st.lists(st.tuples(NUMBERS, NUMBERS, st.sampled_from(["", "a", "NA", "b\nb"])), max_size=30))
@example([])
@example([("1e9", "", "a"), ("1000000001", "3", ""), ("1000000002", "", "NA")])
def test_figures_of_columns_agree(cluster, rows):
    """Counts, minima, maxima, medians and modes are equal; mean and deviation but for rounding."""
    schema = Schema(
        ("size", "age", "plan"),
        {"size": "number", "age": "number", "plan": "text"},
        "left",
        ("1",),
        ("0",),
        (),
        (),
    )
    rows = [row for row in rows if any(row)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        path.write_bytes(write([schema.columns, *rows]))
        length = path.stat().st_size
        wanted = describe_here(path, schema, len(rows))
        path.write_bytes(path.read_bytes() + b"beyond what is committed")
        whole = not any("\n" in row[2] for row in rows)
        ledger = make_ledger(schema, length, len(rows), one_line_each=whole)
        with SparkTable(cluster, path, ledger) as opened:
            found = opened.describe()
    assert found[1] == wanted[1]
    for name, of_column in wanted[0].items():
        values = [abs(of_column[what]) for what in ("min", "max") if of_column[what] is not None]
        for what, value in of_column.items():
            if what in ("mean", "std") and value is not None:
                value = pytest.approx(value, rel=1e-9, abs=1e-14 * max(values))
            assert found[0][name][what] == value, (name, what)


def make_ledger(schema, length, n_rows, *, one_line_each=True):
    lines = n_rows + 1 if one_line_each else n_rows + 7
    return Ledger("", "", schema.to_json(), length=length, rows=n_rows, lines=lines)


def describe_here(path, schema, n_rows):
    """Describe a table without a cluster."""
    ledger = Ledger("", "", schema.to_json(), length=path.stat().st_size, rows=n_rows)
    return DuckDBTable(Room(path.parent / "spill"), path, ledger).describe()


def test_many_values_have_the_same_median_and_mode(cluster, tmp_path):
    draw = random.Random(1)
    rows = [[str(draw.randint(0, 3000)), repr(draw.gauss(1e6, 1))] for _ in range(20_000)]
    schema = Schema(("a", "b"), {"a": "number", "b": "number"}, "b", ("1",), ("0",), (), ())
    path = tmp_path / "table.csv"
    path.write_bytes(write([["a", "b"], *rows]))
    (wanted, _) = describe_here(path, schema, len(rows))
    ledger = make_ledger(schema, path.stat().st_size, len(rows))
    with SparkTable(cluster, path, ledger) as opened:
        (found, _) = opened.describe()
    for name in wanted:
        for what in ("n", "median", "mode", "min", "max"):
            assert found[name][what] == wanted[name][what], (name, what)
        assert found[name]["mean"] == pytest.approx(wanted[name]["mean"], rel=1e-9)
        assert found[name]["std"] == pytest.approx(wanted[name]["std"], rel=1e-9)


# --- drift -------------------------------------------------------------------------------------------------

TEXTS = st.sampled_from(
    ["", "a", "A", "b", "NA", "é漢🙂", "it's\\", '"q"', "x, y", "b\nb", "${plan}", "${env:HOME}"]
)
NEW_SCHEMA = Schema(
    ("size", "age", "plan", "note", "left"),
    {"size": "number", "age": "number", "plan": "text", "note": "text"},
    "left",
    ("1",),
    ("0",),
    (),
    (),
)


def count_both(cluster, folder, before, new, known, *, start=None, **how):
    """Count the rows behind `before` here and on a cluster."""
    path = Path(folder) / "table.csv"
    head = write([NEW_SCHEMA.columns, *before])
    path.write_bytes(head + write(new) + b"beyond what is committed")
    length, rows = len(head + write(new)), [*before, *new]
    whole = not any("\n" in cell for row in rows for cell in row)
    ledger = make_ledger(NEW_SCHEMA, length, len(rows), one_line_each=whole)
    start = len(head) if start is None else start
    taken = table_reader.read(path, ledger, NEW_SCHEMA, Room(Path(folder) / "spill"), start=start)
    with SparkTable(cluster, path, ledger, start=start, **how) as opened:
        found = opened.count_by(known, taken)
    return profiles.count_columns(known, taken.X), found


def profile(rows):
    frame = pd.DataFrame(rows, columns=list(NEW_SCHEMA.columns), dtype="str")
    good = [dict(zip(NEW_SCHEMA.columns, row, strict=True)) for row in frame.itertuples(index=False)]
    return profiles.make_profiles(frames.to_frame(good, NEW_SCHEMA), NEW_SCHEMA.numbers, NEW_SCHEMA.texts)


NEW_ROWS = st.lists(st.tuples(NUMBERS, NUMBERS, TEXTS, TEXTS, st.just("1")), max_size=25)


@SEVERAL
@given(NEW_ROWS, NEW_ROWS)
@example([("0", "1", "a", "b", "1")], [("-0.0", "NA", "b", "", "1"), ("9", "true", "é漢🙂", "a", "1")])
@example([("", "1", "", "b", "1")] * 3, [("7", "", "x, y", "", "1")])
@example([("1", "1", "${spark.sql.ansi.enabled}", "${x}", "1")], [("1", "1", "${x", "$", "1")] * 2)
def test_rows_are_counted_by_profiles_alike(cluster, before, new):
    with tempfile.TemporaryDirectory() as folder:
        here, there = count_both(cluster, folder, before, new, profile(before))
    assert there == here


def test_many_rows_are_counted_by_profiles_alike(cluster, tmp_path):
    """Full grids, buckets of many categories, values beyond both ends, parts that begin anywhere."""
    draw = random.Random(2)

    def rows(n, middle):
        return [
            [repr(draw.gauss(middle, 2)), str(draw.randint(0, 90)), draw.choice("abcdef"),
             f"note {draw.randint(0, 3000)} é", "1"]
            for _ in range(n)
        ]  # fmt: skip

    before, new = rows(2_000, 0), rows(3_000, 3)
    known = profile(before)
    assert len(known["size"].grid) == profiles.N_GRID + 1 and known["note"].buckets
    here, there = count_both(cluster, tmp_path, before, new, known, part_bytes=20_000)
    assert there == here and there["size"].n == 3_000 and there["size"].between[-1] > 100
    here, there = count_both(cluster, tmp_path, before, new, known, start=0, part_bytes=20_000)
    assert there == here and there["size"].n == 5_000
    assert column_drift.compare_columns(known, there) == column_drift.compare_columns(known, here)


@pytest.mark.parametrize(
    "written", [b"1,2\n", b'1,"2,a,b,1\n', b"\xff,2,a,b,1\n", b"1,2,a,b,1,more\n", b"\n"]
)
def test_a_table_that_another_hand_has_changed_is_neither_described_nor_judged(cluster, tmp_path, written):
    head, rows = write([NEW_SCHEMA.columns]), write([("1", "1", "a", "b", "1")] * 3)
    path = tmp_path / "table.csv"
    path.write_bytes(head + rows + written)
    ledger = make_ledger(NEW_SCHEMA, path.stat().st_size, 4)
    known = profile([("1", "1", "a", "b", "1")])
    damaged = pytest.raises(ArtifactError, match="modified outside this pipeline")
    with damaged, SparkTable(cluster, path, ledger) as opened:
        opened.describe()
    with damaged, SparkTable(cluster, path, ledger, start=len(head)) as opened:
        opened.count_by(known, SimpleNamespace(n_rows=4))


def test_more_categories_than_one_machine_should_hold_are_counted_together(cluster, tmp_path):
    known = profile([("1", "1", "a'", "b", "1"), ("1", "1", "rare", "b", "1")] * 3)
    new = [("1", "1", text, "b", "1") for text in ["b", "b", "b", "a'", "rare", "c", "c", "d", "e", ""]]
    here, there = count_both(cluster, tmp_path, [], new, known, most_unseen=2)
    assert there["plan"].categories == {"b": 3, "c": 2, "a'": 1, "rare": 1} and there["plan"].others == 2
    assert (there["plan"].n, there["plan"].missing) == (here["plan"].n, here["plan"].missing) == (10, 1)
    told = [column_drift.compare_column(known["plan"], one["plan"]) for one in (here, there)]
    assert told[0].psi == told[1].psi and told[0].unseen == told[1].unseen == 7
    assert told[0].change == told[1].change


@pytest.mark.parametrize(("most", "n"), [(1_000_000, 400), (1_000, 1_200)])
def test_a_verdict_on_spark_is_that_of_duckdb(old_world, most, n):
    """The scores are of a sample above `max_training_rows`, the columns of all new rows."""
    old_world.configure(max_training_rows=most)
    old_world.tick()
    kept = {path: path.read_bytes() for path in old_world.root.rglob("*") if path.is_file()}
    new = make_clients(n, "new", "new")
    found = {}
    for engine in ({"name": "duckdb"}, LOCAL):
        for path, data in kept.items():
            path.write_bytes(data)
        old_world.configure(engine=engine)
        old_world.put("sourcedata/new.csv", new)
        config = load_config(old_world.config_path)
        start = ledger.load_ledger(config.ledger).length
        old_world.run("ingestion")
        found[engine["name"]] = scoring.judge(config, ledger.load_ledger(config.ledger), start)
    here, there = found["duckdb"], found["spark"]
    assert there.drift and here.drift and there.evidence.score == here.evidence.score
    if most > n:
        assert there == here
    else:
        assert {one.n for one in here.evidence.shifts} == {most}
        assert {one.n for one in there.evidence.shifts} == {n}
        assert there.evidence.sentences[-1].endswith("1,000 of 1,200 new rows; columns on all of them")


# --- a tick, and predictions -------------------------------------------------------------------------------


def test_a_tick_and_predictions_on_spark_are_those_of_duckdb(old_world, monkeypatch, tmp_path):
    """The model is trained here and asked there; rows are numbered through all parts of a file."""
    old_world.tick()
    described = json.loads((old_world.root / "models" / "diagnostics.json").read_text())
    rows = make_clients(300, "p")
    rows[50][1], rows[299][1] = "many", "1e101"
    plain = old_world.put("new/plain.csv", rows)
    quoted = old_world.put("new/quoted.csv", [["=a,b", "7", "x\ny", "1"], *rows])
    for path in (plain, quoted):
        old_world.run("diagnostics", "--predict", str(path), "--output", str(tmp_path / path.name))
    said = old_world.said
    monkeypatch.setattr(partitions, "PART_BYTES", 1000)
    monkeypatch.setattr(partitions.cut, "__defaults__", (1000,))
    old_world.configure(engine=LOCAL)
    assert old_world.run("diagnostics")["statistics"].keys() == described["statistics"].keys()
    told = old_world.run("diagnostics", "--predict", str(quoted), "--output", str(tmp_path / "one.csv"))
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "quoted.csv").read_bytes()
    assert old_world.said == said and told["n_rejected"] == 2
    out = tmp_path / "folder"
    old_world.run("diagnostics", "--predict", str(plain.parent), "--output", str(out))
    assert {path.name for path in out.iterdir()} == {"plain.csv", "quoted.csv"}
    for path in out.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()
    old_world.run("diagnostics", "--predict", str(plain.parent), "--output", str(out), expect=os.EX_USAGE)
    assert not list((old_world.root / ".state" / "spill").iterdir())


def test_what_is_handed_to_spark_arrives_and_is_nowhere_else(old_world):
    """Not in a log, not in an artifact, not among the arguments of a process; also when Spark fails."""
    spark_session.stop()
    old_world.configure(engine=LOCAL)
    old_world.run("ingestion", "-v")
    said = old_world.said
    live = spark_session.connect_proven(load_config(old_world.config_path).engine_settings)
    assert live.context.getConf().get("spark.hadoop.fs.s3a.secret.key") == CANARY
    with pytest.raises(ServiceError) as raised:
        live.ask("select 1 from nothing")
    said += str(raised.value) + repr(live.settings) + repr(load_config(old_world.config_path))
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(path.read_bytes())
    assert any(b"SparkSubmit" in line for line in lines)
    files = [path for path in old_world.root.rglob("*") if path.is_file() and path != old_world.config_path]
    assert old_world.root / "logs" / "spark.log" in files
    for data in (said.encode(), *lines, *(path.read_bytes() for path in files)):
        assert b"canaryQ7" not in data


def test_a_release_that_was_changed_on_its_way_says_nothing(old_world, cluster, tmp_path):
    old_world.tick()
    release = registry.load(old_world.root / "production_deployment")
    files = {**release.files, "trainedmodel.pkl": release.files["trainedmodel.pkl"] + b"x"}
    digest = sha256(render_json(release.manifest).encode())
    for changed, wanted in (
        (release._replace(files=files), "was changed"),
        (release, "not the deployed one"),
    ):
        sent = spark_batch.ExecutorTask(changed, {}, 0)
        known = digest if changed is not release else digest[::-1]
        rdd = cluster.context.parallelize([1], 1)
        with pytest.raises(ServiceError, match=wanted):
            cluster.work(
                lambda sent=sent, known=known, rdd=rdd: rdd.mapPartitions(
                    lambda _: spark_batch.predict_parts([], sent, known, {}, "")
                ).collect()
            )

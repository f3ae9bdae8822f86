"""The report: what is printed, that nothing from data breaks it, and that it repeats itself."""

import json

import pytest
from conftest import make_clients
from pypdf import PdfReader


@pytest.fixture
def deployed(old_world):
    old_world.walk()
    return old_world


def text_of(workspace):
    pages = PdfReader(workspace.root / "models" / "summary_report.pdf").pages
    return "\n".join(" ".join(page.extract_text().split()) for page in pages)


def report(workspace, *arguments, expect=0):
    workspace.run("diagnostics")
    return workspace.run("reporting", "--today", "2026-01-31", *arguments, expect=expect)


def test_the_report_says_score_files_statistics_missing_data_timings_packages_and_release(deployed):
    result = report(deployed)
    text = text_of(deployed)
    score = json.loads((deployed.root / "models" / "metrics.json").read_text())
    assert f"F1 {score['f1']:.3f} on 200 test rows" in text
    assert f"between {score['f1_low']:.3f} and {score['f1_high']:.3f}" in text
    for wanted in ("2026-01-31", result["release"], "a.csv", "b.csv", "activity", "Missing data", "ingestion",
                   "scikit-learn", "Not judged yet"):  # fmt: skip
        assert wanted in text
    assert (deployed.root / "models" / "confusionmatrix.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_release_history_and_date_give_the_same_bytes(deployed):
    report(deployed)
    first = deployed.bytes()
    deployed.run("reporting", "--today", "2026-01-31")
    assert deployed.bytes() == first
    deployed.run("reporting", "--today", "2026-02-01")
    assert deployed.bytes() != first


def test_a_verdict_of_drift_is_told_with_both_scores(old_world):
    old_world.tick()
    old_world.put("sourcedata/c.csv", make_clients(300, "c", "new"))
    result = old_world.tick()
    text = text_of(old_world)
    assert "Drift by the rule 'score'" in text
    assert f"{result['recorded_score']:.4g}" in text and f"{result['new_score']:.4g}" in text
    old_world.run("reporting")
    assert "Drift by the rule 'score'" in text_of(old_world)


def test_names_from_data_are_printed_as_they_are_and_run_no_markup(workspace):
    column = "<b>x&y</b> Łódź Ω €"
    rows = [[f"c{i}", str(i % 10), str(int(i % 10 > 4))] for i in range(200)]
    workspace.put('sourcedata/<i>a"&.csv', rows, ["corporation", column, "exited"])
    workspace.put("testdata/t.csv", rows[:50], ["corporation", column, "exited"])
    workspace.tick()
    text = text_of(workspace)
    assert column in text and '<i>a"&.csv' in text


def test_a_sign_without_a_glyph_is_printed_by_its_code(workspace):
    rows = [[f"c{i}", str(i % 10), str(int(i % 10 > 4))] for i in range(200)]
    for folder in ("sourcedata", "testdata"):
        workspace.put(f"{folder}/t.csv", rows, ["corporation", "客户", "exited"])
    workspace.tick()
    assert "\\u5ba2\\u6237" in text_of(workspace)


def test_long_tables_break_over_pages_with_their_header_on_each(workspace):
    names = [f"feature_{i:03d}" for i in range(200)]
    rows = [[f"c{i}", *([str(i % 10)] * 200), str(int(i % 10 > 4))] for i in range(100)]
    for folder in ("sourcedata", "testdata"):
        workspace.put(f"{folder}/t.csv", rows, ["corporation", *names, "exited"])
    for number in range(60):
        workspace.put(f"sourcedata/{'long' * 30}{number}.csv", rows, ["corporation", *names, "exited"])
    workspace.tick()
    pages = [
        page.extract_text() for page in PdfReader(workspace.root / "models" / "summary_report.pdf").pages
    ]
    assert sum("median" in page for page in pages) >= 3
    assert all(any(name in page for page in pages) for name in names)


def test_few_test_rows_are_said_to_say_little(old_world):
    old_world.put("testdata/t.csv", make_clients(6, "q"))
    old_world.walk()
    report(old_world)
    assert "6 test rows" in text_of(old_world) and "say little" in text_of(old_world)


def test_refused_files_are_listed_with_their_reason(deployed):
    (deployed.root / "sourcedata" / "page.csv").write_text("<html>")
    deployed.run("ingestion", expect=65)
    report(deployed)
    assert "page.csv" in text_of(deployed) and "HTML" in text_of(deployed)


def test_without_a_release_the_report_says_what_to_run(old_world):
    old_world.run("ingestion")
    old_world.run("reporting", expect=66)
    assert "nothing is deployed yet" in old_world.said


def test_without_diagnostics_the_report_says_what_to_run(deployed):
    deployed.run("reporting", expect=66)
    assert "run diagnostics.py first" in deployed.said


def test_a_date_that_is_none_is_refused(deployed):
    deployed.run("reporting", "--today", "yesterday", expect=64)
    assert "is not a date" in deployed.said

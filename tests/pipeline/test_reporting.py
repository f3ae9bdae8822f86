"""The report: what is printed, that nothing from data breaks it, and that it repeats itself."""

import html
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
from makers import make_clients
from PIL import Image
from pypdf import PdfReader
from report_kit import LISTED, make_line, make_reported
from reportlab.pdfbase import pdfmetrics

import reporting
from risk.reporting import details, pdf, pdf_layout, tables

VERDICT = {"rule": "score", "drift": True, "reason": "r", "release": "x", "auc": 0.8, "leaver_share": 0.25}


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


@pytest.mark.slow
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


def test_a_sign_without_a_glyph_is_printed_by_its_code_and_chinese_as_it_is(workspace):
    rows = [[f"c{i}", str(i % 10), str(i % 7), str(int(i % 10 > 4))] for i in range(200)]
    for folder in ("sourcedata", "testdata"):
        workspace.put(f"{folder}/t.csv", rows, ["corporation", "ไทย", "客户", "exited"])
    workspace.tick()
    assert "\\u0e44\\u0e17\\u0e22" in text_of(workspace) and "客户" in text_of(workspace)


@pytest.mark.slow
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
    assert "6 test rows" in text_of(old_world) and "The score says little" in text_of(old_world)


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


@pytest.mark.slow
def test_after_a_rollback_nothing_is_said_of_the_deployed_model_that_is_true_of_another(old_world):
    first = old_world.tick()["release"]
    old_world.put("sourcedata/c.csv", make_clients(300, "c", "new"))
    second = old_world.tick()["release"]
    assert f"{first} was judged; {second} was retrained and replaced it" in text_of(old_world)
    old_world.run("deployment", "--rollback")
    old_world.run("reporting")
    text = text_of(old_world)
    assert f"{second} was retrained and replaced it" not in text
    assert f"Release {first} was judged, and is the one deployed." in text
    assert f"by release {second}, which is not the one deployed; run diagnostics.py" in text
    old_world.run("diagnostics")
    old_world.run("reporting")
    assert f"by release {first}." in text_of(old_world)


def test_a_release_that_came_by_hand_did_not_take_the_place_of_the_one_judged():
    verdict = {**VERDICT, "drift": False}
    said = " ".join(details.describe_verdict(verdict, "y", {"why": {}}))
    assert "x was judged; it is not the one deployed now" in said and "replaced it" not in said


def test_the_share_of_leavers_is_told_without_an_auc():
    verdict = {**VERDICT, "auc": None}
    assert "25.0 % are leavers." in details.describe_verdict(verdict, "x", {"why": {}})[0]


def test_a_taste_in_figures_of_the_user_changes_no_byte(deployed):
    report(deployed)
    before = deployed.bytes()
    taste = {"font.size": 20, "savefig.dpi": 50, "savefig.bbox": "tight", "axes.facecolor": "red"}
    with matplotlib.rc_context(taste):
        deployed.run("reporting", "--today", "2026-01-31")
    assert deployed.bytes() == before


def test_a_home_that_cannot_be_written_makes_no_noise(deployed, tmp_path):
    deployed.run("diagnostics")
    for name in (".config", ".cache"):
        (tmp_path / name).write_text("no folder")
    script = Path(reporting.__file__)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "MPL"))}
    done = subprocess.run(
        [sys.executable, script, "--config", deployed.config_path],
        env=kept | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_was_never_timed_or_predicted_is_said_and_not_left_out(deployed):
    deployed.run("diagnostics")
    path = deployed.root / "models" / "diagnostics.json"
    facts = json.loads(path.read_text())
    facts |= {"timings": {"ingestion": None, "training": None}, "predictions": None}
    path.write_text(json.dumps(facts))
    deployed.run("reporting")
    assert "training never 0" in text_of(deployed) and "None yet; run diagnostics.py" in text_of(deployed)


@pytest.mark.slow
def test_of_very_many_files_the_latest_are_listed_and_all_are_counted(old_world):
    for number in range(tables.MOST_FILES + 10):
        (old_world.root / "sourcedata" / f"n{number:04d}.csv").write_text(
            f"corporation,activity,colour,exited\nn{number},1,red,0\n"
        )
    old_world.walk()
    report(old_world)
    text = text_of(old_world)
    assert f"{tables.MOST_FILES + 12} files" in text and f"latest {tables.MOST_FILES}" in text
    assert "n0009.csv" not in text and "n0010.csv" in text and f"n{tables.MOST_FILES + 9:04d}.csv" in text


def test_of_very_many_refused_files_the_report_says_where_all_are(deployed):
    folder = deployed.root / "sourcedata"
    for number in range(tables.MOST_FILES + 1):
        (folder / f"page{number:04d}.csv").write_text(f"<html>{number}")
    deployed.run("ingestion", expect=65)
    report(deployed)
    text = text_of(deployed)
    assert (
        f"these {tables.MOST_FILES + 1} files was ingested" in text
        and "all of them in .finaldata.json" in text
    )
    assert "page0000.csv" in (deployed.root / "ingesteddata" / ".finaldata.json").read_text()
    assert "page0000.csv" not in text and "page0001.csv" in text


@pytest.mark.slow
def test_a_heading_never_stands_alone_at_the_foot_of_a_page(deployed, tmp_path):
    report(deployed)
    picture = tmp_path / "small.png"
    Image.new("RGB", (6, 5)).save(picture)
    told = json.loads((deployed.root / "models" / "report.json").read_text())
    table = {"said": "", "header": ["name"], "widths": [1]}
    for n in range(1, 61):
        first = {**table, "title": "First", "rows": [["row"]] * n}
        second = {**table, "title": "Second", "rows": [["other"]] * 20}
        paper = io.BytesIO()
        pdf.render_pdf(paper, told | {"tables": [first, second]}, picture, picture)
        texts = [page.extract_text() for page in PdfReader(paper).pages]
        (page,) = [text for text in texts if "Second" in text]
        assert "other" in page.partition("Second")[2], f"{n} rows"


def test_a_sign_that_cannot_be_seen_is_printed_by_its_code_and_blanks_stay(workspace):
    header = ["corporation", "a\u200bb", "c\u202ed", "two  blanks", "exited"]
    rows = [[f"c{i}", *([str(i % 10)] * 3), str(int(i % 10 > 4))] for i in range(200)]
    for folder in ("sourcedata", "testdata"):
        workspace.put(f"{folder}/t.csv", rows, header)
    workspace.tick()
    raw = "\n".join(
        page.extract_text() for page in PdfReader(workspace.root / "models" / "summary_report.pdf").pages
    )
    assert "a\\u200bb" in raw and "c\\u202ed" in raw and "two  blanks" in raw.replace("\xa0", " ")


def test_trends_are_a_picture_and_a_section_with_their_last_values(old_world):
    old_world.tick()
    old_world.put("sourcedata/c.csv", make_clients(300, "c", "new"))
    old_world.tick()
    models = old_world.root / "models"
    assert (models / "timetrends.png").read_bytes().startswith(b"\x89PNG")
    text = "\n".join(page.extract_text() for page in PdfReader(models / "summary_report.pdf").pages)
    assert "2 deployments, 0 rollbacks, 1 drift alarm" in text and "Latest values" in text
    told = json.loads((models / "report.json").read_text())
    last = told["trends"]["series"]["rows/total"]["points"][-1]["value"]
    assert last == 600 and re.search(r"rows/total\s+2\s+600\s+\+300\s+\+300", text)


def test_the_same_facts_draw_the_same_trends(old_world):
    old_world.tick()
    path = old_world.root / "models" / "timetrends.png"
    old_world.run("reporting", "--today", "2026-01-31")
    first = path.read_bytes()
    old_world.run("reporting", "--today", "2026-01-31")
    assert path.read_bytes() == first


# --- for whom each page is ---------------------------------------------------------------------------------


def page_texts(workspace):
    pages = PdfReader(workspace.root / "models" / "summary_report.pdf").pages
    return [" ".join(page.extract_text().split()) for page in pages]


def list_clients(workspace, n=3):
    """Let diagnostics.json hold a list of clients at risk."""
    path = workspace.root / "models" / "diagnostics.json"
    facts = json.loads(path.read_text())
    lines = [make_line(number) for number in range(1, n + 1)]
    facts["clients"] = LISTED | {"release": workspace.release_id(), "clients": lines}
    path.write_text(json.dumps(facts))


def test_report_json_pdf_and_html_say_the_same_numbers(deployed):
    deployed.run("diagnostics")
    list_clients(deployed)
    deployed.run("reporting", "--today", "2026-01-31")
    models = deployed.root / "models"
    told = json.loads((models / "report.json").read_text())
    first, *_ = pages_read = page_texts(deployed)
    paper = " ".join(pages_read)
    screen = " ".join(re.sub(r"<[^>]+>", " ", html.unescape((models / "report.html").read_text())).split())
    at_risk, share, value = told["summary"]["figures"]
    for text in (first, screen):
        found = re.search(r"([\d,]+) of ([\d,]+) clients are at risk of leaving, ([\d,]+) more", text)
        assert [int(one.replace(",", "")) for one in found.groups()] == [at_risk["value"], 850, 12]
        assert float(re.search(r"share of all clients ([\d.]+) %", text).group(1)) == round(
            100 * share["value"], 1
        )
        shown = int(re.search(r"value at risk ([\d,]+)", text).group(1).replace(",", ""))
        assert shown == round(value["value"])
        times = int(re.search(r"higher risk (\d+) times in 100", text).group(1))
        assert times == round(100 * told["score"]["auc"])
    for text in (paper, screen):
        found = re.search(r"F1 ([\d.]+) on ([\d,]+) test rows", text)
        assert float(found.group(1)) == round(told["score"]["f1"], 3)
        for line in told["clients"]["lines"]:
            assert line["name"] in text and line["loss"] in text and all(r in text for r in line["reasons"])


def test_page_1_needs_no_legend_and_page_2_names_whom_to_call(old_world):
    old_world.tick()
    old_world.put("sourcedata/c.csv", make_clients(300, "c", "new"))
    old_world.tick()
    list_clients(old_world)
    old_world.run("reporting")
    first, second, *rest = page_texts(old_world)
    assert "Can the model be trusted?" in first and "replaced it" in first
    assert not re.search(r"F1|AUC|PSI|p-value|drift|pickle", first, re.IGNORECASE)
    assert "Whom to call first" in second and "client-1" in second and "activity 3, usually 156" in second
    assert "Appendix" in rest[0] and any("Model card" in page for page in rest)


def test_a_list_of_another_release_is_not_told_as_that_of_the_deployed_one(deployed):
    deployed.run("diagnostics")
    list_clients(deployed)
    path = deployed.root / "models" / "diagnostics.json"
    path.write_text(path.read_text().replace(deployed.release_id(), "0" * 12))
    deployed.run("reporting")
    first, second, *_ = page_texts(deployed)
    assert "is not known yet" in first and "run diagnostics.py" in second and "client-1" not in second


@pytest.mark.parametrize("name", ["株式会社東京電力", "삼성전자", "שלום בע״מ", "Łódź Ω"])
def test_a_client_of_any_script_is_named_on_paper(report_told, tmp_path, name):
    """The reader turns Hebrew, which stands on paper from right to left, back into its logical order."""
    assert name in paper_of(with_lines(report_told, make_line(1, name)), tmp_path)


@pytest.mark.slow
def test_a_thousand_clients_with_long_names_fill_pages_and_break_none(report_told, tmp_path):
    lines = [make_line(number, "Long " * 50) for number in range(1, 1001)]
    text = paper_of(with_lines(report_told, *lines), tmp_path)
    assert " 1,000 Long Long" in text and "Long…" in text


@pytest.fixture(scope="module")
def report_told(tmp_path_factory):
    return make_reported(tmp_path_factory.mktemp("reported"))


def with_lines(told, *lines):
    return told | {"clients": tables.describe_clients(LISTED | {"clients": list(lines)})}


def paper_of(told, folder):
    picture = folder / "small.png"
    Image.new("RGB", (6, 5)).save(picture)
    handle = io.BytesIO()
    pdf.render_pdf(handle, told, picture, picture)
    return " ".join(" ".join(page.extract_text() for page in PdfReader(handle).pages).split())


def test_a_long_sentence_with_names_from_right_to_left_is_broken_in_the_order_in_which_it_is_read():
    pdf_layout.register_fonts()
    names = ["אחת שתיים", "שלוש", "ארבע חמש", "שש"] * 8
    lines = pdf_layout.break_lines(f"In {', '.join(names)}.", pdf_layout.FONT, 9, 200).split("<br/>")
    assert len(lines) > 2 and lines[0].startswith("In ") and lines[-1].endswith(".")
    assert all(pdfmetrics.stringWidth(line, pdf_layout.FONT, 9) <= 200 for line in lines)
    read = " ".join("".join(reversed(line)) for line in lines)
    assert [word.strip(",.") for word in read.split() if word not in ("nI", "nI,")] == " ".join(names).split()

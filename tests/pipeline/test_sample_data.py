"""The shipped data: what they promise, and that the same command makes the same bytes."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from risk.data import validation
from risk.data.frames import to_frame, to_target
from risk.data.schema import Schema
from risk.metrics import classification
from risk.model import registry

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import make_data  # noqa: E402

FOLDERS = ("practicedata", "sourcedata", "testdata")
HEADER = "corporation,lastmonth_activity,lastyear_activity,number_of_employees,exited"


def read_lines(folder):
    return {
        path.name: path.read_text(encoding="utf-8").splitlines()
        for path in sorted((ROOT / folder).glob("*.csv"))
    }


def test_the_command_of_the_readme_makes_the_same_bytes_again(tmp_path):
    make_data.make_sample(tmp_path)
    for folder in FOLDERS:
        shipped = {path.name: path.read_bytes() for path in (ROOT / folder).iterdir()}
        assert shipped == {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()}


def test_files_columns_size_duplicates_and_missing_cells_are_as_promised():
    found = {folder: read_lines(folder) for folder in FOLDERS}
    assert [len(files) for files in found.values()] == [2, 2, 1]
    assert sum(path.stat().st_size for f in FOLDERS for path in (ROOT / f).iterdir()) < 2_000_000
    for files in found.values():
        assert all(lines[0] == HEADER for lines in files.values())
    for folder in ("practicedata", "sourcedata"):
        first, second = (lines[1:] for lines in found[folder].values())
        assert len(set(first)) < len(first), "duplicates inside a file"
        assert set(first) & set(second), "duplicates across files"
        assert len(set(first) | set(second)) > 3000
        cells = [cell for line in {*first, *second} for cell in line.rsplit(",", 4)[1:4]]
        assert 0.015 < cells.count("") / len(cells) < 0.03
    for folder in FOLDERS:
        assert "ynthetic" in (ROOT / folder / "README.md").read_text()


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """Practice by hand, then production ticks, with two further batches of the new world."""
    from workspaces import Workspace

    class Quiet:
        def readouterr(self):
            return "", ""

    workspace = Workspace(tmp_path_factory.mktemp("sample") / "workspace", Quiet())
    make_data.make_sample(workspace.root, further=2)
    del workspace.keys["model"]
    workspace.configure(input_folder_path="practicedata", output_model_path="practicemodels")
    workspace.walk()
    return workspace


def score_deployed(workspace, path):
    """Score the deployed model on a file that no model has seen."""
    release, model = registry.load_deployed(workspace.root / "production_deployment")
    schema = Schema.from_json(release.json("modelcard.json")["schema"])
    folder = workspace.root / f"unseen-{path.stem}"
    folder.mkdir(exist_ok=True)
    shutil.copy(path, folder)
    good, _ = validation.read_folder(folder, schema, None, needed=schema.features)
    X, y = to_frame(good, schema), to_target(good, schema)
    return classification.compute_score(y, model.predict(X), model.predict_proba(X)[:, 1])


def tell_worked_example(verdict):
    """Write a verdict as docs/decisions.md does."""
    found, gate = verdict["evidence"], verdict["gate"]
    score, kept, leavers, auc = found["score"], found["reference"], found["leavers"], gate["auc"]

    def band(facts, name):
        return f"{facts[name]:.3f}  ({facts[f'{name}_low']:.3f} to {facts[f'{name}_high']:.3f})"

    def says(rule):
        return f"{rule:14}{'drift' if found['rules'][rule]['drift'] else 'no drift'}"

    scores_told = [
        ("recorded score (F1, test data)", f"{verdict['recorded_score']:.3f}"),
        (f"F1 on {score['n']:,} new rows", band(score, "f1")),
        (
            f"reference: F1, AUC on {kept['n']:,} cross-validated rows",
            f"{kept['f1']:.3f}, {kept['auc']:.3f}",
        ),
        ("AUC on the new rows", band(score, "auc")),
    ]
    shares = [f"{100 * leavers[name]:.1f} %" for name in ("share_reference", "share")]
    told = [
        (says("score"), f"{score['f1']:.3f} < {verdict['recorded_score']:.3f}"),
        *((says(rule), f"p {found['rules'][rule]['p_value']:.2g}") for rule in ("score_margin", "auto")),
        ("leavers", f"{shares[0]} before, {shares[1]} now, p {leavers['p_value']:.2g}"),
    ]
    for one in sorted(found["shifts"], key=lambda s: s["column"]):
        moved = "shifted" if one["column"] in found["moved"] else "not shifted"
        psi = f"PSI {one['psi']:.3f} (limit {one['psi_critical']:.3f}), KS {one['ks']:.3f}"
        told.append((one["column"], f"{psi}, p {one['p_adjusted']:.2g}, {moved}"))
    against = f"AUC {auc['candidate']:.3f} against {auc['deployed']:.3f} on {gate['n']:,} rows"
    gained = f"{auc['delta']:+.3f} ({auc['low']:+.3f} to {auc['high']:+.3f})"
    told.append((f"{'gate':14}{gate['decision']}", f"{against}: {gained}"))
    return "".join(
        f"{left:{width}}{right}\n" for width, rows in ((52, scores_told), (24, told)) for left, right in rows
    )


@pytest.mark.slow
def test_the_practice_model_is_decent_production_drifts_and_the_retrained_model_is_better(story):
    practice = json.loads((story.root / "practicemodels" / "metrics.json").read_text())
    assert practice["f1"] >= practice["floor_f1"] + 0.10
    assert practice["auc"] >= 0.75
    first, second = sorted((story.root / "further").glob("*.csv"))
    old = score_deployed(story, first)

    story.configure(input_folder_path="sourcedata", output_model_path="models")
    story.tick()
    verdict = story.state()["verdict"]
    assert verdict["drift"] is True
    assert verdict["new_score"] < verdict["recorded_score"] == practice["f1"]
    told = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8").partition("```text\n")[2]
    assert tell_worked_example(verdict) == told.partition("```")[0]
    new = score_deployed(story, first)
    assert new.f1 >= old.f1 + 0.05

    before = score_deployed(story, second)
    shutil.copy(first, story.root / "sourcedata")
    story.tick()
    assert score_deployed(story, second).f1 >= before.f1 - 0.01
    story.tick()
    assert story.state()["verdict"]["n"] > 0

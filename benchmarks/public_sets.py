"""Judge public data sets by config.json alone: silent without drift, alarmed, retrained and gated with it.

    python benchmarks/public_sets.py --data FOLDER

FOLDER holds, by set, `drift/` and `nodrift/` with `practicedata`, `testdata` and `sourcedata`. A third of
the source rows, by a digest, is kept from the pipeline; on it the deployed model is compared with one
fitted by hand on everything the pipeline had.
"""

import argparse
import contextlib
import hashlib
import io
import json
import pickle
import shutil
import sys
import tempfile
from pathlib import Path

import pandas as pd
from sklearn.metrics import roc_auc_score

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import fullprocess  # noqa: E402
import training  # noqa: E402
from config import load_config  # noqa: E402
from risk.data import validation  # noqa: E402
from risk.data.frames import to_frame, to_target  # noqa: E402
from risk.data.schema import Schema  # noqa: E402

SETS = {
    "telco": {"target_column": "Churn", "id_columns": ["customerID"]},
    "bank_marketing": {"target_column": "y", "id_columns": [], "ignore_columns": ["duration"]},
}
KEYS = {
    "input_folder_path": "data",
    "output_folder_path": "ingesteddata",
    "test_data_path": "testdata",
    "output_model_path": "models",
    "prod_deployment_path": "production_deployment",
}


def tick(config_path):
    """Run one tick and return its facts."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = fullprocess.main(["--config", str(config_path), "--json"])
    assert code == 0, f"the tick ended with {code}"
    return json.loads(said.getvalue())


def split_lines(source, taken, kept):
    """Part a file's lines by a digest: two thirds for the pipeline, a third kept from it."""
    header, *lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    third = [hashlib.sha256(line.encode()).digest()[0] % 3 == 0 for line in lines]
    for path, wanted in ((taken, False), (kept, True)):
        chosen = [line for line, is_kept in zip(lines, third, strict=True) if is_kept == wanted]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(header + "".join(chosen), encoding="utf-8")


def auc_on(folder, config, release_folder):
    """Compute the AUC of a model of ours on the rows kept from the pipeline."""
    card = json.loads((release_folder / "modelcard.json").read_text())
    schema = Schema.from_json(card["schema"])
    good, _ = validation.read_folder(
        folder, schema, config.separator, needed=[*schema.features, schema.target]
    )
    model = pickle.loads((release_folder / "trainedmodel.pkl").read_bytes())
    y = to_target(good, schema)
    return roc_auc_score(y, model.predict_proba(to_frame(good, schema))[:, 1]), len(y)


def judge(source, keys, rule):
    """Walk one set: practice rows, then two thirds of the source rows in the same folder."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for name in ("practicedata", "testdata"):
            shutil.copytree(source / name, root / {"practicedata": "data"}.get(name, name))
        config_path = root / "config.json"
        config_path.write_text(json.dumps(KEYS | keys | {"drift": {"rule": rule}}))
        tick(config_path)
        for path in sorted((source / "sourcedata").glob("*.csv")):
            split_lines(path, root / "data" / f"new-{path.name}", root / "kept" / path.name)
        found = tick(config_path)
        config = load_config(config_path)
        auc, n = auc_on(root / "kept", config, config.prod_deployment)
        with contextlib.redirect_stderr(io.StringIO()):
            training.run(config)
        by_hand, _ = auc_on(root / "kept", config, config.output_model)
        rules = {name: one["drift"] for name, one in found["verdict"]["evidence"]["rules"].items()}
        return {
            "drift": found["drift"],
            "gate": found["gate"],
            **rules,
            "n": n,
            "auc": auc,
            "by_hand": by_hand,
        }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the sets")
    parser.add_argument("--rule", default="auto", help="drift.rule of config.json (default: auto)")
    arguments = parser.parse_args()
    found = {
        f"{name} {kind}": judge(arguments.data / name / kind, keys, arguments.rule)
        for name, keys in SETS.items()
        for kind in ("nodrift", "drift")
    }
    table = pd.DataFrame(found).T
    table["gap"] = table["by_hand"].astype(float) - table["auc"].astype(float)
    print(table.to_string(float_format=lambda value: f"{value:.3f}"))


if __name__ == "__main__":
    main()

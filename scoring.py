"""Score the trained model on the test data and write latestscore.txt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import stage
from config import Config
from risk import artifacts, csvfile, dataset, releases, scores
from risk.dataset import Schema
from risk.errors import DatasetError
from risk.scores import Score

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

LOG = stage.log("scoring")


@dataclass(frozen=True)
class Result:
    """How good the trained model is on the test data."""

    f1: float
    f1_low: float | None
    f1_high: float | None
    auc: float | None
    n: int


def score_model(model: Any, X: pd.DataFrame, y: np.ndarray) -> Score:
    """Score a fitted model on labelled rows."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return scores.compute_score(y, model.predict(X), model.predict_proba(X)[:, 1])


def read_test_data(config: Config, schema: Schema) -> tuple[pd.DataFrame, np.ndarray]:
    """Read every labelled row of the test data by the rules of the training table.

    Raises
    ------
    DatasetError
        When no labelled row is left.
    """
    rows: list[Mapping[str, str]] = []
    needed = [name for name in schema.needed if name not in schema.ids]
    for name in artifacts.list_inputs(config.test_data):
        path = config.test_data / name
        rows += read_labelled(path, csvfile.check(path, schema.columns, config.separator), schema, needed)
    if not rows:
        raise DatasetError(
            f"{config.test_data}: no labelled row to score on; put a CSV file with labels there"
        )
    return dataset.to_frame(rows, schema), dataset.to_target(rows, schema)


def read_labelled(
    path: Path, checked: csvfile.Checked, schema: Schema, needed: list[str]
) -> list[Mapping[str, str]]:
    """Read the good labelled rows of one file; say how many were left out."""
    lacking = [name for name in [*needed, schema.target] if name not in checked.header]
    reason = checked.refusal or (f"lacks the column {lacking[0]!r}" if lacking else None)
    if reason:
        LOG.warning("%s: refused: %s; the other files go on", path.name, reason)
        return []
    rows: list[Mapping[str, str]] = []
    n_rejected = n_unlabelled = 0
    for row in csvfile.read_rows(path, checked.header, checked.separator):
        cells = dict(zip(checked.header, row.cells, strict=False))
        if row.problem or dataset.find_problem(cells, schema):
            n_rejected += 1
        elif not cells[schema.target]:
            n_unlabelled += 1
        else:
            rows.append(cells)
    if n_rejected or n_unlabelled:
        LOG.warning("%s: left out %s bad and %s unlabelled rows", path.name, n_rejected, n_unlabelled)
    return rows


def run(config: Config) -> Result:
    """Score the trained model and write latestscore.txt and metrics.json.

    Raises
    ------
    MissingArtifactError
        When there is no trained model.
    DatasetError
        When the test data have no labelled row of a client who left: F1 is not defined then.
    """
    card = artifacts.read_json(config.model_card, "run training.py first")
    data = artifacts.read_bytes(config.trained_model, "run training.py first")
    model = releases.load_model(data, card["model_sha256"], config.trained_model)
    X, y = read_test_data(config, Schema.from_json(card["schema"]))
    score = score_model(model, X, y)
    if score.f1 is None:
        raise DatasetError(f"{config.test_data}: no row of a client who left; F1 is not defined without one")
    artifacts.put_json(config.metrics, {"model_sha256": card["model_sha256"], **score.to_json()})
    artifacts.put_text(config.latest_score, f"{score.f1!r}\n")
    return Result(score.f1, score.f1_low, score.f1_high, score.auc, score.n)


def main(argv: list[str] | None = None) -> int:
    """Run from the shell."""
    return stage.main("scoring", run, argv, description=__doc__)


if __name__ == "__main__":
    raise SystemExit(main())

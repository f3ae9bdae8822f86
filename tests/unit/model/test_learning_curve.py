"""Learning curves: do more rows still help?"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from risk.model import learning_curve
from risk.model.training_rows import LabelledRows


class Neighbour(KNeighborsClassifier):
    """A model that learns ever more: its nearest neighbour decides."""

    def decision_function(self, X):
        return self.predict_proba(X)[:, 1]


def draw(n, wave):
    """Draw rows whose label follows a line, or a wave that few rows do not show."""
    rng = np.random.default_rng(5)
    x, z = rng.uniform(-1, 1, size=(2, n))
    y = (np.sin(wave * x) * np.sin(wave * z) > 0) if wave else (x + 0.5 * rng.normal(size=n) > 0)
    X, digests = pd.DataFrame({"x": x, "z": z}), rng.permutation(n).astype(float)
    return LabelledRows(X, y.astype(np.int64), np.ones(n, dtype=bool), digests, n)


def test_a_line_is_learned_from_few_rows():
    curve = learning_curve.compute_curve(LogisticRegression(), draw(4000, 0), random_state=0)
    assert [one["n_rows"] for one in curve["points"]] == [1000, 4000]
    assert curve["levelled"] and abs(curve["gain"]) < 0.01
    assert "more rows may help" not in learning_curve.describe_curve(curve, 4000, 90_000)


def test_a_wave_is_still_being_learned():
    curve = learning_curve.compute_curve(Neighbour(n_neighbors=1), draw(4000, 12), random_state=0)
    assert not curve["levelled"] and curve["gain"] > 0.01
    said = learning_curve.describe_curve(curve, 4000, 90_000)
    assert said.startswith("fitted on a sample of 4,000 of 90,000 labelled rows, by digest; from 1,000 rows")
    assert said.endswith("more rows may help, raise max_training_rows")


def test_too_few_rows_make_no_curve():
    curve = learning_curve.compute_curve(LogisticRegression(), draw(300, 0), random_state=0)
    assert len(curve["points"]) == 1 and curve["gain"] is None
    assert "too small for a learning curve" in learning_curve.describe_curve(curve, 300, 9000)


def test_a_part_holds_the_rows_of_smallest_digest():
    rows, order = draw(4000, 0), np.random.default_rng(1).permutation(4000)
    shuffled = replace(rows, X=rows.X.iloc[order], y=rows.y[order], digests=rows.digests[order])
    one, other = (
        learning_curve.compute_curve(LogisticRegression(), drawn, random_state=0)
        for drawn in (rows, shuffled)
    )
    assert other["points"][0]["auc"] == pytest.approx(one["points"][0]["auc"], abs=0.01)

"""Score the trained model on the test data and write latestscore.txt.

A run of fullprocess.py also scores the deployed model on rows that are new to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from config import Config
from risk.data import validation
from risk.data.frames import to_frame, to_target
from risk.data.ledger import has_prefix, load_ledger
from risk.data.schema import Schema
from risk.errors import DatasetError
from risk.files import put_json, put_text, read_bytes, read_json
from risk.history import tables
from risk.metrics import classification
from risk.metrics.classification import Score
from risk.model import pickling, registry
from risk.runtime import logs, runner

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from risk.data.ledger import Ledger
    from risk.data.profiles import Counts, Profile
    from risk.engines.table_reader import Taken
    from risk.model.data_checks import DataCheck
    from risk.model.registry import Release
    from risk.monitoring.delayed_labels import UnlabelledOutlook
    from risk.monitoring.verdict import Verdict

LOG = logs.log("scoring")
MOST_DIGESTS = 5_000_000


@dataclass(frozen=True)
class ScoringResult:
    """How good the trained model is on the test data."""

    f1: float
    f1_low: float | None
    f1_high: float | None
    auc: float | None
    n: int
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def to_json(self) -> dict[str, Any]:
        return {"f1": self.f1, "f1_low": self.f1_low, "f1_high": self.f1_high, "auc": self.auc, "n": self.n}

    def history(self, _: Config) -> dict[str, Any]:
        """Say what `records` keeps of this run."""
        return {"scores": [{"data": "test", **self.facts}]}


def score_model(model: Any, X: pd.DataFrame, y: np.ndarray) -> Score:
    """Score a fitted model on labelled rows."""
    return classification.compute_score(y, *registry.predict(model, X))


def read_test_data(config: Config, schema: Schema) -> tuple[pd.DataFrame, np.ndarray]:
    """Read every labelled row of the test data by the rules of the training table.

    Raises
    ------
    DatasetError
        When no labelled row is left.
    """
    needed = [*schema.features, schema.target]
    good, files = validation.read_folder(
        config.test_data, schema, config.separator, needed=needed, limits=config.limits
    )
    for found in files:
        if found.refused:
            LOG.warning("%s: refused: %s; the other files go on", found.name, found.refused)
        elif found.n_rejected:
            LOG.warning("%s: %s bad rows left out of the score", found.name, found.n_rejected)
    labelled = [row for row in good if row[schema.target]]
    if len(labelled) < len(good):
        LOG.warning(
            "%s: %s unlabelled rows left out of the score", config.test_data, len(good) - len(labelled)
        )
    if not labelled:
        raise DatasetError(
            f"{config.test_data}: no labelled row to score on; put a CSV file with labels there"
        )
    return to_frame(labelled, schema), to_target(labelled, schema)


def suspect_test_data(
    config: Config, card: Mapping[str, Any], X: pd.DataFrame, y: np.ndarray, score: Score
) -> list[DataCheck]:
    """Say why a score may say little (few rows) or too much (rows that the model was trained on)."""
    from risk.metrics import cross_validation
    from risk.model import data_checks

    interval = score.f1 or 0.0, score.f1_low or 0.0, score.f1_high or 1.0
    found = [data_checks.check_test_size(score.n, score.n_positive, *interval)]
    ledger, mark = load_ledger(config.ledger), card["data"]
    if ledger is not None and has_prefix(config.final_data, ledger, mark):
        schema = Schema.from_json(card["schema"])
        trained_on = replace(ledger, length=mark["length"], rows=mark["n_rows"])
        test = cross_validation.row_digests(X, y)
        trained, n_common = digest_rows(config, trained_on, schema, test)
        found.append(data_checks.check_overlap(trained, test, n_common))
    return [one for one in found if one is not None]


def digest_rows(config: Config, ledger: Ledger, schema: Schema, test: np.ndarray) -> tuple[np.ndarray, int]:
    """Digest the labelled rows of the compiled table, and count the test rows that are among them.

    Of a table of many rows, only those whose digest one of a few numbers divides: all rows of equal
    content, or none.
    """
    import numpy as np

    from risk.engines import table_reader
    from risk.metrics import cross_validation

    divisor, parts, common = 1 + ledger.rows // MOST_DIGESTS, [], np.zeros(len(test), dtype=bool)
    for part in table_reader.read_chunks(config.final_data, ledger, schema, config.room, labelled=True):
        digests = cross_validation.row_digests(part.X, part.y)
        common |= np.isin(test, digests)
        parts.append(digests[digests % divisor == 0])
    return np.concatenate(parts), int(common.sum())


def run(config: Config) -> ScoringResult:
    """Score the trained model and write latestscore.txt and metrics.json.

    Raises
    ------
    MissingArtifactError
        When there is no trained model.
    DatasetError
        When the test data have no labelled row of a client who left: F1 is not defined then.
    """
    card = read_json(config.model_card, "run training.py first")
    data = read_bytes(config.trained_model, "run training.py first")
    model = pickling.load_model(data, card["model_sha256"], config.trained_model)
    X, y = read_test_data(config, Schema.from_json(card["schema"]))
    score = score_model(model, X, y)
    if score.f1 is None:
        raise DatasetError(f"{config.test_data}: no row of a client who left; F1 is not defined without one")
    suspected = suspect_test_data(config, card, X, y, score)
    for one in suspected:
        LOG.warning("%s: %s", config.test_data, one.text)
    warnings = {"warnings": [one.to_json() for one in suspected]}
    put_json(config.metrics, {"model_sha256": card["model_sha256"], **score.to_json(), **warnings})
    put_text(config.latest_score, f"{score.f1!r}\n")
    columns = tables.TABLES["scores"]
    facts = {name: value for name, value in score.to_json().items() if name in columns}
    facts["model_sha256"] = card["model_sha256"]
    return ScoringResult(score.f1, score.f1_low, score.f1_high, score.auc, score.n, facts)


# --- the deployed model, on new rows -----------------------------------------------------------------------


def judge(config: Config, ledger: Ledger, start: int) -> Verdict:
    """Judge the deployed model on the rows of the table behind an offset, and keep what needs a label yet."""
    from risk.data import profiles
    from risk.engines import table_reader
    from risk.monitoring import column_drift, delayed_labels, evidence, verdict

    release, model = registry.load_deployed(config.prod_deployment, config.secrets.get("RISK_MODEL_KEY"))
    card, table = release.json("modelcard.json"), Schema.from_json(ledger.schema or {})
    schema = replace(Schema.from_json(card["schema"]), columns=table.columns, ids=table.ids)
    most, ids = config.max_training_rows, [name for name in schema.ids if name in table.columns]
    taken = table_reader.read(
        config.final_data, ledger, schema, config.room, start=start, texts=ids, most=most
    )
    X, y = taken.X, taken.y
    y_pred, probability = registry.predict(model, X)
    kept = {name: profiles.from_json(raw) for name, raw in card.get("profiles", {}).items()}
    now = count_columns(config, ledger, kept, start, taken)
    all_counted = bool(now) and all(counts.n == taken.n_rows for counts in now.values())
    found = evidence.compute_evidence(
        y,
        y_pred,
        probability,
        recorded_score=float(release.files["latestscore.txt"]),
        release_reference=card.get("reference"),  # an earlier version kept none, and no profiles
        shifts=column_drift.compare_columns(kept, now),
        alpha=config.alpha,
    )
    if taken.is_sample:
        sampled = f"judged on a sample, by digest, of {most:,} of {taken.n_rows:,} new rows"
        sampled += "; columns on all of them" if all_counted else ""
        found = replace(found, sentences=(*found.sentences, sampled))

    def identify() -> np.ndarray:
        import pandas as pd

        named = {name: pd.Series(taken.texts[name], dtype="str") for name in ids}
        return delayed_labels.compute_row_keys(pd.DataFrame(named, index=X.index), X)

    outlook = look_ahead(config, release, identify, y, y_pred, probability)
    return verdict.judge(config.drift_rule, found, release.id, outlook)


def count_columns(
    config: Config, ledger: Ledger, kept: Mapping[str, Profile], start: int, taken: Taken
) -> Mapping[str, Counts]:
    """Count the rows behind an offset by the profiles of the deployed release."""
    from risk.engines import base

    if not kept:
        return {}
    with base.open_table(config.engine_settings, config.final_data, ledger, start=start) as table:
        return table.count_by(kept, taken)


def look_ahead(
    config: Config,
    release: Release,
    identify: Callable[[], np.ndarray],
    y: np.ndarray,
    y_pred: np.ndarray,
    probability: np.ndarray,
) -> UnlabelledOutlook:
    """Estimate the rows without a label, and audit earlier estimates of rows that have one now."""
    from risk.monitoring import delayed_labels, performance_estimation

    before = delayed_labels.load_pending(config.awaited)
    if not len(before.rows) and not (y != y).any():
        return delayed_labels.NOTHING
    card = release.json("modelcard.json")
    outlook, after = delayed_labels.estimate_and_audit(
        before,
        identify(),
        y,
        y_pred,
        probability,
        release=release.id,
        reliability=performance_estimation.get_reliability(card.get("reference"), card),
    )
    if outlook.estimate:
        delayed_labels.write_pending(config.awaited, after)
    return outlook


def main(argv: list[str] | None = None) -> int:
    """Run from the shell."""
    return runner.main("scoring", run, argv, description=__doc__)


if __name__ == "__main__":
    raise SystemExit(main())

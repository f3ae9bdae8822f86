"""Score the trained model on the test data and write latestscore.txt.

A run of fullprocess.py also scores the deployed model on rows that are new to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from risk.metrics import classification, clustering
from risk.metrics.classification import Score
from risk.model import pickling, registry
from risk.runtime import logs, runner

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from risk.data.ledger import Ledger
    from risk.model.data_checks import DataCheck
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


def score_model(model: Any, X: pd.DataFrame, y: np.ndarray, clients: np.ndarray | None = None) -> Score:
    """Score a fitted model on labelled rows.

    Parameters
    ----------
    model : fitted model
        As `training.py` pickles it, with its threshold.
    X : DataFrame of shape (n_samples, n_features)
        Numbers as float64 with NaN, text with NaN.
    y : ndarray of shape (n_samples,)
        1 leaves, 0 stays.
    clients : ndarray of shape (n_samples,), optional
        Whose row it is; by default each row is a client of its own.

    Returns
    -------
    score : Score
        A metric that is not defined on these rows is None.
    """
    return classification.compute_score(y, *registry.predict(model, X), clients)


def read_test_data(config: Config, schema: Schema) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Read every labelled row of the test data by the rules of the training table.

    Returns
    -------
    X, y : DataFrame of shape (n_samples, n_features), ndarray of shape (n_samples,)
        1.0 leaves, 0.0 stays.
    clients : ndarray of int64, shape (n_samples,)
        Whose row it is, as `table_reader.Taken.clients` has it; empty where no column names a client.

    Raises
    ------
    DatasetError
        When no labelled row is left.
    """
    needed = [*schema.features, schema.target]
    good, files = validation.read_folder(
        config.test_data, schema, config.separator, needed=needed, limits=config.limits
    )
    for file in files:
        if file.refused:
            LOG.warning("%s: refused: %s; continuing with the other files", file.name, file.refused)
        elif file.n_rejected:
            LOG.warning("%s: %s bad rows left out of the score", file.name, file.n_rejected)
    labelled = [row for row in good if row[schema.target]]
    if len(labelled) < len(good):
        LOG.warning(
            "%s: %s unlabelled rows left out of the score", config.test_data, len(good) - len(labelled)
        )
    if not labelled:
        raise DatasetError(
            f"{config.test_data}: no labelled row to score on; put a CSV file with labels there"
        )
    return to_frame(labelled, schema), to_target(labelled, schema), digest_clients(labelled, schema)


def digest_clients(rows: Sequence[Mapping[str, str]], schema: Schema) -> np.ndarray:
    """Digest whose each row is; one without an id is a client of its own.

    Returns
    -------
    clients : ndarray of int64, shape (n_rows,)
        Empty where no row has an id.
    """
    import numpy as np

    from risk.engines import table_reader

    ids = [name for name in schema.ids if name in schema.columns]
    digests = [table_reader.client_digest([row.get(name, "") for name in ids]) for row in rows]
    if not any(digest is not None for digest in digests):
        return np.empty(0, dtype=np.int64)
    named = [-number if digest is None else digest for number, digest in enumerate(digests, 1)]
    return np.array(named, dtype=np.int64)


def check_test_data(
    config: Config, card: Mapping[str, Any], X: pd.DataFrame, y: np.ndarray, clients: np.ndarray, score: Score
) -> list[DataCheck]:
    """Check the test data: too few rows, or rows and clients that the model was trained on.

    Parameters
    ----------
    card : mapping
        modelcard.json of the model.
    X, y : DataFrame of shape (n_samples, n_features), ndarray of shape (n_samples,)
        The labelled test rows; 1 leaves, 0 stays.
    clients : ndarray of int64, shape (n_samples,)
        Whose row it is; empty where no column names a client.
    score : Score
        Of the model on them.

    Returns
    -------
    checks : list of DataCheck
        Training rows are looked for only while the compiled table still begins with the training data.
    """
    import numpy as np

    from risk.metrics import cross_validation
    from risk.model import data_checks

    whose = clustering.only_if_repeated(clients)
    counts = [clustering.count_clients(whose, y == label) for label in (1, 0)]
    checks: list[DataCheck | None] = [data_checks.check_test_size(score, *counts)]
    checks += data_checks.check_test_world(score, card)
    ledger, mark = load_ledger(config.ledger), card["data"]
    if ledger is not None and has_prefix(config.final_data, ledger, mark):
        schema = Schema.from_json(card["schema"])
        trained_on = replace(ledger, length=mark["length"], rows=mark["n_rows"])
        test = cross_validation.row_digests(X, y)
        overlap = find_overlap(config, trained_on, schema, test, clients)
        checks.append(data_checks.check_overlap(overlap.trained, test, overlap.n_rows))
        checks.append(data_checks.check_client_overlap(overlap.n_clients, len(np.unique(clients))))
    return [check for check in checks if check is not None]


@dataclass(frozen=True)
class Overlap:
    """What test data and training rows have in common.

    `trained` holds the digests of labelled training rows; of a table of many rows only those that one of a
    few numbers divides: all rows of equal content, or none.
    """

    trained: np.ndarray
    n_rows: int
    n_clients: int


def find_overlap(
    config: Config, ledger: Ledger, schema: Schema, test: np.ndarray, clients: np.ndarray
) -> Overlap:
    """Digest the labelled rows of the compiled table, and count the test rows and clients among them.

    Parameters
    ----------
    ledger : Ledger
        Of the table; it may end before the last row.
    test : ndarray of shape (n_test,)
        `cross_validation.row_digests` of the test rows; all training rows are compared.
    clients : ndarray of int64, shape (n_test,) or (0,)
        Whose each test row is; below 0 without an id.
    """
    import numpy as np

    from risk.engines import table_reader
    from risk.metrics import cross_validation

    divisor, parts = 1 + ledger.rows // MOST_DIGESTS, []
    named = np.unique(clients[clients >= 0])
    common, known = np.zeros(len(test), dtype=bool), np.zeros(len(named), dtype=bool)
    for part in table_reader.read_chunks(config.final_data, ledger, schema, config.room, labelled=True):
        digests = cross_validation.row_digests(part.X, part.y)
        common |= np.isin(test, digests)
        known |= np.isin(named, part.clients)
        parts.append(digests[digests % divisor == 0])
    return Overlap(np.concatenate(parts), int(common.sum()), int(known.sum()))


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
    X, y, clients = read_test_data(config, Schema.from_json(card["schema"]))
    score = score_model(model, X, y, clustering.only_if_repeated(clients))
    if score.f1 is None:
        raise DatasetError(f"{config.test_data}: no row of a client who left; F1 is not defined without one")
    checks = check_test_data(config, card, X, y, clients, score)
    for check in checks:
        LOG.warning("%s: %s", config.test_data, check.text)
    warnings = {"warnings": [check.to_json() for check in checks]}
    put_json(config.metrics, {"model_sha256": card["model_sha256"], **score.to_json(), **warnings})
    put_text(config.latest_score, f"{score.f1!r}\n")
    columns = tables.TABLES["scores"]
    facts = {name: value for name, value in score.to_json().items() if name in columns}
    facts["model_sha256"] = card["model_sha256"]
    return ScoringResult(score.f1, score.f1_low, score.f1_high, score.auc, score.n, facts)


# --- the deployed model, on new rows -----------------------------------------------------------------------


def judge(config: Config, ledger: Ledger, start: int) -> Verdict:
    """Judge the deployed model on the rows of the table after an offset."""
    from risk.monitoring import new_rows

    release, model = registry.load_deployed(config.prod_deployment, config.secrets.get("RISK_MODEL_KEY"))
    settings = new_rows.CheckSettings(
        rule=config.drift_rule,
        alpha=config.alpha,
        data=config.final_data,
        pending_labels=config.pending_labels,
        most_rows=config.max_training_rows,
        engine=config.engine_settings,
    )
    return new_rows.judge(release, model, ledger, start, settings)


def main(argv: list[str] | None = None) -> int:
    """Run from the shell."""
    return runner.main("scoring", run, argv, description=__doc__)


if __name__ == "__main__":
    raise SystemExit(main())

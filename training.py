"""Fit the attrition model on the ingested table and save it for scoring."""

from __future__ import annotations

import io
import pickle
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import stage
from config import Config
from risk import artifacts, dataset, table
from risk.dataset import Schema
from risk.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

LOG = stage.log("training")
N_FOLDS = 5
N_REPEATS, SMALL_ROWS = 3, 5_000
SELECTION_ROWS = 50_000
MIN_PER_CLASS = 2
MIN_FREQUENCY = 10
MAX_CATEGORIES = 40
WIDE = 300


@dataclass(frozen=True)
class Result:
    """What was fitted."""

    estimator: str
    n_samples: int
    n_features: int

    def history(self, _: Config) -> dict[str, Any]:
        """Say what `records` keeps of this run: how long it took for how many rows."""
        return {}


# --- compute -------------------------------------------------------------------------------------------


def make_estimator(
    name: str, schema: Schema, *, random_state: int, threshold: float, params: dict[str, Any]
) -> Any:
    """Build an unfitted model for a schema.

    Numbers: mean with a missing flag (the flag makes the mean as good as the median, in a tenth of the
    time), then scaled. Text: one-hot, missing is a category of its own, rare and unseen ones share one.
    The threshold lives inside.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import FixedThresholdClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    one_hot = OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        min_frequency=MIN_FREQUENCY,
        max_categories=MAX_CATEGORIES,
        sparse_output=False,
    )
    numbers = make_pipeline(
        SimpleImputer(strategy="mean", add_indicator=True, keep_empty_features=True), StandardScaler()
    )
    columns = ColumnTransformer(
        [("number", numbers, schema.numbers), ("text", one_hot, schema.texts)],
        verbose_feature_names_out=False,
    )
    width = len(schema.numbers) + MAX_CATEGORIES * len(schema.texts)
    if name == "logistic_regression":
        solver = "newton-cholesky" if width <= WIDE else "lbfgs"
        settings = {"solver": solver, "max_iter": 1000, "random_state": random_state} | params
        kind: Any = LogisticRegression
    else:
        settings, kind = {"random_state": random_state} | params, HistGradientBoostingClassifier
    unknown = sorted(set(settings) - set(kind().get_params()))
    if unknown:
        raise ConfigError(f"model.params: {name} has no parameter {', '.join(map(repr, unknown))}")
    estimator = kind(**settings)
    return FixedThresholdClassifier(
        make_pipeline(columns, estimator), threshold=threshold, response_method="predict_proba"
    )


def choose_estimator(
    X: pd.DataFrame, y: np.ndarray, schema: Schema, *, random_state: int
) -> tuple[str, dict[str, Any]]:
    """Choose by AUC over 5 folds: the simpler unless the other is better by over one standard error.

    Small tables are folded three times over. The standard error is the corrected one [1]_: folds share
    their training rows, so the plain one is too small and lets chance choose.

    Returns
    -------
    name : str
    facts : dict
        Mean AUC of both, the gain of boosting over the linear model, its standard error.

    References
    ----------
    .. [1] C. Nadeau, Y. Bengio, "Inference for the Generalization Error", Machine Learning 52 (2003),
       pp. 239-281.
    """
    import numpy as np
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import RepeatedStratifiedKFold

    rows = sample_by_digest(X, y, SELECTION_ROWS)
    X, y = X.iloc[rows], y[rows]
    if min(int(y.sum()), int((1 - y).sum())) < N_FOLDS:
        return "logistic_regression", {"reason": "too few rows to compare estimators"}
    n_repeats = N_REPEATS if len(y) <= SMALL_ROWS else 1
    folds = RepeatedStratifiedKFold(n_splits=N_FOLDS, n_repeats=n_repeats, random_state=random_state)
    auc: dict[str, list[float]] = {"logistic_regression": [], "hist_gradient_boosting": []}
    for train, test in folds.split(X, y):
        for name, scores in auc.items():
            model = make_estimator(name, schema, random_state=random_state, threshold=0.5, params={})
            model.fit(X.iloc[train], y[train])
            scores.append(float(roc_auc_score(y[test], model.predict_proba(X.iloc[test])[:, 1])))
    gains = np.subtract(auc["hist_gradient_boosting"], auc["logistic_regression"])
    shared = 1 / (N_FOLDS - 1)  # test rows over training rows of a fold
    gain, standard_error = float(gains.mean()), float(gains.std(ddof=1) * np.sqrt(1 / len(gains) + shared))
    facts = {
        "n_rows": len(y),
        "n_folds": len(gains),
        "auc": {name: float(np.mean(scores)) for name, scores in auc.items()},
        "gain": gain,
        "standard_error": standard_error,
    }
    return ("hist_gradient_boosting" if gain > standard_error else "logistic_regression"), facts


def sample_by_digest(X: pd.DataFrame, y: np.ndarray, n: int) -> np.ndarray:
    """Choose at most `n` rows by a digest of their content, whatever their order; return positions."""
    import numpy as np
    import pandas as pd

    if len(X) <= n:
        return np.arange(len(X))
    digests = pd.util.hash_pandas_object(X.assign(**{"": y}), index=False).to_numpy()
    return np.sort(np.argsort(digests, kind="stable")[:n])


def render_model(model: Any) -> bytes:
    """Pickle a fitted model into bytes that depend on what it is alone.

    Without a memo: with one, the bytes say which equal strings happened to be one object in this
    process, and the same model gets another digest in the next.

    Raises
    ------
    ConfigError
        When parameters of the config make a model that holds itself.
    """
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, protocol=5)
    pickler.fast = True
    try:
        pickler.dump(model)
    except (RecursionError, ValueError) as error:
        raise ConfigError(
            "model.params: they make a model that holds itself, which cannot be saved; leave out scoring"
        ) from error
    return buffer.getvalue()


def describe(X: pd.DataFrame, schema: Schema) -> dict[str, Any]:
    """Describe each feature as it was at training time, for drift tests and reasons."""
    import numpy as np

    facts: dict[str, Any] = {}
    for name in schema.numbers:
        values = X[name].to_numpy()
        filled = values[~np.isnan(values)]
        facts[name] = {"missing": int(len(values) - len(filled))}
        if len(filled):
            quantiles = np.quantile(filled, np.linspace(0, 1, 11))
            facts[name] |= {
                "mean": float(filled.mean()),
                "std": float(filled.std()),
                "median": float(np.median(filled)),
                "deciles": [float(q) for q in quantiles],
            }
    for name in schema.texts:
        counts = X[name].value_counts()
        facts[name] = {
            "missing": int(X[name].isna().sum()),
            "n_categories": len(counts),
            "categories": {
                str(k): int(v) for k, v in sorted(counts.items(), key=lambda i: (-i[1], i[0]))[:40]
            },
        }
    return facts


# --- run -----------------------------------------------------------------------------------------------


def run(config: Config) -> Result:
    """Fit on every labelled row and write trainedmodel.pkl with its model card.

    Raises
    ------
    DatasetError
        When the labelled rows do not hold both classes.
    """
    import sklearn.ensemble  # noqa: F401  (its thread pool must be there before it can be limited)
    from threadpoolctl import threadpool_limits

    ledger = table.load_ready(config.ledger)
    schema = Schema.from_json(ledger.schema or {})
    X, y = dataset.read_table(config.final_data, schema, stop=ledger.length)
    labelled = y == y
    X, y = X[labelled].reset_index(drop=True), y[labelled].astype("int64")
    check_classes(y, schema)
    share = float(y.mean())
    threshold = share if config.threshold == "balanced" else float(config.threshold)
    with threadpool_limits(1):  # one thread: the same bytes on any machine, and cron leaves a core to the API
        name, selection = config.estimator, dict[str, Any]()
        if name == "auto":
            name, selection = choose_estimator(X, y, schema, random_state=config.random_state)
        model = make_estimator(
            name, schema, random_state=config.random_state, threshold=threshold, params=config.params
        )
        fit(model, X, y, config.params)
    data, files = render_model(model), table.render_files(ledger.files)
    card = {
        "model_sha256": artifacts.sha256(data),
        "estimator": name,
        "selection": selection,
        "threshold": threshold,
        "threshold_rule": config.threshold,
        "random_state": config.random_state,
        "params": config.params,
        "row_key": config.row_key(),
        "schema": schema.to_json(),
        "data": {
            **ledger.mark,
            "source": ledger.source,
            "n_rows": ledger.rows,
            "n_samples": len(y),
            "n_positive": int(y.sum()),
            "files_sha256": artifacts.sha256(files.encode()),
            "n_files": sum(entry.refused is None for entry in ledger.files),
        },
        "features": describe(X, schema),
        "versions": versions(),
    }
    artifacts.put_text(config.trained_on, files)
    with artifacts.put(config.trained_model, "wb") as handle:
        handle.write(data)
    artifacts.put_json(config.model_card, card)
    return Result(name, len(y), len(schema.features))


def fit(model: Any, X: pd.DataFrame, y: np.ndarray, params: dict[str, Any]) -> None:
    """Fit a model; a parameter that scikit-learn refuses is a mistake in config.json."""
    try:
        model.fit(X, y)
    except ValueError as error:
        if not params:
            raise
        raise ConfigError(f"model.params: {error}") from error


def check_classes(y: np.ndarray, schema: Schema) -> None:
    """Refuse to fit where there is nothing to tell apart."""
    n_positive = int(y.sum())
    if not len(y):
        raise DatasetError(f"no row has a label in {schema.target!r}; the deployed model stays")
    for count, word in ((n_positive, "leaves"), (len(y) - n_positive, "stays")):
        if count < MIN_PER_CLASS:
            raise DatasetError(
                f"only {count} of {len(y)} labelled rows {word} (one class cannot be learned); "
                "the deployed model stays"
            )


def versions() -> dict[str, str]:
    """Name what the bytes of a model depend on."""
    import numpy
    import pandas
    import sklearn

    return {
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
        "numpy": numpy.__version__,
        "pandas": pandas.__version__,
    }


def main(argv: list[str] | None = None) -> int:
    """Run from the shell."""
    return stage.main("training", run, argv, description=__doc__)


if __name__ == "__main__":
    raise SystemExit(main())

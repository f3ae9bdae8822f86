"""Fit the attrition model on the ingested table and save it for scoring."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from config import Config
from risk.data.ledger import load_ready_ledger, render_files
from risk.data.schema import Schema
from risk.digests import sha256
from risk.errors import DatasetError
from risk.files import put, put_json, put_text, read_json
from risk.model import registry
from risk.runtime import logs, runner

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from risk.data.ledger import Ledger
    from risk.engines.table_reader import Taken
    from risk.model.data_checks import DataCheck
    from risk.model.estimators import Recipe
    from risk.model.selection import Choice, Rule

LOG = logs.log("training")
MIN_PER_CLASS = 2
NEWEST_ROWS = 1_000  # later rows are held against so many of the newest at least
HARMLESS = ("constant",)  # nobody needs a mail about it


@dataclass(frozen=True)
class TrainingPlan:
    """What was decided about a model: enough to fit it again on more rows.

    `rows` says which were used, "all" or the "new" ones behind the offset `behind` of the table; `facts`
    goes into the model card.
    """

    choice: Choice
    rows: str
    behind: int | None
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class TrainingResult:
    """What was fitted on how many rows; and those held back for the gate, with the plan to refit by."""

    estimator: str
    n_samples: int
    n_features: int
    n_positive: int
    plan: TrainingPlan = field(repr=False)
    held_back: Labelled = field(repr=False)

    @property
    def n_held_back(self) -> int:
        return len(self.held_back.y)

    @property
    def n_held_back_positive(self) -> int:
        return int(self.held_back.y.sum())

    def to_json(self) -> dict[str, Any]:
        facts = {name: value for name, value in vars(self).items() if name not in ("plan", "held_back")}
        return facts | {
            "n_held_back": self.n_held_back,
            "n_held_back_positive": self.n_held_back_positive,
        }

    def history(self, _: Config) -> dict[str, Any]:
        """Say what `records` keeps of this run: how long it took for how many rows."""
        return {}


@dataclass(frozen=True)
class Labelled:
    """Labelled rows of the table in their order; `is_new` marks those behind the training mark, or all.

    `digests` are those of whole rows where the rows are a sample of `n_labelled`, else empty.
    """

    X: pd.DataFrame
    y: np.ndarray
    is_new: np.ndarray
    digests: np.ndarray
    n_labelled: int

    @property
    def is_sample(self) -> bool:
        return len(self.digests) > 0

    @property
    def newest(self) -> np.ndarray:
        """Mark the rows that came since the last training, and 1,000 of the newest at least."""
        newest = self.is_new.copy()
        newest[-NEWEST_ROWS:] = True
        return newest

    def take(self, rows: np.ndarray) -> Labelled:
        if rows.all():
            return self
        return replace(
            self,
            X=self.X[rows].reset_index(drop=True),
            y=self.y[rows],
            is_new=self.is_new[rows],
            digests=self.digests[rows] if self.is_sample else self.digests,
        )


# --- compute -------------------------------------------------------------------------------------------


def make_plan(data: Labelled, wanted: Recipe, estimator: str, rule: Rule, behind: int | None) -> TrainingPlan:
    """Decide what is fitted on which rows, by cross-validation inside them alone."""
    from risk.metrics import cross_validation
    from risk.model import data_checks, estimators, selection, training_rows

    def choose(data: Labelled) -> tuple[Choice, list[DataCheck]]:
        rows = cross_validation.sample_to_try(data.X, data.y)
        choice = selection.choose(data.X, data.y, wanted, estimator, rule, rows)
        no_signal = data_checks.suspect_no_signal(choice.facts["cross_validation"]["auc"])
        found = data_checks.suspect_features(data.X, data.y, rows)
        return choice, [no_signal, *found] if no_signal else found

    choice, warnings = choose(data)
    used, facts = training_rows.ALL, dict[str, Any]()
    if behind is not None:
        tried = estimators.make_pipeline(choice.recipe)
        used, facts = training_rows.choose_rows(
            tried, data.X, data.y, data.is_new, random_state=wanted.random_state
        )
        if used == training_rows.NEW:
            data = data.take(data.is_new)
            choice, warnings = choose(data)
    told = {
        **tell_sample(choice, data, wanted.random_state),
        "rows": {"used": used, **facts},
        "warnings": [one.to_json() for one in warnings],
        "reference": keep_reference(choice, data, rule),
        "slices": find_slices(choice, data),
    }
    return TrainingPlan(choice, used, behind, {**choice.facts, **told})


def tell_sample(choice: Choice, data: Labelled, random_state: int) -> dict[str, Any]:
    """Tell of a sample, with the learning curve that says whether it is large enough; else nothing."""
    from risk.model import estimators, learning_curve

    if not data.is_sample:
        return {}
    tried = estimators.make_pipeline(choice.recipe)
    curve = learning_curve.draw_curve(tried, data.X, data.y, data.digests, random_state=random_state)
    text = learning_curve.say(curve, len(data.y), data.n_labelled)
    sample = {"n_rows": len(data.y), "n_labelled": data.n_labelled, "text": text, "learning_curve": curve}
    return {"sample": sample}


def keep_reference(choice: Choice, data: Labelled, rule: Rule) -> dict[str, Any]:
    """Keep what models that did not see them said of the newest rows: later rows are held against it."""
    from risk.metrics import cross_validation
    from risk.monitoring import reference

    rows = cross_validation.sample_to_try(data.X, data.y)
    newest = data.newest[rows]
    if not cross_validation.smaller_class(choice.found.y[newest]):
        newest[:] = True
    y, probability = choice.found.y[newest], choice.found.probability[0, newest]
    threshold = data.y.mean() if rule.threshold == "balanced" else choice.threshold
    kept = reference.make_reference(y, probability >= threshold, probability, y_train=data.y[data.newest])
    return {"rows": cross_validation.CROSS_VALIDATED, **kept}


def find_slices(choice: Choice, data: Labelled) -> list[dict[str, Any]]:
    """Find where the chosen model is clearly worse, on rows that it was not fitted on."""
    from scipy.special import expit

    from risk.metrics import cross_validation, slices

    rows = cross_validation.sample_to_try(data.X, data.y)
    probability = expit(choice.found.log_odds.mean(axis=0))
    return [one.to_json() for one in slices.find_slices(data.X.iloc[rows], choice.found.y, probability)]


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


def run(
    config: Config, *, behind: int | None = None, hold_back: bool = True, refit: TrainingPlan | None = None
) -> TrainingResult:
    """Fit a model and write trainedmodel.pkl with its model card.

    Called bare: on every labelled row. A retraining needs further ways.

    Parameters
    ----------
    behind : int, optional
        Where in the table (bytes) the rows begin that the deployed model was not fitted on. The model is
        fitted on all rows or on the new ones alone, as cross-validation says.
    hold_back : bool, default=True
        Keep a third of the new rows from the model, for the gate (`candidates.hold_back`).
    refit : Plan, optional
        Of the Result that passed the gate: the same model, fitted on every row of its kind, none held back.

    Raises
    ------
    DatasetError
        When the labelled rows do not hold both classes.
    """
    import sklearn.ensemble  # noqa: F401  (its thread pool must be there before it can be limited)
    from threadpoolctl import threadpool_limits

    from risk.model import estimators

    ledger = load_ready_ledger(config.ledger)
    schema = Schema.from_json(ledger.schema or {})
    gated = behind is not None and hold_back
    everything = read_labelled(config, ledger, schema, refit.behind if refit else behind, gated)
    check_classes(everything.y, schema)
    held_back = find_held_back(everything, gated)
    data = everything.take(~held_back)
    with threadpool_limits(1), estimators.blaming(config.params):
        # one thread: the same bytes on any machine, and cron leaves a core to the API
        plan = refit or make_plan(data, wanted(config, schema), config.estimator, rule_of(config), behind)
        if plan.rows == "new":
            data = data.take(data.is_new)
        threshold = float(data.y.mean()) if config.threshold == "balanced" else plan.choice.threshold
        model = estimators.make_estimator(plan.choice.recipe, threshold=threshold, n_rows=len(data.y))
        model.fit(data.X, data.y)
    write(config, ledger, schema, plan, data, model)
    if refit is None and "sample" in plan.facts:
        sample = plan.facts["sample"]
        LOG.log(20 if sample["learning_curve"]["levelled"] else 30, "%s", sample["text"])
    for warning in plan.facts["warnings"] if refit is None else ():
        level = "info" if warning["code"] in HARMLESS else "warning"
        getattr(LOG, level)("%s", warning["text"])
    return TrainingResult(
        estimator=plan.choice.recipe.estimator,
        n_samples=len(data.y),
        n_features=len(schema.features),
        n_positive=int(data.y.sum()),
        plan=plan,
        held_back=everything.take(held_back),
    )


def wanted(config: Config, schema: Schema) -> Recipe:
    """Say of what the model is made before anything is chosen."""
    from risk.model.estimators import Recipe

    numbers, texts = tuple(schema.numbers), tuple(schema.texts)
    return Recipe("", numbers, texts, random_state=config.random_state, params=config.params)


def rule_of(config: Config) -> Rule:
    """Say how the threshold is chosen."""
    from risk.model.selection import Rule

    return Rule(config.threshold, config.call_cost, config.loss_cost)


def read_labelled(
    config: Config, ledger: Ledger, schema: Schema, behind: int | None, gated: bool
) -> Labelled:
    """Read the labelled rows of the table, and say which lie behind an offset.

    Of more than `max_training_rows` a sample by the digest of each row. Rows that the gate will judge on
    are taken from all new rows: a sample of a large table holds few of them.
    """
    from risk.engines import table_reader

    def read(start: int = 0) -> Taken:
        most = config.max_training_rows
        room = config.room
        return table_reader.read(
            config.final_data, ledger, schema, room, start=start, labelled=True, most=most
        )

    taken, first = read(), 0
    if behind is not None:
        first = ledger.rows - table_reader.count_rows(config.final_data, ledger, config.room, start=behind)
    n_labelled = taken.n_rows
    if gated and taken.is_sample and behind is not None and behind < ledger.length:
        taken = add_judges(taken, read(behind), first)
    is_new = taken.numbers > first if behind is not None else taken.numbers > 0
    return Labelled(taken.X, taken.y.astype("int64"), is_new, taken.digests, n_labelled)


def add_judges(sample: Taken, new: Taken, first: int) -> Taken:
    """Add the rows that the gate will judge on, of the new ones behind the first so many."""
    import numpy as np

    from risk.model import training_rows

    new = replace(new, numbers=new.numbers + first)
    judging = training_rows.hold_back(new.X, new.y) & ~np.isin(new.numbers, sample.numbers)
    return sample.join(new.take(np.flatnonzero(judging)))


def find_held_back(data: Labelled, wanted: bool) -> np.ndarray:
    """Hold back a third of the new rows, unless too few would be left to learn from."""
    import numpy as np

    from risk.metrics import cross_validation
    from risk.model import training_rows

    held_back = np.zeros(len(data.y), dtype=bool)
    if wanted and data.is_new.any():
        held_back[data.is_new] = training_rows.hold_back(data.X[data.is_new], data.y[data.is_new])
        if cross_validation.smaller_class(data.y[~held_back]) < MIN_PER_CLASS:
            held_back[:] = False
    return held_back


def write(
    config: Config, ledger: Ledger, schema: Schema, plan: TrainingPlan, data: Labelled, model: Any
) -> None:
    """Write the model, what it was trained on, and its card."""
    from risk.data import profiles
    from risk.model import estimators
    from risk.model.card import describe_purpose
    from risk.prediction import redundancy

    pickled, files = estimators.render_model(model), render_files(ledger.files)
    known = profiles.make_profiles(data.X[data.newest], schema.numbers, schema.texts)
    shape = schema.to_json()
    card = {
        **describe_purpose(shape),
        "model_sha256": sha256(pickled),
        "estimator": plan.choice.recipe.estimator,
        "threshold": model.threshold,
        "threshold_rule": config.threshold,
        "random_state": config.random_state,
        "params": config.params,
        "row_key": config.row_key(),
        "schema": shape,
        "data": {
            **ledger.mark,
            "source": ledger.source,
            "n_rows": ledger.rows,
            "n_samples": len(data.y),
            "n_positive": int(data.y.sum()),
            "files_sha256": sha256(files.encode()),
            "n_files": sum(entry.refused is None for entry in ledger.files),
        },
        **plan.facts,
        "features": describe(data.X, schema),
        "echoes": redundancy.find(data.X).to_json(),
        "profiles": {name: one.to_json() for name, one in known.items()},
        "versions": versions(),
    }
    put_text(config.trained_on, files)
    with put(config.trained_model, "wb") as handle:
        handle.write(pickled)
    put_json(config.model_card, card)


def measure(candidate: Any, trained: TrainingResult) -> dict[str, Any]:
    """Measure a candidate on the rows held back from it: the newest that it did not see.

    Returns
    -------
    facts : dict
        `reference` for the model card; empty where they are too few, and cross-validation says more.
    """
    from risk.metrics import cross_validation
    from risk.monitoring import reference

    X, y = trained.held_back.X, trained.held_back.y
    if not len(y) or cross_validation.smaller_class(y) < reference.MIN_PER_CLASS:
        return {}
    kept = reference.make_reference(y, *registry.predict(candidate, X))
    leavers = trained.plan.facts["reference"]["leavers"]
    return {"reference": {"rows": "held back from the candidate", **kept, "leavers": leavers}}


def note(config: Config, **facts: Any) -> None:
    """Add to the model card what became known after the model was fitted: the gate, a better reference."""
    card = read_json(config.model_card, "run training.py first")
    put_json(config.model_card, card | facts)


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
    return runner.main("training", run, argv, description=__doc__)


if __name__ == "__main__":
    raise SystemExit(main())

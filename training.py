"""Fit the attrition model on the ingested table and save it for scoring."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from config import Config
from risk.data.ledger import load_ready_ledger, render_files
from risk.data.schema import Schema
from risk.digests import sha256
from risk.files import put, put_json, put_text
from risk.runtime import logs, runner

if TYPE_CHECKING:
    from risk.data.ledger import Ledger
    from risk.engines.table_reader import Taken
    from risk.model.pipeline import Recipe
    from risk.model.plan import TrainingPlan
    from risk.model.thresholds import ThresholdRule
    from risk.model.training_rows import LabelledRows

LOG = logs.log("training")
HARMLESS = ("constant",)  # nobody needs a mail about it


@dataclass(frozen=True)
class TrainingResult:
    """What was fitted on how many rows; and those held back for the gate, with the plan to refit by."""

    estimator: str
    n_samples: int
    n_features: int
    n_positive: int
    plan: TrainingPlan = field(repr=False)
    held_back: LabelledRows = field(repr=False)

    @classmethod
    def of(cls, plan: TrainingPlan, data: LabelledRows, held_back: LabelledRows) -> TrainingResult:
        n_samples, n_features = data.X.shape
        n_positive = int(data.y.sum())
        return cls(plan.choice.recipe.estimator, n_samples, n_features, n_positive, plan, held_back)

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
        """Give the rows of the history beside the timing: none."""
        return {}


# --- compute -------------------------------------------------------------------------------------------


def fit_model(data: LabelledRows, plan: TrainingPlan, threshold: float) -> Any:
    """Fit the model of a plan."""
    from risk.model import pipeline

    return pipeline.fit_model(plan.choice.recipe, threshold, data.X, data.y, data.clients)


# --- run -----------------------------------------------------------------------------------------------


def run(
    config: Config, *, new_from: int | None = None, hold_back: bool = True, refit: TrainingPlan | None = None
) -> TrainingResult:
    """Fit a model and write trainedmodel.pkl with its model card.

    Parameters
    ----------
    new_from : int, optional
        Where in the table (bytes) the rows begin that the deployed model was not fitted on. The model is
        fitted on all rows or on the new ones alone, as cross-validation says.
    hold_back : bool, default=True
        Keep a third of the new rows from the model, for the gate (`training_rows.hold_back`).
    refit : TrainingPlan, optional
        Of the Result that passed the gate: the same model, fitted on every row of its kind, none held back.

    Raises
    ------
    DatasetError
        When the labelled rows do not hold both classes.
    """
    from risk.model import pipeline, plan, training_rows

    ledger = load_ready_ledger(config.ledger)
    schema = Schema.from_json(ledger.schema or {})
    gated = new_from is not None and hold_back
    rows = read_labelled(config, ledger, schema, refit.new_from if refit else new_from, gated)
    training_rows.check_classes(rows.y, schema.target, rows.clients)
    data, held_back = training_rows.split_for_gate(rows, gated)
    recipe, rule = read_wishes(config, schema)
    with pipeline.one_thread(), pipeline.blaming(config.params):
        made = refit or plan.make_plan(data, recipe, config.estimator, rule, new_from)
        if made.rows == training_rows.NEW:
            data = data.take(data.is_new)
        model = fit_model(data, made, rule.resolve(made.choice.threshold, data.y))
    write(config, ledger, schema, made, data, model)
    if refit is None:
        report_checks(made)
    return TrainingResult.of(made, data, held_back)


def read_wishes(config: Config, schema: Schema) -> tuple[Recipe, ThresholdRule]:
    """Give what config.json asks of a model: its recipe before anything is chosen, and its threshold."""
    from risk.model.pipeline import Recipe
    from risk.model.thresholds import ThresholdRule

    numbers, texts = tuple(schema.numbers), tuple(schema.texts)
    recipe = Recipe("", numbers, texts, random_state=config.random_state, params=config.params)
    return recipe, ThresholdRule(config.threshold, config.call_cost, config.loss_cost)


def read_labelled(
    config: Config, ledger: Ledger, schema: Schema, new_from: int | None, gated: bool
) -> LabelledRows:
    """Read the labelled rows of the table, those after an offset marked as new.

    Of more than `max_training_rows` a sample by the digest of each row. Rows that the gate will judge on
    are taken from all new rows: a sample of a large table holds few of them.
    """
    from risk.engines import table_reader
    from risk.model.training_rows import LabelledRows

    def read(start: int = 0) -> Taken:
        most, room = config.max_training_rows, config.room
        return table_reader.read(
            config.final_data, ledger, schema, room, start=start, labelled=True, most=most
        )

    taken, first = read(), 0
    if new_from is not None:
        first = ledger.rows - table_reader.count_rows(config.final_data, ledger, config.room, start=new_from)
    n_labelled = taken.n_rows
    if gated and taken.is_sample and new_from is not None and new_from < ledger.length:
        taken = add_gate_rows(taken, read(new_from), first)
    is_new = taken.numbers > first if new_from is not None else taken.numbers > 0
    y = taken.y.astype("int64")
    return LabelledRows(taken.X, y, is_new, taken.digests, n_labelled, taken.clients)


def add_gate_rows(sample: Taken, new: Taken, first: int) -> Taken:
    """Add the rows that the gate will judge on, of the new ones after the first so many."""
    import numpy as np

    from risk.metrics import clustering
    from risk.model import training_rows

    unnamed = np.where(new.clients < 0, first, 0)  # rows without an id are numbered from the begin
    new = replace(new, numbers=new.numbers + first, clients=new.clients - unnamed)
    clients = clustering.only_if_repeated(new.clients)
    held_back = training_rows.hold_back(new.X, new.y, clients) & ~np.isin(new.numbers, sample.numbers)
    return sample.join(new.take(np.flatnonzero(held_back)))


def write(
    config: Config, ledger: Ledger, schema: Schema, plan: TrainingPlan, data: LabelledRows, model: Any
) -> None:
    """Write the model, the list of files that it was trained on, and its card."""
    from risk.model import card, pickling
    from risk.prediction import redundancy

    pickled, files = pickling.render_model(model), render_files(ledger.files)
    facts = card.make_card(
        plan,
        data,
        ledger=ledger,
        schema=schema,
        threshold=model.threshold,
        settings={
            "threshold_rule": config.threshold,
            "random_state": config.random_state,
            "params": config.params,
            "row_key": config.row_key(),
        },
        digests={"model": sha256(pickled), "files": sha256(files.encode())},
        echoes=redundancy.find_redundancy(data.X).to_json(),
    )
    put_text(config.trained_on, files)
    with put(config.trained_model, "wb") as handle:
        handle.write(pickled)
    put_json(config.model_card, facts)


def report_checks(plan: TrainingPlan) -> None:
    """Log what the checks of the data and of a sample found."""
    if "sample" in plan.facts:
        sample = plan.facts["sample"]
        LOG.log(20 if sample["learning_curve"]["levelled"] else 30, "%s", sample["text"])
    for check in plan.facts["warnings"]:
        level = "info" if check["code"] in HARMLESS else "warning"
        getattr(LOG, level)("%s", check["text"])


def main(argv: list[str] | None = None) -> int:
    """Run from the shell."""
    return runner.main("training", run, argv, description=__doc__)


if __name__ == "__main__":
    raise SystemExit(main())

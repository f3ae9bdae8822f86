"""The deployed model as a server asks it."""

import threading
from dataclasses import replace
from functools import partial

import pytest
from explained_models import fit, make_card
from mixed_rows import KINDS, NUMBERS, TEXTS, make_rows
from threadpoolctl import ThreadpoolController

from risk.model import estimators
from risk.model.pipeline import Recipe
from risk.model.registry import Release
from risk.prediction.predictor import Predictor
from risk.serving import model_cache


@pytest.mark.parametrize("n_rows", [3, 300])
def test_many_threads_that_ask_a_boosted_model_get_the_same(n_rows):
    X, y = make_rows(300)
    predictor = Predictor.from_card(
        "r", fit(X, y, Recipe(estimators.BOOSTED, NUMBERS, TEXTS)), make_card(X, y)
    )
    limit = partial(model_cache.one_thread, ThreadpoolController())
    served = model_cache.ServedModel(Release("r", {}, {}), replace(predictor, limit_threads=limit))
    columns = {name: X[name][:n_rows].tolist() for name in KINDS}
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(served.predict(columns).probability.tolist()))
        for _ in range(8)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(answers) == 8 and all(one == answers[0] for one in answers)

"""Pickling of models, and unpickling from an allow-list: the only place where anything is unpickled.

A digest proves that the bytes are those that this project wrote; the list makes sure that even bytes with
the right digest reach nothing but the classes a model is made of.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

from risk.errors import ArtifactError, ConfigError
from risk.model.estimators import ESTIMATORS

RENAMED = {"_loss": "sklearn._loss._loss"}  # as scikit-learn 1.8 writes it
# What the unpickler raises, besides an error of ours, on bytes that are no whole pickle.
TORN = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    ImportError,
    IndexError,
    KeyError,
    OverflowError,
    TypeError,
    ValueError,
)
# Exact (module, name) pairs: a prefix such as "sklearn." would let os.system in through a module that
# imported os. tests/pipeline/test_releases.py fits every estimator and compares.
ALLOWED = frozenset(
    {
        ("numpy", "clip"),
        ("numpy", "dtype"),
        ("numpy", "float64"),
        ("numpy", "log1p"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
        ("sklearn.calibration", "CalibratedClassifierCV"),
        ("sklearn.calibration", "_CalibratedClassifier"),
        ("sklearn.calibration", "_SigmoidCalibration"),
        ("sklearn.compose._column_transformer", "ColumnTransformer"),
        ("sklearn.impute._base", "MissingIndicator"),
        ("sklearn.impute._base", "SimpleImputer"),
        ("sklearn.model_selection._classification_threshold", "FixedThresholdClassifier"),
        ("sklearn.model_selection._split", "StratifiedKFold"),
        ("sklearn.pipeline", "Pipeline"),
        ("sklearn.preprocessing._data", "StandardScaler"),
        ("sklearn.preprocessing._encoders", "OneHotEncoder"),
        ("sklearn.preprocessing._function_transformer", "FunctionTransformer"),
    }
).union(*(estimator.classes for estimator in ESTIMATORS.values()))


class Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = RENAMED.get(module, module)
        if (module, name) not in ALLOWED:
            raise ArtifactError(
                f"the model file asks for {module}.{name}, which no model of this pipeline needs; "
                "run deployment.py --rollback, or training.py, scoring.py and deployment.py"
            )
        return super().find_class(module, name)


def load_model(data: bytes, digest: str, where: Path) -> Any:
    """Unpickle a model whose digest is right, from classes on the allow-list only."""
    if hashlib.sha256(data).hexdigest() != digest:
        raise ArtifactError(f"{where}: is not the model that its record describes; run training.py again")
    try:
        return Unpickler(io.BytesIO(data)).load()
    except TORN as error:
        raise ArtifactError(f"{where}: cannot be unpickled ({error}); run training.py again") from error


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

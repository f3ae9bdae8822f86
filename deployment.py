"""Publish the scored model as a release: model, score and file list, together or not at all."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import Config
from risk.digests import sha256
from risk.errors import ArtifactError, UsageError
from risk.files import read_bytes, read_json
from risk.model import publishing, registry
from risk.runtime import runner

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from risk.model.gate import GateDecision

MODEL = "trainedmodel.pkl"
HELD_BACK, TEST_DATA = "new rows that neither model has seen", "test data"
PROMOTE, DEPLOYED = "PROMOTE", "deployed"
Rows = tuple["pd.DataFrame", "np.ndarray"]


@dataclass(frozen=True)
class DeploymentResult:
    """Which release is deployed now; `deployed` says whether this run changed that."""

    release: str | None
    deployed: bool
    releases: tuple[str, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False)
    action: str | None = None
    model_sha256: str | None = None

    def to_json(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"release": self.release, "deployed": self.deployed}
        return facts | ({"releases": list(self.releases)} if self.releases else {})

    def history(self, _: Config) -> dict[str, Any] | None:
        """Say what `records` keeps of this run."""
        if self.action is None:
            return None
        return {"releases": [record(self.release, self.manifest, self.action, self.model_sha256)]}

    def text(self) -> str:
        """List releases for a reader, the deployed one marked."""
        return "".join(
            f"{'*' if told.startswith(self.release or ' ') else ' '} {told}\n" for told in self.releases
        )


def record(
    release: str | None, manifest: Mapping[str, Any], action: str, model_sha256: str | None
) -> dict[str, Any]:
    """Say what the history keeps of a release; what a tick deployed has one key, however often it is told."""
    origin = manifest.get("why", {}).get("origin")
    key = {"key": [release, action, origin]} if origin and action == DEPLOYED else {}
    kept = {name: manifest.get(name) for name in ("deployed_by", "estimator", "score")}
    return {**key, "release": release, "action": action, "model_sha256": model_sha256, **kept}


# --- compute: the gate -------------------------------------------------------------------------------------


def compare(
    candidate: Any,
    deployed: Any,
    held_back: Rows,
    read_test_data: Callable[[], Rows],
    *,
    rule: str,
    alpha: float,
) -> tuple[str, GateDecision]:
    """Decide whether a candidate takes the place of the deployed model.

    Parameters
    ----------
    candidate, deployed : fitted models
    held_back : (X, y)
        New labelled rows that neither has seen.
    read_test_data : callable
        Gives (X, y) of the test data; asked where the rows held back are too few to tell.

    Returns
    -------
    judged_on : str
        Which rows decided.
    decision : GateDecision
        PROMOTE or HOLD. Where the test data are too few as well, nothing says that the candidate is
        worse, and it is promoted.
    """
    decision = decide(candidate, deployed, *held_back, rule, alpha)
    if decision.decision is not None:
        return HELD_BACK, decision
    first = decision.reasons
    decision = decide(candidate, deployed, *read_test_data(), rule, alpha)
    reasons = (*(f"on the test data: {reason}" for reason in decision.reasons), *first)
    return TEST_DATA, replace(decision, decision=decision.decision or PROMOTE, reasons=reasons)


def decide(
    candidate: Any, deployed: Any, X: pd.DataFrame, y: np.ndarray, rule: str, alpha: float
) -> GateDecision:
    """Ask both models about the same rows."""
    from risk.model import gate

    if not len(y):  # no model answers about no row
        return gate.decide_gate(y, y, y, y, y, rule=rule, alpha=alpha)
    y_pred, probability = registry.predict(candidate, X)
    deployed_pred, deployed_probability = registry.predict(deployed, X)
    return gate.decide_gate(
        y, probability, y_pred, deployed_probability, deployed_pred, rule=rule, alpha=alpha
    )


# --- run ---------------------------------------------------------------------------------------------------


def run(
    config: Config,
    *,
    list: bool = False,
    rollback: str | None = None,
    by: str = "hand",
    why: Mapping[str, Any] | None = None,
) -> DeploymentResult:
    """Publish the candidate, go back to an earlier release, or list what there is.

    Parameters
    ----------
    list : bool, default=False
        Only tell; change nothing.
    rollback : str, optional
        Id of the release to go back to; empty for the one before.
    by, why : optional
        Who deploys, and the facts behind it; kept in the manifest.

    Raises
    ------
    ArtifactError
        When the score describes another model than the trained one.
    UsageError
        When there is no release to go back to.
    """
    folder = config.prod_deployment
    before = registry.current(folder)
    if list:
        told = tuple(tell(folder, name) for name in registry.names(folder))
        return DeploymentResult(registry.release_id(before) if before else None, False, told)
    if rollback is not None:
        key = config.secrets.get("RISK_MODEL_KEY")
        whole = [name for name in registry.names(folder) if rollback or registry.is_whole(folder, name, key)]
        target = choose_rollback(whole, before, rollback)
        found = registry.read(folder, target, key)
        publishing.switch(folder, target)
        return DeploymentResult(
            found.id, target != before, (), found.manifest, "rollback", found.manifest["files"][MODEL]
        )
    files, facts = read_candidate(config)
    facts = {"deployed_by": by, "why": dict(why or {}), **facts}
    release = publishing.publish(
        folder,
        files,
        facts,
        keep=config.keep_releases,
        key=config.secrets.get("RISK_MODEL_KEY"),
    )
    deployed = before is None or registry.release_id(before) != release
    return DeploymentResult(release, deployed, (), facts, DEPLOYED, sha256(files[MODEL]))


def tell(folder: Path, name: str) -> str:
    """Tell of one release in a line: id, score, estimator, who deployed it; or what is wrong with it."""
    try:
        manifest = registry.read(folder, name).manifest
    except ArtifactError as error:
        return f"{registry.release_id(name)}  damaged: {error}"
    facts = f"F1 {manifest['score']:.4f}  {manifest['estimator']}  by {manifest['deployed_by']}"
    return f"{registry.release_id(name)}  {facts}"


def choose_rollback(names: list[str], current: str | None, wanted: str) -> str:
    """Choose the release before the current one, or the one named."""
    if wanted:
        found = [name for name in names if registry.release_id(name).startswith(wanted)]
        if len(found) == 1:
            return found[0]
        known = ", ".join(map(registry.release_id, names)) or "none"
        raise UsageError(f"no single release {wanted!r}; there are: {known}")
    earlier = [n for n in names if current is not None and registry.number(n) < registry.number(current)]
    if not earlier:
        raise UsageError("there is no earlier release to go back to; see deployment.py --list")
    return earlier[-1]


def read_candidate(config: Config) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Read the files of a release and check that they belong together."""
    card = read_json(config.model_card, "run training.py first")
    metrics = read_json(config.metrics, "run scoring.py first")
    model = read_bytes(config.trained_model, "run training.py first")
    if sha256(model) != card["model_sha256"]:
        raise ArtifactError(f"{config.trained_model}: is not what modelcard.json describes; run training.py")
    if metrics["model_sha256"] != card["model_sha256"]:
        raise ArtifactError(f"{config.metrics}: describes another model; run scoring.py first")
    trained_on = read_bytes(config.trained_on, "run training.py first")
    if sha256(trained_on) != card["data"].get("files_sha256"):
        raise ArtifactError(f"{config.trained_on}: is not of the trained model; run training.py")
    files = {
        MODEL: model,
        "latestscore.txt": read_bytes(config.latest_score, "run scoring.py first"),
        "ingestedfiles.txt": trained_on,
        "modelcard.json": read_bytes(config.model_card, "run training.py first"),
        "metrics.json": read_bytes(config.metrics, "run scoring.py first"),
    }
    facts = {
        "training_mark": {"length": card["data"]["length"], "digest": card["data"]["digest"]},
        "score": metrics["f1"],
        "estimator": card["estimator"],
        "versions": card["versions"],
    }
    return files, facts


def add_options(parser: argparse.ArgumentParser) -> None:
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--list", action="store_true", help="list the releases, the deployed one marked")
    choice.add_argument(
        "--rollback", metavar="ID", nargs="?", const="", help="go back one release, or to the one named"
    )


def main(argv: list[str] | None = None) -> int:
    """Run from the shell."""
    return runner.main("deployment", run, argv, description=__doc__, options=add_options)


if __name__ == "__main__":
    raise SystemExit(main())

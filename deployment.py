"""Publish the scored model as a release: model, score and file list, together or not at all."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from config import Config
from risk.digests import sha256
from risk.errors import ArtifactError, UsageError
from risk.files import read_bytes, read_json
from risk.model import publishing, registry
from risk.runtime import runner


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
        """Give the row of the history; None when nothing was published."""
        if self.action is None:
            return None
        row = publishing.describe_release(self.release, self.manifest, self.action, self.model_sha256)
        return {"releases": [row]}

    def text(self) -> str:
        """List releases for a reader, the deployed one marked."""
        current = self.release or " "
        return "".join(f"{'*' if line.startswith(current) else ' '} {line}\n" for line in self.releases)


# --- compute -------------------------------------------------------------------------------------------


def choose_rollback(names: list[str], current: str | None, wanted: str) -> str:
    """Choose the release before the current one, or the one named."""
    if wanted:
        matches = [name for name in names if registry.release_id(name).startswith(wanted)]
        if len(matches) == 1:
            return matches[0]
        known = ", ".join(map(registry.release_id, names)) or "none"
        raise UsageError(f"no single release {wanted!r}; there are: {known}")
    earlier = [
        n
        for n in names
        if current is not None and registry.release_number(n) < registry.release_number(current)
    ]
    if not earlier:
        raise UsageError("there is no earlier release to go back to; see deployment.py --list")
    return earlier[-1]


def describe_candidate(card: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Give the facts about a model that its manifest holds."""
    return {
        "training_mark": {"length": card["data"]["length"], "digest": card["data"]["digest"]},
        "score": metrics["f1"],
        "estimator": card["estimator"],
        "versions": card["versions"],
    }


# --- run -----------------------------------------------------------------------------------------------


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
        Only list the releases; change nothing.
    rollback : str, optional
        Id of the release to go back to; empty for the one before.
    by, why : optional
        Who deploys, and the facts for it; noted in the manifest.

    Raises
    ------
    ArtifactError
        When the score describes another model than the trained one.
    UsageError
        When there is no release to go back to.
    """
    folder, key = config.prod_deployment, config.secrets.get("RISK_MODEL_KEY")
    before = registry.current(folder)
    before_id = registry.release_id(before) if before else None
    if list:
        lines = tuple(describe_line(folder, name) for name in registry.list_names(folder))
        return DeploymentResult(before_id, False, lines)
    if rollback is not None:
        return roll_back(folder, key, before, rollback)
    files, candidate = read_candidate(config)
    facts = {"deployed_by": by, "why": dict(why or {}), **candidate}
    release = publishing.publish(folder, files, facts, keep=config.keep_releases, key=key)
    digest = sha256(files[registry.MODEL])
    return DeploymentResult(release, before_id != release, (), facts, publishing.DEPLOYED, digest)


def roll_back(folder: Path, key: str | None, before: str | None, wanted: str) -> DeploymentResult:
    """Go back to an earlier release: the one named, or the newest whole one before."""
    whole = [name for name in registry.list_names(folder) if wanted or registry.is_intact(folder, name, key)]
    target = choose_rollback(whole, before, wanted)
    release = registry.read(folder, target, key)
    publishing.switch(folder, target)
    digest = release.manifest["files"][registry.MODEL]
    return DeploymentResult(release.id, target != before, (), release.manifest, publishing.ROLLBACK, digest)


def describe_line(folder: Path, name: str) -> str:
    """Describe a release in a line: id, score, estimator, who deployed it; or what is wrong with it."""
    try:
        manifest = registry.read(folder, name).manifest
    except ArtifactError as error:
        return f"{registry.release_id(name)}  damaged: {error}"
    facts = f"F1 {manifest['score']:.4f}  {manifest['estimator']}  by {manifest['deployed_by']}"
    return f"{registry.release_id(name)}  {facts}"


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
        registry.MODEL: model,
        "latestscore.txt": read_bytes(config.latest_score, "run scoring.py first"),
        "ingestedfiles.txt": trained_on,
        "modelcard.json": read_bytes(config.model_card, "run training.py first"),
        "metrics.json": read_bytes(config.metrics, "run scoring.py first"),
    }
    return files, describe_candidate(card, metrics)


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

"""Metrics for Prometheus: how old, how good and how far behind everything is.

From files that the last runs left, in the text format of Prometheus; what no run has left yet is left out.
Nothing is counted in a process: several of them answer, and each says the same. Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from risk import files
from risk.errors import ArtifactError
from risk.history import outbox
from risk.model import registry
from risk.monitoring import alert_channels

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Gauge:
    """One number; None is not known."""

    name: str
    meaning: str
    value: float | int | bool | None
    labels: Mapping[str, str] = field(default_factory=dict)


def collect(deployment: Path, diagnostics: Path, tick_state: Path, waiting: Path, now: float) -> list[Gauge]:
    """Collect the recorded facts; `now` in seconds since 1970."""
    reader = _ArtifactReader()
    release = reader.read("release", lambda: registry.current(deployment))
    folder = deployment / release if release else None
    metrics = reader.read_json("metrics.json", folder and folder / "metrics.json")
    manifest = reader.read_json("manifest.json", folder and folder / "manifest.json")
    diagnosed = reader.read_json("diagnostics.json", diagnostics)
    tick = reader.read_json("tick.json", tick_state)
    verdict = tick.get("verdict") or {}
    run_ended_at, deployed_at = _moment(tick_state), _moment(folder and folder / "manifest.json")
    records = outbox.describe(waiting)
    alerts = sum(len(outbox.waiting(waiting / target)) for target in alert_channels.CHANNELS)
    return [
        Gauge("risk_model_served", "1 where a release is deployed.", release is not None),
        Gauge("risk_model_age_seconds", "Since the deployed release was made.", _age(deployed_at, now)),
        Gauge("risk_model_score", "F1 of the deployed model on the test data.", metrics.get("f1")),
        Gauge("risk_model_score_low", "Lower end of its 95 % interval.", metrics.get("f1_low")),
        Gauge("risk_model_score_high", "Upper end of its 95 % interval.", metrics.get("f1_high")),
        Gauge("risk_model_score_rows", "Rows it was measured on.", metrics.get("n")),
        Gauge("risk_model_auc", "AUC of the deployed model on the test data.", metrics.get("auc")),
        *_info(release, manifest),
        Gauge("risk_last_tick_timestamp_seconds", "When the last run ended.", run_ended_at),
        Gauge("risk_last_tick_age_seconds", "Since the last run ended.", _age(run_ended_at, now)),
        Gauge("risk_tick_pending", "1 where failed steps of a run wait to be tried again.", _pending(tick)),
        Gauge("risk_rows", "Rows in the table.", diagnosed.get("n_rows")),
        Gauge("risk_rows_unlabelled", "Rows in the table without a label.", diagnosed.get("n_unlabelled")),
        Gauge("risk_drift", "1 where the last verdict was drift, 0 where not.", verdict.get("drift")),
        Gauge("risk_drift_new_score", "F1 on the new rows of that verdict.", verdict.get("new_score")),
        Gauge("risk_drift_recorded_score", "The recorded F1 of that verdict.", verdict.get("recorded_score")),
        Gauge("risk_outbox_waiting", "Batches of records that wait for the database.", records["waiting"]),
        Gauge("risk_outbox_refused", "Batches that the database refused.", records["set_aside"]),
        Gauge("risk_alerts_waiting", "Alerts that wait for the webhook or the command.", alerts),
        *reader.readable,
    ]


class _ArtifactReader:
    """Reads artifacts one by one: a damaged one hides nothing but itself, and has a gauge that says so."""

    def __init__(self) -> None:
        self.readable: list[Gauge] = []

    def read(self, name: str, read: Callable[[], Any]) -> Any:
        try:
            value = read()
        except (ArtifactError, OSError):
            value = None
            self._add_gauge(name, False)
        else:
            self._add_gauge(name, True)
        return value

    def read_json(self, name: str, path: Path | None) -> dict[str, Any]:
        if path is None or not path.exists():
            return {}
        return self.read(name, lambda: files.read_json(path, "run it again")) or {}

    def _add_gauge(self, name: str, value: bool) -> None:
        meaning = "0 where an artifact is damaged or cannot be read."
        self.readable.append(Gauge("risk_artifact_readable", meaning, value, {"artifact": name}))


def _info(release: str | None, manifest: Mapping[str, Any]) -> Iterator[Gauge]:
    if release is not None and manifest:
        labels = {"release": registry.release_id(release), "estimator": str(manifest.get("estimator"))}
        yield Gauge("risk_model_info", "Names the deployed release.", 1, labels)


def _pending(tick: Mapping[str, Any]) -> bool | None:
    return tick.get("pending") is not None if tick else None


def _moment(path: Path | None) -> float | None:
    try:
        return None if path is None else path.stat().st_mtime
    except OSError:
        return None


def _age(moment: float | None, now: float) -> float | None:
    return None if moment is None else max(now - moment, 0.0)


def render(gauges: list[Gauge]) -> str:
    """Render what is known."""
    lines: list[str] = []
    described: set[str] = set()
    for one in gauges:
        if one.value is None:
            continue
        if one.name not in described:
            lines += [f"# HELP {one.name} {one.meaning}", f"# TYPE {one.name} gauge"]
            described.add(one.name)
        labels = ",".join(f'{name}="{_escape(value)}"' for name, value in one.labels.items())
        value = int(one.value) if isinstance(one.value, bool) else one.value
        lines.append(f"{one.name}{{{labels}}} {value!r}" if labels else f"{one.name} {value!r}")
    return "".join(f"{line}\n" for line in lines)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

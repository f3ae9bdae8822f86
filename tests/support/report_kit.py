"""What the tests of the report share: one workspace that was reported on, and clients for its list."""

import json

import api_kit

import diagnostics
import reporting

LISTED = {
    "n_clients": 850,
    "n_at_risk": 119,
    "share_at_risk": 0.14,
    "value_at_risk": 1_234_567.8,
    "value_column": "revenue",
    "before": {"n_clients": 840, "n_at_risk": 107, "share_at_risk": 0.127, "value_at_risk": 1_200_000.0},
}
REASONS = ("activity 3, usually 156", "colour: red rather than blue")


def make_line(number, name=None, **changes):
    """Make a line of the list, as `roster.read_line` gives it."""
    line = {
        "rank": number,
        "id": {"corporation": name or f"client-{number}"},
        "probability": max(0.97 - number / 1000, 0.01),
        "probability_low": 0.2,
        "probability_high": 0.99,
        "risk": "high",
        "expected_loss": 5000.0 - number,
        "rank_change": None,
        "reasons": list(REASONS),
    }
    return line | changes


def make_reported(root):
    """Make a workspace in which a model is deployed, described and reported on."""
    api_kit.make_workspace(root)
    api_kit.run(root, diagnostics, reporting)
    return json.loads((root / "models" / "report.json").read_text())

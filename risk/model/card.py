"""What is a model for, what is it not for, and who is told what it says? The words of every model card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

READERS = {
    "executive": "page 1: how many clients are at risk, and whether to believe it",
    "client managers": "the list: whom to call first, and about what",
    "data scientist": "the appendix: evidence, scores, columns, this card",
    "operator": "one line of log for each decision; an alert, where one is set up, when a person is needed",
}
LIMITS = [
    "It knows clients like those it learned from.",
    "A probability is a share among such clients, not a fate.",
    "It is not made to decide anything about a client without a person, nor for another table.",
    "Reasons say what goes along with leaving, not what causes it.",
]


def describe_purpose(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Say purpose, limits and readers of a model of this schema (as `Schema.to_json` gives it)."""
    words = f"{schema['target']} = {schema['positive'][0]}"
    use = f"It ranks clients by the risk of leaving ({words}), so that people call the right ones first."
    return {"intended_use": use, "limits": LIMITS, "readers": READERS}

"""The names by which config.json chooses a threshold rule and a gate.

Standard library only: config.json is checked before anything heavy is imported.
"""

THRESHOLDS = BALANCED, F1, COST = ("balanced", "f1", "cost")
GATES = NOT_WORSE, BETTER, NONE = ("not_worse", "better", "none")

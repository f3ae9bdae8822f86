"""Labelled rows that a model ranks better or worse."""


def draw(rng, n, share, distance):
    """Draw labels, and scores that lie `distance` higher for those who leave."""
    y = (rng.random(n) < share).astype(float)
    return y, rng.normal(distance * y, 1)

"""Distances of two samples of numbers, straight from their definitions."""

import numpy as np

from risk.metrics import two_sample


def population_stability_index(reference, current, *, n_bins=two_sample.N_BINS):
    """Compute PSI in equal-count bins of `reference`; missing and out-of-range values have own bins."""
    filled = np.sort(reference[~np.isnan(reference)])
    positions = [-(-len(filled) * k // n_bins) - 1 for k in range(1, n_bins + 1)]
    edges = np.unique(filled[positions]) if len(filled) else filled
    counts = [count_bins(sample, filled[:1], edges) for sample in (reference, current)]
    return two_sample.stability_of_counts(*counts)


def count_bins(sample, lowest, edges):
    """Count values below the lowest, up to each edge, above, missing."""
    filled = np.sort(sample[~np.isnan(sample)])
    below, ends = np.searchsorted(filled, lowest, "left"), np.searchsorted(filled, edges, "right")
    return np.diff(np.concatenate([[0], below, ends, [len(filled), len(sample)]]))


def kolmogorov_smirnov(reference, current):
    """Compute the largest gap between two distribution functions, and its p-value."""
    points = np.concatenate([reference, current])
    shares = [np.searchsorted(np.sort(x), points, "right") / len(x) for x in (reference, current)]
    ks = float(np.abs(shares[0] - shares[1]).max())
    return ks, two_sample.ks_p_value(ks, len(reference), len(current))

"""How good a prediction is, and whether two samples differ.

In reading order: `classification`, `auc`, `clustering`, `uncertainty`, `calibration`, `reliability`,
`client_folds`, `cross_validation`, `slices`, `two_sample`, `paired_comparison`, `significance`.
"""

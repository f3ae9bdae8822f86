"""How good a prediction is, and whether two samples differ.

In reading order: `classification`, `auc`, `uncertainty`, `calibration`, `cross_validation`, `slices`,
`two_sample`, `significance`.
"""

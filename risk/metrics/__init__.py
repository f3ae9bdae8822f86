"""How good a prediction is, and whether two samples differ.

In reading order: `classification`, `auc`, `uncertainty`, `calibration`, `reliability`, `cross_validation`,
`slices`, `two_sample`, `paired_comparison`, `significance`.
"""

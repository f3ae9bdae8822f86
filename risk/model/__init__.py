"""Choosing, fitting, checking and publishing a model.

In reading order: `training_rows`, `leakage`, `data_checks`, `choices`, `estimators`, `pipeline`, `selection`,
`thresholds`, `learning_curve`, `plan`, `card`, `decomposition`, `gate`, `pickling`, `registry`, `publishing`.
"""

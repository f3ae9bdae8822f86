"""Choosing, fitting, checking and publishing a model.

In reading order: `training_rows`, `data_checks`, `estimators`, `pipeline`, `selection`, `thresholds`,
`learning_curve`, `plan`, `card`, `decomposition`, `gate`, `pickling`, `registry`, `publishing`.
"""

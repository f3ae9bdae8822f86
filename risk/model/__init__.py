"""Choosing, fitting, checking and publishing a model.

In reading order: `training_rows`, `data_checks`, `estimators`, `selection`, `thresholds`, `learning_curve`,
`decomposition`, `plan`, `card`, `gate`, `pickling`, `registry`, `publishing`.
"""

"""How a script begins and ends.

In reading order: `settings_schema`, `settings`, `arguments`, `logs`, `signals`, `permissions`, `deliveries`,
`runner`; of a whole pipeline run `state`, `changes`, `steps`, `drift_check`, `retraining`, `completion`; and
`dependencies`.
"""

"""How a script begins and ends, and the steps of a run of the whole pipeline.

In reading order: `settings_schema`, `settings`, `arguments`, `logs`, `signals`, `permissions`, `deliveries`,
`runner`; of a whole pipeline run `state`, `changes`, `steps`, `drift_check`, `retraining`, `completion`; and
`dependencies`.
"""

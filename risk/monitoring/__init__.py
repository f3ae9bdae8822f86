"""Whether new data have drifted, how good the model still is, and who is notified.

In reading order: `reference`, `column_drift`, `rules`, `evidence`, `verdict`, `performance_estimation`,
`new_rows`, `estimate_audit`, `delayed_labels`, `alarms`, `alert_channels`, `alerts`, `alert_delivery`.
"""

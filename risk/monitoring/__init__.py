"""Whether the world has changed since training, and who is notified.

In reading order: `reference`, `column_drift`, `rules`, `verdict`, `performance_estimation`, `delayed_labels`,
`alarms`, `alert_channels`, `alerts`, `alert_delivery`.
"""

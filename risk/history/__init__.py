"""The history of runs in SQL.

In reading order: `tables`, `connections`, `store`, `migrations`, `outbox`, `delivery`, `dataset_copy`,
`trends`.
"""

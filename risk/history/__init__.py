"""The history of runs in SQL.

In reading order: `tables`, `dialects`, `connections`, `migrations`, `store`, `outbox`, `delivery`,
`dataset_copy`, `series`, `trends`, `pending`, `export`.
"""

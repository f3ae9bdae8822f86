"""The history of runs in SQL.

In reading order: `tables`, `dialects`, `connections`, `migrations`, `store`, `outbox`, `delivery`,
`dataset_copy`, `trends`, `pending`, `export`.
"""

"""Reading tables of any size through one protocol, in memory, by DuckDB or on Spark.

In reading order: `base`, `loading`, `memory`, `sql`, `duckdb_session`, `duckdb`, `frame_reader`,
`table_reader`, `statistics`; for clusters `partitions`, `spark_launch`,
`spark_session`, `spark_sql`, `spark`, `spark_table`.
"""

"""Reading tables of any size through one protocol, in memory, by DuckDB or on Spark.

In reading order: `duckdb`, `memory`, `spark`, `spark_session`, `partitions`, `frame_reader`, `table_reader`,
`statistics`.
"""

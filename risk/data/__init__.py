"""What a row is: the input files, the compiled table and its ledger.

In reading order: `label_words`, `schema`, `inputs`, `csv_spans`, `csv_check`, `csv_rows`, `validation`,
`frames`, `ledger`, `row_index`, `cut_rows`, `schema_inference`, `input_batch`, `table_writer`, `profiles`.
"""

"""What a row is: the input files, the compiled table and its ledger.

In reading order: `schema`, `csv_check`, `validation`, `ledger`, `row_index`, `profiles`.
"""

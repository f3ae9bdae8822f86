"""What the deployed model predicts for a client, and why.

In reading order: `predictor`, `fast_path`, `intervals`, `baselines`, `redundancy`, `effects`, `reasons`,
`wording`, `csv_output`, `batch`, `spark_batch`, `file_prediction`, `client_ranking`, `client_list`,
`client_list_reader`, `explanation`.
"""

"""What the deployed model says of a client, and why.

In reading order: `predictor`, `fast_path`, `intervals`, `batch`, `spark_batch`, `streams`, `baselines`,
`redundancy`, `reasons`, `wording`, `client_ranking`, `client_list`, `client_list_reader`, `explanation`.
"""

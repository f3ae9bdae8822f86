"""The HTTP API and its page.

In reading order: `settings`, `routes`, `middleware`, `auth`, `parsing`, `requested`, `json_rows`, `csv_body`,
`file_access`, `model_cache`, `responses`, `problems`, `page`, `prometheus`, `access_log`; `http`, the server.
"""

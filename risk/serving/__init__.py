"""The HTTP API and its page.

In reading order: `auth`, `parsing`, `file_access`, `model_cache`, `responses`, `problems`, `page`,
`prometheus`, `access_log`, `arrivals`, `worker`.
"""

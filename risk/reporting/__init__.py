"""What people see: the report as PDF, HTML and text.

In reading order: `document`, `summary`, `details`, `tables`, `model_card`, `client_rows`, `formats`, `pages`,
`pdf`, `pdf_layout`, `bidi`, `html`, `charts`, `small_charts`, `terminal`, `api_answers`.
"""

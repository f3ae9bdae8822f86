"""What people see: the report as PDF, HTML and text.

In reading order: `summary`, `details`, `model_card`, `client_rows`, `charts`, `small_charts`, `pdf`,
`pdf_layout`, `bidi`, `html`, `terminal`.
"""

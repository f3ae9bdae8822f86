"""What people see: the report as PDF, HTML and text.

In reading order: `document`, `summary`, `details`, `tables`, `model_card`, `formats`, `pages`, `pdf`,
`pdf_layout`, `bidi`, `html`, `trend_scale`, `charts`, `small_charts`, `terminal`, `api_answers`.
"""

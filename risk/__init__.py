"""What the scripts of the pipeline share: the ground (`errors`, `files`, `text` and the like) and ten rooms.

From the bottom up: `metrics` and `data`; `engines`, `model` and `history`; `monitoring`; `prediction` and
`reporting`; `serving` and `runtime`. Imports only fall.
"""

"""How a script begins and ends.

In reading order: `settings_schema`, `state`, `dependencies`.
"""

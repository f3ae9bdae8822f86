"""The HTTP server: waitress, with the limits, time-outs and error answers of this API, under gunicorn.

Waitress gathers each request whole before a thread sees it, and sends answers while no thread waits. What it
leaves open is added on the classes it offers for that. In reading order: `parser`, `channel`, `server`,
`worker`.
"""

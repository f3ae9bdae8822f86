"""The door for WSGI servers: `RISK_CONFIG=/srv/risk/config.json gunicorn wsgi:app`."""

from app import create_app, load_served_config

app = create_app(load_served_config())

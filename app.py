"""Serve the deployed model and the results of the last runs over HTTP."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

from flask import Flask

from config import Config, load_config
from risk.errors import ConfigError, ServiceError
from risk.runtime import logs, runner
from risk.serving import auth, routes
from risk.serving.settings import ServingSettings

LOG = logs.log("app")
HERE = Path(__file__).resolve().parent


def create_app(config: Config) -> Flask:
    """Create the application that a workspace is served by."""
    return routes.create_app(serving_settings(config))


def serving_settings(config: Config) -> ServingSettings:
    """Select what the API needs to know of a configuration."""
    return ServingSettings(
        config_path=config.path,
        root=config.root,
        input_folder=config.input_folder,
        output_folder=config.output_folder,
        test_data=config.test_data,
        output_model=config.output_model,
        prod_deployment=config.prod_deployment,
        state_folder=config.state_folder,
        diagnostics=config.diagnostics,
        report=config.report,
        at_risk=config.at_risk,
        tick_state=config.tick_state,
        outbox=config.outbox,
        alert_queues=config.alerts.queues,
        separator=config.separator,
        max_body_mb=config.max_body_mb,
        max_rows=config.max_rows,
        timeout_s=config.timeout_s,
        token=config.secrets.get("RISK_API_TOKEN"),
        model_key=config.secrets.get("RISK_MODEL_KEY"),
    )


def load_served_config() -> Config:
    """Load the config.json that `RISK_CONFIG` names, else the one beside the scripts."""
    return load_config(os.environ.get("RISK_CONFIG") or HERE / "config.json")


def check_reachable(config: Config) -> None:
    """Refuse to listen to other machines while there is no token they could show.

    Raises
    ------
    ConfigError
        When it is so.
    """
    if not auth.is_loopback(config.host) and "RISK_API_TOKEN" not in config.secrets:
        raise ConfigError(
            f"{config.path}: api.host: {config.host} is reached from other machines, which needs a token; "
            "set RISK_API_TOKEN (in risk.env beside it), or use 127.0.0.1"
        )


def listen(host: str, port: int) -> socket.socket:
    """Take the address before the server starts, so that a taken one is said at once.

    Raises
    ------
    ServiceError
        When it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except PermissionError:
        listener.close()
        raise
    except OSError as error:
        listener.close()
        raise ServiceError(
            f"{host}:{port}: {error.strerror}; is the API running already? "
            "Stop it, or choose another api.port in config.json"
        ) from error
    return listener


def run(config: Config) -> NoReturn:
    """Become gunicorn, on the address of config.json; ends with SIGTERM or Ctrl-C."""
    check_reachable(config)
    listener = listen(config.host, config.port)
    host, port = listener.getsockname()[:2]
    LOG.info("address=http://%s:%s pid=%s", f"[{host}]" if ":" in host else host, port, os.getpid())
    listener.set_inheritable(True)
    os.environ["RISK_CONFIG"] = str(config.path)
    sys.stdout.flush()
    command = [sys.executable, "-P", "-m", "gunicorn", "--config", str(HERE / "gunicorn.conf.py")]
    command += ["--chdir", str(HERE), "--bind", f"fd://{listener.fileno()}", "wsgi:app"]
    os.execv(sys.executable, command)  # noqa: S606  (no shell wanted)


def main(argv: list[str] | None = None) -> int:
    """Run from the shell."""
    return runner.main("app", run, argv, description=__doc__, locks=False)


if __name__ == "__main__":
    raise SystemExit(main())

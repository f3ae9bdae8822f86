"""The configuration of the pipeline: one typed, checked reading of config.json."""

from risk.runtime.settings import SECRETS, Config, find_alerts, load_config

__all__ = ["SECRETS", "Config", "find_alerts", "load_config"]

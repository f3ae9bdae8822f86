"""What may stand in config.json: its keys, their defaults, and whether what is given is right."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from risk.engines.base import ENGINES
from risk.history import dialects
from risk.limits import Limits
from risk.model import estimators
from risk.monitoring import alert_channels
from risk.monitoring.rules import RULES

FOLDER_KEYS = (
    "input_folder_path",
    "output_folder_path",
    "test_data_path",
    "output_model_path",
    "prod_deployment_path",
)
SEPARATORS = {",": ",", ";": ";", "\t": "\t", "tab": "\t", "|": "|"}
LARGEST_COST = 1e100  # sums of it stay among the doubles
THRESHOLDS = ("balanced", "f1", "cost")
GATES = ("not_worse", "better", "none")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
DEFAULTS: dict[str, Any] = {
    "target_column": "exited",
    "positive_label": None,
    "id_columns": ["corporation"],
    "ignore_columns": [],
    "separator": None,
    "model": {
        "estimator": "auto",
        "random_state": 0,
        "threshold": "balanced",
        "params": {},
        "call_cost": None,
        "loss_cost": None,
    },
    "drift": {"rule": "score", "alpha": 0.05},
    "deployment": {"gate": "not_worse", "keep_releases": 3},
    "database_url": "sqlite:///records.db",
    "store_datasets": False,
    "keep_days": None,
    "engine": {
        "name": "duckdb",
        "memory_limit": None,
        "spill_folder": None,
        "master": None,
        "conf": {},
        "wait_s": 60,
    },
    "max_training_rows": 1_000_000,
    "limits": Limits()._asdict(),
    "api": {
        "host": "127.0.0.1",
        "port": 8000,
        "workers": 2,
        "max_body_mb": 16,
        "max_rows": 1_000_000,
        "timeout_s": 60,
    },
    "report": {"top_n": 20, "value_column": None, "words": {}},
    "alerts": {
        **{name: option.default for name, option in alert_channels.OPTIONS.items()},
        "stale_days": 35,
        "cool_down_hours": 1,
        "timeout_s": 5,
    },
}
_SIZE = re.compile(r"0*[1-9][0-9]* ?[KMGT](I?B)?", re.IGNORECASE)


def _refuse_unknown(raw: dict[str, Any], problems: list[str]) -> None:
    known = [*FOLDER_KEYS, *DEFAULTS]
    for key in raw:
        if key not in known:
            problems.append(f"{key}: unknown key{_nearest(key, known)}")
    for section, defaults in DEFAULTS.items():
        if isinstance(defaults, dict) and isinstance(raw.get(section), dict):
            for key in raw[section]:
                if key not in defaults:
                    problems.append(f"{section}.{key}: unknown key{_nearest(key, list(defaults))}")


def _nearest(key: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _with_defaults(raw: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, default in DEFAULTS.items():
        value = raw.get(key, default)
        if isinstance(default, dict):
            if not isinstance(value, dict):
                problems.append(f"{key}: must be an object, not {value!r}")
                value = default
            for name, inner in (default | value).items():
                values[f"{key}.{name}"] = inner
        else:
            values[key] = value
    return values


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_limit(value: Any) -> bool:
    return _is_whole(value, 1, 10**12)


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1


def _is_cost(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LARGEST_COST


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value)) and len(set(value)) == len(value)


def _is_folder(value: Any) -> bool:
    return _is_text(value) and "\0" not in value and value.encode(errors="ignore").decode() == value


def _is_label(value: Any) -> bool:
    return _is_text(value) or (isinstance(value, int | float) and math.isfinite(value))


def _is_size(value: Any) -> bool:
    return isinstance(value, str) and _SIZE.fullmatch(value.strip()) is not None


def _is_address(value: Any) -> bool:
    if value in LOOPBACK:
        return True
    import ipaddress

    try:
        return isinstance(value, str) and bool(ipaddress.ip_address(value))
    except ValueError:
        return False


def _is_words(value: Any) -> bool:
    """Names and units of columns, and nothing else."""
    return isinstance(value, dict) and all(
        isinstance(said, dict)
        and said
        and said.keys() <= {"name", "unit"}
        and all(map(_is_text, said.values()))
        for said in value.values()
    )


ALERT_RULES: dict[str, tuple[Any, str]] = {
    **{f"alerts.{name}": (o.is_valid, o.expected) for name, o in alert_channels.OPTIONS.items()},
    "alerts.stale_days": (
        lambda v: v is None or _is_whole(v, 1, 36_500),
        "a whole number of days from 1, or null",
    ),
    "alerts.cool_down_hours": (
        lambda v: isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v <= 8760,
        "a number of hours from 0 to 8760",
    ),
    "alerts.timeout_s": (lambda v: _is_whole(v, 1, 60), "a whole number of seconds from 1 to 60"),
}


def check(root: Path, raw: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Fill in the defaults and say everything that is wrong.

    Returns
    -------
    values : dict
        Of every key, those of a section as `section.key`; folders are not among them.
    problems : list of str
        A line each; no value counts while there is one.
    """
    problems: list[str] = []
    _refuse_unknown(raw, problems)
    values = _with_defaults(raw, problems)
    _check_values(root, raw, values, problems)
    return values, problems


def _check_values(root: Path, raw: dict[str, Any], values: dict[str, Any], problems: list[str]) -> None:
    for key in FOLDER_KEYS:
        if key not in raw:
            problems.append(f"{key}: is missing; it must name a folder")
        elif not _is_folder(raw[key]):
            problems.append(f"{key}: must be the name of a folder, not {raw[key]!r}")
    named: dict[str, str] = {}
    for key in FOLDER_KEYS:
        if _is_folder(raw.get(key)):
            other = named.setdefault(os.path.normpath(root / raw[key]), key)
            if other != key:
                problems.append(f"{key}: is the same folder as {other}; each needs its own")
    rules: dict[str, tuple[Any, str]] = {
        "target_column": (_is_text, "the name of a column"),
        "positive_label": (lambda v: v is None or _is_label(v), "a label"),
        "id_columns": (_is_names, "a list of different column names"),
        "ignore_columns": (_is_names, "a list of different column names"),
        "separator": (
            lambda v: v is None or (isinstance(v, str) and v in SEPARATORS),
            'one of "," ";" "\\t" "|"',
        ),
        "model.estimator": (lambda v: v in estimators.NAMES, f"one of {', '.join(estimators.NAMES)}"),
        "model.random_state": (lambda v: _is_whole(v, 0, 2**32 - 1), "a whole number from 0"),
        "model.threshold": (
            lambda v: v in THRESHOLDS or _is_share(v),
            '"balanced", "f1", "cost" or a number between 0 and 1',
        ),
        "model.call_cost": (lambda v: v is None or _is_cost(v), "a positive number"),
        "model.loss_cost": (lambda v: v is None or _is_cost(v), "a positive number"),
        "model.params": (lambda v: isinstance(v, dict), "an object of scikit-learn parameters"),
        "drift.rule": (lambda v: v in [*RULES], f"one of {', '.join(RULES)}"),
        "drift.alpha": (_is_share, "a number between 0 and 1"),
        "deployment.gate": (lambda v: v in GATES, f"one of {', '.join(GATES)}"),
        "deployment.keep_releases": (lambda v: _is_whole(v, 1, 1000), "a whole number from 1 to 1000"),
        "database_url": (_is_text, "a URL such as sqlite:///records.db"),
        "store_datasets": (lambda v: isinstance(v, bool), "true or false"),
        "keep_days": (lambda v: v is None or _is_whole(v, 1, 36_500), "a whole number of days from 1"),
        "max_training_rows": (lambda v: _is_whole(v, 1000, 10**9), "a whole number from 1000"),
        "engine.name": (lambda v: v in ENGINES, f"one of {', '.join(ENGINES)}"),
        "engine.wait_s": (lambda v: _is_whole(v, 1, 3600), "a whole number of seconds from 1 to 3600"),
        "engine.memory_limit": (lambda v: v is None or _is_size(v), 'a size such as "2GB"'),
        "engine.spill_folder": (lambda v: v is None or _is_folder(v), "the name of a folder"),
        "api.host": (_is_address, "an address such as 127.0.0.1, 0.0.0.0 or ::1"),
        "api.port": (lambda v: _is_whole(v, 0, 65535), "a port from 0 to 65535"),
        "api.workers": (lambda v: _is_whole(v, 1, 64), "a whole number from 1 to 64"),
        "api.max_body_mb": (lambda v: _is_whole(v, 1, 1024), "a whole number from 1 to 1024"),
        **{f"limits.{name}": (_is_limit, "a whole number from 1") for name in DEFAULTS["limits"]},
        "limits.max_cell_kb": (lambda v: _is_whole(v, 1, 8192), "a whole number from 1 to 8192"),
        "api.max_rows": (lambda v: _is_whole(v, 1, 10**9), "a whole number from 1"),
        "api.timeout_s": (lambda v: _is_whole(v, 1, 3600), "a whole number of seconds from 1 to 3600"),
        "report.top_n": (lambda v: _is_whole(v, 1, 1000), "a whole number from 1 to 1000"),
        "report.value_column": (lambda v: v is None or _is_text(v), "the name of a column"),
        "report.words": (
            _is_words,
            'an object such as {"tenure": {"name": "time with us", "unit": "months"}}',
        ),
        **ALERT_RULES,
    }
    for key, (rule, wanted) in rules.items():
        value = values[key]
        if not rule(value):
            problems.append(f"{key}: must be {wanted}, not {value!r}")
    if values["model.params"] and values["model.estimator"] == "auto":
        problems.append("model.params: name the estimator they are for in model.estimator")
    _check_costs(values, problems)
    _check_spark(values, problems)
    if _is_text(values["database_url"]):
        check_url("database_url", values["database_url"], problems)
    _check_roles(values, problems)


def _check_costs(values: dict[str, Any], problems: list[str]) -> None:
    call, loss = values["model.call_cost"], values["model.loss_cost"]
    given = {"model.call_cost": call, "model.loss_cost": loss}
    wanted = values["model.threshold"] == "cost"
    for key, value in given.items():
        if wanted and value is None:
            problems.append(f'{key}: is missing; model.threshold "cost" needs it')
        elif not wanted and value is not None:
            problems.append(f'{key}: counts only with model.threshold "cost"; leave it out')
    if wanted and _is_cost(call) and _is_cost(loss) and call >= loss:
        problems.append("model.call_cost: must be less than model.loss_cost, or no call is ever worth it")


def _check_spark(values: dict[str, Any], problems: list[str]) -> None:
    """Check master and conf; what is in conf is never repeated, for it may be a secret."""
    master, conf = values["engine.master"], values["engine.conf"]
    if not isinstance(conf, dict) or not all(map(_is_setting, conf.values())) or not all(map(_is_text, conf)):
        problems.append(
            "engine.conf: must be an object of Spark settings, each a text, a number, true or false"
        )
    elif "spark.master" in conf:
        problems.append("engine.conf: spark.master is engine.master here; put it there")
    if values["engine.name"] != "spark":
        problems += [
            f'engine.{key}: counts only with engine.name "spark"; leave it out'
            for key, value in (("master", master), ("conf", conf))
            if value
        ]
    elif not _is_text(master):
        problems.append('engine.master: must name a master such as "spark://host:7077", "yarn" or "local[4]"')
    elif master.startswith("sc://"):
        problems.append(
            "engine.master: Spark Connect is not supported; name the master of the cluster itself"
        )


def _is_setting(value: Any) -> bool:
    return isinstance(value, str | int | float) and (not isinstance(value, float) or math.isfinite(value))


def check_url(key: str, url: str, problems: list[str], *, secret: bool = False) -> None:
    """Check that a URL names a database of a kind we know; never repeat it, for it may hold a password."""
    try:
        parts = urlsplit(url.strip())
        dialect, password = dialects.SCHEMES.get(parts.scheme), parts.password
    except ValueError:
        problems.append(f"{key}: is not a URL such as {dialects.EXAMPLES}")
        return
    if dialect is None:
        problems.append(f"{key}: must begin like one of {dialects.EXAMPLES}")
    elif not dialect.names_database(parts):
        problems.append(f"{key}: does not name {dialect.place}; write it like one of {dialects.EXAMPLES}")
    if not secret and (password or "password" in parts.query or "passwd" in parts.query):
        problems.append(f"{key}: holds a password; put the whole URL into RISK_DATABASE_URL (or risk.env)")


def _check_roles(values: dict[str, Any], problems: list[str]) -> None:
    target, ids, ignored = values["target_column"], values["id_columns"], values["ignore_columns"]
    if not (_is_names(ids) and _is_names(ignored)):
        return
    for column in {target} & ({*ids} | {*ignored}) if isinstance(target, str) else ():
        problems.append(f"target_column: {column!r} cannot be an id or an ignored column too")
    for column in sorted({*ids} & {*ignored}):
        problems.append(f"ignore_columns: {column!r} is an id column already")

"""The keys of config.json: their defaults, the fields they fill, and the checks of their values."""

import math
import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from risk.data import label_words
from risk.engines.base import ENGINES
from risk.history import dialects
from risk.limits import Limits
from risk.model import estimators
from risk.model.choices import GATES, THRESHOLDS
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
LOOPBACK = ("127.0.0.1", "localhost", "::1")
Check = Callable[[Any], bool]
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


def _is_any(_: Any) -> bool:
    """Pass what is checked together with other keys."""
    return True


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _whole(low: int, high: int) -> Check:
    """Make a check for whole numbers in a range."""
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high


def _optional(check: Check) -> Check:
    """Make a check that lets null pass, too."""
    return lambda v: v is None or check(v)


def _one_of(names: Collection[str]) -> Check:
    """Make a check for some names."""
    return lambda v: isinstance(v, str) and v in names


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1


def _is_cost(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LARGEST_COST


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value)) and len(set(value)) == len(value)


def _is_folder(value: Any) -> bool:
    return _is_text(value) and "\0" not in value and value.encode(errors="ignore").decode() == value


def _is_size(value: Any) -> bool:
    return isinstance(value, str) and _SIZE.fullmatch(value.strip()) is not None


def _is_threshold(value: Any) -> bool:
    return _one_of(THRESHOLDS)(value) or _is_share(value)


def _is_hours(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 8760


def _is_address(value: Any) -> bool:
    if value in LOOPBACK:
        return True
    import ipaddress

    try:
        return isinstance(value, str) and bool(ipaddress.ip_address(value))
    except ValueError:
        return False


def _is_words(value: Any) -> bool:
    """Pass names and units of columns, and nothing else."""
    return isinstance(value, dict) and all(
        isinstance(words, dict)
        and words
        and words.keys() <= {"name", "unit"}
        and all(map(_is_text, words.values()))
        for words in value.values()
    )


def _as_given(value: Any) -> Any:
    return value


def _as_cost(value: float | None) -> float | None:
    return None if value is None else float(value)


def _as_texts(conf: dict[str, Any]) -> dict[str, str]:
    return {name: str(v).lower() if isinstance(v, bool) else str(v) for name, v in conf.items()}


class Setting(NamedTuple):
    """A key of config.json.

    `field` of `Config` takes what `convert` makes of the value; it is empty where the key is a part of a
    field. `expected` completes the sentence "must be ..." of a problem.
    """

    field: str
    default: Any
    is_valid: Check
    expected: str
    convert: Callable[[Any], Any] = _as_given


COLUMNS = "a list of different column names"
LABELS = "a label or a list of different ones"
SECONDS = "a whole number of seconds from 1 to"
# To add a key, give it a row here, and its field to `settings.Config`.
SETTINGS: dict[str, Setting] = {
    "target_column": Setting("target_column", "exited", _is_text, "the name of a column", str.strip),
    "positive_label": Setting(
        "positive_label", None, _optional(label_words.are_labels), LABELS, label_words.as_labels
    ),
    "negative_label": Setting(
        "negative_label",
        None,
        _optional(label_words.are_labels),
        f'{LABELS}, or "rest"',
        label_words.as_labels,
    ),
    "id_columns": Setting("id_columns", ["corporation"], _is_names, COLUMNS, tuple),
    "ignore_columns": Setting("ignore_columns", [], _is_names, COLUMNS, tuple),
    "separator": Setting(
        "separator", None, _optional(_one_of(SEPARATORS)), 'one of "," ";" "\\t" "|"', SEPARATORS.get
    ),
    "model.estimator": Setting(
        "estimator", "auto", _one_of(estimators.NAMES), f"one of {', '.join(estimators.NAMES)}"
    ),
    "model.random_state": Setting("random_state", 0, _whole(0, 2**32 - 1), "a whole number from 0"),
    "model.threshold": Setting(
        "threshold", "balanced", _is_threshold, '"balanced", "f1", "cost" or a number between 0 and 1'
    ),
    "model.params": Setting("params", {}, _is_object, "an object of scikit-learn parameters"),
    "model.call_cost": Setting("call_cost", None, _optional(_is_cost), "a positive number", _as_cost),
    "model.loss_cost": Setting("loss_cost", None, _optional(_is_cost), "a positive number", _as_cost),
    "drift.rule": Setting("drift_rule", "score", _one_of(RULES), f"one of {', '.join(RULES)}"),
    "drift.alpha": Setting("alpha", 0.05, _is_share, "a number between 0 and 1"),
    "deployment.gate": Setting("gate", "not_worse", _one_of(GATES), f"one of {', '.join(GATES)}"),
    "deployment.keep_releases": Setting("keep_releases", 3, _whole(1, 1000), "a whole number from 1 to 1000"),
    "database_url": Setting(
        "database_url", "sqlite:///records.db", _is_text, "a URL such as sqlite:///records.db"
    ),
    "store_datasets": Setting("store_datasets", False, _is_bool, "true or false"),
    "keep_days": Setting("keep_days", None, _optional(_whole(1, 36_500)), "a whole number of days from 1"),
    "engine.name": Setting("engine", "duckdb", _one_of(ENGINES), f"one of {', '.join(ENGINES)}"),
    "engine.memory_limit": Setting("memory_limit", None, _optional(_is_size), 'a size such as "2GB"'),
    "engine.spill_folder": Setting("spill_folder", None, _optional(_is_folder), "the name of a folder"),
    "engine.master": Setting("spark_master", None, _is_any, "the master of a cluster"),
    "engine.conf": Setting("spark_conf", {}, _is_any, "an object of Spark settings", _as_texts),
    "engine.wait_s": Setting("spark_wait_s", 60, _whole(1, 3600), f"{SECONDS} 3600"),
    "max_training_rows": Setting(
        "max_training_rows", 1_000_000, _whole(1000, 10**9), "a whole number from 1000"
    ),
    **{
        f"limits.{name}": Setting("", default, _whole(1, 10**12), "a whole number from 1")
        for name, default in Limits()._asdict().items()
    },
    "limits.max_cell_kb": Setting("", 1024, _whole(1, 8192), "a whole number from 1 to 8192"),
    "api.host": Setting("host", "127.0.0.1", _is_address, "an address such as 127.0.0.1, 0.0.0.0 or ::1"),
    "api.port": Setting("port", 8000, _whole(0, 65535), "a port from 0 to 65535"),
    "api.workers": Setting("workers", 2, _whole(1, 64), "a whole number from 1 to 64"),
    "api.max_body_mb": Setting("max_body_mb", 16, _whole(1, 1024), "a whole number from 1 to 1024"),
    "api.max_rows": Setting("max_rows", 1_000_000, _whole(1, 10**9), "a whole number from 1"),
    "api.timeout_s": Setting("timeout_s", 60, _whole(1, 3600), f"{SECONDS} 3600"),
    "report.top_n": Setting("top_n", 20, _whole(1, 1000), "a whole number from 1 to 1000"),
    "report.value_column": Setting("value_column", None, _optional(_is_text), "the name of a column"),
    "report.words": Setting(
        "words", {}, _is_words, 'an object such as {"tenure": {"name": "time with us", "unit": "months"}}'
    ),
    **{
        f"alerts.{name}": Setting("", option.default, option.is_valid, option.expected)
        for name, option in alert_channels.OPTIONS.items()
    },
    "alerts.stale_days": Setting(
        "", 35, _optional(_whole(1, 36_500)), "a whole number of days from 1, or null"
    ),
    "alerts.cool_down_hours": Setting("", 1, _is_hours, "a number of hours from 0 to 8760"),
    "alerts.timeout_s": Setting("", 5, _whole(1, 60), f"{SECONDS} 60"),
}


def _nest(settings: Mapping[str, Setting]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, setting in settings.items():
        section, _, name = key.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[name] = setting.default
    return nested


DEFAULTS = _nest(SETTINGS)


def check(root: Path, raw: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Fill in the defaults and list everything that is wrong.

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
    _check_folders(root, raw, problems)
    for key, setting in SETTINGS.items():
        if not setting.is_valid(values[key]):
            problems.append(f"{key}: must be {setting.expected}, not {values[key]!r}")
    if values["model.params"] and values["model.estimator"] == "auto":
        problems.append("model.params: name the estimator they are for in model.estimator")
    _check_costs(values, problems)
    _check_spark(values, problems)
    if _is_text(values["database_url"]):
        check_url("database_url", values["database_url"], problems)
    _check_roles(values, problems)
    labels = values["positive_label"], values["negative_label"]
    if all(value is None or label_words.are_labels(value) for value in labels) and (
        conflict := label_words.explain_conflict(*labels)
    ):
        problems.append(f"negative_label: {conflict}")


def _check_folders(root: Path, raw: dict[str, Any], problems: list[str]) -> None:
    """Check that each folder is named, and that no two are the same."""
    for key in FOLDER_KEYS:
        if key not in raw:
            problems.append(f"{key}: is missing; it must name a folder")
        elif not _is_folder(raw[key]):
            problems.append(f"{key}: must be the name of a folder, not {raw[key]!r}")
    key_of: dict[str, str] = {}
    for key in FOLDER_KEYS:
        if _is_folder(raw.get(key)):
            other = key_of.setdefault(os.path.normpath(root / raw[key]), key)
            if other != key:
                problems.append(f"{key}: is the same folder as {other}; each needs its own")


def _check_costs(values: dict[str, Any], problems: list[str]) -> None:
    call, loss = values["model.call_cost"], values["model.loss_cost"]
    given = {"model.call_cost": call, "model.loss_cost": loss}
    wanted = values["model.threshold"] == "cost"
    for key, value in given.items():
        if wanted and value is None:
            problems.append(f'{key}: is missing; model.threshold "cost" needs it')
        elif not wanted and value is not None:
            problems.append(f'{key}: applies only with model.threshold "cost"; leave it out')
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
            f'engine.{key}: applies only with engine.name "spark"; leave it out'
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
    """Check that a URL names a database of a known kind; it is never repeated: it may hold a password."""
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

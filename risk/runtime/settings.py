"""The typed, checked reading of config.json: values, folders and files."""

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from risk.errors import ConfigError
from risk.history import dialects
from risk.limits import Limits, Room
from risk.monitoring import alert_channels
from risk.monitoring.alerts import AlertSettings as AlertSettings
from risk.runtime import settings_schema

if TYPE_CHECKING:
    from risk.data.row_index import IndexFiles
    from risk.data.schema_inference import Roles
    from risk.data.table_writer import TableFiles
    from risk.engines.base import EngineSettings

STATE_FOLDER = ".state"

SECRETS = ("RISK_DATABASE_URL", "RISK_MODEL_KEY", "RISK_API_TOKEN", *alert_channels.SECRETS)


class _File:
    """The path of a file in a folder of `Config`."""

    def __init__(self, folder: str, name: str) -> None:
        self.folder, self.name = folder, name

    def __get__(self, config: Any, owner: type | None = None) -> Path:
        folder: Path = getattr(config, self.folder)
        return folder / self.name


class ConfigValues(NamedTuple):
    """What config.json, its defaults and the environment say; every path is absolute.

    `missing_ids_allowed` is true where `id_columns` is the default, which the data may lack.
    """

    path: Path
    root: Path
    input_folder: Path
    output_folder: Path
    test_data: Path
    output_model: Path
    prod_deployment: Path
    target_column: str
    positive_label: str | tuple[str, ...] | None
    negative_label: str | tuple[str, ...] | None
    id_columns: tuple[str, ...]
    missing_ids_allowed: bool
    ignore_columns: tuple[str, ...]
    separator: str | None
    estimator: str
    random_state: int
    threshold: str | float
    call_cost: float | None
    loss_cost: float | None
    params: dict[str, Any]
    drift_rule: str
    alpha: float
    gate: str
    keep_releases: int
    database_url: str
    store_datasets: bool
    keep_days: int | None
    engine: str
    memory_limit: str | None
    spill_folder: Path
    max_training_rows: int
    spark_master: str | None
    spark_conf: dict[str, str]
    spark_wait_s: int
    host: str
    port: int
    workers: int
    max_body_mb: int
    limits: Limits
    max_rows: int
    timeout_s: int
    top_n: int
    value_column: str | None
    words: dict[str, dict[str, str]]
    alerts: AlertSettings
    secrets: dict[str, str]


class Config(ConfigValues):
    """Everything a script needs to know: the values, and what lies where."""

    def __repr__(self) -> str:
        return f"Config({self.path})"  # without passwords

    # What lies where (DESIGN 4); the names of files stand here and nowhere else.
    final_data = _File("output_folder", "finaldata.csv")
    ledger = _File("output_folder", ".finaldata.json")
    ingested_files = _File("output_folder", "ingestedfiles.txt")
    rejected_rows = _File("output_folder", "rejectedrows.csv")
    trained_model = _File("output_model", "trainedmodel.pkl")
    model_card = _File("output_model", "modelcard.json")
    gate_verdict = _File("output_model", "verdict.json")
    trained_on = _File("output_model", ".ingestedfiles.txt")
    latest_score = _File("output_model", "latestscore.txt")
    metrics = _File("output_model", "metrics.json")
    diagnostics = _File("output_model", "diagnostics.json")
    trends = _File("output_model", "trends.json")
    report = _File("output_model", "report.json")
    report_page = _File("output_model", "report.html")
    at_risk = _File("output_model", "atrisk.csv")
    summary_report = _File("output_model", "summary_report.pdf")
    confusion_matrix = _File("output_model", "confusionmatrix.png")
    time_trends = _File("output_model", "timetrends.png")
    api_returns = _File("output_model", "apireturns.txt")
    state_folder = _File("root", STATE_FOLDER)
    lock = _File("state_folder", "lock")
    tick_state = _File("state_folder", "tick.json")
    input_digests = _File("state_folder", "inputs.json")
    pending_labels = _File("state_folder", "awaited.bin")
    outbox = _File("state_folder", "outbox")
    package_cache = _File("state_folder", "packages.json")
    log_file = _File("root", "logs/pipeline.log")
    request_log = _File("root", "logs/api.log")

    @property
    def requirements(self) -> Path:
        return Path(__file__).resolve().parents[2] / "requirements.txt"

    @property
    def known_rows(self) -> "IndexFiles":
        from risk.data.row_index import IndexFiles

        index = self.output_folder / ".finaldata.known.json"
        return IndexFiles(self.final_data, index, self.state_folder / "rows.key")

    @property
    def room(self) -> Room:
        return Room(self.spill_folder, self.memory_limit)

    @property
    def roles(self) -> "Roles":
        from risk.data.schema_inference import Roles

        return Roles(
            self.target_column,
            self.id_columns,
            self.ignore_columns,
            self.positive_label,
            self.missing_ids_allowed,
            self.negative_label,
        )

    @property
    def table_files(self) -> "TableFiles":
        from risk.data.table_writer import TableFiles

        return TableFiles(
            self.final_data, self.ledger, self.rejected_rows, self.ingested_files, self.known_rows
        )

    @property
    def engine_settings(self) -> "EngineSettings":
        from risk.engines.base import EngineSettings

        return EngineSettings(
            name=self.engine,
            room=self.room,
            input_folder=self.input_folder,
            master=self.spark_master or "",
            conf=self.spark_conf,
            wait_s=self.spark_wait_s,
            log=self.log_file.with_name("spark.log"),
        )

    @property
    def max_body_bytes(self) -> int:
        return self.max_body_mb * 1024 * 1024

    def row_key(self) -> str:
        """Give what shapes a row; if it changes, the table must be compiled again."""
        shape = {
            "target_column": self.target_column,
            "positive_label": self.positive_label,
            "id_columns": self.id_columns,
            "ignore_columns": self.ignore_columns,
            "separator": self.separator,
        }
        if self.negative_label is not None:
            shape["negative_label"] = self.negative_label
        return json.dumps(shape, sort_keys=True)

    def other_key(self) -> str:
        """Give what shapes models and verdicts but no row; a change waits for new data."""
        costs = [self.call_cost, self.loss_cost] if self.threshold == "cost" else []
        shape = [self.estimator, self.random_state, self.threshold, self.params, self.drift_rule, *costs]
        if self.max_training_rows != settings_schema.DEFAULTS["max_training_rows"]:
            shape.append({"max_training_rows": self.max_training_rows})
        return json.dumps([*shape, self.alpha, self.gate, self.keep_releases], sort_keys=True)


def load_config(path: str | os.PathLike[str]) -> Config:
    """Read, check and freeze config.json; never creates anything.

    Raises
    ------
    ConfigError
        With every problem found, a line each.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100  (resolve() would follow a linked config away)
    raw = _read_json(path)
    values, problems = settings_schema.check(path.parent, raw)
    secrets = _secrets(path.parent, problems)
    if "RISK_DATABASE_URL" in secrets:
        settings_schema.check_url("RISK_DATABASE_URL", secrets["RISK_DATABASE_URL"], problems, secret=True)
    for name, secret in alert_channels.SECRETS.items():
        if name in secrets and not secret.is_valid(secrets[name]):
            problems.append(f"{name}: must be {secret.expected}")
    if problems:
        plural = "problem" if len(problems) == 1 else "problems"
        raise ConfigError(f"{path}: {len(problems)} {plural}; correct the file and run again", problems)
    return _freeze(path, raw, values, secrets)


def find_alerts(path: str | os.PathLike[str]) -> AlertSettings | None:
    """Find who is alerted that config.json is wrong: what of `alerts` is right counts, else the default.

    None where the folder of config.json has never seen a run.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100
    if not (path.parent / STATE_FOLDER).is_dir():
        return None
    try:
        given = _read_json(path).get("alerts")
    except ConfigError:
        given = None
    defaults: dict[str, Any] = settings_schema.DEFAULTS["alerts"]
    given = given if isinstance(given, dict) else {}
    values = {name: given.get(name, value) for name, value in defaults.items()}
    for name, value in values.items():
        is_valid = settings_schema.SETTINGS[f"alerts.{name}"].is_valid
        values[name] = value if is_valid(value) else defaults[name]
    return _alerts(path.parent, values, _secrets(path.parent, []))


def _alerts(root: Path, values: dict[str, Any], secrets: dict[str, str]) -> AlertSettings:
    return AlertSettings(
        root=root,
        state_folder=root / STATE_FOLDER,
        channels=alert_channels.configure_channels(values, secrets),
        stale_days=values["stale_days"],
        cool_down_hours=values["cool_down_hours"],
        timeout_s=values["timeout_s"],
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_no_repeated_key)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; name one with --config PATH") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from error
    except ValueError as error:
        raise ConfigError(f"{path}: is not valid JSON ({error})") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: must hold one JSON object with the five folder keys")
    return raw


def _no_repeated_key(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(n for n in names if names.count(n) > 1)!r} appears twice")
    return result


def _secrets(root: Path, problems: list[str]) -> dict[str, str]:
    """Read `RISK_*` from the environment, else from risk.env: cron, shell and server agree."""
    environment = {name: os.environ[name] for name in SECRETS if os.environ.get(name)}
    return _env_file(root / "risk.env", problems) | environment


def _env_file(path: Path, problems: list[str]) -> dict[str, str]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return {}
    if stat.S_IMODE(status.st_mode) & 0o077:
        problems.append("risk.env: others can read it; run: chmod 600 risk.env")
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"risk.env: cannot be read ({getattr(error, 'strerror', 'it is not UTF-8')})")
        return {}
    secrets = {}
    for number, line in enumerate(lines, start=1):
        name, equals, value = line.strip().partition("=")
        if not name or name.startswith("#"):
            continue
        name = name.removeprefix("export ").strip()
        if not equals or name not in SECRETS:
            problems.append(f"risk.env: line {number} is not NAME=VALUE with one of {', '.join(SECRETS)}")
        else:
            secrets[name] = value.strip().strip("'\"")
    return {name: value for name, value in secrets.items() if value}


def _database_url(root: Path, url: str) -> str:
    """Take the relative path of a database file from config.json's own folder, as every other path."""
    url = url.strip()
    return dialects.SCHEMES[urlsplit(url).scheme].resolve(url, root)


def _freeze(path: Path, raw: dict[str, Any], values: dict[str, Any], secrets: dict[str, str]) -> Config:
    """Fill the fields of `Config`: most from one key each, the others from several."""
    root = path.parent
    fields = {s.field: s.convert(values[key]) for key, s in settings_schema.SETTINGS.items() if s.field}
    for key in settings_schema.FOLDER_KEYS:
        fields[key.removesuffix("_path")] = Path(os.path.normpath(root / raw[key]))
    fields["missing_ids_allowed"] = "id_columns" not in raw
    fields["database_url"] = _database_url(root, secrets.get("RISK_DATABASE_URL", fields["database_url"]))
    fields["spill_folder"] = root / (fields["spill_folder"] or f"{STATE_FOLDER}/spill")
    fields["limits"] = Limits(**_section(values, "limits"))
    fields["alerts"] = _alerts(root, _section(values, "alerts"), secrets)
    return Config(path=path, root=root, secrets=secrets, **fields)


def _section(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: values[f"{name}.{key}"] for key in settings_schema.DEFAULTS[name]}

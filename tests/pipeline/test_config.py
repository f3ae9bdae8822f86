"""config.json: every problem at once, nothing accepted and ignored, paths from its own folder."""

import json
import re

import pytest

from config import SECRETS, load_config
from risk.errors import ConfigError
from risk.runtime import settings_schema

FOLDERS = {key: key for key in settings_schema.FOLDER_KEYS}


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch):
    for name in SECRETS:
        monkeypatch.delenv(name, raising=False)


def load(folder, raw):
    path = folder / "config.json"
    path.write_text(raw if isinstance(raw, str) else json.dumps(raw))
    return load_config(path)


def test_five_keys_are_enough(tmp_path):
    config = load(tmp_path, FOLDERS)
    assert config.input_folder == tmp_path / "input_folder_path"
    assert config.target_column == settings_schema.DEFAULTS["target_column"] and config.estimator == "auto"
    assert config.database_url == f"sqlite:///{tmp_path / 'records.db'}"


def test_paths_are_taken_from_the_folder_of_config_json(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep" / "config.json").write_text(json.dumps(FOLDERS | {"input_folder_path": "../data"}))
    config = load_config("deep/config.json")
    assert config.input_folder == tmp_path / "data"
    assert config.lock == tmp_path / "deep" / ".state" / "lock"


def test_reading_creates_nothing(tmp_path):
    load(tmp_path, FOLDERS)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_all_problems_are_said_at_once(tmp_path):
    raw = {k: v for k, v in FOLDERS.items() if k != "test_data_path"}
    raw |= {
        "separater": ";",
        "model": {"estimator": "forest", "treshold": 1},
        "api": {"port": -1},
        "drift": 5,
    }
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, raw)
    said = str(caught.value)
    for wanted in (
        "6 problems",
        "test_data_path: is missing",
        "did you mean 'separator'",
        "forest",
        "model.treshold: unknown key; did you mean 'threshold'",
        "api.port",
        "drift: must be an object",
    ):
        assert wanted in said


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"target_column": ""}, "target_column"),
        ({"target_column": 5}, "target_column"),
        ({"id_columns": "client"}, "id_columns"),
        ({"id_columns": ["a", "a"]}, "id_columns"),
        ({"ignore_columns": [1]}, "ignore_columns"),
        ({"separator": ":"}, "separator"),
        ({"positive_label": []}, "positive_label"),
        ({"positive_label": ["yes", " yes"]}, "positive_label"),
        ({"positive_label": ["yes", None]}, "positive_label"),
        ({"positive_label": 0.5}, "positive_label"),
        ({"negative_label": {"no": 1}}, "negative_label"),
        ({"negative_label": "rest"}, 'negative_label: "rest" needs a positive_label'),
        ({"positive_label": ["a", "B"], "negative_label": "b"}, "negative_label: 'b' is a positive_label"),
        ({"positive_label": 1, "negative_label": "1.0"}, "negative_label: '1' is a positive_label"),
        ({"positive_label": " "}, "positive_label"),
        ({"positive_label": float("nan")}, "positive_label"),
        ({"model": {"random_state": True}}, "model.random_state"),
        ({"model": {"random_state": -1}}, "model.random_state"),
        ({"model": {"threshold": 1}}, "model.threshold"),
        ({"model": {"threshold": 0}}, "model.threshold"),
        ({"model": {"threshold": True}}, "model.threshold"),
        ({"model": {"threshold": "F1"}}, "model.threshold"),
        ({"model": {"params": []}}, "model.params"),
        ({"model": {"params": {"C": 1}}}, "model.params"),
        ({"drift": {"alpha": 1.0}}, "drift.alpha"),
        ({"deployment": {"keep_releases": 0}}, "deployment.keep_releases"),
        ({"report": {"top_n": 0}}, "report.top_n"),
        ({"report": {"value_column": ""}}, "report.value_column"),
        ({"report": {"words": ["tenure"]}}, "report.words"),
        ({"report": {"words": {"tenure": "time"}}}, "report.words"),
        ({"report": {"words": {"tenure": {}}}}, "report.words"),
        ({"report": {"words": {"tenure": {"nmae": "time"}}}}, "report.words"),
        ({"report": {"words": {"tenure": {"unit": 5}}}}, "report.words"),
        ({"max_training_rows": 999}, "max_training_rows"),
        ({"max_training_rows": None}, "max_training_rows"),
        ({"alerts": {"command": "mail"}}, "alerts.command"),
        ({"alerts": {"command": []}}, "alerts.command"),
        ({"alerts": {"command": [""]}}, "alerts.command"),
        ({"alerts": {"command": ["mail", 5]}}, "alerts.command"),
        ({"alerts": {"command": ["a\0b"]}}, "alerts.command"),
        ({"alerts": {"template": "{text}"}}, "alerts.template"),
        ({"alerts": {"template": {"text": "nothing"}}}, "alerts.template"),
        ({"alerts": {"template": {"text": "{txet}"}}}, "alerts.template"),
        ({"alerts": {"template": {"a": ["{text} {row}"]}}}, "alerts.template"),
        ({"alerts": {"stale_days": 0}}, "alerts.stale_days"),
        ({"alerts": {"cool_down_hours": -1}}, "alerts.cool_down_hours"),
        ({"alerts": {"timeout_s": 0}}, "alerts.timeout_s"),
        ({"alerts": {"stale": 3}}, "alerts.stale"),
        ({"engine": {"memory_limit": "lots"}}, "engine.memory_limit"),
        ({"engine": {"memory_limit": 5}}, "engine.memory_limit"),
        ({"engine": {"memory_limit": "0GB"}}, "engine.memory_limit"),
        ({"engine": {"memory_limit": "5KMB"}}, "engine.memory_limit"),
        ({"engine": {"spill_folder": "a\0b"}}, "engine.spill_folder"),
        ({"engine": {"name": "dask"}}, "engine.name"),
        ({"engine": {"name": "spark"}}, "engine.master"),
        ({"engine": {"name": "spark", "master": "sc://h:1/;token=x"}}, "engine.master"),
        ({"engine": {"master": "local"}}, "engine.master"),
        ({"engine": {"conf": {"a": "b"}}}, "engine.conf"),
        ({"engine": {"name": "spark", "master": "local", "conf": {"spark.master": "x"}}}, "engine.conf"),
        ({"engine": {"name": "spark", "master": "local", "conf": {"a": ["b"]}}}, "engine.conf"),
        ({"engine": {"name": "spark", "master": "local", "wait_s": 0}}, "engine.wait_s"),
        ({"api": {"port": 65536}}, "api.port"),
        ({"api": {"max_body_mb": 0}}, "api.max_body_mb"),
        ({"api": {"max_rows": 0}}, "api.max_rows"),
        ({"api": {"timeout_s": 0.5}}, "api.timeout_s"),
        ({"api": {"workers": 0}}, "api.workers"),
        ({"api": {"host": "risk.example"}}, "api.host"),
        ({"api": {"host": ["127.0.0.1"]}}, "api.host"),
        ({"input_folder_path": ""}, "input_folder_path"),
        ({"input_folder_path": 3}, "input_folder_path"),
        ({"input_folder_path": "a\0b"}, "input_folder_path"),
        ({"input_folder_path": "\ud800"}, "input_folder_path"),
        ({"id_columns": ["exited"]}, "cannot be an id"),
        ({"id_columns": ["a"], "ignore_columns": ["a"]}, "is an id column already"),
        ({"output_folder_path": "x", "output_model_path": "x"}, "the same folder"),
        ({"output_folder_path": "input_folder_path"}, "the same folder"),
    ],
)
def test_a_wrong_value_is_named(tmp_path, extra, said):
    with pytest.raises(ConfigError, match=said):
        load(tmp_path, FOLDERS | extra)


SETTINGS = [
    key
    for name, default in settings_schema.DEFAULTS.items()
    for key in ([f"{name}.{inner}" for inner in default] if isinstance(default, dict) and default else [name])
]


@pytest.mark.parametrize("wrong", [[[]], -0.5], ids=["list", "number"])
@pytest.mark.parametrize("key", [key for key in SETTINGS if key != "positive_label"])
def test_every_key_is_checked(tmp_path, key, wrong):
    section, _, name = key.partition(".")
    with pytest.raises(ConfigError, match=section):
        load(tmp_path, FOLDERS | {section: {name: wrong} if name else wrong})


COSTS = {"threshold": "cost", "call_cost": 5, "loss_cost": 100}


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"threshold": "cost"}, "model.call_cost: is missing"),
        ({"threshold": "cost", "call_cost": 5}, "model.loss_cost: is missing"),
        ({"call_cost": 5}, "model.call_cost: applies only with"),
        ({"threshold": "f1", "loss_cost": 5}, "model.loss_cost: applies only with"),
        ({**COSTS, "call_cost": 100}, "must be less than model.loss_cost"),
        ({**COSTS, "call_cost": 0}, "model.call_cost: must be a positive number"),
        ({**COSTS, "call_cost": True}, "model.call_cost: must be a positive number"),
        ({**COSTS, "loss_cost": "100"}, "model.loss_cost: must be a positive number"),
        ({**COSTS, "loss_cost": float("inf")}, "model.loss_cost: must be a positive number"),
        ({**COSTS, "loss_cost": float("nan")}, "model.loss_cost: must be a positive number"),
        ({**COSTS, "loss_cost": 10**400}, "model.loss_cost: must be a positive number"),
    ],
)
def test_costs_are_needed_by_the_rule_cost_alone_and_must_make_sense(tmp_path, model, said):
    with pytest.raises(ConfigError, match=said):
        load(tmp_path, FOLDERS | {"model": model})


def test_costs_are_taken_and_another_cost_asks_for_another_model(tmp_path):
    config = load(tmp_path, FOLDERS | {"model": COSTS})
    assert (config.threshold, config.call_cost, config.loss_cost) == ("cost", 5.0, 100.0)
    dearer = load(tmp_path, FOLDERS | {"model": {**COSTS, "call_cost": 99.99}})
    assert config.other_key() != dearer.other_key() and config.row_key() == dearer.row_key()


def test_two_spellings_of_one_folder_are_one_folder(tmp_path):
    with pytest.raises(ConfigError, match="output_model_path: is the same folder as input_folder_path"):
        load(tmp_path, FOLDERS | {"output_model_path": str(tmp_path / "x" / ".." / "input_folder_path")})


@pytest.mark.parametrize(
    ("extra", "attribute", "value"),
    [
        ({"separator": "\t"}, "separator", "\t"),
        ({"separator": "tab"}, "separator", "\t"),
        ({"positive_label": 1}, "positive_label", "1"),
        ({"positive_label": True}, "positive_label", "true"),
        ({"positive_label": ["left", 2]}, "positive_label", ("left", "2")),
        ({"positive_label": "left", "negative_label": "rest"}, "negative_label", "rest"),
        ({"negative_label": [0, "stays"]}, "negative_label", ("0", "stays")),
        ({"model": {"threshold": 0.999}}, "threshold", 0.999),
        ({"model": {"threshold": "f1"}}, "threshold", "f1"),
        ({"deployment": {"keep_releases": 1}}, "keep_releases", 1),
        ({"max_training_rows": 1000}, "max_training_rows", 1000),
        ({"engine": {"memory_limit": "2GB"}}, "memory_limit", "2GB"),
        ({"engine": {"memory_limit": "512M"}}, "memory_limit", "512M"),
        ({"api": {"port": 65535}}, "port", 65535),
        ({"api": {"host": "0.0.0.0"}}, "host", "0.0.0.0"),  # noqa: S104  (app.py asks for the token)
        ({"api": {"host": "fe80::1"}}, "host", "fe80::1"),
        ({"api": {"max_rows": 1}}, "max_rows", 1),
        ({"api": {"timeout_s": 3600}}, "timeout_s", 3600),
        ({"api": {"workers": 64}}, "workers", 64),
    ],
)
def test_a_right_value_is_taken(tmp_path, extra, attribute, value):
    assert getattr(load(tmp_path, FOLDERS | extra), attribute) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not valid JSON"),
        ("[]", "must hold one JSON object"),
        ('{"separator": ",", "separator": ";"}', "appears twice"),
        ('{"drift": {"alpha": NaN}}', "alpha"),
    ],
)
def test_what_is_no_config_is_said(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said):
        load(tmp_path, text)


def test_a_missing_config_names_the_option(tmp_path):
    with pytest.raises(ConfigError, match="--config"):
        load_config(tmp_path / "none.json")


def test_a_byte_order_mark_is_no_problem(tmp_path):
    assert load(tmp_path, "\ufeff" + json.dumps(FOLDERS)).port == 8000


def test_secrets_come_from_risk_env_and_the_environment_wins(tmp_path, monkeypatch):
    path = tmp_path / "risk.env"
    path.write_text("# keys\nexport RISK_MODEL_KEY='from file'\nRISK_API_TOKEN=token\n")
    path.chmod(0o600)
    monkeypatch.setenv("RISK_MODEL_KEY", "from environment")
    config = load(tmp_path, FOLDERS)
    assert config.secrets == {"RISK_MODEL_KEY": "from environment", "RISK_API_TOKEN": "token"}
    assert "token" not in repr(config) and "from environment" not in repr(config)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_risk_env_that_others_can_read_is_refused(tmp_path, mode):
    path = tmp_path / "risk.env"
    path.write_text("RISK_MODEL_KEY=x\n")
    path.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        load(tmp_path, FOLDERS)


def test_a_line_of_risk_env_that_is_no_secret_is_named(tmp_path):
    path = tmp_path / "risk.env"
    path.write_text("RISK_MODEL_KEY=x\nRISK_KEY=hidden\n")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="line 2") as caught:
        load(tmp_path, FOLDERS)
    assert "hidden" not in str(caught.value)


def test_a_risk_env_that_is_no_text_is_said(tmp_path):
    path = tmp_path / "risk.env"
    path.write_bytes(b"\xff\xfe")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load(tmp_path, FOLDERS)


@pytest.mark.parametrize("value", ["", "''", '""'])
def test_an_empty_secret_is_none(tmp_path, monkeypatch, value):
    path = tmp_path / "risk.env"
    path.write_text(f"RISK_MODEL_KEY={value}\n")
    path.chmod(0o600)
    monkeypatch.setenv("RISK_API_TOKEN", "")
    assert load(tmp_path, FOLDERS).secrets == {}


def test_the_url_of_the_environment_overrides_that_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("RISK_DATABASE_URL", "sqlite:///other.db")
    assert load(tmp_path, FOLDERS).database_url == f"sqlite:///{tmp_path / 'other.db'}"


def test_a_url_of_the_environment_is_checked_and_never_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("RISK_DATABASE_URL", "oracle://me:hidden-word@host/db")
    with pytest.raises(ConfigError, match="RISK_DATABASE_URL: must begin like one of") as caught:
        load(tmp_path, FOLDERS)
    assert "hidden-word" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////srv/risk/records.db",
        "mysql://risk@db.example/risk",
        "mariadb+mysqlconnector://risk@db.example:3307/risk",
        "postgresql+psycopg://risk@[::1]:5433/risk?sslmode=require",
    ],
)
def test_the_databases_we_know_are_taken(tmp_path, url):
    assert load(tmp_path, FOLDERS | {"database_url": url}).database_url == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("records.db", "must begin like one of sqlite:///"),
        ("oracle://h/d", "must begin like one of"),
        ("postgresql+asyncpg://h/d", "must begin like one of"),
        ("sqlite:///", "does not name the file"),
        ("sqlite:///:memory:", "does not name the file"),
        ("sqlite://records.db", "does not name the file"),
        ("postgresql://h", "does not name the database"),
        ("mysql://u@h/", "does not name the database"),
        ("mysql://[h/d", "is not a URL"),
        ("mysql://u:hidden-word@h/d", "holds a password; put the whole URL into RISK_DATABASE_URL"),
        ("postgresql://h/d?password=hidden-word", "holds a password"),
        (5, "must be a URL"),
    ],
)
def test_another_url_is_refused_with_what_to_write(tmp_path, url, said):
    with pytest.raises(ConfigError, match=f"database_url: {re.escape(said)}") as caught:
        load(tmp_path, FOLDERS | {"database_url": url})
    assert "hidden-word" not in str(caught.value)


@pytest.mark.parametrize("value", [0, -1, 1.5, "30", True, 36_501])
def test_keep_days_is_a_whole_number_of_days(tmp_path, value):
    with pytest.raises(ConfigError, match="keep_days: must be a whole number of days from 1"):
        load(tmp_path, FOLDERS | {"keep_days": value})
    assert load(tmp_path, FOLDERS | {"keep_days": 30}).keep_days == 30


def test_a_password_may_stand_in_the_environment_and_is_not_in_the_repr(tmp_path, monkeypatch):
    monkeypatch.setenv("RISK_DATABASE_URL", "mysql://me:hidden-word@host/db")
    config = load(tmp_path, FOLDERS)
    assert config.database_url == "mysql://me:hidden-word@host/db" and "hidden-word" not in repr(config)


def test_only_keys_that_shape_rows_change_the_row_key(tmp_path):
    plain = load(tmp_path, FOLDERS)
    shaped = load(tmp_path, FOLDERS | {"ignore_columns": ["a"]})
    other = load(tmp_path, FOLDERS | {"model": {"random_state": 1}})
    assert plain.row_key() != shaped.row_key() and plain.row_key() == other.row_key()
    assert plain.other_key() == shaped.other_key() and plain.other_key() != other.other_key()

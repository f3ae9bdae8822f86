"""Templates of messages, and what a channel declares of itself."""

import json

from risk.monitoring import alert_channels


def test_a_template_is_filled_in_as_json_whatever_a_value_holds():
    message = dict.fromkeys(alert_channels.FIELDS, 'a "quoted"\n\\ {title}')
    template = {"blocks": [{"text": "*{title}*", "n": 5, "ok": True}, "{text}"], "{x": "{kind}/{about}"}
    filled = alert_channels.fill_template(template, message)
    assert json.loads(json.dumps(filled))["blocks"][0] == {
        "text": f"*{message['title']}*",
        "n": 5,
        "ok": True,
    }
    assert filled["{x"] == f"{message['kind']}/{message['about']}"


def test_every_channel_declares_what_config_json_is_checked_for():
    options = [name for channel in alert_channels.CHANNELS.values() for name in channel.options]
    assert sorted(options) == sorted(alert_channels.OPTIONS), "no two channels share a key"
    for option in alert_channels.OPTIONS.values():
        assert option.is_valid(option.default) and option.expected


def test_a_channel_without_its_option_or_secret_is_not_in_use():
    defaults = {name: option.default for name, option in alert_channels.OPTIONS.items()}
    assert not any(alert_channels.configure_channels(defaults, {}).values())
    webhook = alert_channels.configure_channels(defaults, {"RISK_WEBHOOK_URL": "https://x/y"})["webhook"]
    assert webhook == ("https://x/y", {"text": "{text}"})
    assert not alert_channels.configure_channels(defaults, {"RISK_WEBHOOK_URL": "file:///x"})["webhook"]

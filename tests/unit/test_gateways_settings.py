from dataclasses import fields
from pathlib import Path

import pytest

from router_serving.gateways.errors import GatewaySettingsError
from router_serving.gateways.settings import GatewaySettings, read_settings

DOCUMENT = Path(__file__).resolve().parents[2] / "serving" / "litellm.md"


def test_nothing_said_gives_the_defaults() -> None:
    assert read_settings({}) == GatewaySettings()


def test_everything_that_is_said_is_taken() -> None:
    settings = read_settings(
        {
            "ROUTER_URL": "http://router:8080/",
            "ROUTER_API_KEY": "rk_secret",
            "ROUTER_AUTO_MODELS": "auto, router-auto",
            "ROUTER_GROUPS": "fast=gemini-3.8-flash, gpt-5.4",
            "ROUTER_FALLBACK": "gpt-5.4",
            "ROUTER_TIMEOUT_MS": "100",
            "ROUTER_PAUSE_S": "0",
            "ROUTER_PASS_REFUSALS": "false",
            "ROUTER_TENANT": "acme",
            "ROUTER_TENANT_FROM": "key_alias",
            "ROUTER_NEXT_MODELS": "2",
            "ROUTER_QUEUE_OUTCOMES": "7",
            "ROUTER_FLUSH_S": "1.5",
        }
    )
    assert settings == GatewaySettings(
        url="http://router:8080",
        api_key="rk_secret",
        auto_models=frozenset({"auto", "router-auto"}),
        groups={"fast": "gemini-3.8-flash", "gpt-5.4": "gpt-5.4"},
        fallback="gpt-5.4",
        timeout_s=0.1,
        pause_s=0.0,
        pass_refusals=False,
        tenant="acme",
        tenant_from="key_alias",
        next_models=2,
        queue_outcomes=7,
        flush_s=1.5,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ROUTER_URL", "router:8080"),
        ("ROUTER_TENANT_FROM", "header"),
        ("ROUTER_GROUPS", "fast="),
        ("ROUTER_GROUPS", "=gpt-5.4"),
        ("ROUTER_TIMEOUT_MS", "soon"),
        ("ROUTER_TIMEOUT_MS", "0"),
        ("ROUTER_TIMEOUT_MS", "nan"),
        ("ROUTER_QUEUE_OUTCOMES", "-1"),
        ("ROUTER_PASS_REFUSALS", "perhaps"),
    ],
)
def test_what_can_t_be_used_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(GatewaySettingsError, match=f"{name}: got .*, expected"):
        read_settings({name: value})


def test_the_key_is_never_shown() -> None:
    assert "rk_secret" not in repr(read_settings({"ROUTER_API_KEY": "rk_secret"}))


def test_an_asterisk_asks_for_every_model() -> None:
    assert read_settings({"ROUTER_AUTO_MODELS": "*"}).is_auto("gpt-5.4")


def test_every_setting_is_documented() -> None:
    names = {
        "timeout_s": "ROUTER_TIMEOUT_MS",
        **{
            field.name: f"ROUTER_{field.name.upper()}"
            for field in fields(GatewaySettings)
            if field.name != "timeout_s"
        },
    }
    text = DOCUMENT.read_text()
    assert [name for name in names.values() if f"`{name}`" not in text] == []

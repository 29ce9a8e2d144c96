import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from router_serving.settings import Settings


def test_every_setting_says_what_it_trades() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTER_PORT", "9000")
    monkeypatch.setenv("ROUTER_STATE_DIR", "/srv/router")
    monkeypatch.setenv("ROUTER_LOG_TEXT_TENANTS", '["acme"]')
    settings = Settings()
    assert settings.port == 9000
    assert settings.log_dir == Path("/srv/router/log")
    assert settings.log_text_tenants == {"acme"}


def test_an_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTER_PORT", "9000")
    assert Settings(port=9001).port == 9001


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "70000"), ("MIN_ADEQUACY", "1.1"), ("WORKERS", "0"), ("RELOAD_POLL_S", "0")],
)
def test_a_senseless_value_is_refused(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ROUTER_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("127.example.org", False),
    ],
)
def test_only_this_machine_is_loopback(host: str, expected: bool) -> None:
    assert Settings(host=host).is_loopback is expected


def test_what_is_shown_is_json() -> None:
    shown = json.loads(json.dumps(Settings().shown()))
    assert shown["port"] == 8080

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from router_serving.cli import app, bound, settings_of
from router_serving.errors import StartError
from router_serving.settings import Settings


@pytest.fixture(autouse=True)
def _without_settings_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ROUTER_{name.upper()}", raising=False)


def test_help_shows_an_example_and_every_option() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "Example: router-serve --port" in shown
    for option in ("--host", "--port", "--workers", "--artifact", "--state-dir"):
        assert option in shown


def test_a_wrong_option_is_a_usage_error() -> None:
    assert CliRunner().invoke(app, ["--prt", "1"]).exit_code == 2


def test_a_refusal_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    arguments = ["--state-dir", str(tmp_path), "--artifact", str(tmp_path / "nothing")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("router-serve: ")
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_webhook_that_is_none_is_refused_at_start_without_being_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It was refused only by the running service, with a traceback and another exit code.
    monkeypatch.setenv("ROUTER_WEBHOOK_URL", "ftp://hooks.example/secret-token")
    result = CliRunner().invoke(app, ["--state-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr.startswith("router-serve: ROUTER_WEBHOOK_URL: expected an http://")
    assert len(result.stderr.strip().splitlines()) == 1
    assert "secret" not in result.output


def test_a_ledger_that_cannot_be_used_is_refused_at_start(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"no database at all, but long enough" * 100)
    result = CliRunner().invoke(app, ["--state-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"router-serve: {tmp_path / 'ledger.sqlite'}: ")
    assert len(result.stderr.strip().splitlines()) == 1


def test_options_win_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTER_PORT", "9000")
    assert settings_of({"state_dir": tmp_path}).port == 9000
    assert settings_of({"state_dir": tmp_path, "port": 9001}).port == 9001


def test_the_log_folder_is_made(tmp_path: Path) -> None:
    settings_of({"state_dir": tmp_path / "deep" / "state"})
    assert (tmp_path / "deep" / "state" / "log").is_dir()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_a_host_that_others_can_reach_needs_allow_keyless(tmp_path: Path, host: str) -> None:
    with pytest.raises(StartError, match="--allow-keyless"):
        settings_of({"state_dir": tmp_path, "host": host})
    settings_of({"state_dir": tmp_path, "host": host, "allow_keyless": True})


def test_a_senseless_setting_is_named_with_its_value(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"ROUTER_PORT: got 70000"):
        settings_of({"state_dir": tmp_path, "port": 70000})


def test_port_0_takes_a_free_port_and_a_taken_one_is_refused() -> None:
    with bound(Settings(port=0)) as listener:
        port = listener.getsockname()[1]
        assert port > 0
        with pytest.raises(StartError, match=f"--port {port}"):
            bound(Settings(port=port))


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_an_address_can_be_ipv6() -> None:
    try:
        listener = bound(Settings(host="::1", port=0))
    except StartError:
        pytest.skip("IPv6 is switched off here")
    with listener:
        assert listener.family == socket.AF_INET6

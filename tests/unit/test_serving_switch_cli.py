import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from router_serving.ledger.opening import LEDGER_FILE, open_store
from router_serving.ledger.switch_cli import switch_app
from router_serving.ledger.types import Switch
from router_serving.settings import Settings


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ROUTER_LEDGER_URL", raising=False)
    monkeypatch.delenv("ROUTER_STATE_DIR", raising=False)
    monkeypatch.chdir(tmp_path)


def switch(state: Path, *arguments: str) -> Result:
    return CliRunner().invoke(switch_app, [*arguments, "--state-dir", str(state)])


def switches_in(state: Path) -> list[Switch]:
    store = open_store(Settings(state_dir=state))
    try:
        return list(store.switches())
    finally:
        store.close()


def test_a_subject_is_stopped_listed_and_let_go(tmp_path: Path) -> None:
    result = switch(tmp_path, "on", "tenant:acme", "--reason", "a loop")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"tenant:acme is stopped, in {tmp_path / LEDGER_FILE}.\n"
    (found,) = switches_in(tmp_path)
    assert (found.subject, found.reason) == ("tenant:acme", "a loop")
    listed = switch(tmp_path, "list")
    assert re.fullmatch(r"tenant:acme  since \d{4}-\d\d-\d\dT[\d:]{8}Z  a loop\n", listed.stdout)
    assert switch(tmp_path, "off", "tenant:acme").exit_code == 0
    assert switches_in(tmp_path) == []
    listed = switch(tmp_path, "list")
    assert (listed.exit_code, listed.stdout) == (0, "")
    assert "Nobody is stopped" in listed.stderr


def test_a_subject_is_kept_in_its_one_spelling(tmp_path: Path) -> None:
    assert switch(tmp_path, "on", "user:acme/kim:home", "--reason", "r").exit_code == 0
    assert [found.subject for found in switches_in(tmp_path)] == ["user:acme/kim%3Ahome"]
    assert switch(tmp_path, "off", "user:acme/kim%3ahome").exit_code == 0


def test_letting_go_of_what_was_not_stopped_is_an_error(tmp_path: Path) -> None:
    result = switch(tmp_path, "off", "tenant:acne")
    assert result.exit_code == 1
    assert result.stderr.startswith("router-serve switch: tenant:acne was not stopped, in ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("on", "acme", "--reason", "r"), 'subject: got \'acme\', expected "all", "tenant:TENANT"'),
        (("on", "all", "--reason", " "), "reason: got ' ', expected a string of 1 to 500"),
        (("off", "team:a"), "subject: got 'team:a'"),
    ],
)
def test_what_is_no_subject_or_reason_is_refused_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = switch(tmp_path, *arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"router-serve switch: {message}")
    assert result.stderr.count("\n") == 1
    assert switches_in(tmp_path) == []


def test_a_reason_is_asked_for(tmp_path: Path) -> None:
    assert switch(tmp_path, "on", "all").exit_code == 2


def test_no_ledger_is_made_where_no_service_has_its_state(tmp_path: Path) -> None:
    result = switch(tmp_path / "elsewhere", "on", "all", "--reason", "r")
    assert result.exit_code == 1
    assert "expected that of the service" in result.stderr
    assert not (tmp_path / "elsewhere").exists()


def test_a_ledger_that_cannot_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / LEDGER_FILE).write_bytes(b"no database at all, but long enough" * 100)
    result = switch(tmp_path, "list")
    assert result.exit_code == 1
    assert result.stderr.startswith("router-serve switch: ")
    assert result.stderr.count("\n") == 1

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from router_serving.cli import app
from router_serving.keys import Key, read_keys
from router_serving.settings import Settings

KEY = re.compile(r"rk_[a-z0-9]{8}_[A-Za-z0-9_-]{43}")


@pytest.fixture(autouse=True)
def _without_settings_of_this_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ROUTER_{name.upper()}", raising=False)
    monkeypatch.setenv("ROUTER_STATE_DIR", str(tmp_path / "state"))


def run(*arguments: str, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["keys", *arguments])
    assert result.exit_code == exit_code, result.output
    assert "Traceback" not in result.output
    return result


def listed(folder: Path) -> tuple[Key, ...]:
    return read_keys(folder / "state" / "keys.json").keys


def test_a_key_is_printed_once_and_alone_on_stdout(tmp_path: Path) -> None:
    options = ("--tenant", "acme", "--scopes", "outcomes, route", "--name", "ci")
    result = run("create", *options, "--expires", "90d")
    key = result.stdout.strip()
    assert KEY.fullmatch(key)
    assert key not in result.stderr
    assert "tenant acme, scopes route,outcomes" in result.stderr
    (kept,) = listed(tmp_path)
    assert (kept.name, kept.tenant, kept.scopes) == ("ci", "acme", ("route", "outcomes"))
    assert kept.expires is not None
    assert (kept.expires - kept.created).days == 90


def test_the_list_shows_what_may_be_shown(tmp_path: Path) -> None:
    empty = run("list")
    assert "the service asks nobody for one" in empty.stderr
    one = run("create", "--tenant", "acme", "--scopes", "route", "--name", "ci").stdout.strip()
    two = run("create", "--tenant", "*", "--scopes", "admin", "--expires", "1h").stdout.strip()
    new = run("rotate", one[:11], "--grace", "1h").stdout.strip()
    run("revoke", two[:11])
    shown = run("list").stdout
    lines = [line.split() for line in shown.splitlines()]
    assert lines[0] == ["KEY", "NAME", "TENANT", "SCOPES", "CREATED", "EXPIRES", "STATE"]
    assert [line[0] for line in lines[1:]] == [one[:11], two[:11], new[:11]]
    assert lines[1][-3:] == ["rotated,", "now", new[:11]]
    assert lines[2][2:4] + lines[2][-1:] == ["*", "admin", "revoked"]
    assert lines[3][-2:] == ["-", "active"]
    for key in (one, two, new):
        assert key[12:] not in shown
    for kept in listed(tmp_path):
        assert kept.sha256[:16] not in shown


def test_the_whole_key_that_somebody_found_can_be_revoked(tmp_path: Path) -> None:
    key = run("create", "--tenant", "acme", "--scopes", "route").stdout.strip()
    result = run("revoke", key)
    assert key[12:] not in result.output
    assert [kept.state(kept.created) for kept in listed(tmp_path)] == ["revoked"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("create", "--scopes", "route"), "--tenant"),
        (("create", "--tenant", "a"), "--scopes"),
        (("create", "--tenant", "a", "--scopes", "rout"), "--scopes: got 'rout', expected"),
        (("create", "--tenant", "a", "--scopes", ","), "--scopes: got ','"),
        (("create", "--tenant", "a", "--scopes", "route", "--expires", "90"), "--expires: got"),
        (("create", "--tenant", "a", "--scopes", "route", "--expires", "-1d"), "--expires: got"),
        (("create", "--tenant", "a", "--scopes", "route", "--expires", "99999999d"), "at most"),
        (("rotate", "rk_ab12cd34", "--grace", "soon"), "--grace: got 'soon'"),
        (("revoke",), "ID"),
        (("rename", "x"), "rename"),
    ],
)
def test_wrong_usage_ends_with_2_and_names_what_is_wrong(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    result = run(*arguments, exit_code=2)
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("revoke", "rk_00000000"), "rk_00000000: no such key in"),
        (("rotate", "rk_00000000"), "rk_00000000: no such key in"),
        (("create", "--tenant", "", "--scopes", "route"), "--tenant: got ''"),
        (("create", "--tenant", "a\n", "--scopes", "route"), "--tenant: got"),
        (("create", "--tenant", "a", "--scopes", "route", "--name", "x" * 300), "--name: got"),
    ],
)
def test_what_is_refused_is_one_line_and_exit_code_1(
    arguments: tuple[str, ...], message: str
) -> None:
    result = run(*arguments, exit_code=1)
    assert result.stderr.startswith(f"router-serve keys: {message}")
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_a_key_is_no_name(tmp_path: Path) -> None:
    key = run("create", "--tenant", "a", "--scopes", "route").stdout.strip()
    result = run("create", "--tenant", "a", "--scopes", "route", "--name", key, exit_code=1)
    assert "--name: got '(an API key)'" in result.stderr
    assert key[12:] not in result.output


def test_a_bad_file_is_one_line_and_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "state" / "keys.json"
    file.parent.mkdir()
    file.write_text("{")
    for arguments in (("list",), ("create", "--tenant", "a", "--scopes", "route")):
        assert "can't be used" in run(*arguments, exit_code=1).stderr
    assert file.read_text() == "{"


def test_the_state_folder_counts_before_and_after_keys(tmp_path: Path) -> None:
    created = ("create", "--tenant", "a", "--scopes", "route")
    before = ["--state-dir", str(tmp_path / "before"), "keys", *created]
    assert CliRunner().invoke(app, before).exit_code == 0
    run(*created, "--state-dir", str(tmp_path / "after"))
    assert (tmp_path / "before" / "keys.json").is_file()
    assert (tmp_path / "after" / "keys.json").is_file()
    assert not (tmp_path / "state").exists()


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTER_PORT", "x")
    assert "ROUTER_PORT: got 'x'" in run("list", exit_code=1).stderr


@pytest.mark.parametrize("command", ["create", "list", "revoke", "rotate"])
def test_help_shows_an_example(command: str) -> None:
    assert f"Example: router-serve keys {command}" in run(command, "--help").stdout


def test_two_commands_at_the_same_time_lose_no_key(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "router_serving", "keys", "create"]
    command += ["--tenant", "a", "--scopes", "route", "--state-dir", str(tmp_path / "state")]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(3)
    ]
    keys = [process.communicate()[0].strip() for process in processes]
    assert sorted(key[:11] for key in keys) == sorted(key.id for key in listed(tmp_path))

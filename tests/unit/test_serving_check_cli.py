import asyncio
import os
import shutil
import socket
from pathlib import Path

import pytest
from routers import write_artifact
from typer.testing import CliRunner

from router_model.artifact import MANIFEST
from router_serving.artifact_check import check
from router_serving.cli import app
from router_serving.ledger.sqlite_store import SqliteStore
from router_serving.settings import Settings


@pytest.fixture(autouse=True)
def _without_settings_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("ROUTER_", "OTEL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ROUTER_PORT", "0")


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder whose artifact was found sound, so that no test waits for a probe."""
    state = tmp_path_factory.mktemp("probed")
    write_artifact(state / "artifact")
    asyncio.run(check(state / "artifact", Settings(state_dir=state)))
    return state


@pytest.fixture
def state(probed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(probed, tmp_path / "state")


def checked(state: Path, *arguments: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Exit code, and verdict and text by what was looked at."""
    result = CliRunner().invoke(app, ["check-config", "--state-dir", str(state), *arguments])
    lines = result.output.splitlines()
    found = {line[6:18].strip(): (line[:5].strip(), line[19:]) for line in lines}
    assert len(found) == len(lines), result.output
    return result.exit_code, found


def test_what_would_start_is_ok_line_by_line(state: Path) -> None:
    code, found = checked(state)
    assert code == 0
    assert {verdict for verdict, _ in found.values()} == {"OK"}
    assert list(found) == [
        *("settings", "keys", "public key", "artifact", "catalog", "tenants", "rollout"),
        *("ledger", "log", "disk", "descriptors", "tracing", "port"),
    ]


def test_nothing_is_made_or_changed(state: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in state.iterdir())
    checked(state)
    assert sorted(path.name for path in state.iterdir()) == before
    assert checked(tmp_path / "none")[0] == 0
    assert not (tmp_path / "none").exists()


def test_a_senseless_setting_fails_alone(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTER_WORKERS", "many")
    code, found = checked(state)
    assert code == 1
    assert found["settings"][0] == "FAIL"
    assert "ROUTER_WORKERS" in found["settings"][1]


def test_a_misspelt_setting_is_a_warning(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTER_WORKRES", "2")
    code, found = checked(state)
    assert (code, found["settings"][0]) == (0, "WARN")
    assert "ROUTER_WORKRES" in found["settings"][1]


@pytest.mark.parametrize(
    ("place", "content", "name"),
    [
        ("artifact/trees.txt", "", "artifact"),
        (f"artifact/{MANIFEST}", "{", "artifact"),
        ("tenants.toml", "[default]\nalpha = 7\n", "tenants"),
        ("keys.json", "{", "keys"),
        ("rollout.json", '{"mode": "canary", "artifact": "nothing"}', "rollout"),
        ("rollout.json", '{"mode": "full"}', "rollout"),
        ("ledger.sqlite", "no database, whatever its name says", "ledger"),
    ],
)
def test_a_file_that_can_not_be_used_fails(
    state: Path, place: str, content: str, name: str
) -> None:
    (state / place).write_text(content)
    code, found = checked(state)
    assert code == 1
    assert found[name][0] == "FAIL"
    assert Path(place).name in found[name][1] or "nothing" in found[name][1]


def test_a_catalog_overlay_that_can_not_be_used_fails(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay = state / "own.toml"
    overlay.write_text('[models."my-model"]\nprovider = 3\n')
    monkeypatch.setenv("ROUTER_CATALOG", str(overlay))
    code, found = checked(state)
    assert code == 1
    assert "my-model" in found["artifact"][1]


def test_a_public_key_asks_for_a_signature(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTER_ARTIFACT_PUBLIC_KEY", str(state / "none.pem"))
    code, found = checked(state)
    assert code == 1
    assert found["public key"][0] == found["artifact"][0] == "FAIL"


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_of_the_log_that_is_there_is_not_to_be_made(
    state: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    monkeypatch.chdir(state.parent)
    folder = Settings(state_dir=Path(state.name)).log_dir
    if exists:
        folder.mkdir(parents=True, exist_ok=True)
    verdict, said = checked(Path(state.name))[1]["log"]
    assert verdict == "OK"
    assert ("will be made" in said) is not exists


def test_the_ledger_is_opened_as_it_is(state: Path) -> None:
    SqliteStore(state / "ledger.sqlite").close()
    assert checked(state)[1]["ledger"] == ("OK", f"{state / 'ledger.sqlite'}, schema 1")


def test_a_shared_ledger_that_does_not_answer_fails_without_its_password(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        monkeypatch.setenv("ROUTER_LEDGER_URL", f"valkey://:geheim@127.0.0.1:{port}/0")
        code, found = checked(state)
    assert (code, found["ledger"][0]) == (1, "FAIL")
    assert "geheim" not in str(found)


def test_a_port_in_use_fails(state: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, found = checked(state, "--port", str(taken.getsockname()[1]))
    assert (code, found["port"][0]) == (1, "FAIL")


def test_a_host_that_others_can_reach_needs_keys(state: Path) -> None:
    code, found = checked(state, "--host", "0.0.0.0")
    assert (code, found["keys"][0]) == (1, "FAIL")
    code, found = checked(state, "--host", "0.0.0.0", "--allow-keyless")
    assert (code, found["keys"][0]) == (0, "WARN")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_state_folder_that_can_not_be_written_fails(state: Path) -> None:
    (state / "log").mkdir(mode=0o500)
    code, found = checked(state)
    assert (code, found["log"][0]) == (1, "FAIL")


def test_tracing_says_where_spans_go(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    assert "collector" in checked(state)[1]["tracing"][1]

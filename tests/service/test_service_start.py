"""Starting, refusing to start, reloading, several workers."""

import shlex
import signal
import socket
import subprocess
import threading
from pathlib import Path

import httpx
import pytest
from serving_process import (
    CHAT,
    command,
    copied_artifact,
    environment,
    flip_a_byte,
    requires_starter,
    serving,
    wait_for,
)

from router_model.artifact import STARTER

pytestmark = [pytest.mark.service, requires_starter]


def refused(*arguments: str, **settings: str) -> str:
    """What a server that does not start says; it must end with 1 and without a traceback."""
    ended = subprocess.run(
        command(*arguments),
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1, ended
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_the_greeting_holds_a_call_that_works(tmp_path: Path) -> None:
    with serving(tmp_path / "state") as server:
        assert server.process.stdout is not None
        line = server.process.stdout.readline().decode()
        call = shlex.split(line.removeprefix("  try").strip())
        assert call[0] == "curl"
        answer = httpx.post(call[2], content=call[4].encode())
        assert answer.status_code == 200
        assert answer.json()["model"]


def test_the_state_folder_is_found_from_the_environment(tmp_path: Path) -> None:
    with serving(tmp_path / "a", max_body_bytes="2048", min_adequacy="0") as server:
        assert server.http.post("/route", json={"x": "y" * 3000}).status_code == 413
        cheapest = server.http.post("/route", json=CHAT).json()
        sure = {"request": CHAT, "policy": {"min_adequacy": 1.0}}
        best = server.http.post("/route", json=sure).json()
        assert cheapest["expected"]["cost_usd"] <= best["expected"]["cost_usd"]
        assert cheapest["expected"]["p_adequate"] <= best["expected"]["p_adequate"]


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = refused("--port", port, "--state-dir", str(tmp_path))
    assert port in said
    assert len(said.strip().splitlines()) == 1


def test_a_public_address_needs_an_explicit_word(tmp_path: Path) -> None:
    said = refused("--host", "0.0.0.0", "--state-dir", str(tmp_path))
    assert "--allow-keyless" in said


def test_a_senseless_setting_is_named(tmp_path: Path) -> None:
    said = refused("--state-dir", str(tmp_path), log_flush_ms="soon")
    assert "ROUTER_LOG_FLUSH_MS" in said


def test_a_state_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "--state-dir" in refused("--state-dir", str(tmp_path / "file" / "state"))


@pytest.mark.parametrize("place", ["state", "option"])
def test_a_flipped_byte_keeps_the_service_from_starting(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "artifact"
    copied_artifact(folder)
    for path in sorted(folder.iterdir()):
        if path.name != "manifest.json":
            flip_a_byte(path)
            if place == "state":
                said = refused("--state-dir", str(tmp_path))
            else:
                elsewhere = str(tmp_path / "elsewhere")
                said = refused("--state-dir", elsewhere, "--artifact", str(folder))
            assert "altered" in said
            return
    pytest.fail("the artifact holds no file")


def test_a_missing_artifact_is_named(tmp_path: Path) -> None:
    said = refused("--state-dir", str(tmp_path), "--artifact", str(tmp_path / "nothing"))
    assert str(tmp_path / "nothing") in said


def test_a_broken_catalog_is_named(tmp_path: Path) -> None:
    overlay = tmp_path / "own.toml"
    overlay.write_text('[models."my-model"]\nprovider = 3\n')
    said = refused("--state-dir", str(tmp_path), catalog=str(overlay))
    assert "my-model" in said


def test_an_own_model_of_the_overlay_can_be_chosen(tmp_path: Path) -> None:
    overlay = tmp_path / "own.toml"
    overlay.write_text(
        '[models."my-model"]\nprovider = "self"\ncontext_window = 131072\n'
        "max_output_tokens = 8192\nprice = { input = 0.0, output = 0.0 }\n"
        "capabilities = { tools = true }\n"
    )
    with serving(tmp_path / "state", catalog=str(overlay)) as server:
        call = {"request": CHAT, "policy": {"models": ["my-model"]}}
        assert server.http.post("/route", json=call).json()["model"] == "my-model"


def test_a_new_artifact_is_picked_up_under_load_without_losing_a_call(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    first = copied_artifact(state / "artifact", note="first")
    with serving(state, reload_poll_s="0.1") as server:
        versions: list[str] = []
        failures: list[object] = []
        done = threading.Event()

        def load() -> None:
            with httpx.Client(base_url=server.http.base_url, timeout=30) as client:
                while not done.is_set():
                    try:
                        answer = client.post("/route", json=CHAT)
                        versions.append(answer.json()["versions"]["artifact"])
                    except (httpx.HTTPError, KeyError, ValueError) as error:
                        failures.append(error)

        threads = [threading.Thread(target=load) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(versions) > 20)
        second = copied_artifact(state / "artifact", note="second")
        wait_for(lambda: bool(versions) and versions[-1] == second, seconds=60)
        done.set()
        for thread in threads:
            thread.join()
        assert not failures
        assert set(versions) == {first, second}
        assert server.http.get("/readyz").json()["versions"]["artifact"] == second
        assert server.metric("router_reloads_total", result="swapped") == 1


def test_a_broken_artifact_is_refused_and_the_service_goes_on(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    version = copied_artifact(state / "artifact", note="good")
    with serving(state, reload_poll_s="3600") as server:
        flip_a_byte(next(p for p in (state / "artifact").iterdir() if p.suffix == ".safetensors"))
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: server.metric("router_reloads_total", result="refused") == 1)
        assert server.http.post("/route", json=CHAT).json()["versions"]["artifact"] == version
        assert "altered" in server.http.get("/readyz").json()["reload"]["last_error"]
        repaired = copied_artifact(state / "artifact", note="repaired")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: server.metric("router_reloads_total", result="swapped") == 1, seconds=60)
        assert server.http.get("/readyz").json()["versions"]["artifact"] == repaired
        assert server.http.get("/readyz").json()["reload"]["last_error"] is None


def test_a_rollback_brings_the_artifact_before_back(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    first = copied_artifact(state / "artifact", note="first")
    with serving(state, reload_poll_s="0.1") as server:

        def version() -> str:
            return str(server.http.get("/readyz").json()["versions"]["artifact"])

        second = copied_artifact(state / "artifact", note="second")
        wait_for(lambda: version() == second, seconds=60)
        copied_artifact(state / "artifact", note="first")
        wait_for(lambda: version() == first, seconds=60)
        assert server.metric("router_reloads_total", result="swapped") == 2


def test_the_shipped_starter_serves_a_fresh_state_folder(tmp_path: Path) -> None:
    with serving(tmp_path / "state") as server:
        assert server.process.stdout is not None
        lines = [server.process.stdout.readline().decode() for _ in range(2)]
        assert str(STARTER) in lines[1]
        assert server.http.get("/healthz").json() == {"status": "ok"}
        assert len(server.http.get("/models").json()["models"]) >= 15


def test_two_workers_share_the_port_the_log_and_the_metrics(tmp_path: Path) -> None:
    with serving(tmp_path / "state", "--workers", "2") as server:
        ids = set()
        for _ in range(60):
            answer = httpx.post(f"{server.http.base_url}/route", json=CHAT)
            ids.add(answer.json()["decision_id"])
        wait_for(lambda: len(server.rows("from decisions")) == 60)
        assert {row["decision_id"] for row in server.rows("from decisions")} == ids
        assert server.metric("router_stage_seconds_count", stage="total") == 60
        assert server.stop() == 0

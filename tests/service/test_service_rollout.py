"""Another artifact beside the one in use: watching, deciding for a share, stopped when worse."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving_decisions import outcome
from serving_process import (
    CHAT,
    Server,
    copied_artifact,
    flip_a_byte,
    requires_starter,
    serving,
    wait_for,
)

pytestmark = [pytest.mark.service, requires_starter]

# Cheap models are good enough for a challenger that does not mind failures.
CARELESS = {"failure_cost_usd": 1e-6}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


@pytest.fixture
def server(state: Path) -> Iterator[Server]:
    with serving(state, reload_poll_s="0.1") as running:
        yield running


def begin(server: Server, **changes: object) -> str:
    """Put a challenger and a rollout of it into the state folder; returns its version."""
    version = copied_artifact(server.state / "challenger-1", note="new", policy=CARELESS)
    write(server.state, artifact="challenger-1", **changes)
    mode = str(changes["mode"])
    wait_for(lambda: server.metric("router_rollout_info", mode=mode, artifact=version) == 1.0)
    return version


def write(state: Path, **content: object) -> None:
    temporary = state / "rollout.json.new"
    temporary.write_text(json.dumps(content))
    temporary.rename(state / "rollout.json")


def routed(server: Server, session: str) -> dict[str, Any]:
    call = {"request": CHAT, "caller": {"tenant": "acme", "session": session}}
    answer: dict[str, Any] = server.http.post("/route", json=call).json()
    return answer


def logged(server: Server) -> dict[str, dict[str, Any]]:
    server.http.get("/decisions/waits-for-the-log")
    return {row["decision_id"]: row for row in server.rows("from decisions")}


def test_a_shadow_is_logged_and_never_served(server: Server) -> None:
    champion = routed(server, "before")
    version = begin(server, mode="shadow")
    answers = [routed(server, f"s{i}") for i in range(20)]
    assert {answer["versions"]["artifact"] for answer in answers} == {
        champion["versions"]["artifact"]
    }
    rows = logged(server)
    assert rows[champion["decision_id"]]["shadow"] is None
    assert rows[champion["decision_id"]]["rollout"] is None
    for answer in answers:
        row = rows[answer["decision_id"]]
        shadow = json.loads(row["shadow"])
        assert row["rollout"] == "champion"
        assert shadow["artifact"] == version
        assert shadow["model"] != answer["model"]
        assert sum(shadow["distribution"].values()) == pytest.approx(1.0)
        assert shadow["distribution"][shadow["model"]] == 1.0
        assert 0.0 < shadow["expected_cost"] < answer["expected"]["cost_usd"]
        assert 0.0 < shadow["p_adequate"] < 1.0


def test_a_canary_has_its_share_of_sessions_and_they_stay_with_it(server: Server) -> None:
    version = begin(server, mode="canary", share=0.3, shadow=True)
    n = 300
    first = {f"s{i}": routed(server, f"s{i}") for i in range(n)}
    again = {session: routed(server, session) for session in first}
    sides = {
        session: answer["versions"]["artifact"] == version for session, answer in first.items()
    }
    assert {s: answer["versions"]["artifact"] == version for s, answer in again.items()} == sides
    n_canary = sum(sides.values())
    assert abs(n_canary / n - 0.3) < 4 * (0.3 * 0.7 / n) ** 0.5
    rows = logged(server)
    for session, answer in first.items():
        row = rows[answer["decision_id"]]
        assert row["rollout"] == ("canary" if sides[session] else "champion")
        assert row["versions"]["artifact"] == answer["versions"]["artifact"]
        assert json.loads(row["shadow"])["artifact"] != answer["versions"]["artifact"]
    assert server.metric("router_rollout_decisions_total", side="canary") == 2 * n_canary
    explained = server.http.get(
        f"/decisions/{next(a['decision_id'] for s, a in first.items() if sides[s])}"
    ).json()
    assert explained["is_same_version"] is True
    write(server.state, mode="off", artifact="challenger-1")
    wait_for(lambda: server.http.get("/readyz").json()["rollout"]["mode"] == "off")
    assert all(routed(server, s)["versions"]["artifact"] != version for s in list(first)[:40])


def test_a_worse_canary_is_stopped_and_stays_stopped_after_a_restart(state: Path) -> None:
    with serving(state, reload_poll_s="0.1") as server:
        version = begin(server, mode="canary", share=0.5, min_outcomes=10, delta=0.05, margin=0.02)
        n_canary = 0
        for i in range(400):
            answer = routed(server, f"s{i}")
            is_canary = answer["versions"]["artifact"] == version
            n_canary += is_canary
            reported = outcome(
                decision_id=answer["decision_id"], model=answer["model"], adequate=not is_canary
            )
            headers = {"x-router-tenant": "acme"}
            assert server.http.post("/outcomes", json=reported, headers=headers).status_code == 200
            if "stopped" in (state / "rollout.json").read_text():
                break
        assert 10 <= n_canary <= 30
        stopped = json.loads((state / "rollout.json").read_text())
        assert (stopped["mode"], stopped["artifact"]) == ("stopped", "challenger-1")
        assert stopped["reason"].startswith(f"inadequate: {n_canary} of {n_canary} sessions")
        assert all(routed(server, f"s{i}")["versions"]["artifact"] != version for i in range(60))
        assert server.http.get("/readyz").json()["rollout"]["mode"] == "stopped"
        assert (
            server.metric("router_file_events_total", file="rollout.json", result="stopped") == 1.0
        )
        assert (
            server.metric("router_rollout_outcomes_total", side="canary", adequate="false")
            == n_canary
        )
        assert "canary.stopped" in server.stderr.read_text()
        server.stop()
    with serving(state) as server:
        assert all(routed(server, f"s{i}")["versions"]["artifact"] != version for i in range(60))


def test_a_session_of_the_canary_stays_one_across_a_restart(state: Path) -> None:
    with serving(state, reload_poll_s="0.1") as server:
        begin(server, mode="canary", share=0.5)
        before = [routed(server, f"s{i}")["versions"]["artifact"] for i in range(30)]
        server.stop()
    with serving(state) as server:
        assert [routed(server, f"s{i}")["versions"]["artifact"] for i in range(30)] == before


def test_a_challenger_that_can_not_be_loaded_is_refused(server: Server) -> None:
    copied_artifact(server.state / "challenger-1", note="broken", policy=CARELESS)
    flip_a_byte(server.state / "challenger-1" / "predictor.safetensors")
    write(server.state, mode="canary", share=1.0, artifact="challenger-1")

    def refused() -> float:
        return server.metric("router_file_events_total", file="rollout.json", result="refused")

    wait_for(lambda: refused() == 1.0)
    assert "altered" in server.http.get("/readyz").json()["rollout"]["last_error"]
    champion = server.http.get("/readyz").json()["versions"]["artifact"]
    assert routed(server, "s1")["versions"]["artifact"] == champion
    write(server.state, mode="canary", share=7, artifact="challenger-1")
    wait_for(lambda: refused() == 2.0)
    time.sleep(0.5)
    assert refused() == 2.0
    assert "share: got 7.0" in server.http.get("/readyz").json()["rollout"]["last_error"]
    assert server.http.get("/readyz").status_code == 200

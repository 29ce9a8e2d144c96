"""A router is adopted: it observes, then routes a share of the sessions, then all of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from serving_process import CHAT, Server, requires_starter, serving, wait_for
from typer.testing import CliRunner

from router_data.agents import simulate_agents
from router_data.playthrough import Playthrough, played_costs
from router_data.replay_cli import replay_log
from router_data.simulator import World
from router_model.artifact import STARTER
from router_training.cli import app

pytestmark = [pytest.mark.service, requires_starter]

N_SESSIONS = 60
TENANT = {"x-router-tenant": "acme"}


@pytest.fixture(scope="module")
def world() -> World:
    return simulate_agents(N_SESSIONS, seed=11, reports="all")


@pytest.fixture
def state(tmp_path: Path, world: World) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    write(folder, world, '"observe"')
    return folder


@pytest.fixture
def server(state: Path) -> Iterator[Server]:
    with serving(state, reload_poll_s="0.1") as running:
        yield running


def write(state: Path, world: World, adoption: str) -> None:
    """The one setting; the rest stays as it is."""
    text = (
        f"[tenants.acme]\nadoption = {adoption}\nincumbent = {world.models[-1]!r}\n"
        f"models = {list(world.models)}\n"
    )
    temporary = state / "tenants.toml.new"
    temporary.write_text(text)
    temporary.rename(state / "tenants.toml")


def change(server: Server, world: World, adoption: str) -> None:
    def taken() -> float:
        return server.metric("router_file_events_total", file="tenants.toml", result="swapped")

    before = taken()
    write(server.state, world, adoption)
    wait_for(lambda: taken() > before)


@dataclass
class Driven:
    """What a gateway saw of a world's sessions: answers by request, and what all of it cost."""

    answers: dict[int, dict[str, Any]] = field(default_factory=dict)
    cost_usd: float = 0.0

    def models(self, index: Sequence[int]) -> set[str]:
        return {self.answers[i]["model"] for i in index}


def drive(server: Server, world: World, *, name: str, n_sessions: int) -> Driven:
    """Send the first sessions of the world as a gateway would, each call with its outcome."""
    play, driven = Playthrough(world), Driven()
    for session in list(dict.fromkeys(world.session))[:n_sessions]:
        outcomes = []
        for index in np.flatnonzero(world.session == session).tolist():
            answer = routed(server, world.chat_body(index), session=f"{name}-{session}")
            driven.answers[index] = answer
            report = play.take(index, answer["model"], decision_id=answer["decision_id"])
            assert report is not None
            driven.cost_usd += report.outcome.cost_usd or 0.0
            told = msgspec.to_builtins(report.outcome)
            outcomes.append({key: value for key, value in told.items() if value is not None})
        assert server.http.post("/outcomes", json=outcomes, headers=TENANT).status_code == 200
    return driven


def routed(server: Server, body: bytes, *, session: str) -> dict[str, Any]:
    headers = TENANT | {"x-router-session": session}
    response = server.http.post("/route", content=body, headers=headers)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def logged(server: Server) -> dict[str, dict[str, Any]]:
    server.http.get("/decisions/waits-for-the-log")
    return {row["decision_id"]: row for row in server.rows("from decisions")}


def savings(state: Path) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["savings", "--state", str(state), "--json"])
    assert result.exit_code == 0, result.output
    report: dict[str, Any] = msgspec.json.decode(result.stdout)
    return report


def covers(interval: dict[str, float], truth: float) -> bool:
    return interval["low"] <= truth <= interval["high"]


def test_from_observing_to_all_sessions_by_one_setting(server: Server, world: World) -> None:
    incumbent, n = world.models[-1], N_SESSIONS
    observed = drive(server, world, name="observed", n_sessions=25)
    assert {answer["model"] for answer in observed.answers.values()} == {incumbent}
    assert {answer["policy"] for answer in observed.answers.values()} == {"incumbent"}
    rows = logged(server)
    assert len(rows) == len(observed.answers)
    for row in rows.values():
        assert row["adoption"] == {"arm": "incumbent", "share": 0.0}
        shadow = msgspec.json.decode(row["shadow"])
        assert sum(shadow["distribution"].values()) == pytest.approx(1.0)
    estimated = savings(server.state)
    assert estimated["experiment"] is None
    assert "expected at least 20" in estimated["missing"]["measured saving"]
    assert estimated["estimate"]["paid_usd"] == pytest.approx(observed.cost_usd)
    assert estimated["router"]["n_measured"] == len(rows)

    change(server, world, "0.5")
    tried = drive(server, world, name="tried", n_sessions=n)
    arms: dict[str, set[str]] = {}
    for row in logged(server).values():
        if row["session"].startswith("tried"):
            arms.setdefault(row["session"], set()).add(row["adoption"]["arm"])
    assert all(len(arm) == 1 for arm in arms.values())
    n_routed = sum(arm == {"router"} for arm in arms.values())
    assert abs(n_routed / n - 0.5) < 4 * (0.25 / n) ** 0.5
    assert server.metric("router_adoption_decisions_total", arm="router") > 0
    assert server.metric("router_adoption_decisions_total", arm="incumbent") > len(rows)

    change(server, world, '"full"')
    full = drive(server, world, name="full", n_sessions=n)
    assert "incumbent" not in {answer["policy"] for answer in full.answers.values()}
    kept = np.full(world.n_requests, world.models.index(incumbent), dtype=np.int64)
    truth = (full.cost_usd - played_costs(world, kept).sum()) / n

    report = savings(server.state)
    trial = report["experiment"]
    assert trial["shares"] == [0.5]
    assert [arm["n_sessions"] for arm in trial["arms"]] == [n_routed, n - n_routed]
    assert covers(trial["usd_per_session"]["difference"], truth)
    assert covers(report["net"]["if_full_usd"], -truth * n)
    total = observed.cost_usd + tried.cost_usd + full.cost_usd
    assert sum(arm["paid_usd"] for arm in report["arms"]) == pytest.approx(total)
    spent = server.http.get("/spend?group_by=tenant").json()["groups"]
    assert sum(group["reported_usd"] for group in spent) == pytest.approx(total)
    replayed = replay_log(server.state, [STARTER])
    assert replayed.lines()[0].endswith(f"{len(logged(server))} identical, 0 not")


def test_while_observing_callers_keep_the_model_they_name(server: Server, world: World) -> None:
    named = world.models[0]
    headers = TENANT | {"x-router-session": "s1"}
    answer = server.http.post("/route", json={**CHAT, "model": named}, headers=headers).json()
    assert (answer["model"], answer["policy"], answer["fallbacks"]) == (named, "incumbent", [])
    authz = server.http.post("/authz/v1/chat/completions", json=CHAT, headers=headers)
    assert authz.headers["x-routed-model"] == world.models[-1]
    assert authz.headers["x-router-reason"].startswith("incumbent")
    told = server.http.get(f"/decisions/{answer['decision_id']}").json()
    assert told["adoption"] == {"arm": "incumbent", "share": 0.0}
    assert told["would_change"][0]["model"] == told["shadow"]["model"]
    assert told["contributions"]


@pytest.mark.parametrize("name", ["gpt-4o", "my-finetune", "anthropic/claude-sonnet-4-6"])
def test_while_observing_any_name_is_answered_as_it_was_sent(
    state: Path, world: World, name: str
) -> None:
    asked = {
        "request": {**CHAT, "model": name},
        "caller": {"tenant": "acme", "decision_id": "d1", "session": "s"},
    }
    with serving(state) as server:
        first = server.http.post("/route", json=asked).json()
        assert (first["model"], first["policy"]) == (name, "incumbent")
        server.http.get("/decisions/d1")
        server.stop()
    with serving(state) as server:
        assert server.http.post("/route", json=asked).json() == first
        path = f"/v1beta/models/{name.split('/')[-1]}:generateContent"
        gemini = {"contents": [{"role": "user", "parts": [{"text": "Fix the test"}]}]}
        authz = server.http.post(f"/authz{path}", json=gemini, headers=TENANT)
        assert authz.headers["x-routed-model"] == name.split("/")[-1]
        server.http.get("/decisions/waits-for-the-log")
        server.stop()
    assert replay_log(state, [STARTER]).lines()[0].endswith("2 identical, 0 not")


def test_a_repeated_call_gets_the_same_answer_after_the_setting_was_changed_and_a_restart(
    state: Path, world: World
) -> None:
    asked = {"request": CHAT, "caller": {"tenant": "acme", "decision_id": "d1", "session": "s"}}
    with serving(state, reload_poll_s="0.1") as server:
        first = server.http.post("/route", json=asked).json()
        assert first["model"] == world.models[-1]
        change(server, world, '"full"')
        assert server.http.post("/route", json=asked).json() == first
        server.http.get("/decisions/d1")
        server.stop()
    with serving(state) as server:
        assert server.http.post("/route", json=asked).json() == first


def test_a_session_keeps_its_arm_across_workers_and_restarts(state: Path, world: World) -> None:
    write(state, world, "0.5")

    def policies() -> list[str]:
        with serving(state, "--workers", "2") as server:
            found = []
            for i in range(40):
                body = msgspec.json.encode(CHAT)
                with httpx.Client(base_url=server.http.base_url, timeout=30) as fresh:
                    headers = TENANT | {"x-router-session": f"s{i}"}
                    answer = fresh.post("/route", content=body, headers=headers).json()
                found.append(answer["policy"])
            return found

    before = policies()
    assert 5 < before.count("incumbent") < 35
    assert policies() == before


def test_budgets_hold_while_the_router_only_observes(state: Path, world: World) -> None:
    with (state / "tenants.toml").open("a") as file:
        file.write("usd_per_day = 0.000001\n")
    with serving(state) as server:
        response = server.http.post("/route", json=CHAT, headers=TENANT)
        assert response.status_code == 429
        assert response.json()["code"] == "limit_exceeded"


def test_a_bad_setting_is_refused_and_the_one_before_stays(server: Server, world: World) -> None:
    write(server.state, world, "2.0")
    wait_for(
        lambda: server.metric("router_file_events_total", file="tenants.toml", result="refused") > 0
    )
    told = server.http.get("/readyz")
    assert (told.status_code, told.json()["status"]) == (200, "degraded")
    (warning,) = told.json()["warnings"]
    assert warning.startswith("tenants.toml: refused: ")
    assert "tenants.acme.adoption: got 2.0, expected" in warning
    answer = routed(server, msgspec.json.encode(CHAT), session="s1")
    assert answer["policy"] == "incumbent"

"""Every decision that a real service logged comes out again from its row."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from serving_process import BODIES, Server, copied_artifact, requires_starter, serving, wait_for
from typer.testing import CliRunner

from router_data.cli import app
from router_data.log import SEGMENTS, SegmentWriter, read_segment, segment_paths
from router_data.replay_cli import artifacts_in, replay_log
from router_model.artifact import STARTER
from router_model.errors import LogError

pytestmark = [pytest.mark.service, requires_starter]

N_SESSIONS = 60
N_TURNS = 6
TENANTS = """
[tenants.bold]
exploration = 0.4
exploration_floor = 0.05
[tenants.frugal]
exploration = 0.3
exploration_budget_usd_per_day = 0.05
[tenants.careful]
alpha = 0.05
delta = 0.1
[tenants.pinned]
models = ["claude-haiku-4-5", "gpt-5.4"]
exploration = 0.2
"""
WORDS = ["fix", "the", "failing", "test", "rename", "this", "file", "list", "all", "why", "stop"]


# What the log has to hold for a replay to mean something.
TOLD = """
    select list(distinct exploration.off) as reasons, list(distinct contract) as contracts,
           count(*) filter (regexp_matches(candidates, '"cached_tokens":[1-9]')) as n_cached,
           count(*) filter (propensity < 0.5) as n_explored
    from decisions
"""


def text_of(rng: random.Random, n_words: int) -> str:
    return " ".join(rng.choices(WORDS, k=n_words))


def body_of(rng: random.Random, wire_format: str, history: list[str]) -> dict[str, Any]:
    """A body of the dialect whose conversation is `history`, user and assistant in turn."""
    body: dict[str, Any] = json.loads(json.dumps(BODIES[wire_format]))
    roles = ["user" if i % 2 == 0 else "assistant" for i in range(len(history))]
    pairs = list(zip(roles, history, strict=True))
    if wire_format == "gemini":
        names = {"user": "user", "assistant": "model"}
        body["contents"] = [{"role": names[r], "parts": [{"text": text}]} for r, text in pairs]
        limit: dict[str, Any] = {"generationConfig": {"maxOutputTokens": 300}}
    elif wire_format == "openai.responses":
        body["input"] = [{"role": role, "content": text} for role, text in pairs]
        limit = {"max_output_tokens": 300}
    else:
        body["messages"] = [
            *(m for m in body["messages"] if m["role"] == "system"),
            *({"role": role, "content": text} for role, text in pairs),
        ]
        limit = {"max_tokens": 300}
    return body | (limit if rng.random() < 0.3 else {})


def limits_of(rng: random.Random) -> dict[str, Any]:
    """Limits of a call, often none."""
    return rng.choice(
        [
            {},
            {},
            {"min_adequacy": round(rng.random(), 2)},
            {"max_cost_usd": 0.02},
            {"max_tool_call_latency_ms": 4_000},
            {"models": ["claude-haiku-4-5", "gpt-5.4", "gpt-6-luna"]},
        ]
    )


def converse(server: Server, rng: random.Random, number: int) -> int:
    """One session of several turns; returns the number of decisions."""
    wire_format = list(BODIES)[number % len(BODIES)]
    tenant = rng.choice(["bold", "frugal", "careful", "pinned", "plain"])
    # Longer than any provider's least prefix, so that caches are warm from the second turn on.
    history = [text_of(rng, 2_000 if number % 2 else 20)]
    n_decisions = 0
    for _ in range(N_TURNS):
        call = {
            "request": body_of(rng, wire_format, history),
            "format": wire_format,
            "caller": {"tenant": tenant, "session": f"s{number}"},
            "policy": limits_of(rng),
        }
        response = server.http.post("/route", json=call)
        assert response.status_code in (200, 409), response.text
        n_decisions += response.status_code == 200
        history += [text_of(rng, 30), text_of(rng, 15)]
    return n_decisions


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state of a service after hundreds of decisions by a champion and a canary."""
    folder = tmp_path_factory.mktemp("replay") / "state"
    folder.mkdir()
    (folder / "tenants.toml").write_text(TENANTS)
    copied_artifact(folder / "challenger-1", note="other", policy={"failure_cost_usd": 0.01})
    rollout = {"mode": "canary", "share": 0.3, "artifact": "challenger-1", "shadow": True}
    (folder / "rollout.json").write_text(json.dumps(rollout))
    rng = random.Random(7)
    with serving(folder) as server:
        n_decisions = sum(converse(server, rng, number) for number in range(N_SESSIONS))
        assert n_decisions > 250
        wait_for(lambda: len(server.rows("select 1 from decisions")) == n_decisions)
        (row,) = server.rows(TOLD)
        assert {"not_set", "budget_spent", None} <= set(row["reasons"])
        assert {"request", "contract: abstains", None} <= set(row["contracts"])
        assert row["n_cached"] > 50
        assert row["n_explored"] > 10
        assert server.stop() == 0
    return folder


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["replay", *arguments, "--no-progress"])
    return done.exit_code, done.output


def test_hundreds_of_varied_decisions_come_out_identically(state: Path) -> None:
    report = replay_log(state, [*artifacts_in(state), STARTER])
    assert report.n_identical > 250
    assert report.different == []
    assert report.unreadable == []
    assert not report.elsewhere
    code, said = run("--state", str(state))
    assert code == 0, said
    assert f"{report.n_identical} decisions replayed: {report.n_identical} identical, 0 not" in said


def test_decisions_of_artifacts_that_are_not_at_hand_are_counted(state: Path) -> None:
    report = replay_log(state, [STARTER])
    (versions,) = report.elsewhere
    assert report.n_identical + report.elsewhere[versions] > 250
    assert report.different == []
    assert any(f"artifact {versions.artifact}" in line for line in report.lines())


def test_one_decision_is_replayed_by_its_id(state: Path) -> None:
    with pytest.raises(LogError, match="got 'nobody', expected one that is in the log"):
        replay_log(state, [STARTER], decision_id="nobody")
    code, said = run("--state", str(state), "--decision", "nobody")
    assert (code, "expected one that is in the log" in said) == (1, True)


def test_an_altered_row_is_told_and_fails(state: Path, tmp_path: Path) -> None:
    rows = [row for path in segment_paths(state / "log") for row in read_segment(path)]
    good = next(row for row in rows if len(row["candidates"]) > 1)
    best = good["candidates"][0]
    altered = good | {
        "decision_id": "altered",
        "candidates": [best | {"p_adequate": best["p_adequate"] / 2}, *good["candidates"][1:]],
    }
    older = good | {"decision_id": "older", "schema": 1}
    unreadable = good | {"decision_id": "unreadable", "embedding": "ADw="}
    with SegmentWriter(tmp_path / "log" / SEGMENTS, "w") as writer:
        writer.append([good, altered, older, unreadable])
    artifact = str(state / "challenger-1")
    code, said = run("--state", str(tmp_path), "--artifact", artifact)
    assert code == 1
    assert "2 decisions replayed: 1 identical, 1 not" in said
    assert f"altered: {best['model']}.p_adequate: logged" in said
    assert "1 not replayed: logged before schema 3" in said
    assert "'unreadable': embedding: got 1 numbers" in said

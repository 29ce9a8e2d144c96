"""A session of several calls over HTTP: caches, pins, locks, a restart, and what is explained."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving_process import Server, requires_starter, serving

pytestmark = [pytest.mark.service, requires_starter]

TOOLS = [
    {
        "type": "function",
        "function": {"name": "bash", "parameters": {"type": "object", "properties": {}}},
    }
]
RULES = "Keep functions short and names plain. " * 1_500


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("sessions") / "state") as running:
        yield running


def conversation(n_turns: int, **members: Any) -> dict[str, Any]:
    """The body after so many tool calls, markers set as agents do."""
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": RULES, "cache_control": {"type": "ephemeral"}},
        {"role": "user", "content": "Make the tests pass"},
    ]
    for n in range(n_turns):
        function = {"name": "bash", "arguments": f'{{"command": "ls {n}"}}'}
        call = {"id": f"call_{n:05d}", "type": "function", "function": function}
        messages += [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": f"file_{n}.py " * 200},
        ]
    return {"model": "auto", "messages": messages, "tools": TOOLS, **members}


def routed(
    server: Server, body: dict[str, Any], session: str, decision_id: str, **policy: Any
) -> dict[str, Any]:
    caller = {"session": session, "decision_id": decision_id}
    response = server.http.post(
        "/route", json={"request": body, "caller": caller, "policy": policy}
    )
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def explained(server: Server, decision_id: str) -> dict[str, Any]:
    found: dict[str, Any] = server.http.get(f"/decisions/{decision_id}").json()
    return found


def reported(server: Server, decision_id: str, model: str, **usage: int) -> None:
    outcome = {"decision_id": decision_id, "model": model, "usage": usage}
    assert server.http.post("/outcomes", json=outcome).status_code == 200


def test_the_second_call_reads_what_the_first_left_and_says_so_in_dollars(server: Server) -> None:
    first = routed(server, conversation(1), "warm", "warm-1")
    assert first["expected"]["cached_tokens"] == 0
    reported(server, "warm-1", first["model"], input_tokens=14_000, output_tokens=90)
    second = routed(server, conversation(2), "warm", "warm-2", models=[first["model"]])
    assert 10_000 < second["expected"]["cached_tokens"] <= 14_000
    assert second["expected"]["cost_usd"] < first["expected"]["cost_usd"]
    # What is added is billed on top of the last bill, not of the first estimate.
    assert 14_000 < second["expected"]["input_tokens"] < 16_000
    rules = {rule["rule"]: rule for rule in explained(server, "warm-2")["rules"]}
    assert rules["cache"]["usd"] < 0
    assert rules["price.cache_read"]["usd"] > 0
    assert "later_session" in rules
    assert rules["excluded.not_allowed"]["usd"] > 0


def test_a_fallback_that_served_is_the_model_that_is_warm(server: Server) -> None:
    first = routed(server, conversation(1), "fallback", "fallback-1")
    other = next(m for m in first["fallbacks"] if m.startswith("gpt"))
    reported(server, "fallback-1", other, input_tokens=13_000, output_tokens=9)
    routed(server, conversation(2), "fallback", "fallback-2", models=[first["model"], other])
    found = explained(server, "fallback-2")
    assert found["situation"]["session"]["model"] == other
    cached = {c["model"]: c["cached_tokens"] for c in found["candidates"]}
    assert cached[other] > 0
    assert cached[first["model"]] == 0


def test_a_pinned_session_stays_until_the_pin_is_lifted(server: Server) -> None:
    first = routed(server, conversation(0), "pin", "pin-1", pin_session=True)
    second = routed(server, conversation(1), "pin", "pin-2")
    assert second["model"] == first["model"]
    assert all(r.startswith("session_pinned") for r in second["excluded"].values())
    title = {
        "messages": [
            {"role": "system", "content": "Generate a short title for this conversation."},
            {"role": "user", "content": "Make the tests pass"},
        ]
    }
    assert not routed(server, title, "pin", "pin-title")["excluded"]
    free = routed(server, conversation(2), "pin", "pin-3", pin_session=False)
    assert "session_pinned" not in " ".join(free["excluded"].values())


def test_signed_thinking_in_an_open_loop_keeps_the_model(server: Server) -> None:
    first = routed(server, conversation(0), "signed", "signed-1", models=["claude-sonnet-4-6"])
    body = {
        "model": "auto",
        "max_tokens": 2_000,
        "messages": [
            {"role": "user", "content": "Make the tests pass"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "look first", "signature": "c2lnbmVk"},
                    {"type": "tool_use", "id": "toolu_1", "name": "bash", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "a.py"}],
            },
        ],
        "tools": [{"name": "bash", "input_schema": {"type": "object"}}],
    }
    second = routed(server, body, "signed", "signed-2")
    assert second["model"] == first["model"] == "claude-sonnet-4-6"
    assert second["fallbacks"] == []
    found = explained(server, "signed-2")
    assert found["lock"].startswith("signed: ")
    assert any(rule["rule"] == "excluded.locked" for rule in found["rules"])


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        ({"objective": "speed"}, "policy.objective"),
        ({"deterministic": "yes"}, "policy.deterministic"),
        ({"pin_session": 1}, "policy.pin_session"),
    ],
)
def test_wrong_terms_of_a_session_are_named(
    server: Server, policy: dict[str, Any], field: str
) -> None:
    body = {"request": conversation(0), "policy": policy}
    response = server.http.post("/route", json=body)
    assert (response.status_code, response.json()["field"]) == (422, field)
    assert response.json()["allowed"]


def test_the_terms_of_a_session_may_come_in_headers(server: Server) -> None:
    headers = {"x-router-objective": "latency", "x-router-deterministic": "false"}
    answer = server.http.post("/route", json=conversation(0), headers=headers).json()
    assert answer["reason"] == "fastest_adequate"
    wrong = server.http.post(
        "/route", json=conversation(0), headers={"x-router-pin-session": "maybe"}
    )
    assert (wrong.status_code, wrong.json()["field"]) == (422, "x-router-pin-session")


def test_a_restart_loses_the_session_and_says_so(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with serving(state) as before:
        first = routed(before, conversation(1), "lost", "lost-1", pin_session=True)
        routed(before, conversation(2), "lost", "lost-2")
        assert before.metric("router_session_calls_total", session="known") == 1
        before.stop(signal.SIGKILL)
    with serving(state) as after:
        answer = routed(after, conversation(3), "lost", "lost-3", models=[first["model"]])
        assert answer["expected"]["cached_tokens"] == 0
        assert after.metric("router_session_calls_total", session="lost") == 1
        found = explained(after, "lost-3")
        assert found["situation"]["session"]["turn"] == 3
        assert any(rule["rule"] == "session_lost" for rule in found["rules"])

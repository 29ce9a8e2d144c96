"""The client of the router against one that fails, refuses, is slow or wants the whole body."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from routers import encoder
from scripted_router import DECIDED, Answer, Scripted, scripted_router

from router_model.errors import InvalidRequestError
from router_model.types import Caller, PolicyOverrides, WireFormat
from router_serving.gateways.client import AsyncRouterClient, FeatureSettings, RouterClient
from router_serving.gateways.encoder_copy import FILE, EncoderCopy
from router_serving.gateways.errors import RefusedError, UnavailableError
from router_serving.gateways.question import STATIC, Choice
from router_serving.gateways.settings import GatewaySettings

BODY = {"messages": [{"role": "user", "content": "Fix the failing test. " * 400}]}
BUSY = Answer(503, {"code": "overloaded"})
BODY_NEEDED = Answer(409, {"code": "body_needed", "field": "features.schema"})
NO_FEATURES = FeatureSettings(is_sent=False)


@pytest.fixture
def script() -> Iterator[Scripted]:
    with scripted_router() as running:
        yield running


@pytest.fixture
def artifact(tmp_path: Path) -> FeatureSettings:
    encoder().save(tmp_path)
    return FeatureSettings(artifact=tmp_path)


def settings(script: Scripted, **changes: Any) -> GatewaySettings:
    given: dict[str, Any] = {"url": script.url, "timeout_s": 5.0} | changes
    return GatewaySettings(**given)


def decided(given: GatewaySettings, features: FeatureSettings, **call: Any) -> Choice:
    """The choice of one call, which both clients make alike."""
    with RouterClient(given, features=features) as client:
        return client.decide(BODY, **call)


async def decided_async(given: GatewaySettings, features: FeatureSettings, **call: Any) -> Choice:
    async with AsyncRouterClient(given, features=features) as client:
        return await client.decide(BODY, **call)


WAYS = {
    "sync": decided,
    "async": lambda *a, **k: asyncio.run(decided_async(*a, **k)),
}
both_ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@both_ways
def test_a_call_goes_with_caller_and_limits_and_an_id_of_its_own(
    way: Any, script: Scripted
) -> None:
    choice = way(
        settings(script),
        NO_FEATURES,
        caller=Caller(tenant="acme", user="kim"),
        overrides=PolicyOverrides(max_cost_usd=0.5),
        wire_format=WireFormat.OPENAI_CHAT,
        path="/v1/chat/completions",
        headers={"X-Claude-Code-Session-Id": "session-12345", "authorization": "Bearer secret"},
    )
    assert (choice.model, choice.decision_id, choice.sent) == ("large", "d1", "request")
    (asked,) = script.asked
    assert asked["request"] == BODY
    assert (asked["format"], asked["path"]) == ("openai.chat", "/v1/chat/completions")
    assert asked["policy"] == {"max_cost_usd": 0.5}
    assert len(asked["caller"].pop("decision_id")) == 32
    assert asked["caller"] == {"tenant": "acme", "user": "kim", "session": "session-12345"}
    assert "secret" not in json.dumps(asked)


@both_ways
def test_a_busy_router_or_a_lost_answer_is_asked_once_more_by_the_same_id(
    way: Any, script: Scripted
) -> None:
    for answer in (BUSY, Answer(0)):
        script.answers, script.asked = [answer], []
        assert way(settings(script), NO_FEATURES).model == "large"
        first, second = script.asked
        assert first == second


@both_ways
@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([BUSY, BUSY], "no decision: status_503"),
        ([Answer(0), Answer(0)], "no decision: RemoteProtocolError"),
        ([Answer(500, {})], "no decision: status_500"),
        ([Answer(200, b"no json")], "no decision: odd_answer"),
        ([Answer(200, {"model": 7})], "no decision: odd_answer"),
        ([Answer(404, {})], "no decision: status_404"),
        ([Answer(409, {"code": "decision_id_reused"})], "no decision: status_409"),
        ([Answer(pause_s=1.0)], "no decision: timeout"),
    ],
)
def test_without_a_decision_the_fallback_answers_and_says_why(
    way: Any, script: Scripted, answers: list[Answer], reason: str
) -> None:
    script.answers = list(answers)
    choice = way(settings(script, fallback="mini", timeout_s=0.3), NO_FEATURES)
    assert (choice.model, choice.policy, choice.sent) == ("mini", STATIC, "")
    assert choice.reason == reason
    assert choice.decision_id == script.asked[0]["caller"]["decision_id"]
    script.answers = list(answers)
    with pytest.raises(UnavailableError, match=reason):
        way(settings(script, timeout_s=0.3), NO_FEATURES)


def test_nobody_there_is_no_error_where_there_is_a_fallback(script: Scripted) -> None:
    gone = GatewaySettings(url="http://127.0.0.1:9", fallback="mini")
    with RouterClient(gone, features=NO_FEATURES) as client:
        reasons = [client.decide(BODY).reason for _ in range(5)]
    assert reasons[0] == "no decision: connect"
    assert reasons[-1] == "no decision: paused"


@both_ways
def test_a_refusal_is_no_case_for_the_fallback(way: Any, script: Scripted) -> None:
    script.answers = [Answer(429, {"code": "limit_exceeded", "detail": "budget: spent"})]
    with pytest.raises(RefusedError, match="budget: spent") as refused:
        way(settings(script, fallback="mini"), NO_FEATURES)
    assert (refused.value.status, refused.value.headers) == (429, {"retry-after": "7"})


@both_ways
def test_features_go_in_place_of_a_long_body(
    way: Any, script: Scripted, artifact: FeatureSettings
) -> None:
    assert way(settings(script), artifact).sent == "features"
    (asked,) = script.asked
    assert asked.keys() == {"features", "caller", "policy"}
    assert "Fix the failing" not in json.dumps(asked)
    assert len(json.dumps(asked)) < 2_500


def test_a_short_body_goes_whole(script: Scripted, artifact: FeatureSettings) -> None:
    with RouterClient(settings(script), features=artifact) as client:
        assert client.decide({"messages": [{"role": "user", "content": "hi"}]}).sent == "request"


def test_a_body_that_can_not_be_read_goes_whole_so_that_the_router_says_why(
    script: Scripted, artifact: FeatureSettings
) -> None:
    script.answers = [Answer(422, {"code": "invalid_request"})]
    with (
        RouterClient(settings(script), features=artifact) as client,
        pytest.raises(UnavailableError, match="status_422"),
    ):
        client.decide({"messages": 7, "more": "x" * 5_000})


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [object()]},
        b"no json",
        b"",
        '{"messages": []}, "caller": {"tenant": "other"}',
        b'{}, "policy": {"models": ["dear"]}, "x": {}',
        b'{"a": 1}}',
    ],
)
def test_a_body_that_is_no_json_or_more_than_that_is_not_sent(body: Any, script: Scripted) -> None:
    with RouterClient(settings(script, fallback="mini"), features=NO_FEATURES) as client:
        with pytest.raises(InvalidRequestError, match="body"):
            client.decide(body)
        assert client.decide(b"\xef\xbb\xbf" + json.dumps(BODY).encode()).sent == "request"
    assert [asked["request"] for asked in script.asked] == [BODY]


@pytest.mark.parametrize(
    "answer",
    [BODY_NEEDED, Answer(422, {"code": "invalid_request", "field": "features.outline"})],
)
def test_where_features_are_not_enough_the_body_follows_and_the_next_go_whole(
    answer: Answer, script: Scripted, artifact: FeatureSettings
) -> None:
    script.answers = [answer]
    with RouterClient(settings(script), features=artifact) as client:
        sent = [client.decide(BODY, caller=Caller(tenant="acme")).sent for _ in range(2)]
        other = client.decide(BODY, caller=Caller(tenant="other")).sent
    assert (sent, other) == (["request", "request"], "features")
    kinds = [next(iter(asked)) for asked in script.asked]
    assert kinds == ["features", "request", "request", "features"]
    first, second = script.asked[:2]
    assert first["caller"] == second["caller"]


def test_an_encoder_that_can_not_be_fetched_costs_no_decision(
    script: Scripted, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    (tmp_path / FILE).write_bytes(b"damaged")
    with RouterClient(settings(script), features=FeatureSettings(cache_dir=tmp_path)) as client:
        assert not client.wait_for_features(10.0)
        assert client.decide(BODY).sent == "request"
    assert "encoder.unavailable error=HTTPStatusError" in caplog.text


def test_an_encoder_that_is_outdated_is_asked_for_again_but_not_on_every_call(
    script: Scripted,
) -> None:
    copy = EncoderCopy(settings(script), encoder=encoder())
    assert copy.current() is not None
    copy.outdated()
    assert not copy.wait(10.0)
    assert copy.current() is None


def test_the_client_imports_nothing_of_the_service() -> None:
    service = ("fastapi", "starlette", "pydantic", "duckdb", "orjson", "structlog", "router_data")
    code = (
        "import sys, router_serving.gateways.client\n"
        f"assert not set({service}) & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_answer_may_have_members_that_a_client_does_not_know(script: Scripted) -> None:
    script.answers = [Answer(content={**DECIDED, "new": 1, "expected": {"p_adequate": None}})]
    with RouterClient(settings(script), features=NO_FEATURES) as client:
        assert client.decide(BODY).expected == {"p_adequate": None}

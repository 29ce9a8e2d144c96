"""The client of the router with a real server: features decide as bodies do, session by session."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packed_calls import timeless
from serving_process import BODIES, Server, requires_starter, serving

from router_bench.bodies import conversation
from router_model.artifact import STARTER
from router_model.types import Caller, Outcome, PolicyOverrides, Usage, WireFormat
from router_serving.gateways.client import (
    AsyncRouterClient,
    Choice,
    FeatureSettings,
    RouterClient,
)
from router_serving.gateways.encoder_copy import FILE
from router_serving.gateways.settings import GatewaySettings

pytestmark = [pytest.mark.service, requires_starter]

ALWAYS = FeatureSettings(artifact=STARTER, small_bytes=0)
NEVER = FeatureSettings(is_sent=False)
PATIENT_S = 20.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("client")
    with serving(folder / "state", log_text_tenants='["told"]') as running:
        yield running


def settings(server: Server, **changes: Any) -> GatewaySettings:
    given: dict[str, Any] = {"url": str(server.http.base_url), "timeout_s": PATIENT_S} | changes
    return GatewaySettings(**given)


def client(server: Server, features: FeatureSettings) -> RouterClient:
    return RouterClient(settings(server), features=features)


def told(choice: Choice) -> dict[str, Any]:
    """What a choice says, but for its id and the way it was asked for."""
    return {
        name: getattr(choice, name)
        for name in choice.__struct_fields__
        if name not in ("decision_id", "sent")
    }


@pytest.mark.parametrize("wire_format", BODIES)
def test_every_dialect_gets_one_decision_by_features_and_by_body(
    server: Server, wire_format: str
) -> None:
    body, caller = dict(BODIES[wire_format]), Caller(tenant=f"both-{wire_format}")
    with client(server, ALWAYS) as short, client(server, NEVER) as whole:
        first = short.decide(body, caller=caller, wire_format=WireFormat(wire_format))
        second = whole.decide(body, caller=caller)
    assert (first.sent, second.sent) == ("features", "request")
    assert (first.model, first.excluded) == (second.model, second.excluded)


def test_a_session_with_bills_goes_alike_for_a_tenant_that_sends_features(server: Server) -> None:
    said: dict[str, list[dict[str, Any]]] = {}
    for tenant, features in (("short", ALWAYS), ("whole", NEVER)):
        with client(server, features) as asking:
            said[tenant] = list(session(asking, server, tenant))
    assert said["short"] == said["whole"]
    rows = {
        tenant: [
            timeless(row)
            for row in server.rows(
                "select features, embedding, request_hash, input_tokens, max_output_tokens, client,"
                f" step_type, lock, model from decisions where tenant = '{tenant}' order by ts_ms"
            )
        ]
        for tenant in said
    }
    assert len(rows["short"]) == 6
    assert rows["short"] == rows["whole"]


def session(asking: RouterClient, server: Server, tenant: str) -> Iterator[dict[str, Any]]:
    """What is decided for six turns, each billed before the next."""
    body = json.loads(conversation(30_000, seed=5))
    for turn in range(6):
        shown = {**body, "messages": body["messages"][: 8 + 2 * turn]}
        decision_id = f"{tenant}-{turn}"
        choice = asking.decide(
            shown,
            caller=Caller(tenant=tenant, session="s", decision_id=decision_id),
            overrides=PolicyOverrides(pin_session=True if turn == 2 else None),
        )
        again = asking.decide(
            shown,
            caller=Caller(tenant=tenant, session="s", decision_id=decision_id),
            overrides=PolicyOverrides(pin_session=True if turn == 2 else None),
        )
        assert again == choice
        usage = {"input_tokens": 6_000 + 500 * turn, "cached_tokens": 5_000 * (turn > 0)}
        bill = {"decision_id": decision_id, "model": choice.model, "usage": usage}
        answer = server.http.post("/outcomes", json=bill, headers={"x-router-tenant": tenant})
        assert answer.json() == {"accepted": 1, "unmatched": []}
        yield told(choice)


def test_a_tenant_whose_text_is_logged_gets_its_row_with_the_text(server: Server) -> None:
    body, caller = conversation(20_000, seed=3), Caller(tenant="told", decision_id="told-1")
    with client(server, ALWAYS) as asking:
        assert asking.decide(body, caller=caller).sent == "request"
        assert asking.decide(body, caller=Caller(tenant="untold")).sent == "features"
    server.http.get("/decisions/told-1")  # waits for the log
    (row,) = server.rows("select text from decisions where decision_id = 'told-1'")
    assert "Fix this" in row["text"]


def test_the_encoder_comes_from_the_server_once_and_is_kept(server: Server, tmp_path: Path) -> None:
    features = FeatureSettings(cache_dir=tmp_path, small_bytes=0)
    body = conversation(20_000, seed=4)
    for _ in range(2):
        with client(server, features) as asking:
            assert asking.wait_for_features(PATIENT_S)
            assert asking.decide(body).sent == "features"
        kept = (tmp_path / FILE).stat().st_mtime_ns
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).stat().st_mtime_ns == kept
    etag = server.http.get("/encoder").headers["etag"]
    unchanged = server.http.get("/encoder", headers={"if-none-match": etag})
    assert (unchanged.status_code, unchanged.content) == (304, b"")


def test_many_calls_of_one_loop_and_their_outcomes_arrive(server: Server) -> None:
    async def all_of_them() -> list[Choice]:
        async with AsyncRouterClient(settings(server), features=ALWAYS) as asking:
            assert await asking.wait_for_features(PATIENT_S)
            choices = await asyncio.gather(
                *(
                    asking.decide(conversation(9_000, seed=n), caller=Caller(tenant="many"))
                    for n in range(20)
                )
            )
            for choice in choices:
                usage = Usage(input_tokens=100, output_tokens=5)
                outcome = Outcome(
                    decision_id=choice.decision_id, model=choice.model, adequate=True, usage=usage
                )
                asking.report(outcome, tenant="many")
            return choices

    choices = asyncio.run(all_of_them())
    assert {choice.sent for choice in choices} == {"features"}
    assert len({choice.decision_id for choice in choices}) == 20
    sql = "select count(*) as n from outcomes where tenant = 'many' and adequate"
    assert server.rows(sql) == [{"n": 20}]


def test_where_the_server_stops_the_fallback_answers(tmp_path: Path) -> None:
    with serving(tmp_path / "state") as stopping:
        given = settings(stopping, fallback="gpt-5.4-nano", timeout_s=2.0)
        with RouterClient(given, features=ALWAYS) as asking:
            assert asking.decide(conversation(9_000, seed=1)).policy != "static_fallback"
            stopping.stop()
            choice = asking.decide(conversation(9_000, seed=1))
    assert (choice.model, choice.policy) == ("gpt-5.4-nano", "static_fallback")

"""Decisions by features that a client made of a body itself."""

import base64
import json
import random
from typing import Any

import msgspec
import numpy as np
import pytest
from dialects import RENDERERS
from hostile_bodies import TALK, real, spoilt
from packed_calls import BothWays, packed
from routers import CARDS, encoder, router
from served_engine import BODY, Served

from router_model.digest import VERSION
from router_model.errors import BodyNeededError, InvalidRequestError, RouterError
from router_model.features import SCHEMA
from router_model.router import Router
from router_model.types import Outcome, Usage, WireFormat
from router_serving.envelope import opened
from router_serving.errors import DecisionIdReusedError, problem
from router_serving.reading import known_of, read

ROUTER = router()


def enveloped(features: Any, **around: Any) -> bytes:
    return msgspec.json.encode({"features": features, **around})


def refused(features: Any, *, served: Served | None = None, **around: Any) -> dict[str, Any]:
    """The problem document that these features get; a decision is a failure."""
    asked = served or Served(ROUTER)
    body = enveloped(features, **around)
    prefix = ""
    try:
        call = opened(body, {}, catalog=ROUTER.catalog)
        prefix = call.prefix
        asked.answered(call)
    except RouterError as error:
        status, content = problem(error, field_prefix=prefix)
        told: dict[str, Any] = json.loads(content)
        assert told["status"] == status
        return told
    raise AssertionError("decided")


def floats(text: str, kind: str) -> Any:
    return np.frombuffer(base64.b64decode(text), dtype=kind).copy()


def text(values: Any) -> str:
    return base64.b64encode(values.tobytes()).decode()


@pytest.mark.parametrize("wire_format", WireFormat)
def test_every_dialect_is_decided_and_logged_alike_both_ways(wire_format: WireFormat) -> None:
    both = BothWays(ROUTER)
    both.sent(RENDERERS[wire_format](TALK), caller={"tenant": "acme", "decision_id": "d1"})
    both.sent(real(wire_format), caller={"user": "kim", "decision_id": "d2", "client": "c"})
    (first, second) = both.rows()
    assert (first["decision_id"], second["format"]) == ("d1", str(wire_format))


def test_a_session_with_locks_caches_bills_pins_and_limits_goes_alike_both_ways() -> None:
    both = BothWays(router(CARDS))
    messages: list[Any] = [{"role": "user", "content": "Make the tests pass"}]
    for turn in range(6):
        body = {"model": "large", "max_tokens": 900, "messages": messages, "thinking": {
            "type": "enabled", "budget_tokens": 1024}}  # fmt: skip
        limits: list[dict[str, Any]] = [
            {}, {"pin_session": True}, {}, {"pin_session": False, "models": ["large", "medium"]},
            {"max_cost_usd": 0.05}, {"min_adequacy": 0.2},
        ]  # fmt: skip
        caller = {"tenant": "acme", "session": "s", "decision_id": f"d{turn}"}
        answer = both.sent(body, caller=caller, policy=limits[turn])
        bill = Usage(input_tokens=500 + 100 * turn, cached_tokens=300 * turn, output_tokens=20)
        outcome = Outcome(decision_id=f"d{turn}", model=answer.model, usage=bill)
        for served in (both.whole, both.short):
            served.engine.observe(outcome, tenant="acme")
        thought = {"type": "thinking", "thinking": "hm", "signature": "s" * 40}
        used = {"type": "tool_use", "id": f"toolu_{turn:05d}", "name": "bash", "input": {}}
        result = {"type": "tool_result", "tool_use_id": used["id"], "content": "a.py " * 300}
        messages += [
            {"role": "assistant", "content": [thought, used]},
            {"role": "user", "content": [result]},
        ]
    rows = both.rows()
    assert len(rows) == 6
    assert {row["lock"] for row in rows} != {None}
    assert any(row["situation"]["session"]["prefixes"] for row in rows)


def test_a_call_is_repeated_by_its_id_whichever_way_it_comes_first() -> None:
    served = Served(ROUTER)
    whole = msgspec.json.encode({"request": msgspec.Raw(BODY), "caller": {"decision_id": "d1"}})
    features = packed(BODY, ROUTER)
    short = enveloped(features, caller={"decision_id": "d1"})
    assert served.sent(whole).answer == served.sent(short).answer == served.sent(whole).answer
    other = enveloped({**features, "request_hash": "0" * 32}, caller={"decision_id": "d1"})
    with pytest.raises(DecisionIdReusedError):
        served.sent(other)
    assert len(served.rows()) == 1


def test_generated_bodies_are_decided_alike_both_ways() -> None:
    both = BothWays(ROUTER)
    rng = random.Random(7)
    n_decided, tried = 0, Served(ROUTER)
    for number in range(400):
        wire_format = rng.choice(list(WireFormat))
        body = spoilt(real(wire_format), rng, n=1)
        try:
            tried.sent(msgspec.json.encode({"request": msgspec.Raw(body)}))
        except (RouterError, msgspec.MsgspecError):
            continue
        both.sent(body, caller={"decision_id": f"d{number}"})
        n_decided += 1
    assert n_decided > 100


@pytest.mark.parametrize(
    ("name", "value"), [("version", VERSION + 1), ("schema", "0" * 64), ("encoder", "abc123")]
)
def test_features_of_another_make_ask_for_the_body(name: str, value: Any) -> None:
    told = refused(packed(BODY, ROUTER, **{name: value}))
    assert (told["status"], told["code"]) == (409, "body_needed")
    assert told["field"] == f"features.{name}"
    assert "send the body as `request`" in told["detail"]


def test_another_make_may_have_other_members() -> None:
    features = packed(BODY, ROUTER, version=VERSION + 1, added=1)
    assert refused(features)["code"] == "body_needed"


def test_a_tenant_whose_text_is_logged_is_asked_for_the_body() -> None:
    served = Served(ROUTER, log_text_tenants={"acme"})
    told = refused(packed(BODY, ROUTER), served=served, caller={"tenant": "acme"})
    assert told["code"] == "body_needed"
    assert served.sent(enveloped(packed(BODY, ROUTER), caller={"tenant": "other"}))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"values": "no base64!"}, "features.values"),
        ({"values": ""}, "features.values"),
        ({"values": 7}, "features.values"),
        ({"embedding": "AAAA"}, "features.embedding"),
        ({"input_tokens": -1}, "features.input_tokens"),
        ({"input_tokens": 2**60}, "features.input_tokens"),
        ({"input_tokens": 5_000}, "features.input_tokens"),
        ({"input_tokens": None}, "features.input_tokens"),
        ({"request_hash": "x"}, "features.request_hash"),
        ({"family": "<script>"}, "features.family"),
        ({"format": "soap"}, "features.format"),
        ({"outline": []}, "features.outline"),
        ({"outline": {}}, "features.outline.opening"),
        ({"more": 1}, "features"),
        ({"version": "1"}, "features.version"),
    ],
)
def test_what_no_request_can_have_is_refused_by_name(changes: dict[str, Any], field: str) -> None:
    told = refused(packed(BODY, ROUTER, **changes))
    assert (told["status"], told["field"]) == (422, field)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("max_output_tokens", 0),
        ("max_output_tokens", 1.5),
        ("n_answers", 10_001),
        ("n_answers", 0),
        ("thinking_budget", 2**60),
        ("images", [[-1, 5]]),
        ("images", [[1, 5]] * 10_001),
        ("tied_to", ["a"] * 9),
        ("opening", "short"),
        ("tools", "g" * 16),
        ("response_format", "xml"),
        ("is_signed", 1),
        ("n_assistant_messages", -1),
        ("cache_ttl_s", 1e30),
        ("surprise", True),
    ],
)
def test_an_outline_that_no_request_has_is_refused(member: str, value: Any) -> None:
    features = packed(BODY, ROUTER)
    features["outline"][member] = value
    told = refused(features)
    assert told["status"] == 422
    assert told["field"].startswith("features.outline")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_number_that_is_none_gets_to_the_model(bad: float) -> None:
    features = packed(BODY, ROUTER)
    for name, kind in (("values", "<f4"), ("embedding", "<f2")):
        numbers = floats(features[name], kind)
        for place in (0, len(numbers) // 2, len(numbers) - 1):
            spoiled = numbers.copy()
            spoiled[place] = bad
            told = refused({**features, name: text(spoiled)})
            assert (told["status"], told["field"]) == (422, f"features.{name}")


def test_lies_that_contradict_themselves_are_refused() -> None:
    features = packed(BODY, ROUTER)
    values = floats(features["values"], "<f4")
    for name, value in (("is_step_title", 1.0), ("is_step_main", 0.0), ("has_shell_tool", 0.5)):
        lying = values.copy()
        lying[SCHEMA.index(name)] = value
        assert refused({**features, "values": text(lying)})["field"] == "features.values"
    long = floats(features["embedding"], "<f2") * 0 + np.float16(3.0)
    assert refused({**features, "embedding": text(long)})["field"] == "features.embedding"


def test_hostile_features_are_refused_or_decided_by_finite_numbers() -> None:
    served, rng = Served(ROUTER), random.Random(3)
    features = packed(json.dumps(real(WireFormat.ANTHROPIC_MESSAGES)).encode(), ROUTER)
    for _ in range(1_500):
        body = spoilt({"features": features, "caller": {"tenant": "acme"}}, rng, n=3)
        try:
            answered = served.sent(body)
        except RouterError:
            continue
        msgspec.json.encode(answered.answer)
        assert answered.decided is None or np.isfinite(answered.decided.asked.digest.values).all()


@pytest.mark.parametrize(
    "envelope", [{"features": {}, "request": {}}, {"caller": {}}, {"features": None}]
)
def test_an_envelope_holds_either_a_body_or_features(envelope: Any) -> None:
    with pytest.raises(InvalidRequestError):
        Served(ROUTER).sent(msgspec.json.encode({"policy": {}, **envelope}))


def test_a_path_names_the_model_and_the_format_of_a_body() -> None:
    served = Served(ROUTER)
    shown = RENDERERS[WireFormat.GEMINI](TALK)
    body = json.dumps({k: v for k, v in shown.items() if k != "model"}).encode()
    path = "/v1beta/models/large:streamGenerateContent"
    served.sent(msgspec.json.encode({"request": msgspec.Raw(body), "path": path}))
    (row,) = served.rows()
    assert (row["requested_model"], row["format"]) == ("large", "gemini")
    for wrong in ("v1/models", 7, ""):
        with pytest.raises(InvalidRequestError, match=r"path: got .* expected the path"):
            opened(msgspec.json.encode({"request": {}, "path": wrong}), {}, catalog=ROUTER.catalog)


def test_where_an_artifact_that_is_tried_has_another_encoder_the_body_is_needed() -> None:
    other = Router(
        predictor=ROUTER.predictor,
        encoder=encoder(seed=9),
        catalog=ROUTER.catalog,
        policy=ROUTER.policy,
        manifest=ROUTER.manifest,
    )
    call = opened(enveloped(packed(BODY, ROUTER)), {}, catalog=ROUTER.catalog)
    reading = read(call)
    assert known_of(reading, ROUTER, other=ROUTER, is_text_logged=False)
    for deciding, shadow in ((ROUTER, other), (other, None)):
        with pytest.raises(BodyNeededError, match=r"features\.encoder"):
            known_of(reading, deciding, other=shadow, is_text_logged=False)

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from router_model.types import Caller, Usage, WireFormat
from router_serving.gateways.first_call import FirstCall
from router_serving.gateways.litellm_calls import Attempt, Call, Calls, note, noted
from router_serving.gateways.litellm_outcome import answered, failed, usage_of

BODY = b"""{"model": "auto", "messages": [{"role": "user", "content": "Fix it"}], "tools":
 [{"type": "function", "function": {"name": "bash", "parameters": {"type": "object",
   "properties": {"command": {"type": "string"}}, "required": ["command"]}}}]}"""
ENDED = datetime(2026, 1, 1, 12, 0, 0)  # LiteLLM's times have no zone
BEGAN_S = (ENDED - timedelta(seconds=2)).timestamp()


def _call(decision_id: str = "d-1", body: bytes = BODY) -> Call:
    return Call(
        decision_id=decision_id,
        kind="acompletion",
        wire_format=WireFormat.OPENAI_CHAT,
        body=body,
        group="fast",
        models={"gemini-3.8-flash": "fast"},
        headers={},
        caller=Caller(),
        tenant=None,
    )


def _response(**message: Any) -> SimpleNamespace:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
    content = {"object": "chat.completion", "choices": [choice]}
    return SimpleNamespace(model_dump=lambda mode: content)


def _logged(**known: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return {"response_cost": 0.5, "metadata": {"usage_object": usage}, **known}


def _called(arguments: str) -> SimpleNamespace:
    function = {"name": "bash", "arguments": arguments}
    return _response(tool_calls=[{"id": "1", "type": "function", "function": function}])


def test_an_answer_is_reported_with_all_that_is_known() -> None:
    attempt = Attempt("fast", began_s=BEGAN_S)
    response = _called('{"command": "ls"}')
    outcome, request = answered(
        _call(), 1, attempt, logged=_logged(), response=response, ended=ENDED
    )
    assert request is not None
    assert (outcome.decision_id, outcome.attempt, outcome.model) == ("d-1", 1, "gemini-3.8-flash")
    assert outcome.usage == Usage(input_tokens=100, output_tokens=10)
    assert outcome.cost_usd == 0.5
    assert outcome.latency_ms == outcome.tool_call_latency_ms == pytest.approx(2_000)
    assert (outcome.tool_call_valid, outcome.n_tool_calls) == (True, 1)
    assert not any(outcome.signals.values())


@pytest.mark.parametrize("arguments", ['{"cmd": "ls"}', '{"command": '])
def test_a_call_against_its_schema_is_no_valid_one(arguments: str) -> None:
    attempt, response = Attempt("fast", began_s=BEGAN_S), _called(arguments)
    outcome, _ = answered(_call(), 0, attempt, logged=_logged(), response=response, ended=ENDED)
    assert outcome.tool_call_valid is False


def test_of_a_stream_the_moment_of_the_first_whole_call_counts() -> None:
    call, attempt = _call(), Attempt("fast", began_s=BEGAN_S)
    call.first_call = FirstCall(WireFormat.OPENAI_CHAT)
    response = _called('{"command": "ls"}')
    outcome, _ = answered(call, 0, attempt, logged=_logged(), response=response, ended=ENDED)
    assert outcome.tool_call_latency_ms is None, "it was never seen"
    call.first_call.at_s = BEGAN_S + 0.5
    outcome, _ = answered(call, 0, attempt, logged=_logged(), response=response, ended=ENDED)
    assert outcome.tool_call_latency_ms == pytest.approx(500)


def test_a_cost_of_nothing_for_tokens_is_no_known_cost() -> None:
    logged = _logged(response_cost=0.0)
    attempt = Attempt("fast", began_s=BEGAN_S)
    outcome, _ = answered(
        _call(), 0, attempt, logged=logged, response=_response(content="ok"), ended=ENDED
    )
    assert outcome.cost_usd is None


def test_an_answer_out_of_the_proxy_s_cache_cost_nothing_and_teaches_nothing() -> None:
    logged = _logged(cache_hit=True)
    attempt = Attempt("fast", began_s=BEGAN_S)
    outcome, _ = answered(
        _call(), 0, attempt, logged=logged, response=_response(content="ok"), ended=ENDED
    )
    assert (outcome.cost_usd, outcome.usage, outcome.latency_ms) == (0.0, None, None)


@pytest.mark.parametrize("response", [None, "text", SimpleNamespace(), _response(content=3)])
def test_an_answer_that_is_not_understood_still_has_its_bill(response: Any) -> None:
    attempt = Attempt("fast", began_s=BEGAN_S)
    outcome, _ = answered(_call(), 0, attempt, logged=_logged(), response=response, ended=ENDED)
    assert outcome.usage is not None
    assert outcome.tool_call_valid is None


def test_a_request_that_is_not_understood_gives_no_signals() -> None:
    attempt = Attempt("fast", began_s=BEGAN_S)
    outcome, request = answered(
        _call(body=b"[]"), 0, attempt, logged=_logged(), response=_response(content=""), ended=ENDED
    )
    assert request is None
    assert outcome.signals == {}


def test_an_error_is_told_by_its_kind_and_never_by_its_text() -> None:
    error = ValueError("the prompt was: very private")
    outcome = failed(_call(), 2, Attempt("unlisted", began_s=BEGAN_S), error)
    assert (outcome.error, outcome.attempt, outcome.model) == ("ValueError", 2, "unlisted")


def test_all_kinds_of_tokens_are_read_and_never_contradict_each_other() -> None:
    told = {
        "prompt_tokens": 50,
        "completion_tokens": 5,
        "cache_read_input_tokens": 40,
        "prompt_tokens_details": {
            "cached_tokens": 1,
            "cache_creation_tokens": 20,
            "cache_creation_token_details": {"ephemeral_1h_input_tokens": 30},
        },
        "completion_tokens_details": {"reasoning_tokens": 9},
    }
    assert usage_of({"metadata": {"usage_object": told}}) == Usage(
        input_tokens=60,
        cached_tokens=40,
        cache_write_tokens=20,
        output_tokens=5,
        cache_write_1h_tokens=20,
        reasoning_tokens=5,
    )


@pytest.mark.parametrize("logged", [{}, {"metadata": None}, {"metadata": {"usage_object": 3}}])
def test_no_usage_is_no_usage(logged: dict[str, Any]) -> None:
    assert usage_of(logged) is None


def test_calls_are_forgotten_when_they_are_over_or_too_many() -> None:
    calls = Calls(max_calls=3, max_bytes=10)
    for name in ("a", "b", "c", "d"):
        calls.add(_call(name, b"123"))
    assert [calls.of({"metadata": {"router_decision_id": name}}) is None for name in "abcd"] == [
        *(True, False, False, False)
    ]
    calls.add(_call("e", b"12345"))
    assert len(calls) == 2, "their bodies weigh more than may be kept"
    calls.end("e")
    calls.end("e")
    assert len(calls) == 1


def test_notes_stand_where_they_never_go_to_a_provider() -> None:
    data: dict[str, Any] = {"metadata": {"user_id": "u"}, "litellm_metadata": {}}
    note(data, "router_decision_id", "d-1")
    assert data["metadata"] == {"user_id": "u"}
    assert noted(data, "router_decision_id") == "d-1"
    assert noted(None, "x") is noted({"metadata": "odd"}, "x") is None

from typing import Any

import pytest
from serving_decisions import outcome

from router_model.errors import InvalidRequestError
from router_model.types import Outcome, Usage
from router_serving.schemas import outcome_of


def test_an_outcome_becomes_the_domain_object() -> None:
    found = outcome_of(outcome(signals={"n_retries": 2, "is_loop": True, "exit": "ok"}), at="")
    assert found == Outcome(
        decision_id="d1",
        model="m",
        attempt=0,
        adequate=True,
        signals={"n_retries": 2, "is_loop": True, "exit": "ok"},
        usage=Usage(input_tokens=100, cached_tokens=20, output_tokens=9),
        cost_usd=0.002,
        latency_ms=900.0,
    )


def test_what_was_not_observed_may_be_left_out() -> None:
    found = outcome_of({"decision_id": "d1", "model": "m"}, at="")
    assert found == Outcome(decision_id="d1", model="m")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"adequate": "yes"}, "adequate"),
        ({"adequate": 1}, "adequate"),
        ({"reward": 1.5}, "reward"),
        ({"reward": True}, "reward"),
        ({"attempt": -1}, "attempt"),
        ({"attempt": 0.5}, "attempt"),
        ({"cost_usd": -0.1}, "cost_usd"),
        ({"cost_usd": "0.1"}, "cost_usd"),
        ({"latency_ms": []}, "latency_ms"),
        ({"model": ""}, "model"),
        ({"decision_id": 5}, "decision_id"),
        ({"usage": {"input_tokens": 1.5}}, "usage.input_tokens"),
        ({"usage": {"input_tokens": -1}}, "usage.input_tokens"),
        ({"usage": {"prompt_tokens": 1}}, "usage.prompt_tokens"),
        ({"usage": [1]}, "usage"),
        ({"signals": {"x": [1]}}, "signals.x"),
        ({"signals": {"x": "y" * 201}}, "signals.x"),
        ({"error": "e" * 501}, "error"),
        ({"ok": True}, "ok"),
    ],
)
def test_an_error_names_the_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        outcome_of(outcome(**changes), at="")
    assert caught.value.field == field
    assert caught.value.allowed


@pytest.mark.parametrize("name", ["decision_id", "model"])
def test_a_required_field_is_named_when_missing(name: str) -> None:
    content = outcome()
    del content[name]
    with pytest.raises(InvalidRequestError, match="required") as caught:
        outcome_of(content, at="[4].")
    assert caught.value.field == f"[4].{name}"


@pytest.mark.parametrize("item", [None, 3, "text", [], [{}]])
def test_anything_but_an_object_is_refused(item: object) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        outcome_of(item, at="[0].")
    assert caught.value.field == "[0]"


def test_cached_tokens_are_part_of_the_input() -> None:
    usage = {"input_tokens": 100, "cached_tokens": 900}
    with pytest.raises(InvalidRequestError, match="includes both") as caught:
        outcome_of(outcome(usage=usage), at="")
    assert caught.value.field == "usage"


@pytest.mark.parametrize("at", ["", "[3]."])
@pytest.mark.parametrize("inner", [False, True])
def test_the_first_of_countless_unknown_members_is_named(at: str, inner: bool) -> None:
    # Listing all of them once took seconds.
    many = {f"k{n}": n for n in range(100_000)}
    item = outcome(usage=many) if inner else outcome() | many
    with pytest.raises(InvalidRequestError, match="expected only known members") as caught:
        outcome_of(item, at=at)
    assert caught.value.field == f"{at}{'usage.' if inner else ''}k0"


@pytest.mark.parametrize("field", ["cost_usd", "latency_ms", "tool_call_latency_ms"])
def test_an_amount_that_no_sum_survives_is_refused(field: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"^{field}: got 1e\\+300, expected less than or"):
        outcome_of(outcome(**{field: 1e300}), at="")

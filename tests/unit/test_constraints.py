import msgspec
import pytest
from constraint_cases import CANDIDATE, CARD, PLAIN, TOOL, asking, reason, user, without

from router_model.constraints import OUTPUT_RESERVE, admissible, needs_of, within_limits
from router_model.outline import outline_of
from router_model.types import (
    Message,
    ModelCard,
    Part,
    PolicyOverrides,
    Request,
    ToolChoice,
    ToolSpec,
)


def test_an_able_model_takes_a_plain_request() -> None:
    assert reason(candidate=CANDIDATE) is None


@pytest.mark.parametrize(
    ("card", "request_", "said"),
    [
        (msgspec.structs.replace(CARD, enabled=False), PLAIN, "disabled: by the catalog"),
        (msgspec.structs.replace(CARD, price=None), PLAIN, "unknown_price: "),
        (without(tools=False), asking(tools=(TOOL,)), "no_tools: "),
        (
            without(forced_tool_choice=False),
            asking(tools=(TOOL,), tool_choice=ToolChoice(mode="required")),
            "no_tool_choice_required: ",
        ),
        (
            without(forced_tool_choice=False),
            asking(tools=(TOOL,), tool_choice=ToolChoice(mode="named", name="edit")),
            "no_tool_choice_required: ",
        ),
        (without(vision=False), user(Part(kind="image")), "no_vision: "),
        (without(json_mode=False), asking(response_format="json_object"), "no_json_mode: "),
        (
            without(json_mode=False, strict_schema=False),
            asking(response_format="json_schema"),
            "no_json_mode: ",
        ),
        (
            without(strict_schema=False),
            asking(response_format="json_schema", is_strict_response=True),
            "no_strict_schema: ",
        ),
        (
            without(strict_schema=False),
            asking(tools=(ToolSpec(name="edit", is_strict=True),)),
            "no_strict_schema: ",
        ),
        (
            without(tools=False),
            asking(tools=(TOOL,), response_format="json_schema", is_strict_response=True),
            "no_tools: ",
        ),
        (
            without(strict_schema=False),
            asking(tools=(TOOL,), response_format="json_schema", is_strict_response=True),
            "no_strict_schema: ",
        ),
    ],
)
def test_a_model_that_lacks_what_the_request_needs_is_excluded_with_the_reason(
    card: ModelCard, request_: Request, said: str
) -> None:
    found = reason(card, request_)
    assert found is not None
    assert found.startswith(said)
    assert reason(CARD, request_) is None


def test_tools_that_may_not_be_called_are_no_need_but_past_calls_are() -> None:
    blocked = asking(tools=(TOOL,), tool_choice=ToolChoice(mode="none"))
    assert reason(without(tools=False), blocked) is None
    called = Request(
        messages=(Message(role="assistant", parts=(Part(kind="tool_call", tool_name="edit"),)),)
    )
    assert reason(without(tools=False), called) == "no_tools: the request offers tools"


def test_a_loose_schema_is_served_by_json_mode_or_by_a_strict_schema() -> None:
    loose = asking(response_format="json_schema")
    assert reason(without(json_mode=False), loose) is None
    assert reason(without(strict_schema=False), loose) is None


def test_the_prompt_with_headroom_and_the_output_reserve_must_fit_the_window() -> None:
    fits = int((100_000 - OUTPUT_RESERVE) / 1.05)
    assert reason(input_tokens=fits) is None
    found = reason(input_tokens=fits + 2)
    assert found is not None
    assert found.startswith("context_window: needs 1000")
    assert found.endswith("of 100000 tokens")


def test_a_small_requested_output_needs_less_room_and_a_thinking_budget_more() -> None:
    tokens = 94_000
    assert reason(input_tokens=tokens) is not None
    assert reason(request=asking(max_output_tokens=500), input_tokens=tokens) is None
    thinking = asking(thinking_budget=6_000)
    assert reason(input_tokens=85_000) is None
    assert reason(request=thinking, input_tokens=85_000) is not None


def test_an_input_limit_below_the_window_holds_too() -> None:
    card = msgspec.structs.replace(CARD, max_input_tokens=50_000)
    assert reason(card, input_tokens=47_000) is None
    found = reason(card, input_tokens=48_000)
    assert found == "context_window: needs 50400 of 50000 input tokens"


def test_a_huge_requested_output_never_excludes() -> None:
    assert reason(request=asking(max_output_tokens=1_000_000)) is None


def test_a_model_that_is_expected_to_write_more_than_it_can_is_excluded() -> None:
    long = msgspec.structs.replace(CANDIDATE, output_tokens=16_000.5)
    assert reason(candidate=long) == "max_output: expects 16001 of 16000 tokens"


@pytest.mark.parametrize("name", ["able", "able-1", "able-latest"])
def test_policy_models_may_name_id_snapshot_or_alias(name: str) -> None:
    assert reason(overrides=PolicyOverrides(models=(name,))) is None


def test_models_that_the_policy_does_not_name_are_not_allowed() -> None:
    overrides = PolicyOverrides(models=("other",))
    assert (
        reason(overrides=overrides)
        == "not_allowed: not among policy.models and the tenant's models"
    )
    assert (
        reason(overrides=PolicyOverrides(models=()))
        == "not_allowed: not among policy.models and the tenant's models"
    )


def test_cost_and_latency_limits_hold_for_the_candidate_and_include_the_limit() -> None:
    exact = PolicyOverrides(max_cost_usd=0.01, max_tool_call_latency_ms=900.0)
    assert reason(overrides=exact, candidate=CANDIDATE) is None
    cheap = PolicyOverrides(max_cost_usd=0.009)
    assert reason(overrides=cheap, candidate=CANDIDATE) == (
        "too_expensive: expects $0.010000 of $0.009000"
    )
    fast = PolicyOverrides(max_tool_call_latency_ms=500.0)
    assert reason(overrides=fast, candidate=CANDIDATE) == (
        "too_slow: expects 900 of 500 ms to the first tool call, 95th percentile"
    )
    assert reason(overrides=cheap) is None


def test_every_model_is_either_admitted_in_order_or_excluded_with_a_reason() -> None:
    cards = [
        CARD,
        msgspec.structs.replace(CARD, id="dear"),
        msgspec.structs.replace(CARD, id="off", enabled=False),
        msgspec.structs.replace(CARD, id="last"),
    ]
    dear = msgspec.structs.replace(CANDIDATE, model="dear", expected_cost=1.0)
    admitted, excluded = admissible(
        cards,
        needs=needs_of(outline_of(PLAIN), input_tokens=10),
        overrides=PolicyOverrides(max_cost_usd=0.5),
        candidates={"able": CANDIDATE, "dear": dear},
    )
    assert [card.id for card in admitted] == ["able", "last"]
    assert {name: said.split(":")[0] for name, said in excluded.items()} == {
        "dear": "too_expensive",
        "off": "disabled",
    }


def test_checking_cards_first_and_what_is_expected_afterwards_admits_the_same_models() -> None:
    cards = [
        msgspec.structs.replace(CARD, id=f"m{i}", enabled=i % 4 != 0, max_output_tokens=400 * i + 1)
        for i in range(12)
    ]
    candidates = {
        card.id: msgspec.structs.replace(CANDIDATE, model=card.id, expected_cost=0.01 * i)
        for i, card in enumerate(cards)
    }
    needs, overrides = (
        needs_of(outline_of(PLAIN), input_tokens=10),
        PolicyOverrides(max_cost_usd=0.065),
    )
    admitted, excluded = admissible(cards, needs=needs, overrides=overrides, candidates=candidates)
    able, unable = admissible(cards, needs=needs, overrides=overrides)
    within, beyond = within_limits(able, needs=needs, overrides=overrides, candidates=candidates)
    assert within == admitted
    assert unable | beyond == excluded
    assert unable
    assert beyond

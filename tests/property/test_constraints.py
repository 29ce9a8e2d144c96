"""Laws of the hard constraints, for any catalog, request and limits."""

from hypothesis import given
from hypothesis import strategies as st

from router_model.constraints import admissible, beyond_windows, needs_of
from router_model.outline import outline_of
from router_model.types import (
    Capabilities,
    Message,
    ModelCard,
    Part,
    PolicyOverrides,
    PriceCard,
    Request,
    ToolChoice,
    ToolSpec,
)

flags = st.booleans()
sizes = st.integers(1, 60_000)
capabilities = st.builds(
    Capabilities,
    tools=flags,
    parallel_tools=flags,
    json_mode=flags,
    strict_schema=flags,
    seed=flags,
    vision=flags,
    forced_tool_choice=flags,
)


@st.composite
def catalogs(draw: st.DrawFn) -> list[ModelCard]:
    return [
        ModelCard(
            id=f"m{i}",
            provider="acme",
            snapshot=f"m{i}-1",
            family="m",
            context_window=draw(sizes),
            max_output_tokens=draw(sizes),
            max_input_tokens=draw(st.none() | sizes),
            capabilities=draw(capabilities),
            price=PriceCard(input=1.0, output=1.0),
            is_snapshot_pinned=draw(flags),
        )
        for i in range(draw(st.integers(1, 6)))
    ]


requests = st.builds(
    Request,
    messages=st.sampled_from(
        [
            (Message("user", (Part("text", "hi"),)),),
            (Message("user", (Part("image"),)),),
        ]
    ),
    tools=st.sampled_from([(), (ToolSpec("ls"),), (ToolSpec("ls", is_strict=True),)]),
    tool_choice=st.sampled_from(
        [ToolChoice(), ToolChoice("none"), ToolChoice("required"), ToolChoice("named", "ls")]
    ),
    parallel_tool_calls=st.none() | flags,
    response_format=st.sampled_from(["text", "json_object", "json_schema"]),
    is_strict_response=flags,
    max_output_tokens=st.none() | sizes,
    thinking_budget=st.none() | sizes,
    service_tier=st.sampled_from([None, "flex"]),
)
windows_by_model = st.dictionaries(st.sampled_from([f"m{i}" for i in range(6)]), sizes)


def lacks(card: ModelCard, request: Request) -> bool:
    """Whether a provider would refuse the request for what the model can't do."""
    can, choice, form = card.capabilities, request.tool_choice.mode, request.response_format
    callable_tools = request.tools if choice != "none" else ()
    return (
        (bool(callable_tools) and not can.tools)
        or (any(t.is_strict for t in callable_tools) and not can.strict_schema)
        or (choice in ("required", "named") and not can.forced_tool_choice)
        or (form == "json_object" and not can.json_mode)
        or (form == "json_schema" and not can.json_mode and not can.strict_schema)
        or (request.is_strict_response and not can.strict_schema)
        or (request.messages[0].parts[0].kind == "image" and not can.vision)
    )


@given(catalogs(), requests, st.integers(0, 50_000), flags)
def test_no_admitted_model_lacks_what_is_asked_or_cuts_the_prompt(
    cards: list[ModelCard], request: Request, input_tokens: int, deterministic: bool
) -> None:
    admitted, excluded = admissible(
        cards,
        needs=needs_of(outline_of(request), input_tokens=input_tokens),
        overrides=PolicyOverrides(deterministic=deterministic),
    )
    for card in admitted:
        assert not lacks(card, request)
        assert input_tokens < card.context_window
        assert input_tokens <= (card.max_input_tokens or input_tokens)
        assert not deterministic or (card.capabilities.seed and card.is_snapshot_pinned)
    assert [card for card in cards if card.id not in excluded] == list(admitted)
    assert all(": " in reason for reason in excluded.values())


@given(catalogs(), requests, st.integers(0, 50_000), windows_by_model)
def test_effective_windows_narrow_the_choice_and_never_empty_it(
    cards: list[ModelCard], request: Request, input_tokens: int, windows: dict[str, int]
) -> None:
    needs = needs_of(outline_of(request), input_tokens=input_tokens)
    able, unable = admissible(cards, needs=needs)
    kept, excluded = admissible(cards, needs=needs, windows=windows)
    beyond = beyond_windows(able, needs=needs, windows=windows)
    assert set(kept) <= set(able)
    assert bool(kept) == bool(able)
    assert {card.id for card in kept} | set(excluded) == {card.id for card in cards}
    if kept == able:
        assert excluded == unable
        assert not beyond or set(beyond) == {card.id for card in able}
    else:
        assert {card.id for card in kept}.isdisjoint(beyond)
        assert excluded == unable | beyond

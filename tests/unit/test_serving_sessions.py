from typing import Any

import pytest
from serving_decisions import decision

from router_model.types import Capabilities, Message, ModelCard, Part, Request, StepType
from router_serving.sessions import SessionMemory

CARD = ModelCard(
    id="m",
    provider="p",
    snapshot="m",
    family="f",
    context_window=100_000,
    max_output_tokens=1000,
    capabilities=Capabilities(caching="automatic"),
    cache_ttl_s=300,
    min_cache_tokens=1024,
)
REQUEST = Request(messages=(Message("user", (Part("text", "hi"),)),))
MARKED = Request(messages=REQUEST.messages, n_cache_markers=1)


def card(**changes: Any) -> ModelCard:
    return ModelCard(**{field: getattr(CARD, field) for field in CARD.__struct_fields__} | changes)


def remembered(
    memory: SessionMemory,
    *,
    card: ModelCard = CARD,
    request: Request = REQUEST,
    tokens: int = 5000,
    step_type: StepType = StepType.MAIN,
    tenant: str = "t",
    session: str = "s",
    now_s: float = 0.0,
) -> None:
    taken = decision(model=card.id, input_tokens=tokens, step_type=step_type)
    memory.remember(taken, request, card, tenant=tenant, session=session, now_s=now_s)


def cached(
    memory: SessionMemory, *, session: str = "s", tokens: int = 9000, now_s: float = 1.0
) -> Any:
    return dict(memory.cached_tokens("t", session, input_tokens=tokens, now_s=now_s))


def test_the_prefix_of_the_last_call_is_warm_for_its_model() -> None:
    memory = SessionMemory(10)
    remembered(memory)
    assert cached(memory) == {"m": 5000}


def test_each_model_of_a_session_keeps_its_own_prefix() -> None:
    memory = SessionMemory(10)
    remembered(memory)
    remembered(memory, card=card(id="n"), tokens=7000)
    assert cached(memory) == {"m": 5000, "n": 7000}


def test_a_prefix_is_cold_once_the_lifetime_has_passed() -> None:
    memory = SessionMemory(10)
    remembered(memory, now_s=100.0)
    assert cached(memory, now_s=399.9) == {"m": 5000}
    assert cached(memory, now_s=400.0) == {}


def test_a_call_never_reads_more_than_it_sends() -> None:
    memory = SessionMemory(10)
    remembered(memory)
    assert cached(memory, tokens=1200) == {"m": 1200}


def test_sessions_and_tenants_are_apart() -> None:
    memory = SessionMemory(10)
    remembered(memory, session="other")
    remembered(memory, tenant="other")
    assert cached(memory) == {}


@pytest.mark.parametrize(
    ("model", "request_", "step_type", "tokens"),
    [
        (card(capabilities=Capabilities(caching="none")), REQUEST, StepType.MAIN, 5000),
        (card(capabilities=Capabilities(caching="marked")), REQUEST, StepType.MAIN, 5000),
        (CARD, REQUEST, StepType.TITLE, 5000),
        (CARD, REQUEST, StepType.MAIN, 1023),
    ],
    ids=["no caching", "nothing marked", "side call", "below the minimum"],
)
def test_what_leaves_no_prefix_is_not_remembered(
    model: ModelCard, request_: Request, step_type: StepType, tokens: int
) -> None:
    memory = SessionMemory(10)
    remembered(memory, card=model, request=request_, step_type=step_type, tokens=tokens)
    assert cached(memory) == {}
    assert len(memory) == 0


def test_a_marked_prefix_is_remembered() -> None:
    memory = SessionMemory(10)
    remembered(memory, card=card(capabilities=Capabilities(caching="marked")), request=MARKED)
    assert cached(memory) == {"m": 5000}


def test_the_session_used_longest_ago_is_forgotten_first() -> None:
    memory = SessionMemory(2)
    for session in ("a", "b", "a", "c"):
        remembered(memory, session=session)
    assert len(memory) == 2
    assert cached(memory, session="a")
    assert not cached(memory, session="b")


def test_a_memory_of_no_entries_stays_empty() -> None:
    memory = SessionMemory(0)
    remembered(memory)
    assert len(memory) == 0

"""A memory of sessions, and calls, outcomes and bills for it."""

from typing import Any

from serving_decisions import decision

from router_model.catalog import Catalog, catalog_of
from router_model.outline import outline_of
from router_model.session_view import SessionView
from router_model.types import (
    Capabilities,
    Message,
    ModelCard,
    Outcome,
    Part,
    Request,
    StepType,
    Usage,
)
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
LATER = Request(messages=(*REQUEST.messages, Message("assistant", (Part("text", "yes"),))))


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
    decision_id: str = "d1",
    **options: Any,
) -> None:
    taken = decision(
        decision_id=decision_id, model=card.id, input_tokens=tokens, step_type=step_type
    )
    memory.remember(
        taken, outline_of(request), card, tenant=tenant, session=session, now_s=now_s, **options
    )


def cached(
    memory: SessionMemory, *, session: str = "s", tokens: int = 9000, now_s: float = 1.0
) -> Any:
    view = memory.view("t", session, outline_of(LATER), now_s=now_s)
    return {
        model: min(prefix.tokens, tokens)
        for model, prefix in view.prefixes.items()
        if prefix.tokens and prefix.age_s < prefix.ttl_s
    }


CATALOG: Catalog = catalog_of(
    [
        CARD,
        card(id="n", snapshot="n-2026-01-01", aliases=("nn",)),
        card(id="marked", capabilities=Capabilities(caching="marked"), long_cache_ttl_s=3600),
        card(id="none", capabilities=Capabilities()),
    ],
    as_of="2026-11-23",
)


def served(
    memory: SessionMemory, *, decision_id: str = "d1", model: str = "m", **fields: Any
) -> None:
    outcome = Outcome(decision_id=decision_id, model=model, **fields)
    memory.observe(outcome, tenant="t", catalog=CATALOG)


def billed(memory: SessionMemory, tokens: int, read: int = 0, **fields: Any) -> None:
    served(memory, usage=Usage(input_tokens=tokens, cached_tokens=read), **fields)


def seen(
    memory: SessionMemory, request: Request = LATER, *, now_s: float = 10.0, **options: Any
) -> SessionView:
    return memory.view("t", "s", outline_of(request), now_s=now_s, **options)

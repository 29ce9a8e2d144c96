"""One able model, one plain request, and the reason that they do not go together."""

import msgspec

from router_model.constraints import exclusion
from router_model.outline import outline_of
from router_model.types import (
    Candidate,
    Capabilities,
    Message,
    ModelCard,
    Part,
    PolicyOverrides,
    PriceCard,
    Request,
    ToolSpec,
)

ABLE = Capabilities(
    tools=True,
    json_mode=True,
    strict_schema=True,
    vision=True,
    forced_tool_choice=True,
    parallel_tools=True,
    seed=True,
)
CARD = ModelCard(
    id="able",
    provider="acme",
    snapshot="able-1",
    family="able",
    aliases=("able-latest",),
    context_window=100_000,
    max_output_tokens=16_000,
    capabilities=ABLE,
    price=PriceCard(input=1.0, output=2.0),
    is_snapshot_pinned=True,
)
TOOL = ToolSpec(name="edit")
CANDIDATE = Candidate(
    model="able",
    p_adequate=0.9,
    expected_cost=0.01,
    input_tokens=1_000,
    cached_tokens=0,
    output_tokens=300.0,
    tool_call_latency_ms=900.0,
)


def user(*parts: Part) -> Request:
    """A request of one user message."""
    return Request(messages=(Message(role="user", parts=parts),))


PLAIN = user(Part(kind="text", text="hi"))


def without(**flags: object) -> ModelCard:
    """The able model with other abilities."""
    return msgspec.structs.replace(CARD, capabilities=msgspec.structs.replace(ABLE, **flags))


def asking(**fields: object) -> Request:
    """The plain request with other fields."""
    return msgspec.structs.replace(PLAIN, **fields)


def reason(
    card: ModelCard = CARD,
    request: Request = PLAIN,
    *,
    input_tokens: int = 1_000,
    overrides: PolicyOverrides | None = None,
    candidate: Candidate | None = None,
) -> str | None:
    """Why the model can't take the request, by default the able model and the plain request."""
    return exclusion(
        card,
        outline=outline_of(request),
        input_tokens=input_tokens,
        overrides=overrides or PolicyOverrides(),
        candidate=candidate,
    )

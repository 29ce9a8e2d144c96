"""The JSON that the API takes and gives, as pydantic models.

Only outcomes are validated with them; the answer of `/route` is described here and encoded
elsewhere. The translation to the domain is in `routes`.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from router_model.errors import InvalidRequestError
from router_model.types import Outcome, Usage

# Beyond these a sum is none any more; no call costs a million dollars, or takes eleven days.
Dollars = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Milliseconds = Annotated[float, Field(ge=0, le=1_000_000_000, allow_inf_nan=False)]
Tokens = Annotated[int, Field(ge=0, le=1_000_000_000)]
Signal = bool | Annotated[float, Field(allow_inf_nan=False)] | Annotated[str, Field(max_length=200)]
GroupBy = Literal["user", "key", "session", "tenant", "model"]


class Strict(BaseModel):
    """No coercion, no unknown members."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class UsageBody(Strict):
    """Tokens of one call; `input_tokens` includes cached and cache-write tokens.

    `cache_write_1h_tokens` are part of `cache_write_tokens`, `reasoning_tokens` of `output_tokens`.
    """

    input_tokens: Tokens = 0
    cached_tokens: Tokens = 0
    cache_write_tokens: Tokens = 0
    output_tokens: Tokens = 0
    cache_write_1h_tokens: Tokens = 0
    reasoning_tokens: Tokens = 0

    @model_validator(mode="after")
    def _cached_within_input(self) -> "UsageBody":
        if self.cached_tokens + self.cache_write_tokens > self.input_tokens:
            raise ValueError(
                f"input_tokens of at least cached_tokens + cache_write_tokens "
                f"({self.cached_tokens} + {self.cache_write_tokens}): it includes both"
            )
        if self.cache_write_1h_tokens > self.cache_write_tokens:
            raise ValueError("cache_write_1h_tokens of at most cache_write_tokens: part of them")
        if self.reasoning_tokens > self.output_tokens:
            raise ValueError("reasoning_tokens of at most output_tokens: part of them")
        return self


class OutcomeBody(Strict):
    """What was observed after a decision; leave out what was not observed."""

    decision_id: Annotated[str, Field(min_length=1, max_length=256)]
    model: Annotated[str, Field(min_length=1, max_length=256)]
    attempt: Annotated[int, Field(ge=0, le=10_000)] = 0
    adequate: bool | None = None
    reward: Annotated[float, Field(ge=0, le=1)] | None = None
    signals: Annotated[dict[str, Signal], Field(max_length=64)] = {}
    usage: UsageBody | None = None
    cost_usd: Dollars | None = None
    latency_ms: Milliseconds | None = None
    tool_call_latency_ms: Milliseconds | None = None
    tool_call_valid: bool | None = None
    error: Annotated[str, Field(max_length=500)] | None = None
    n_tool_calls: Annotated[int, Field(ge=0, le=100_000)] | None = None
    n_tool_call_chunks: Annotated[int, Field(ge=0, le=10_000_000)] | None = None

    def to_outcome(self) -> Outcome:
        """The same as a domain object."""
        given = self.model_dump(exclude={"usage"})
        usage = None if self.usage is None else Usage(**self.usage.model_dump())
        return Outcome(usage=usage, **given)


class OutcomesAccepted(BaseModel):
    """All outcomes of the call are on disk.

    `unmatched` lists decision ids that this process did not answer to this tenant, as far as it
    remembers: they are logged all the same, since their decision may be older or another worker's.
    """

    accepted: int
    unmatched: list[str]


class CallerBody(BaseModel):
    """Who calls; other members are ignored."""

    tenant: str = Field(
        default="default", description="A key of one tenant fills in its own, and takes no other."
    )
    key: str | None = Field(
        default=None, description="The name of a key, for attribution: never the key itself."
    )
    user: str | None = None
    session: str | None = None
    decision_id: str | None = Field(
        default=None, description="Your own id: the same request with it gets the same answer."
    )
    client: str | None = None


class PolicyBody(Strict):
    """Limits for this one call."""

    min_adequacy: Annotated[float, Field(ge=0, le=1)] | None = None
    max_cost_usd: Annotated[float, Field(gt=0)] | None = None
    max_tool_call_latency_ms: Annotated[float, Field(gt=0)] | None = None
    models: list[str] | None = Field(default=None, description="Names or aliases of the catalog.")
    objective: Literal["cost", "latency"] | None = Field(
        default=None, description="What is least among the adequate models; cost by default."
    )
    deterministic: bool | None = Field(
        default=None, description="Only models that honour a seed, of a pinned snapshot."
    )
    pin_session: bool | None = Field(
        default=None, description="Answer the session's later calls with this call's model."
    )


class RouteBody(Strict):
    """The envelope: `request`, or `features`. The client's own body alone is accepted too."""

    request: dict[str, Any] | None = Field(default=None, description="The client's body, as it is.")
    features: dict[str, Any] | None = Field(
        default=None,
        description="What `router_serving.gateways.client` makes of the body, 2 kB in its place. "
        "409 `body_needed` where it can't be used here.",
    )
    format: Literal["openai.chat", "openai.responses", "anthropic.messages", "gemini"] | None = (
        Field(default=None, description="Detected when not given.")
    )
    path: str | None = Field(
        default=None, description="The path that the client called; Gemini's names the model."
    )
    caller: CallerBody | None = None
    policy: PolicyBody | None = None


class ExpectedBody(BaseModel):
    """What the chosen model is expected to do; null is what could not be predicted."""

    p_adequate: float | None
    cost_usd: float
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    tool_call_latency_ms: float | None


class VersionsBody(BaseModel):
    """What must be known to replay the decision."""

    artifact: str
    catalog: str
    policy: str


class RouteAnswerBody(BaseModel):
    """The decision."""

    decision_id: str
    model: str
    snapshot: str
    provider: str
    fallbacks: list[str]
    expected: ExpectedBody
    propensity: float
    policy: str
    reason: str
    excluded: dict[str, str]
    versions: VersionsBody
    timing_us: dict[str, int] | None = Field(
        default=None, description="With `?timing=1` or the header `x-router-timing: 1` only."
    )


class ProblemBody(BaseModel):
    """An error (RFC 9457); `code` is stable."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    field: str | None = None
    allowed: str | None = None
    excluded: dict[str, str] | None = None
    limit: str | None = Field(default=None, description="The limit that was reached.")
    retry_after_s: int | None = Field(
        default=None, description="When the limit lets go; null where the call can never pass."
    )


def outcome_of(item: object, *, at: str) -> Outcome:
    """The outcome in a piece of JSON; `at` is where it stands, such as "[3]." in a list."""
    _check_names(item, OutcomeBody, at=at)
    if isinstance(item, dict):
        _check_names(item.get("usage"), UsageBody, at=f"{at}usage.")
    try:
        return OutcomeBody.model_validate(item).to_outcome()
    except ValidationError as error:
        raise invalid_of(error, at=at, allowed_names=list(OutcomeBody.model_fields)) from None


def _check_names(item: object, model: type[BaseModel], *, at: str) -> None:
    """Refuse the first unknown member: pydantic would list them all, and they may be countless."""
    if isinstance(item, dict) and (unknown := item.keys() - model.model_fields.keys()):
        name, allowed = min(unknown), ", ".join(model.model_fields)
        raise InvalidRequestError(f"{at}{name}", item[name], f"only known members ({allowed})")


def invalid_of(error: ValidationError, *, at: str, allowed_names: list[str]) -> InvalidRequestError:
    """The first thing that pydantic found wrong, as our own error."""
    first = error.errors(include_url=False)[0]
    path = "".join(f".{step}" for step in first["loc"] if _is_member(step)).removeprefix(".")
    field = f"{at}{path}".rstrip(".") or "body"
    kind, value = first["type"], first["input"]
    if kind == "missing":
        return InvalidRequestError(field, None, "a value: it is required")
    if kind == "extra_forbidden":
        return InvalidRequestError(field, value, f"only known members ({', '.join(allowed_names)})")
    text = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return InvalidRequestError(field, value, text)


def _is_member(step: int | str) -> bool:
    """False for the names that pydantic gives the branches of a union."""
    return isinstance(step, int) or ("[" not in step and step not in ("bool", "float", "str"))

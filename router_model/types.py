"""The nouns of the domain: requests, models, candidates, decisions, outcomes.

All are immutable `msgspec.Struct`s, which on the request path cost a tenth of a frozen dataclass
and turn into JSON without code. Fields hold tuples and mappings, never lists.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

from msgspec import Struct, field

from router_model.cards import Capabilities as Capabilities
from router_model.cards import ModelCard as ModelCard
from router_model.cards import PriceCard as PriceCard
from router_model.cards import PriceTier as PriceTier
from router_model.cards import ServiceTier as ServiceTier
from router_model.terms import Exploration
from router_model.terms import PolicyOverrides as PolicyOverrides

Role = Literal["system", "user", "assistant", "tool"]
PartKind = Literal["text", "image", "file", "thinking", "tool_call", "tool_result"]
ResponseFormat = Literal["text", "json_object", "json_schema"]
ToolChoiceMode = Literal["auto", "none", "required", "named"]


class WireFormat(StrEnum):
    """The request dialects that are understood."""

    OPENAI_CHAT = "openai.chat"
    OPENAI_RESPONSES = "openai.responses"
    ANTHROPIC_MESSAGES = "anthropic.messages"
    GEMINI = "gemini"


class StepType(StrEnum):
    """What a call is for, inside the loop of a coding agent."""

    MAIN = "main"
    TOOL_RESULT = "tool_result"
    TITLE = "title"
    SUMMARY = "summary"
    COMMIT_MESSAGE = "commit_message"
    COMPACTION = "compaction"
    CLASSIFY = "classify"

    @property
    def is_side_call(self) -> bool:
        """True for housekeeping calls that do not carry the task itself."""
        return self not in (StepType.MAIN, StepType.TOOL_RESULT)


class Part(Struct, frozen=True, gc=False):
    """One piece of a message.

    `text` is a text, a thought or a tool result, the JSON arguments of a tool call, the plain text
    of a file if the body holds it. `width` and `height` are an image's pixels where the body shows
    them, else 0. `is_signed` marks thinking (with Gemini also calls and text)
    with a provider's signature or encrypted content, which no other provider can read.
    """

    kind: PartKind
    text: str = ""
    tool_name: str = ""
    call_id: str = ""
    is_error: bool = False
    is_signed: bool = False
    has_cache_marker: bool = False
    width: int = 0
    height: int = 0


class Message(Struct, frozen=True):
    """Consecutive parts of one role; neighbours of the same role are merged when parsed."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The text parts, joined by newlines."""
        return "\n".join(part.text for part in self.parts if part.kind == "text")


class ToolSpec(Struct, frozen=True, gc=False):
    """A tool offered to the model; `schema` is the raw JSON of its parameters (may be empty).

    `kind` is "function" or the provider's own type ("web_search", "bash_20250124", ...).
    """

    name: str
    description: str = ""
    schema: bytes = b""
    kind: str = "function"
    is_strict: bool = False
    has_cache_marker: bool = False


class ToolChoice(Struct, frozen=True, gc=False):
    """How free the model is to call tools; `name` only where the mode is "named"."""

    mode: ToolChoiceMode = "auto"
    name: str = ""


class Request(Struct, frozen=True, kw_only=True):
    """One model call, whatever dialect it came in.

    `system` joins the leading system and developer text; later system messages stay in `messages`.
    `thinking` is the asked effort ("none", "low", "adaptive", "budget", ...) or None if unsaid.
    `session_hint` is a session id of the body; `has_provider_state`: continues a provider's state.
    `cache_ttl_s` is the longest lifetime that a cache marker asks for, `service_tier` as it was
    asked ("batch", "flex", "priority", ...); both None if unsaid. `tied_to` are the providers to
    whose wire shape the kept state and the signatures belong, sorted, "" if it is no one's own.
    `n_answers` is how many answers are asked for at once: each may be as long as the limit.
    """

    messages: tuple[Message, ...]
    system: str = ""
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat = "text"
    response_schema: bytes = b""
    is_strict_response: bool = False
    requested_model: str = ""
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stream: bool = False
    thinking: str | None = None
    thinking_budget: int | None = None
    n_cache_markers: int = 0
    session_hint: str | None = None
    has_provider_state: bool = False
    cache_ttl_s: int | None = None
    service_tier: str | None = None
    tied_to: tuple[str, ...] = ()
    n_answers: int = 1

    @property
    def last_user_text(self) -> str:
        """Text of the last user message, harness text included; empty if there is none."""
        for message in reversed(self.messages):
            if message.role == "user" and (text := message.text):
                return text
        return ""


class Caller(Struct, frozen=True, kw_only=True):
    """Who asks. Everything is optional: an unnamed tenant is "default"."""

    tenant: str = "default"
    key: str | None = None
    user: str | None = None
    session: str | None = None
    decision_id: str | None = None
    client: str | None = None


class Candidate(Struct, frozen=True, kw_only=True):
    """A model scored for one request. Costs in US dollars, expected over what is not known yet.

    `expected_cost` is that of this call; `cached_tokens` are read at no more than `p_warm`, the
    probability that the model still has them. `later_cost` is what choosing it costs the session
    afterwards, through caches, beyond the choice that costs least there. `p_adequate` includes
    `p_valid`, the probability that its tool calls fit their schemas. Latencies are to the first
    complete tool call: `tool_call_latency_ms` the 95th percentile where it was learned,
    `tool_call_latency_p50_ms` the median; NaN where nothing is known.
    """

    model: str
    p_adequate: float
    expected_cost: float
    input_tokens: int
    cached_tokens: int
    output_tokens: float
    tool_call_latency_ms: float
    tool_call_latency_p50_ms: float = float("nan")
    p_warm: float = 1.0
    p_valid: float = 1.0
    later_cost: float = 0.0
    continues_with: str = ""


class Expected(Struct, frozen=True, kw_only=True):
    """What the chosen model is expected to do, as the API reports it."""

    p_adequate: float
    cost_usd: float
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    tool_call_latency_ms: float

    @classmethod
    def of(cls, candidate: Candidate) -> "Expected":
        """What is expected of a candidate, if it is the one that answers."""
        return cls(
            p_adequate=candidate.p_adequate,
            cost_usd=candidate.expected_cost,
            input_tokens=candidate.input_tokens,
            cached_tokens=round(candidate.cached_tokens * candidate.p_warm),
            output_tokens=round(candidate.output_tokens),
            tool_call_latency_ms=candidate.tool_call_latency_ms,
        )


class Versions(Struct, frozen=True, kw_only=True):
    """What must be known to replay a decision."""

    artifact: str
    catalog: str
    policy: str


class Decision(Struct, frozen=True, kw_only=True):
    """The answer for one request, with everything that is needed to learn from it later.

    `distribution` holds the probability of every admissible action; `propensity` is that of
    `model`. `excluded` maps each inadmissible model to "code: detail". `min_adequacy` is the
    threshold in effect and `contract` what set it, both None where total cost decided; `lock` is
    what ties the call to a model or provider. `reserved_microusd` is the most that the call may
    cost with `model`, None where no budget asks for it. Where the caller keeps its own model
    (`policy` "incumbent"), `shadow` is what would have been decided (None: nothing was admissible)
    and `named` what the caller calls its model, which the catalog may not know.
    """

    decision_id: str
    model: str
    snapshot: str
    provider: str
    fallbacks: tuple[str, ...]
    expected: Expected
    propensity: float
    policy: str
    reason: str
    excluded: Mapping[str, str]
    versions: Versions
    distribution: Mapping[str, float]
    candidates: tuple[Candidate, ...]
    step_type: StepType
    min_adequacy: float | None = None
    contract: str | None = None
    exploration: Exploration = Exploration()
    expected_regret_usd: float = 0.0
    lock: str | None = None
    reserved_microusd: int | None = None
    shadow: "Decision | None" = None
    named: str | None = None


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens of one call. `input_tokens` includes cached and cache-write tokens.

    `cache_write_1h_tokens` are the part of `cache_write_tokens` written for an hour,
    `reasoning_tokens` the part of `output_tokens` that was thought.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0


class Outcome(Struct, frozen=True, kw_only=True):
    """What was observed after a decision. `adequate` None means not observed.

    `n_tool_calls` and `n_tool_call_chunks` count the tool calls of the answer and the pieces in
    which their arguments were streamed.
    """

    decision_id: str
    model: str
    attempt: int = 0
    adequate: bool | None = None
    reward: float | None = None
    signals: Mapping[str, float | bool | str] = field(default_factory=dict)
    usage: Usage | None = None
    cost_usd: float | None = None
    latency_ms: float | None = None
    tool_call_latency_ms: float | None = None
    tool_call_valid: bool | None = None
    error: str | None = None
    n_tool_calls: int | None = None
    n_tool_call_chunks: int | None = None

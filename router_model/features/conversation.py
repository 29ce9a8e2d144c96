"""Features of the conversation's shape and the call's settings."""

from collections.abc import Sequence

from msgspec import Struct

from router_model.features.harness import UserText
from router_model.features.jsonschema import schema_shape
from router_model.features.schema import Feature
from router_model.tokens import FILE_TOKENS, IMAGE_TOKENS, MESSAGE_TOKENS, estimate_many
from router_model.types import Message, Part, Request

CONVERSATION_FEATURES = (
    Feature("total_tokens", "tokens", "estimated input of the call, tools and images included"),
    Feature("system_tokens", "tokens", "system and developer text, later system messages included"),
    Feature("user_tokens", "tokens", "text of all user messages"),
    Feature("assistant_tokens", "tokens", "text of all assistant messages"),
    Feature("thinking_tokens", "tokens", "thinking parts"),
    Feature("tool_call_tokens", "tokens", "arguments of all tool calls"),
    Feature("tool_result_tokens", "tokens", "text of all tool results"),
    Feature("tool_result_share", "share", "tool results of all message tokens"),
    Feature("last_user_tokens", "tokens", "last user text without what the client added"),
    Feature("last_user_harness_share", "share", "part of the last user message the client added"),
    Feature("first_user_tokens", "tokens", "first user text without what the client added"),
    Feature("tokens_since_user", "tokens", "what was said after the last real user text"),
    Feature("n_messages", "count", "messages"),
    Feature("n_user_messages", "count", "user messages"),
    Feature("n_assistant_messages", "count", "assistant messages: turns so far"),
    Feature("n_later_system", "count", "system messages after the beginning"),
    Feature("n_images", "count", "images"),
    Feature("n_files", "count", "attached files and parts of unknown kind"),
    Feature("n_thinking", "count", "thinking parts"),
    Feature("n_signed_thinking", "count", "thinking parts that only their provider can read"),
    Feature("n_cache_markers", "count", "explicit cache markers"),
    Feature("max_output_tokens", "tokens", "asked limit of the answer, 0 when not given"),
    Feature("temperature", "value", "temperature, 1 when not given"),
    Feature("is_temperature_given", "flag", "the client set a temperature"),
    Feature("is_seed_given", "flag", "the client set a seed"),
    Feature("is_stream", "flag", "the answer is streamed"),
    Feature(
        "thinking_level", "level", "0 none or not given, 1 minimal, 2 low, 3 medium, 4 high, 5+"
    ),
    Feature("is_thinking_given", "flag", "the client said how much to think"),
    Feature("is_parallel_off", "flag", "parallel tool calls are forbidden"),
    Feature("is_tool_required", "flag", "some tool, or a named one, has to be called"),
    Feature("is_tool_named", "flag", "one named tool has to be called"),
    Feature("is_tool_forbidden", "flag", "tools are shown and may not be called"),
    Feature("is_json_object", "flag", "the answer has to be JSON"),
    Feature("is_json_schema", "flag", "the answer has to follow a JSON schema"),
    Feature("is_strict_response", "flag", "that schema is enforced by the provider"),
    Feature("response_n_properties", "count", "properties of the response schema"),
    Feature("response_depth", "levels", "nesting of the response schema"),
    Feature("has_provider_state", "flag", "the call continues state that the provider keeps"),
)

_LEVELS = {
    "none": 0.0,
    "disabled": 0.0,
    "minimal": 1.0,
    "low": 2.0,
    "medium": 3.0,
    "adaptive": 3.0,
    "auto": 3.0,
    "high": 4.0,
    "xhigh": 5.0,
    "max": 6.0,
}
_BUDGET_LEVELS = ((1, 0.0), (2_048, 2.0), (10_000, 3.0), (24_000, 4.0))

# What a text belongs to; the positions of the sums below.
_SYSTEM, _USER, _ASSISTANT, _THINKING, _CALL, _RESULT = range(6)
_ROLE_SLOTS = {"system": _SYSTEM, "user": _USER, "assistant": _ASSISTANT, "tool": _RESULT}


class Conversation(Struct):
    """What one pass over the messages collects.

    `calls` and `results` are (message index, part); text-protocol results are user parts.
    """

    sums: list[float]
    calls: list[tuple[int, Part]]
    results: list[tuple[int, Part]]
    counts: dict[str, int]
    last_user_tokens: float
    first_user_tokens: float
    since_user: float
    last_result_tokens: float
    response_schema_tokens: float

    @property
    def message_tokens(self) -> float:
        """Tokens of all messages except the leading system text and later system messages."""
        return sum(self.sums[1:])

    def total_tokens(self, request: Request, *, tool_tokens: float) -> float:
        """Estimated input of the whole call."""
        n_framed = len(request.messages) + len(self.calls) + 1
        attached = IMAGE_TOKENS * self.counts["image"] + FILE_TOKENS * self.counts["file"]
        own = sum(self.sums) + self.response_schema_tokens
        return own + tool_tokens + attached + MESSAGE_TOKENS * n_framed


def read_conversation(request: Request, *, user: UserText, first_text: str) -> Conversation:
    """One pass over all parts, and one token estimate for all their texts together."""
    response_schema = request.response_schema.decode("utf-8", "replace")
    texts = [user.text, first_text, response_schema, request.system]
    slots = [_SYSTEM]
    counts = {"image": 0, "file": 0, "thinking": 0, "signed": 0}
    calls: list[tuple[int, Part]] = []
    results: list[tuple[int, Part]] = []
    n_until_user = 0
    for index, message in enumerate(request.messages):
        role_slot = _ROLE_SLOTS[message.role]
        for part in message.parts:
            kind = part.kind
            slot = role_slot
            if kind == "tool_call":
                calls.append((index, part))
                slot = _CALL
            elif kind == "tool_result":
                results.append((index, part))
                slot = _RESULT
            elif kind != "text":
                counts[kind] += 1
                counts["signed"] += part.is_signed
                slot = _THINKING
            texts.append(part.text)
            slots.append(slot)
        if index == user.message:
            n_until_user = len(slots)
    estimates = estimate_many(texts)
    sums = [0.0] * 6
    for slot, tokens in zip(slots, estimates[3:], strict=True):
        sums[slot] += tokens
    return Conversation(
        sums=sums,
        calls=calls,
        results=results,
        counts=counts,
        last_user_tokens=estimates[0],
        first_user_tokens=estimates[1],
        since_user=sum(estimates[3 + n_until_user :]) if user.message >= 0 else 0.0,
        last_result_tokens=_last_result(slots, estimates[3:]),
        response_schema_tokens=estimates[2],
    )


def _last_result(slots: Sequence[int], estimates: Sequence[float]) -> float:
    for slot, tokens in zip(reversed(slots), reversed(estimates), strict=True):
        if slot == _RESULT:
            return tokens
    return 0.0


def conversation_values(
    request: Request, *, conversation: Conversation, user: UserText, total_tokens: float
) -> tuple[float, ...]:
    """Values of `CONVERSATION_FEATURES`."""
    sums, counts = conversation.sums, conversation.counts
    said = conversation.message_tokens
    n_user, n_assistant, n_system = _role_counts(request.messages)
    mode = request.tool_choice.mode
    has_tools = bool(request.tools)
    shape = schema_shape(request.response_schema)
    temperature = request.temperature
    return (
        total_tokens,
        *sums,
        sums[_RESULT] / said if said else 0.0,
        conversation.last_user_tokens,
        user.harness_share,
        conversation.first_user_tokens,
        conversation.since_user,
        len(request.messages),
        n_user,
        n_assistant,
        n_system,
        counts["image"],
        counts["file"],
        counts["thinking"],
        counts["signed"],
        request.n_cache_markers,
        request.max_output_tokens or 0,
        1.0 if temperature is None else temperature,
        temperature is not None,
        request.seed is not None,
        request.stream,
        thinking_level(request),
        request.thinking is not None or request.thinking_budget is not None,
        request.parallel_tool_calls is False,
        has_tools and mode in ("required", "named"),
        has_tools and mode == "named",
        has_tools and mode == "none",
        request.response_format == "json_object",
        request.response_format == "json_schema",
        request.is_strict_response,
        shape.n_properties,
        shape.depth,
        request.has_provider_state,
    )


def thinking_level(request: Request) -> float:
    """The asked effort as a number, whether it was given as a word or as a token budget."""
    if request.thinking is None and request.thinking_budget is None:
        return 0.0
    level = _LEVELS.get(request.thinking or "")
    if level is not None:
        return level
    budget = request.thinking_budget
    if budget is None or budget < 0:
        return 3.0
    return next((level for limit, level in _BUDGET_LEVELS if budget < limit), 5.0)


def _role_counts(messages: Sequence[Message]) -> tuple[int, int, int]:
    roles = [message.role for message in messages]
    return roles.count("user"), roles.count("assistant"), roles.count("system")

"""Tells which dialect a body is written in."""

import re

import msgspec
from msgspec import Raw, Struct

from router_model.errors import InvalidRequestError
from router_model.formats import jsontext
from router_model.types import WireFormat

_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_GEMINI_PATH = re.compile(r"/(?:models/)?([^/:]+):(generateContent|streamGenerateContent)$")
_ENDINGS = {
    "/chat/completions": WireFormat.OPENAI_CHAT,
    "/responses": WireFormat.OPENAI_RESPONSES,
    "/responses/compact": WireFormat.OPENAI_RESPONSES,
    "/responses/input_tokens": WireFormat.OPENAI_RESPONSES,
    "/messages": WireFormat.ANTHROPIC_MESSAGES,
    "/messages/count_tokens": WireFormat.ANTHROPIC_MESSAGES,
}
_RESPONSES_FIELDS = frozenset({"input", "previous_response_id", "conversation", "prompt"})
_ANTHROPIC_FIELDS = frozenset(
    {
        "anthropic_beta",
        "anthropic_version",
        "context_management",
        "mcp_servers",
        "output_config",
        "output_format",
        "stop_sequences",
        "system",
    }
)
_CHAT_FIELDS = frozenset(
    {
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "prompt_cache_key",
        "reasoning_effort",
        "response_format",
        "seed",
        "stop",
        "stream_options",
    }
)
_CHAT_ROLES = frozenset({"developer", "function", "tool"})
_ANTHROPIC_BLOCKS = frozenset({"redacted_thinking", "tool_result", "tool_use", "document"})


class _Typed(Struct, gc=False):
    type: str | None = None


class _ShapedMessage(Struct, gc=False):
    role: str | None = None
    content: str | list[str | _Typed | None] | None = None
    tool_calls: Raw = Raw()


class _ShapedTool(Struct, gc=False):
    function: Raw = Raw()
    input_schema: Raw = Raw()


_MESSAGES = msgspec.json.Decoder(list[_ShapedMessage])
_TOOLS = msgspec.json.Decoder(list[_ShapedTool] | None)


def detect(body: bytes) -> WireFormat:
    """The dialect of a body, by the fields that only one dialect has.

    Bodies that say nothing either way read the same in both, and count as OpenAI Chat.

    >>> detect(b'{"contents": [{"parts": [{"text": "Hi"}]}]}').value
    'gemini'
    """
    fields = jsontext.decode(_FIELDS, body)
    if "contents" in fields:
        return WireFormat.GEMINI
    if "messages" in fields:
        is_anthropic = _is_anthropic(fields)
        return WireFormat.ANTHROPIC_MESSAGES if is_anthropic else WireFormat.OPENAI_CHAT
    if _RESPONSES_FIELDS & fields.keys():
        return WireFormat.OPENAI_RESPONSES
    found = ", ".join(sorted(fields)) or "no fields"
    allowed = "messages (OpenAI Chat, Anthropic), input (OpenAI Responses) or contents (Gemini)"
    raise InvalidRequestError("messages", found, allowed)


def format_of_path(path: str) -> WireFormat | None:
    """The dialect spoken at a URL path, or None if the path does not tell.

    >>> format_of_path("/v1/messages?beta=true").value
    'anthropic.messages'
    """
    bare = path.partition("?")[0].rstrip("/")
    if _GEMINI_PATH.search(bare):
        return WireFormat.GEMINI
    return next((form for end, form in _ENDINGS.items() if bare.endswith(end)), None)


def gemini_path(path: str) -> tuple[str, bool]:
    """Model and whether the answer is streamed, both of which Gemini puts into the URL.

    >>> gemini_path("/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse")
    ('gemini-2.5-pro', True)
    """
    found = _GEMINI_PATH.search(path.partition("?")[0].rstrip("/"))
    return (found[1], found[2] == "streamGenerateContent") if found else ("", False)


def _is_anthropic(fields: dict[str, Raw]) -> bool:
    anthropic, chat = _ANTHROPIC_FIELDS & fields.keys(), _CHAT_FIELDS & fields.keys()
    if bool(anthropic) != bool(chat):
        return bool(anthropic)
    try:
        return _has_anthropic_shape(fields)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False


def _has_anthropic_shape(fields: dict[str, Raw]) -> bool:
    tools = _TOOLS.decode(fields["tools"]) if "tools" in fields else None
    for tool in tools or ():
        if bytes(tool.input_schema) or bytes(tool.function):
            return bool(bytes(tool.input_schema))
    for message in _MESSAGES.decode(fields["messages"]):
        if message.role in _CHAT_ROLES or bytes(message.tool_calls):
            return False
        if isinstance(message.content, list) and any(
            isinstance(part, _Typed) and part.type in _ANTHROPIC_BLOCKS for part in message.content
        ):
            return True
    return False

"""Parses a request body of any dialect."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from msgspec.structs import replace

from router_model.errors import InvalidRequestError
from router_model.formats import (
    anthropic_messages,
    gemini,
    jsontext,
    openai_chat,
    openai_responses,
)
from router_model.formats.detection import detect, format_of_path, gemini_path
from router_model.types import Request, WireFormat

_PARSERS: Mapping[WireFormat, Callable[[bytes], Request]] = MappingProxyType(
    {
        WireFormat.OPENAI_CHAT: openai_chat.parse,
        WireFormat.OPENAI_RESPONSES: openai_responses.parse,
        WireFormat.ANTHROPIC_MESSAGES: anthropic_messages.parse,
        WireFormat.GEMINI: gemini.parse,
    }
)


def parse(
    body: bytes, *, wire_format: WireFormat | None = None, path: str | None = None
) -> Request:
    """The request in a client's body, in the named dialect, else the path's, else the detected one.

    `path` is the URL path the client called; Gemini's holds the model and whether it streams.
    Raises `MalformedJsonError` for what is no JSON, and `InvalidRequestError` naming the field.

    >>> parse(b'{"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}').last_user_text
    'Hi'
    """
    checked = jsontext.check_encoding(body)
    wanted = wire_format or (format_of_path(path) if path else None)
    request = _PARSERS[wanted or detect(checked)](checked)
    limit = request.max_output_tokens
    if limit is not None and limit < 1:
        raise InvalidRequestError("max_output_tokens", limit, "an integer of at least 1")
    if path:
        return _with_path(request, path)
    return request


def _with_path(request: Request, path: str) -> Request:
    model, stream = gemini_path(path)
    if not model:
        return request
    return replace(
        request,
        requested_model=request.requested_model or model,
        stream=request.stream or stream,
    )

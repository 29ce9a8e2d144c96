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

MAX_INTEGER = 2**53 - 1
# Far more answers than any provider gives at once, and few enough to reckon what they may cost.
MAX_ANSWERS = 10_000
"""Largest integer that every JSON parser keeps, and so does a log of 64-bit columns."""

MAX_SAMPLING = 1_000
"""Far beyond the temperature of any provider, which refuses what it does not take."""

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
    checked = jsontext.check_body(body)
    wanted = wire_format or (format_of_path(path) if path else None)
    request = _PARSERS[wanted or detect(checked)](checked)
    _check_numbers(request)
    if path:
        return _with_path(request, path)
    return request


def _check_numbers(request: Request) -> None:
    """Refuse numbers that no column or feature holds, and a limit that leaves no output."""
    bounds: tuple[tuple[str, float | None, int, int], ...] = (
        ("max_output_tokens", request.max_output_tokens, 1, MAX_INTEGER),
        ("n", request.n_answers, 1, MAX_ANSWERS),
        ("thinking_budget", request.thinking_budget, -MAX_INTEGER, MAX_INTEGER),
        ("seed", request.seed, -(2**63), 2**64 - 1),
        ("temperature", request.temperature, -MAX_SAMPLING, MAX_SAMPLING),
        ("top_p", request.top_p, -MAX_SAMPLING, MAX_SAMPLING),
    )
    for name, value, least, most in bounds:
        if value is not None and not least <= value <= most:
            raise InvalidRequestError(name, value, f"a number from {least} to {most}")


def _with_path(request: Request, path: str) -> Request:
    model, stream = gemini_path(path)
    if not model:
        return request
    return replace(
        request,
        requested_model=request.requested_model or model,
        stream=request.stream or stream,
    )

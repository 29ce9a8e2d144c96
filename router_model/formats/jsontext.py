"""Decodes JSON bodies into typed structs and turns every failure into an error naming the field.

Nesting is bounded by the decoder (close to Python's recursion limit of 1,000), and further by
`MAX_SCHEMA_DEPTH` where raw JSON is kept for others to decode later.
"""

import re
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from router_model.errors import InvalidRequestError, MalformedJsonError

T = TypeVar("T")

MAX_SCHEMA_DEPTH = 200
MAX_VALUES = 500_000
"""Values in one body, arrays and objects included: each takes about a microsecond."""

_JSON_NAMES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "object": "object",
    "array": "array",
    "null": "null",
}
_CONTAINERS = ("array", "object")
_SHOWN_STRING_CHARS = 40
_MISMATCH = re.compile(r"^Expected `([^`]*)`, got `([^`]*)`")
_MISSING = re.compile(r"^Object missing required field `([^`]*)`")
_LOCATION = re.compile(r" - at `\$([^`]*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
# A whole surrogate pair, a lone surrogate (group 1), or any other escape.
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_ANY_RAW = msgspec.json.Decoder(Raw)
_RAW_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_RAW_ITEMS = msgspec.json.Decoder(list[Raw])
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)


def check_body(body: bytes) -> bytes:
    """The body without a byte-order mark; it must be UTF-8, not blank, of bounded values."""
    if not body or body.isspace():
        raise MalformedJsonError("body", "nothing", "a JSON object; the body is empty")
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            found = body[error.start : error.start + 4]
            allowed = f"UTF-8 (invalid at byte {error.start})"
            raise MalformedJsonError("body", found, allowed) from None
    check_values(body)
    return body.removeprefix(b"\xef\xbb\xbf")


def check_values(body: bytes) -> None:
    """Raise InvalidRequestError for a body of more than `MAX_VALUES` values."""
    if len(body) < 2 * MAX_VALUES or _n_marks(body) <= MAX_VALUES:  # text has marks too
        return
    if (n_values := _n_marks(_STRING.sub(b"", body))) > MAX_VALUES:
        raise InvalidRequestError("body", f"{n_values} values", f"at most {MAX_VALUES}")


def decode(decoder: msgspec.json.Decoder[T], body: bytes | Raw, *, at: str = "") -> T:
    """The decoded value; `at` is the path of `body` inside the whole request, for errors."""
    try:
        return decoder.decode(body)
    except RecursionError:
        raise too_deep(at or "body") from None
    except msgspec.ValidationError as error:
        raise _invalid(str(error), bytes(body), at) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        mended = without_lone_surrogates(bytes(body))
        if mended != bytes(body):
            return decode(decoder, mended, at=at)
        raise _malformed(error, at) from None


def _malformed(error: Exception, at: str) -> MalformedJsonError:
    """The error for what a parser gave up on: its words, without what ours say already."""
    if isinstance(error, UnicodeDecodeError):  # which counts from the beginning of a string
        fault = f"text that is not UTF-8 ({error.reason})"
    elif str(error) == "Input data was truncated":
        fault = "it ends too early"
    else:
        fault = str(error).removeprefix("JSON is malformed: ")
    return MalformedJsonError.because(at or "body", fault)


def too_deep(field: str) -> InvalidRequestError:
    """The error for JSON nested deeper than can be handled."""
    return InvalidRequestError(field, "deeply nested JSON", "fewer nested arrays and objects")


def compact(value: Any) -> str:
    """Compact JSON text of a decoded value.

    >>> compact({"path": "a.py", "lines": [1, 2]})
    '{"path":"a.py","lines":[1,2]}'
    """
    try:
        return msgspec.json.encode(value).decode()
    except RecursionError:
        raise too_deep("body") from None


def compact_text(text: str) -> str:
    """The JSON in `text` re-encoded compactly, or `text` itself if it is no JSON.

    >>> compact_text('{ "path" : "caf\\\\u00e9.py" }')
    '{"path":"café.py"}'
    >>> compact_text("*** Begin Patch")
    '*** Begin Patch'
    """
    try:
        return msgspec.json.encode(msgspec.json.decode(text)).decode()
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return text


def arguments_text(value: Any) -> str:
    """Compact JSON of a tool call's arguments, sent as JSON text or as an object; "{}" if absent.

    >>> arguments_text('{"n": 1}') == arguments_text({"n": 1})
    True
    """
    if isinstance(value, str):
        return compact_text(value) if value.strip() else "{}"
    return "{}" if value is None else compact(value)


def kept_raw(raw: Raw, *field: object) -> bytes:
    """Raw JSON without white space, empty if absent or null, refused beyond `MAX_SCHEMA_DEPTH`.

    How a client or a gateway spaces its JSON says nothing about the request.

    The pieces of `field` make the path of the JSON; they are only joined for an error.
    """
    kept = bytes(raw)
    if kept in (b"", b"null"):
        return b""
    # A level takes two bytes, so that short schemas need no counting.
    if len(kept) > 2 * MAX_SCHEMA_DEPTH and _may_be_deep(kept) and _depth(kept) > MAX_SCHEMA_DEPTH:
        raise too_deep("".join(map(str, field)))
    return msgspec.json.format(kept, indent=-1)


def without_lone_surrogates(body: bytes) -> bytes:
    r"""The body with each unpaired `\ud83d`-like escape replaced by U+FFFD.

    Clients that cut strings by UTF-16 length send halves of emoji, which is not valid Unicode.
    """
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], body)


def _n_marks(body: bytes) -> int:
    """How many values begin in a body, at most: after each of these."""
    return body.count(b",") + body.count(b"{") + body.count(b"[")


def _may_be_deep(raw: bytes) -> bool:
    return raw.count(b"{") + raw.count(b"[") > MAX_SCHEMA_DEPTH


def _depth(raw: bytes) -> int:
    depth = deepest = 0
    for bracket in re.findall(rb"[\[{\]}]", _STRING.sub(b"", raw)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _invalid(message: str, body: bytes, at: str) -> InvalidRequestError:
    """The error for JSON of a wrong type, unless a later fault makes the whole unreadable."""
    try:
        _ANY_RAW.decode(body)
    except RecursionError:
        return too_deep(at or "body")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _malformed(error, at)
    location = _LOCATION.search(message)
    path = location[1] if location else ""
    if missing := _MISSING.match(message):
        return InvalidRequestError(_field(at, f"{path}.{missing[1]}"), None, "a value (required)")
    mismatch = _MISMATCH.match(message)
    if mismatch is None:
        reason = message.removesuffix(location[0] if location else "")
        return InvalidRequestError(_field(at, path), "an unusable value", f"another ({reason})")
    names = [_JSON_NAMES.get(name.strip(), name.strip()) for name in mismatch[1].split("|")]
    found = _JSON_NAMES.get(mismatch[2], mismatch[2])
    is_scalar_field = not any(name in _CONTAINERS for name in names)
    value = _shown(body, path, found, show_string=is_scalar_field)
    return InvalidRequestError(_field(at, path), value, " or ".join(names))


def _field(at: str, path: str) -> str:
    return f"{at}{path}".removeprefix(".") or "body"


def _shown(body: bytes, path: str, found: str, *, show_string: bool) -> object:
    """The value at `path` if it is short and can't be prompt text, else its JSON type."""
    if found in _CONTAINERS:
        return found
    try:
        piece: bytes | Raw = body
        for key, index in _STEP.findall(path):
            piece = _RAW_MEMBERS.decode(piece)[key] if key else _RAW_ITEMS.decode(piece)[int(index)]
        value = msgspec.json.decode(piece)
    except (LookupError, msgspec.MsgspecError, UnicodeError, RecursionError):
        return found
    if isinstance(value, str):
        return value if show_string and len(value) <= _SHOWN_STRING_CHARS else found
    return found if isinstance(value, list | dict) else value

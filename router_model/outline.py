"""What of a request bears on a decision beside its features: everything after parsing reads this.

An outline takes some hundred bytes however long the conversation is, and holds none of its words:
names of tools and what the user said first are fingerprints.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from router_model.features.harness import strip_harness
from router_model.formats.parsing import MAX_ANSWERS, MAX_INTEGER
from router_model.types import Message, Part, Request, ResponseFormat

MAX_IMAGES: Final = 10_000
MAX_NAME: Final = 100_000
"""Longest name or tier that is read of an outline; where they are kept, long ones go by a hash."""
_MAX_TURNS: Final = 500_000
# Blocks that harnesses put anywhere into a user's words and may change from turn to turn.
_MOVING_TAGS = ("system-reminder", "environment_context")
_END_CHARS = 8192

Size = tuple[int, int]
_Pixels = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
_Name = Annotated[str, Meta(max_length=MAX_NAME)]
Fingerprint = Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]


class Outline(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One call without its content. Limits are checked where it is decoded from JSON.

    `may_call_tools`: tools are offered, and not forbidden. `is_strict`: a strict schema is asked
    for, of the answer or of tools that may be called. `images` holds the width and height in pixels
    of each, 0 where the body shows none. `is_open_turn_signed`: so is a part since the last user
    message. `opening` is the fingerprint of what the conversation began with, `tools` that of the
    names of its tools, "" without any. The other fields are those of `Request`.
    """

    requested_model: _Name = ""
    max_output_tokens: Annotated[int, Meta(ge=1, le=MAX_INTEGER)] | None = None
    thinking_budget: Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)] | None = None
    n_answers: Annotated[int, Meta(ge=1, le=MAX_ANSWERS)] = 1
    n_cache_markers: Annotated[int, Meta(ge=0, le=MAX_INTEGER)] = 0
    cache_ttl_s: Annotated[int, Meta(ge=0, le=MAX_INTEGER)] | None = None
    service_tier: _Name | None = None
    response_format: ResponseFormat = "text"
    is_strict: bool = False
    may_call_tools: bool = False
    must_call_tools: bool = False
    has_called_tools: bool = False
    images: Annotated[tuple[tuple[_Pixels, _Pixels], ...], Meta(max_length=MAX_IMAGES)] = ()
    n_assistant_messages: Annotated[int, Meta(ge=0, le=_MAX_TURNS)] = 0
    has_provider_state: bool = False
    has_call_ids: bool = False
    is_signed: bool = False
    is_open_turn_signed: bool = False
    is_in_tool_loop: bool = False
    tied_to: Annotated[tuple[_Name, ...], Meta(max_length=8)] = ()
    session_hint: _Name | None = None
    opening: Fingerprint
    tools: Annotated[str, Meta(pattern="^([0-9a-f]{16})?$")] = ""

    @property
    def continues(self) -> bool:
        """Whether the request shows answers that were given before."""
        return self.n_assistant_messages > 0


def outline_of(request: Request) -> Outline:
    """The outline of a request.

    >>> outline_of(Request(messages=(Message("user", (Part("text", "Fix it"),)),))).opening
    '6d31240c43238bbf'
    """
    parts = [part for message in request.messages for part in message.parts]
    kinds = {part.kind for part in parts}
    is_signed = any(part.is_signed for part in parts)
    names = sorted({tool.name for tool in request.tools})
    may_call = bool(request.tools) and request.tool_choice.mode != "none"
    return Outline(
        requested_model=request.requested_model,
        max_output_tokens=request.max_output_tokens,
        thinking_budget=request.thinking_budget,
        n_answers=request.n_answers,
        n_cache_markers=request.n_cache_markers,
        cache_ttl_s=request.cache_ttl_s,
        service_tier=request.service_tier,
        response_format=request.response_format,
        is_strict=request.is_strict_response
        or (may_call and any(tool.is_strict for tool in request.tools)),
        may_call_tools=may_call,
        must_call_tools=request.tool_choice.mode in ("required", "named"),
        has_called_tools="tool_call" in kinds,
        images=image_sizes(parts) if "image" in kinds else (),
        n_assistant_messages=sum(message.role == "assistant" for message in request.messages),
        has_provider_state=request.has_provider_state,
        has_call_ids=any(part.call_id for part in parts),
        is_signed=is_signed,
        is_open_turn_signed=is_signed and _has_signed(open_turn(request.messages)),
        is_in_tool_loop=in_tool_loop(request.messages),
        tied_to=request.tied_to,
        session_hint=request.session_hint,
        opening=digest_of_texts([_first_text(request)]),
        tools=digest_of_texts(names) if names else "",
    )


def request_hash(request: Request) -> str:
    """Hash of a request's content; the same for the same request in any dialect."""
    return hashlib.sha256(msgspec.json.encode(request)).hexdigest()[:32]


def digest_of_texts(texts: Iterable[str]) -> str:
    """16 hex digits of texts in their order."""
    digest = hashlib.blake2b(digest_size=8)
    for text in texts:
        encoded = text.encode("utf-8", "replace")
        digest.update(b"%d:" % len(encoded) + encoded)
    return digest.hexdigest()


def image_sizes(parts: Iterable[Part]) -> tuple[Size, ...]:
    """Width and height in pixels of every image; 0 where the body shows none."""
    return tuple((part.width, part.height) for part in parts if part.kind == "image")


def in_tool_loop(messages: Sequence[Message]) -> bool:
    """True where the results of tool calls came after the assistant's last message.

    Text beside the results, such as a client's reminders, does not end the loop.
    """
    for message in reversed(messages):
        if message.role == "tool":
            return True
        if message.role == "assistant":
            return False
    return False


def open_turn(messages: Sequence[Message]) -> Sequence[Message]:
    """The messages since the last user message that did not come with results of tools."""
    for index in range(len(messages) - 1, -1, -1):
        before = next((m.role for m in reversed(messages[:index]) if m.role != "system"), None)
        if messages[index].role == "user" and before != "tool":
            return messages[index + 1 :]
    return messages


def _has_signed(messages: Sequence[Message]) -> bool:
    return any(part.is_signed for message in messages for part in message.parts)


def _first_text(request: Request) -> str:
    """First words of the user, else any first text, else the system text; both ends if long.

    A message in which the client alone speaks is passed over: several clients open every
    conversation of a day with the same one.
    """
    users = [message for message in request.messages if message.role == "user"]
    own = next((words for message in users if (words := _words_of(message))), "")
    if not own:
        texts = [message.text for message in users]
        texts += [part.text for message in request.messages for part in message.parts]
        own = next((text for text in texts if text), request.system)
    if len(own) > 2 * _END_CHARS:
        own = own[:_END_CHARS] + own[-_END_CHARS:]
    return "".join(own.split())


def _words_of(message: Message) -> str:
    parts = (part.text for part in message.parts if part.kind == "text" and part.text)
    return "".join(strip_harness(_without_reminders(text)) for text in parts)


def _without_reminders(text: str) -> str:
    """The text without closed blocks wherever they stand, in time linear in its length."""
    for tag in _MOVING_TAGS:
        before, *blocks = text.split(f"<{tag}>")
        kept = [before]
        for block in blocks:
            _, closing, after = block.partition(f"</{tag}>")
            kept.append(after if closing else f"<{tag}>{block}")
        text = "".join(kept)
    return text.strip()

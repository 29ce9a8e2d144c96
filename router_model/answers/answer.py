"""What a model answered, whatever dialect it came in."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from router_model.formats import jsontext
from router_model.types import Usage

Finish = Literal[
    "stop", "length", "tool_calls", "content_filter", "refusal", "pause", "malformed_call", "other"
]
CallKind = Literal["function", "custom", "provider", "partial"]

_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])
_WORDS: Final[Mapping[Finish, str]] = MappingProxyType(
    {
        "stop": "stop end_turn stop_sequence completed eos complete",
        "length": "length max_tokens max_output_tokens model_context_window_exceeded incomplete",
        "tool_calls": "tool_calls function_call tool_use tool_call",
        "content_filter": (
            "content_filter safety recitation blocklist prohibited_content spii image_safety "
            "image_prohibited_content image_recitation model_armor jailbreak"
        ),
        "refusal": "refusal",
        "pause": "pause_turn compaction",
        "malformed_call": "malformed_function_call unexpected_tool_call too_many_tool_calls",
    }
)
# Providers' words mean the same in every dialect, and gateways carry them from one to another.
_FINISHES: Final[Mapping[str, Finish]] = MappingProxyType(
    {word: finish for finish, words in _WORDS.items() for word in words.split()}
)


class ToolCall(Struct, frozen=True, gc=False):
    """A call that the client has to carry out. `arguments` is text as it came, whole or broken.

    `kind` is "function" for JSON arguments, "custom" for free text, "provider" for a tool whose
    arguments only its provider describes, "partial" where they came in a form that is not read.
    """

    id: str
    name: str
    arguments: str
    kind: CallKind = "function"

    @property
    def values(self) -> dict[str, Any] | None:
        """The arguments as an object, empty where none were sent; None where they are no object.

        >>> ToolCall("1", "ls", "").values, ToolCall("1", "ls", '{"path": "a').values
        ({}, None)
        """
        if not self.arguments.strip():
            return {}
        try:
            return _OBJECT.decode(self.arguments)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return None


class Answer(Struct, frozen=True, kw_only=True):
    """One answer of a model; of several asked for at once the first.

    - `finish` is why it ended in our words, `raw_finish` in the provider's; None and "" if unsaid.
    - `refusal` is true where the model or a filter declined; its words are the text.
    - `error` is what went wrong, None where nothing did. Where something that came is not of the
      format, `is_of_format` is false: that says nothing of the model.
    - `is_complete`: the provider brought it to an end, be it for want of tokens. False for a
      stream that was cut.
    - `has_other_content`: images, audio, tools that the provider ran.
    - `n_call_chunks` counts the pieces in which arguments of calls were streamed.
    """

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    finish: Finish | None = None
    refusal: bool = False
    usage: Usage | None = None
    model: str | None = None
    error: str | None = None
    is_of_format: bool = True
    raw_finish: str = ""
    is_complete: bool = False
    has_other_content: bool = False
    n_call_chunks: int = 0


def normal_finish(raw: str, *, has_calls: bool) -> Finish | None:
    """The reason in our words: "other" for one unknown, None for none.

    Gemini, Responses and some servers say "stop" of an answer that ends with calls.

    >>> normal_finish("MAX_TOKENS", has_calls=False), normal_finish("STOP", has_calls=True)
    ('length', 'tool_calls')
    """
    if not raw:
        return None
    finish = _FINISHES.get(raw.lower(), "other")
    return "tool_calls" if finish == "stop" and has_calls else finish


def misplaced_arguments(value: object) -> str:
    """Arguments for a dialect that has them as text: such text, else what can't pass for it.

    A client would fail to decode an object as text, so it must not look like valid arguments.
    """
    if value is None or isinstance(value, str):
        return value or ""
    return jsontext.compact(jsontext.compact(value))

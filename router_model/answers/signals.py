"""What an answer shows by itself of its adequacy, under the names that outcomes and rules have.

| name | true where |
| --- | --- |
| `schema_error` | a JSON answer was asked for, and the text is no JSON or not of its schema |
| `truncated` | the answer ended for want of tokens |
| `refused` | the model or a filter declined |
| `empty_answer` | it ended with neither text nor tool calls nor anything else |

A name is left out where it can't be observed: in an answer that failed or was cut off, and where
the caller allowed so few tokens that it only wanted to see whether there is an answer.
`retried` is not in the answer but in a later request (see `steps`), the validity of tool calls has
a field of its own.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from router_model.answers.answer import Answer, ToolCall
from router_model.answers.schemas import fits
from router_model.types import Request, ToolSpec

WIRE_SIGNALS: Final = ("schema_error", "empty_answer", "refused", "truncated")
MIN_LIMIT: Final = 32
"""Output limits below this many tokens are pings: every answer to them is cut off or empty."""

_ANY: Final = msgspec.json.Decoder()


def wire_signals(request: Request, answer: Answer) -> Mapping[str, bool]:
    """The signals that can be observed, by name; none of an answer with an error.

    >>> from router_model.types import Message, Part
    >>> request = Request(messages=(Message("user", (Part("text", "Hi"),)),))
    >>> wire_signals(request, Answer(text="Hel", finish="length", is_complete=True))
    {'truncated': True, 'refused': False, 'empty_answer': False}
    """
    if answer.error is not None or not answer.is_complete:
        return {}
    found: dict[str, bool] = {}
    limit = request.max_output_tokens
    is_ping = limit is not None and limit < MIN_LIMIT
    if not is_ping:
        found["truncated"] = answer.finish == "length"
    found["refused"] = answer.refusal
    if not is_ping:
        found["empty_answer"] = _is_empty(answer)
    if (error := _schema_error(request, answer)) is not None:
        found["schema_error"] = error
    return found


def tool_calls_valid(request: Request, answer: Answer) -> bool | None:
    """Whether all tool calls are of tools that were offered and fit their schemas.

    None where there are no calls, or where one can't be judged and none is invalid: tools of a
    provider's own, schemas that are none, arguments cut off with the stream.
    """
    if answer.finish == "malformed_call":
        return False
    tools = {tool.name: tool for tool in request.tools}
    verdicts = [_is_valid(call, tools, request, answer) for call in answer.calls]
    if False in verdicts:
        return False
    return True if verdicts and None not in verdicts else None


def _is_valid(
    call: ToolCall, tools: Mapping[str, ToolSpec], request: Request, answer: Answer
) -> bool | None:
    tool = tools.get(call.name)
    if call.kind in ("provider", "partial"):
        return None
    if tool is None:
        # A stored prompt or conversation may have tools that the request does not show.
        return None if request.has_provider_state and not tools else False
    if call.kind == "custom" or tool.kind != "function":
        return True if call.kind == tool.kind else None
    values = call.values
    if values is None:
        return False if answer.is_complete else None
    return fits(values, tool.schema) if tool.schema else True


def _is_empty(answer: Answer) -> bool:
    says_nothing = not answer.text.strip() and not answer.calls and not answer.has_other_content
    return says_nothing and not answer.refusal and answer.finish != "pause"


def _schema_error(request: Request, answer: Answer) -> bool | None:
    """Whether the text breaks the asked format; None where there is nothing to compare.

    An answer that was cut off breaks it too, but of that its own signal tells.
    """
    is_text = request.response_format == "text"
    if is_text or answer.calls or answer.refusal or answer.finish in ("length", "pause"):
        return None
    try:
        value = _ANY.decode(answer.text.strip())
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return True
    if request.response_format == "json_object":
        return not isinstance(value, dict)
    fitting = fits(value, request.response_schema) if request.response_schema else True
    return None if fitting is None else not fitting

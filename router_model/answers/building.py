"""An answer under construction, piece by piece."""

from collections.abc import Hashable, Mapping
from typing import Any, Final

from router_model.answers.answer import Answer, CallKind, normal_finish
from router_model.answers.open_call import OpenCall
from router_model.errors import InvalidRequestError
from router_model.types import Usage
from router_model.usage import usage_of

MAX_ERROR_CHARS: Final = 300
_MAX_NAME_CHARS: Final = 256
_MAX_CODE: Final = 1_000_000


class Building:
    """Collects texts and calls by the key under which their pieces come, in order of beginning."""

    def __init__(self) -> None:
        self.texts: dict[Hashable, list[str]] = {}
        self.calls: dict[Hashable, OpenCall] = {}
        self.last_of_index: dict[int, OpenCall] = {}
        self.usage: dict[str, Any] = {}
        self.model: str | None = None
        self.raw_finish = ""
        self.refusal = False
        self.error: str | None = None
        self.is_of_format = True
        self.is_complete = False
        self.is_terminated = False
        self.has_other_content = False
        self.has_complete_call = False
        self.n_call_chunks = 0

    def say(self, text: str, key: Hashable = 0) -> None:
        """Add a piece of text."""
        if text:
            self.texts.setdefault(key, []).append(text)

    def open_call(
        self, key: Hashable, *, call_id: object, name: object, kind: CallKind = "function"
    ) -> OpenCall:
        """Begin a call, in the place of one that came under the same key before."""
        call = OpenCall(text_of(call_id), text_of(name), kind)
        self.calls[key] = call
        return call

    def add_arguments(self, call: OpenCall, text: str) -> None:
        """Add a streamed piece of arguments; the call is complete with what closes its object."""
        if not text:
            return
        self.n_call_chunks += 1
        if self.has_complete_call:
            call.pieces.append(text)
        else:
            self.has_complete_call = call.add(text)

    def close_call(self, call: OpenCall, arguments: str | None = None) -> None:
        """End a call; `arguments` are the whole, where they came once more or at once."""
        if arguments is not None:
            call.pieces = [arguments]
        call.is_closed = True
        if not self.has_complete_call:
            self.has_complete_call = call.kind != "function" or call.call().values is not None

    def end(self, raw_finish: object) -> None:
        """Take why the answer ended, if that was said."""
        if isinstance(raw_finish, str) and raw_finish:
            self.raw_finish = raw_finish[:_MAX_NAME_CHARS]
            self.is_complete = True

    def fail(self, error: object) -> None:
        """Take an error, unless there was one before; null and empty ones are none."""
        if error and self.error is None:
            self.error = error_text(error)

    def fail_to_read(self, reason: str) -> None:
        """Take that something which came is not of the format."""
        self.is_of_format = False
        if self.error is None:
            self.error = reason[: 2 * MAX_ERROR_CHARS]

    def name_model(self, model: object) -> None:
        """Take the name of the model that answers, if it is one."""
        if isinstance(model, str) and model:
            self.model = model[:_MAX_NAME_CHARS]

    def count(self, usage: object) -> None:
        """Take a report of usage: counts grow over a stream, some reports leave them at 0."""
        if not isinstance(usage, Mapping):
            return
        for name, value in usage.items():
            known = self.usage.get(name)
            if value is None or (_is_count(known) and _is_count(value) and value < known):
                continue
            self.usage[name] = _flat(value)

    def answer(self) -> Answer:
        """The answer so far."""
        calls = tuple([call.call() for call in self.calls.values()])
        finish = normal_finish(self.raw_finish, has_calls=bool(calls))
        return Answer(
            text="".join("".join(pieces) for pieces in self.texts.values()),
            calls=calls,
            finish=finish,
            refusal=self.refusal or finish in ("refusal", "content_filter"),
            usage=usage_or_none(self.usage),
            model=self.model,
            error=self.error,
            is_of_format=self.is_of_format,
            raw_finish=self.raw_finish,
            is_complete=self.is_complete,
            has_other_content=self.has_other_content,
            n_call_chunks=self.n_call_chunks,
        )


def usage_or_none(document: object) -> Usage | None:
    """The reported usage; None where there is none that makes sense."""
    if not isinstance(document, Mapping) or not document:
        return None
    try:
        return usage_of(document)
    except InvalidRequestError:
        return None


def error_text(error: object) -> str:
    """The message in an error of any form, in one line, cut to `MAX_ERROR_CHARS`.

    >>> error_text({"error": {"type": "overloaded_error", "message": "try later"}})
    'try later'
    """
    for _ in range(4):
        if isinstance(error, list) and error:
            error = error[0]
        elif isinstance(error, Mapping):
            told = (error.get(name) for name in ("error", "message", "detail", "code", "type"))
            error = next((value for value in told if value), "an error without a message")
    is_code = isinstance(error, int) and abs(error) < _MAX_CODE
    text = str(error) if is_code or isinstance(error, str) else "an error without a message"
    return " ".join(text[: 4 * MAX_ERROR_CHARS].split())[:MAX_ERROR_CHARS] or "an error"


def text_of(value: object) -> str:
    """A text as it is, and for anything else none."""
    return value if isinstance(value, str) else ""


def _flat(value: object) -> object:
    """A count, or the counts of its parts; what can be neither becomes what no count can be."""
    if isinstance(value, Mapping):
        return {name: () if isinstance(part, list | dict) else part for name, part in value.items()}
    return () if isinstance(value, list) else value


def _is_count(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

"""Answers put together from the events of a stream."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from router_data.probe.asks import Answer, Call
from router_data.probe.dialects import Dialect, usage_or_none


@dataclass(slots=True)
class _Pieces:
    """A tool call that is still coming in."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)

    def call(self) -> Call:
        """What has come so far."""
        return Call(id=self.id, name=self.name, arguments="".join(self.arguments))


class StreamReader:
    """Takes the `data:` of each event and keeps what the answer is so far.

    This is what both formats share: text, calls by index, when the first of them was complete.
    """

    def __init__(self) -> None:
        self.answer = Answer(status=200)
        self._text: list[str] = []
        self._pieces: dict[int, _Pieces] = {}

    def take(self, data: str, *, now_ms: float) -> None:
        """Add an event that came `now_ms` after sending."""
        self.answer.n_events += 1
        if data.strip() == "[DONE]":
            self.answer.is_terminated = True
            return
        try:
            event = msgspec.json.decode(data)
            self._event(event, now_ms)
        except (msgspec.DecodeError, KeyError, IndexError, TypeError, AttributeError) as error:
            self.answer.problem = f"event is not of this format: {error!r}"

    def finished(self) -> Answer:
        """The answer, once the stream has ended."""
        self.answer.text = "".join(self._text)
        self.answer.calls = tuple(self._pieces[index].call() for index in sorted(self._pieces))
        return self.answer

    def _event(self, event: Mapping[str, Any], now_ms: float) -> None:
        raise NotImplementedError

    def _arguments(self, index: int, text: str, now_ms: float) -> None:
        if not text:
            return
        pieces = self._pieces[index]
        pieces.arguments.append(text)
        self.answer.n_chunks += 1
        # Only an object that is closed can be complete, and decoding each prefix costs.
        if text.rstrip().endswith("}") and pieces.call().values is not None:
            self._complete(now_ms)

    def _complete(self, now_ms: float) -> None:
        if self.answer.tool_call_ms is None:
            self.answer.tool_call_ms = now_ms

    def _error(self, error: object) -> None:
        self.answer.problem = "the stream carried an error"
        self.answer.error_text = str(error)[:300]


class _OpenAIReader(StreamReader):
    def _event(self, event: Mapping[str, Any], now_ms: float) -> None:
        if event.get("error"):
            self._error(event["error"])
        self.answer.usage = usage_or_none(event.get("usage")) or self.answer.usage
        for choice in event.get("choices") or ():
            delta = choice.get("delta") or {}
            self._text.append(delta.get("content") or "")
            for item in delta.get("tool_calls") or ():
                self._tool_call(item, now_ms)
            if choice.get("finish_reason"):
                self.answer.finish = choice["finish_reason"]

    def _tool_call(self, item: Mapping[str, Any], now_ms: float) -> None:
        index = int(item.get("index") or 0)
        pieces = self._pieces.setdefault(index, _Pieces())
        function = item.get("function") or {}
        pieces.id = item.get("id") or pieces.id
        pieces.name = function.get("name") or pieces.name
        self._arguments(index, function.get("arguments") or "", now_ms)


class _AnthropicReader(StreamReader):
    def __init__(self) -> None:
        super().__init__()
        self._usage: dict[str, Any] = {}

    def _event(self, event: Mapping[str, Any], now_ms: float) -> None:
        kind = event["type"]
        steps: dict[str, Callable[[Mapping[str, Any], float], None]] = {
            "message_start": self._message_start,
            "content_block_start": self._block_start,
            "content_block_delta": self._block_delta,
            "content_block_stop": self._block_stop,
            "message_delta": self._message_delta,
        }
        if kind in steps:
            steps[kind](event, now_ms)
        elif kind == "message_stop":
            self.answer.is_terminated = True
        elif kind == "error":
            self._error(event.get("error"))

    def _message_start(self, event: Mapping[str, Any], _: float) -> None:
        self._count(event["message"].get("usage"))

    def _block_start(self, event: Mapping[str, Any], _: float) -> None:
        block = event["content_block"]
        if block["type"] == "tool_use":
            pieces = _Pieces(id=str(block.get("id") or ""), name=block["name"])
            self._pieces[event["index"]] = pieces

    def _block_delta(self, event: Mapping[str, Any], now_ms: float) -> None:
        delta = event["delta"]
        if delta["type"] == "text_delta":
            self._text.append(delta["text"])
        elif delta["type"] == "input_json_delta":
            self._arguments(event["index"], delta["partial_json"], now_ms)

    def _block_stop(self, event: Mapping[str, Any], now_ms: float) -> None:
        pieces = self._pieces.get(event["index"])
        if pieces is not None and not pieces.arguments:
            pieces.arguments.append("{}")  # a call without arguments sends none
            self._complete(now_ms)

    def _message_delta(self, event: Mapping[str, Any], _: float) -> None:
        self._count(event.get("usage"))
        self.answer.finish = event["delta"].get("stop_reason") or self.answer.finish

    def _count(self, usage: object) -> None:
        """Later events repeat or complete the counts of earlier ones."""
        if isinstance(usage, Mapping):
            self._usage |= {name: value for name, value in usage.items() if value is not None}
            self.answer.usage = usage_or_none(self._usage) or self.answer.usage


def reader_for(dialect: Dialect) -> StreamReader:
    """A reader of the streams of a dialect."""
    return _OpenAIReader() if dialect == "openai" else _AnthropicReader()

"""Answers put together from the events of a stream, with the time of the first tool call."""

from router_data.probe.asks import Answer
from router_data.probe.dialects import WIRE_FORMATS, Dialect, filled
from router_model.answers import AnswerStream


class StreamReader:
    """Takes the `data:` of each event and keeps what the answer is so far."""

    def __init__(self, dialect: Dialect) -> None:
        self.answer = Answer(status=200)
        self._stream = AnswerStream(WIRE_FORMATS[dialect])

    def take(self, data: str, *, now_ms: float) -> None:
        """Add an event that came `now_ms` after sending."""
        self._stream.take(data.encode())
        self.answer.n_events += 1
        if self.answer.tool_call_ms is None and self._stream.has_complete_call:
            self.answer.tool_call_ms = now_ms

    def finished(self) -> Answer:
        """The answer, once the stream has ended."""
        if self.answer.n_events:
            found = self._stream.answer()
            filled(self.answer, found)
            self.answer.n_chunks = found.n_call_chunks
            self.answer.is_terminated = self._stream.is_terminated
        return self.answer

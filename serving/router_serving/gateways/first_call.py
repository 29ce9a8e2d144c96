"""Watches a stream for the moment when its first tool call is complete."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

from router_model.answers import AnswerStream
from router_model.types import WireFormat

# Pieces of text: not worth a look, and most of a stream.
_DULL: Final = ("response.output_text.delta", "response.function_call_arguments.delta")


class FirstCall:
    """When the first tool call of a stream was complete, in seconds of the wall clock."""

    def __init__(self, wire_format: WireFormat) -> None:
        self.at_s: float | None = None
        self._stream = AnswerStream(wire_format)
        self._is_over = asyncio.Event()

    async def over(self, *, within_s: float) -> None:
        """Return once the stream has gone to the client, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._is_over.wait()

    def end(self) -> None:
        """Take that the stream is over."""
        self._is_over.set()

    def take(self, chunk: Any) -> None:
        """Take a chunk: bytes of the wire, or one of LiteLLM's objects."""
        if self.at_s is not None or getattr(chunk, "type", None) in _DULL:
            return
        if isinstance(chunk, str | bytes):
            self._stream.feed(chunk.encode() if isinstance(chunk, str) else chunk)
        else:
            self._stream.take(chunk.model_dump(mode="json", exclude_none=True))
        if self._stream.has_complete_call:
            self.at_s = time.time()


async def watched(stream: Any, first_call: FirstCall) -> AsyncIterator[Any]:
    """The stream as it is; a chunk that can't be read is passed on all the same."""
    is_watching = True
    try:
        async for chunk in stream:
            if is_watching:
                try:
                    first_call.take(chunk)
                except Exception:  # noqa: BLE001  # the client's stream must not end for this
                    is_watching = False
            yield chunk
    finally:
        first_call.end()

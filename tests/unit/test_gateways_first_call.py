import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from upstream_anthropic import MESSAGES
from upstream_gemini import GEMINI
from upstream_openai import CHAT, RESPONSES
from upstream_script import Said
from upstream_wire import Dialect, Used

from router_model.types import WireFormat
from router_serving.gateways.first_call import FirstCall, watched

CALLED = Said(tool="bash", arguments='{"command": "ls"}', finish="tool", call_id="c")
SPOKEN = Said("Nothing to do.")
DIALECTS = {
    WireFormat.OPENAI_CHAT: CHAT,
    WireFormat.OPENAI_RESPONSES: RESPONSES,
    WireFormat.ANTHROPIC_MESSAGES: MESSAGES,
    WireFormat.GEMINI: GEMINI,
}


def _chunks(dialect: Dialect, said: Said) -> list[bytes]:
    return list(dialect.events("m", said, Used(10, 0, 0, 5)))


@pytest.mark.parametrize(("wire_format", "dialect"), DIALECTS.items())
def test_the_first_whole_call_is_noticed(wire_format: WireFormat, dialect: Dialect) -> None:
    first_call = FirstCall(wire_format)
    for chunk in _chunks(dialect, CALLED):
        first_call.take(chunk)
    assert first_call.at_s is not None


@pytest.mark.parametrize(("wire_format", "dialect"), DIALECTS.items())
def test_a_text_is_no_call(wire_format: WireFormat, dialect: Dialect) -> None:
    first_call = FirstCall(wire_format)
    for chunk in _chunks(dialect, SPOKEN):
        first_call.take(chunk)
    assert first_call.at_s is None


def test_a_stream_stays_what_it_was_whatever_it_holds() -> None:
    chunks = [b"data: {", object(), 3, None, "text", *_chunks(CHAT, CALLED)]

    async def stream() -> AsyncIterator[Any]:
        for chunk in chunks:
            yield chunk

    async def read() -> list[Any]:
        return [chunk async for chunk in watched(stream(), FirstCall(WireFormat.OPENAI_CHAT))]

    assert asyncio.run(read()) == chunks


def test_its_end_is_waited_for_and_not_for_ever() -> None:
    async def stream() -> AsyncIterator[Any]:
        for chunk in _chunks(CHAT, CALLED):
            await asyncio.sleep(0)
            yield chunk

    async def read() -> float | None:
        first_call = FirstCall(WireFormat.OPENAI_CHAT)
        await first_call.over(within_s=0.01)
        assert first_call.at_s is None
        reading = asyncio.create_task(_all(watched(stream(), first_call)))
        await first_call.over(within_s=60.0)
        await reading
        return first_call.at_s

    assert asyncio.run(read()) is not None


async def _all(stream: AsyncIterator[Any]) -> list[Any]:
    return [chunk async for chunk in stream]

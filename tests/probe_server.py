"""A real HTTP server that speaks both dialects like a good endpoint, or with one fault."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import probe_dialects as dialects
import uvicorn
from probe_model import Model, Said, Seen
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

KEY = "the-secret-key"
MODEL = "tested-1"
WINDOW_TOKENS = 12_000
MIN_CACHE_TOKENS = 1_024
CALM = 2
"""Calls at once that never feel a fault under load."""

_LATENCY_S = 0.05
_PIECE_S = 0.005
_SLOW_S = 2.5
_HANG_S = 60.0
_USD_PER_TOKEN = 1e-6


@dataclass
class Endpoint:
    """The state of the server; `is_whole` streams arguments in one piece."""

    fault: str = ""
    is_whole: bool = False
    asks_completion_tokens: bool = False
    tells_cache: bool = True
    stops_short: bool = False
    model: Model = field(init=False)
    n_active: int = 0
    n_calls: int = 0
    spent_usd: float = 0.0
    prefixes: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.model = Model(self.fault)

    async def spend(self, request: Request) -> Response:
        return JSONResponse({"data": {"usage": self.spent_usd}})

    async def openai(self, request: Request) -> Response:
        is_known = request.headers.get("authorization") == f"Bearer {KEY}"
        return await self._respond("openai", request, is_known=is_known)

    async def anthropic(self, request: Request) -> Response:
        is_known = request.headers.get("x-api-key") == KEY
        return await self._respond("anthropic", request, is_known=is_known)

    async def _respond(self, dialect: str, request: Request, *, is_known: bool) -> Response:
        self.n_calls += 1
        body = await request.json()
        seen = dialects.read(dialect, body)
        if refusal := self._refusal(seen, body, is_known=is_known):
            status, text = refusal
            error = dialects.error(dialect, text)
            return JSONResponse(error, status) if text else Response(status_code=status)
        self.n_active += 1
        # Streams only: what a client has given up on counts for a moment longer.
        is_crowded = seen.stream and self.n_active > CALM
        if is_crowded and (failure := await self._under_load(request)):
            self.n_active -= 1
            return failure
        await asyncio.sleep(_LATENCY_S)
        said, usage = self.model.say(seen), self._usage(seen)
        if self.stops_short:
            said = Said(said.text[:2], is_short=True)
        usage["output"] = said.n_tokens
        if not seen.stream:
            self.n_active -= 1
            self._bill(usage)
            answer = self._whole(dialect, said, usage)
            if not self.tells_cache:
                answer["usage"]["prompt_tokens_details"] = None
            return JSONResponse(answer)
        events = self._events(dialect, seen, said, usage)
        return StreamingResponse(events, media_type="text/event-stream")

    def _refusal(
        self, seen: Seen, body: Mapping[str, Any], *, is_known: bool
    ) -> tuple[int, str] | None:
        if not is_known:
            return (500, "") if self.fault == "vague_auth_error" else (401, "invalid api key")
        if seen.model != MODEL and self.fault != "unknown_model_answered":
            return 404, f"the model {seen.model} does not exist"
        if self.asks_completion_tokens and "max_tokens" in body:
            return 400, "Unsupported parameter: use 'max_completion_tokens' instead"
        if seen.n_tokens > WINDOW_TOKENS and self.fault != "truncates":
            return 400, f"maximum context length is {WINDOW_TOKENS} tokens"
        return None

    async def _under_load(self, request: Request) -> Response | None:
        if self.fault == "error_under_load":
            return Response("overloaded", 500)
        if self.fault == "hang_under_load":
            while not await request.is_disconnected():
                await asyncio.sleep(0.05)
            return Response(status_code=499)
        if self.fault == "slow_under_load":
            await asyncio.sleep(_SLOW_S)
        return None

    def _usage(self, seen: Seen) -> dict[str, int]:
        n_prefix = len(seen.system) // 4
        can_cache = n_prefix >= MIN_CACHE_TOKENS and self.fault != "no_cache"
        if seen.is_marked is False or not can_cache:
            return {"input": min(seen.n_tokens, WINDOW_TOKENS), "cached": 0, "output": 0}
        cached = n_prefix if seen.system in self.prefixes else 0
        self.prefixes.add(seen.system)
        return {"input": min(seen.n_tokens, WINDOW_TOKENS), "cached": cached, "output": 0}

    def _bill(self, usage: Mapping[str, int]) -> None:
        self.spent_usd += _USD_PER_TOKEN * (usage["input"] + usage["output"])

    def _whole(self, dialect: str, said: Said, usage: Mapping[str, int]) -> dict[str, Any]:
        id_of = (lambda _: "") if self.fault == "malformed_tool_use" else dialects.call_id
        is_wrong = self.fault == "wrong_finish"
        return dialects.whole(dialect, said, usage, id_of=id_of, is_wrong=is_wrong)

    async def _events(
        self, dialect: str, seen: Seen, said: Said, usage: Mapping[str, int]
    ) -> AsyncIterator[bytes]:
        """Whoever leaves before the end pays nothing, unless the fault is that."""
        try:
            if self.fault == "double_billing":
                self._bill(usage)
            async for data in self._pieces(dialect, seen, said, usage):
                yield data
            if self.fault != "double_billing":
                self._bill(usage)
        finally:
            self.n_active -= 1

    async def _pieces(
        self, dialect: str, seen: Seen, said: Said, usage: Mapping[str, int]
    ) -> AsyncIterator[bytes]:
        events = dialects.events(dialect, said, usage, is_whole=self.is_whole)
        for kind, data in events:
            if self._is_dropped(kind):
                continue
            if kind == "finish" and said.calls:
                if self.fault == "cut_stream":
                    raise ConnectionAbortedError("the fault: the connection is cut")
                if self.fault == "hang_stream":
                    await asyncio.sleep(_HANG_S)
            if kind in ("piece", "last_piece"):
                await asyncio.sleep(_PIECE_S)
            yield data

    def _is_dropped(self, kind: str) -> bool:
        dropped = {
            "no_terminator": ("terminator",),
            "broken_arguments": ("last_piece",),
            "no_stream_usage": ("usage",),
        }
        return kind in dropped.get(self.fault, ())


@contextmanager
def serving(endpoint: Endpoint) -> Iterator[str]:
    """The address of a running server."""
    routes = [
        Route("/spend", endpoint.spend),
        Route("/v1/chat/completions", endpoint.openai, methods=["POST"]),
        Route("/v1/messages", endpoint.anthropic, methods=["POST"]),
    ]
    config = uvicorn.Config(
        Starlette(routes=routes), port=0, log_level="critical", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()

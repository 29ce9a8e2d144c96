"""Calls to the endpoint: each reserved before it is made, timed, and kept for the log."""

import asyncio
import math
import statistics
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from router_data.probe.asks import Answer, Ask, Turn
from router_data.probe.budget import Budget
from router_data.probe.dialects import Dialect, body_of, headers_of, read_answer, url_of
from router_data.probe.streams import StreamReader
from router_model.errors import RouterError
from router_model.pricing import call_cost, worst_case_cost
from router_model.tokens import MESSAGE_TOKENS, estimate_tokens
from router_model.types import PriceCard

if TYPE_CHECKING:
    import httpx

# The estimate of a prompt's tokens is off by some per cent, and vocabularies differ: by how much
# is seen from the first call of some length.
MARGIN: Final = 1.3
_FIRST_MARGIN: Final = 2.5
_FRAME_TOKENS: Final = 400
# One wrong usage must not make every later call too dear to reserve.
_MAX_RATIO: Final = 3.0
_MAX_ERROR_CHARS: Final = 300
_LIMIT_NAMES: Final = ("max_tokens", "max_completion_tokens")


class ProbeError(RouterError):
    """An endpoint that can't be probed at all."""

    code = "probe_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What is called. `key` never leaves the headers of a call; `usage_field` is a dotted path."""

    base_url: str
    model: str
    dialect: Dialect
    price: PriceCard
    key: str | None = None
    timeout_s: float = 120.0
    max_tokens: int = 1024
    usage_url: str | None = None
    usage_field: str = "usage"

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url!r}, {self.model!r})"


@dataclass(frozen=True, slots=True)
class Record:
    """A call that was made, for the log."""

    check: str
    ts_ms: int
    session: str
    body: bytes
    answer: Answer


class Client:
    """Makes calls within a budget; `check` names the check that asks."""

    def __init__(self, endpoint: Endpoint, budget: Budget, http: "httpx.AsyncClient") -> None:
        self.endpoint = endpoint
        self.budget = budget
        self.check = ""
        self.records: list[Record] = []
        self.n_calls = 0
        self._ratios: list[float] = []
        self._http = http
        self._url = url_of(endpoint.base_url, endpoint.dialect)
        self._limit_name = _LIMIT_NAMES[0]

    async def greet(self) -> None:
        """A first small call; raises ProbeError where the endpoint can't be used as asked."""
        ask = Ask(turns=(Turn(role="user", text="Answer with the word ready."),))
        self.check = "greeting"
        answer = await self.call(ask)
        if answer.status == 400 and _LIMIT_NAMES[1] in answer.error_text:
            self._limit_name = _LIMIT_NAMES[1]
            answer = await self.call(ask)
        if not answer.is_ok:
            status = f"HTTP {answer.status}: " if answer.status else ""
            what = answer.error_text or answer.problem
            raise ProbeError(f"{self._url}: {status}{what}, expected an answer")

    async def call(self, ask: Ask) -> Answer:
        """The answer, whatever it is; raises BudgetExhaustedError before a call is made."""
        estimated = estimate_of(ask)
        limit = ask.max_tokens or self.endpoint.max_tokens
        margin = MARGIN * max([1.0, *self._ratios]) if self._ratios else _FIRST_MARGIN
        reserved = worst_case_cost(
            self.endpoint.price,
            input_tokens=math.ceil(estimated * margin) + _FRAME_TOKENS,
            max_output_tokens=limit,
        )
        self.budget.reserve(reserved)
        # Until it is known what the call cost, it is counted as the worst case: so it stays
        # where the probe is stopped in the middle of it.
        spent = reserved
        try:
            answer = await self._made(ask, estimated)
            answer.cost_usd = spent = self._cost(answer, reserved)
        finally:
            self.budget.settle(reserved, spent=spent)
        if answer.usage is not None and answer.status == 200 and estimated >= _FRAME_TOKENS:
            self._ratios.append(min(answer.usage.input_tokens / estimated, _MAX_RATIO))
        return answer

    @property
    def token_ratio(self) -> float:
        """Billed over estimated input tokens, the median of the calls so far; 1 before any."""
        return statistics.median(self._ratios) if self._ratios else 1.0

    async def spending(self) -> float | None:
        """What the endpoint says was spent so far; None where it does not say."""
        if self.endpoint.usage_url is None:
            return None
        import httpx

        headers = headers_of(self.endpoint.dialect, self.endpoint.key)
        try:
            response = await self._http.get(self.endpoint.usage_url, headers=headers)
            return _number_at(response.json(), self.endpoint.usage_field)
        except (httpx.HTTPError, ValueError):
            return None

    def redacted(self, text: str) -> str:
        """The text without the key, should an endpoint repeat it."""
        key = self.endpoint.key
        return text.replace(key, "[key]") if key else text

    def _cost(self, answer: Answer, reserved: float) -> float:
        if answer.usage is not None:
            return call_cost(self.endpoint.price, answer.usage)
        return 0.0 if answer.status >= 400 else reserved

    async def _made(self, ask: Ask, estimated: int) -> Answer:
        body = msgspec.json.encode(
            body_of(
                ask,
                dialect=self.endpoint.dialect,
                model=self.endpoint.model,
                max_tokens=self.endpoint.max_tokens,
                limit_name=self._limit_name,
            )
        )
        self.n_calls += 1
        ts_ms = time.time_ns() // 1_000_000
        start = time.perf_counter()
        answer = await self._answered(ask, body, start)
        answer.latency_ms = (time.perf_counter() - start) * 1000.0
        answer.estimated_tokens = estimated
        answer.error_text = self.redacted(answer.error_text)
        answer.problem = self.redacted(answer.problem)
        if not (ask.model or ask.key is not None):
            self.records.append(Record(self.check, ts_ms, ask.session, body, answer))
        return answer

    async def _answered(self, ask: Ask, body: bytes, start: float) -> Answer:
        """The answer as read; whatever goes wrong on the wire becomes its `problem`."""
        import httpx

        reader = StreamReader(self.endpoint.dialect)
        # A stream that breaks leaves what had come of it.
        reader.answer.status = 0
        try:
            async with asyncio.timeout(self.endpoint.timeout_s):
                return await self._sent(ask, body, start, reader)
        except TimeoutError:
            answer = reader.finished()
            answer.problem = f"no end within {self.endpoint.timeout_s:g} s"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            answer = reader.finished()
            answer.problem = f"connection: {error or type(error).__name__}"
        return answer

    async def _sent(self, ask: Ask, body: bytes, start: float, reader: StreamReader) -> Answer:
        key = self.endpoint.key if ask.key is None else ask.key
        headers = headers_of(self.endpoint.dialect, key) | {"content-type": "application/json"}
        if ask.idempotency_key:
            headers["idempotency-key"] = ask.idempotency_key
        sending = self._http.stream("POST", self._url, content=body, headers=headers)
        async with sending as response:
            if response.status_code != 200:
                return Answer(
                    status=response.status_code,
                    problem=f"HTTP {response.status_code}",
                    error_text=_message_of(await response.aread()),
                )
            if not ask.stream:
                return self._whole(await response.aread())
            reader.answer.status = 200
            async for data in _events(response.aiter_lines()):
                reader.take(data, now_ms=(time.perf_counter() - start) * 1000.0)
                if reader.answer.n_events == ask.cut_after_events:
                    reader.answer.is_cut = True
                    break
            return reader.finished()

    def _whole(self, content: bytes) -> Answer:
        try:
            document = msgspec.json.decode(content)
        except msgspec.DecodeError:
            return Answer(status=200, problem="answer is no JSON")
        return read_answer(document, dialect=self.endpoint.dialect)


def estimate_of(ask: Ask) -> int:
    """Estimated tokens of everything that is sent for the model to read."""
    texts = [ask.system, *(turn.text for turn in ask.turns)]
    texts += [call.arguments for turn in ask.turns for call in turn.calls]
    texts += [
        tool.name + tool.description + msgspec.json.encode(tool.parameters).decode()
        for tool in ask.tools
    ]
    n_frames = len(ask.turns) + len(ask.tools) + 1
    return math.ceil(sum(map(estimate_tokens, texts))) + MESSAGE_TOKENS * n_frames


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """The data of server-sent events; names of events repeat what the data say."""
    async for line in lines:
        if line.startswith("data:"):
            yield line[5:].strip()


def _message_of(content: bytes) -> str:
    """The message of an error's body, else the beginning of the body, in one line."""
    text = content.decode("utf-8", "replace")
    try:
        found = msgspec.json.decode(content)
        message = found["error"]["message"]
        text = message if isinstance(message, str) else text
    except (msgspec.DecodeError, KeyError, TypeError, IndexError):
        pass  # not every endpoint writes errors in the form of the dialect
    return " ".join(text.split())[:_MAX_ERROR_CHARS]


def _number_at(document: Any, path: str) -> float | None:
    for name in path.split("."):
        document = document.get(name) if isinstance(document, Mapping) else None
    is_number = isinstance(document, int | float) and not isinstance(document, bool)
    return float(document) if is_number else None

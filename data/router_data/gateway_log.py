"""A call as a gateway logged it, and the plain log: one JSON object a line.

    {"ts": "2026-11-20T10:00:00Z", "tenant": "acme", "session": "s1", "model": "m-large",
     "request": {...the client's body, any dialect...}, "response": {...the answer's body...},
     "usage": {"input_tokens": 900, ...}, "cost_usd": 0.01, "latency_ms": 1200,
     "signals": {"retried": true}}

`ts` (ISO 8601, or Unix time in seconds or milliseconds) and `model` are needed, and `request` (an
object, or text that holds one) or, for a row that only tells of spending, `usage` or `cost_usd`.
`response` may be an object or the text of a stream. `id` names the call where two could otherwise
be equal. In CSV cells hold the same as text, and counts of tokens may have columns of their own.
`distribution` maps models to the probability with which the gateway drew them, `propensity` is
that of `model`. Other members are ignored.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct

from router_data.imports.plain_cells import typed
from router_data.imports.records import Record, read_records
from router_model.errors import DatasetError, InvalidRequestError

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Amount = Annotated[float, Meta(ge=0.0)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]

# Numbers below are seconds, others milliseconds; both ends of what can be a call's time.
_SECONDS_BELOW = 1e11
_FIRST_MS, _LAST_MS = 946_684_800_000, 4_102_444_800_000  # 2000 to 2100
_TOLERANCE = 1e-6
TWIN = "the same call without its request"
_NOTHING = frozenset({b"", b"null", b"{}", b'""', b"[]"})


class GatewayUsage(Struct, frozen=True, kw_only=True):
    """Tokens of a call. `input_tokens` includes cached and cache-write tokens."""

    input_tokens: Count | None = None
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_write_1h_tokens: Count | None = None
    reasoning_tokens: Count | None = None


class GatewayCall(Struct, frozen=True, kw_only=True):
    """One call that a gateway made, as it logged it. `ts_ms` is Unix time in milliseconds.

    `also_named` are other names of the model, tried where the catalog does not know `model`.
    `without_content` says why a call comes without request, where its source says so.
    """

    ts: Any
    model: Name
    request: Raw = Raw()
    response: Raw = Raw()
    also_named: tuple[Name, ...] = ()
    without_content: str = ""
    requested_model: Name | None = None
    is_streamed: bool | None = None
    id: Name | None = None
    tenant: Name | None = None
    key: Name | None = None
    user: Name | None = None
    session: Name | None = None
    client: Name | None = None
    format: str | None = None
    path: str | None = None
    usage: GatewayUsage | None = None
    cost_usd: Amount | None = None
    latency_ms: Amount | None = None
    tool_call_latency_ms: Amount | None = None
    tool_call_valid: bool | None = None
    adequate: bool | None = None
    reward: Share | None = None
    signals: dict[str, bool | float | str | None] = {}
    error: str | None = None
    propensity: Share | None = None
    distribution: dict[str, Share] | None = None

    @property
    def ts_ms(self) -> int:
        """Unix time in milliseconds. Raises DatasetError."""
        return time_ms(self.ts)

    @property
    def has_request(self) -> bool:
        """True when the client's body is there."""
        return bytes(self.request) not in _NOTHING

    @property
    def has_response(self) -> bool:
        """True when the answer's body is there."""
        return bytes(self.response) not in _NOTHING

    @property
    def is_drawn(self) -> bool:
        """True when the gateway says with which probability it drew each model."""
        return self.propensity is not None and self.distribution is not None


class Line(NamedTuple):
    """What a record says, with its number from 1: a call, or why there is none.

    `problem` is why a record is unusable, `left_out` why a sound one is no call of a model.
    """

    number: int
    text: bytes
    call: GatewayCall | None
    problem: str = ""
    left_out: str = ""


Reader = Callable[[Record], Iterable[Line]]
"""The calls in one record; a record that holds none gives one line that says why."""

_DECODER = msgspec.json.Decoder(GatewayCall)


def read_lines(
    path: Path, reader: Reader | None = None, *, progress: bool = False
) -> Iterator[Line]:
    """The lines of a file in any of the formats, the plain one when not given; one by one."""
    read = reader or read_plain
    for record in read_records(path, progress=progress):
        if record.problem:
            yield Line(record.number, record.text, None, record.problem)
        else:
            yield from read(record)


def without_twins(lines: Iterable[Line], *, n_held: int = 1_000) -> Iterator[Line]:
    """The lines, but of a call that comes twice within `n_held` others only the one with request.

    Tracing tools nest two spans of one call, the inner one first and often without content.
    """
    held: OrderedDict[tuple[str | None, str], Line] = OrderedDict()
    for line in lines:
        call = line.call
        key = None if call is None or call.id is None else (call.tenant, call.id)
        if call is None or key is None or (not call.has_request and key in held):
            yield line
        elif call.has_request:
            if (poorer := held.pop(key, None)) is not None:
                yield poorer._replace(call=None, left_out=TWIN)
            yield line
        else:
            held[key] = line
            if len(held) > n_held:
                yield held.popitem(last=False)[1]
    yield from held.values()


def read_plain(record: Record) -> Iterator[Line]:
    """The call of one record of the plain log."""
    if record.is_typed:
        yield checked_line(record, lambda: _DECODER.decode(record.text))
    else:
        yield checked_line(record, lambda: call_of(typed(msgspec.json.decode(record.text))))


def checked_line(
    record: Record,
    make: Callable[[], GatewayCall | str],
    named: Mapping[str, str] = MappingProxyType({}),
) -> Line:
    """The line of a call, or of why there is none, which `make` may give instead.

    What it raises because of the record becomes the line's problem. `named` says what the source
    calls our fields, so that the problem is told in its words.
    """
    problem = ""
    try:
        made = make()
        if isinstance(made, str):
            return Line(record.number, record.text, None, left_out=made)
        _check(made)
        return Line(record.number, record.text, made)
    except InvalidRequestError as error:
        problem = f"{error.field}: expected {error.allowed}"
    except (msgspec.ValidationError, DatasetError) as error:
        problem = str(error)
    except (msgspec.DecodeError, UnicodeError):
        problem = "not valid JSON"
    except RecursionError:
        problem = "nested too deeply"
    return Line(record.number, record.text, None, _in_words_of(named, problem))


def _in_words_of(named: Mapping[str, str], problem: str) -> str:
    ours, colon, rest = problem.partition(":")
    if colon and ours in named:
        return f"{named[ours]}:{rest}"
    expected, at, place = problem.partition(" - at `$.")
    ours = place.rstrip("`")
    return f"{named.get(ours, ours)}: {expected[:1].lower()}{expected[1:]}" if at else problem


def call_of(fields: Mapping[str, Any]) -> GatewayCall:
    """The call with these fields; `request` and `response` are values that JSON can hold.

    Raises msgspec.ValidationError.
    """
    bodies = {
        name: Raw(msgspec.json.encode(fields[name]))
        for name in ("request", "response")
        if fields.get(name) is not None
    }
    return msgspec.convert({**fields, "request": Raw(), "response": Raw(), **bodies}, GatewayCall)


def time_ms(value: object) -> int:
    """Unix time in milliseconds of ISO 8601 text, seconds or milliseconds. Raises DatasetError.

    >>> time_ms("2026-11-20T10:00:00Z"), time_ms(1795168800), time_ms(1795168800000)
    (1795168800000, 1795168800000, 1795168800000)
    """
    allowed = "ISO 8601, or Unix time in seconds or milliseconds, between 2000 and 2100"
    number = _timestamp(value)
    if number is not None:
        found = number * 1000 if abs(number) < _SECONDS_BELOW else number
        if _FIRST_MS <= found <= _LAST_MS:
            return round(found)
    raise DatasetError(f"ts: expected {allowed}")


def _timestamp(value: object) -> float | None:
    """The number that a time is written as; None where it is none."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= _LAST_MS else None


def _check(call: GatewayCall) -> None:
    time_ms(call.ts)
    if not call.has_request and call.usage is None and call.cost_usd is None:
        raise DatasetError("request: missing, expected the client's body, or usage or cost_usd")
    if call.propensity == 0.0:
        raise DatasetError("propensity: expected more than 0")
    if call.is_drawn:
        _check_distribution(call.distribution or {}, model=call.model, propensity=call.propensity)


def _check_distribution(
    distribution: Mapping[str, float], *, model: str, propensity: float | None
) -> None:
    if abs(sum(distribution.values()) - 1.0) > _TOLERANCE:
        raise DatasetError("distribution: expected probabilities that sum to 1")
    if abs(distribution.get(model, 0.0) - (propensity or 0.0)) > _TOLERANCE:
        raise DatasetError("propensity: expected the distribution's probability of the model")

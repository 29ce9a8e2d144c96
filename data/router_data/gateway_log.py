"""Reads the plain log of a gateway: one JSON object a line.

    {"ts": "2026-11-20T10:00:00Z", "tenant": "acme", "session": "s1", "model": "m-large",
     "request": {...the client's body, any dialect...}, "usage": {"input_tokens": 900, ...},
     "cost_usd": 0.01, "latency_ms": 1200, "signals": {"retried": true}}

`ts` (ISO 8601, or Unix time in seconds or milliseconds), `request` (an object, or text that holds
one) and `model` are needed. `id` names the call where two could otherwise be equal.
`distribution` maps models to the probability with which the gateway drew them, `propensity` is
that of `model`. Other members are ignored.
"""

import codecs
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct
from tqdm import tqdm

from router_model.errors import DatasetError

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Amount = Annotated[float, Meta(ge=0.0)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]

# Numbers below are seconds, others milliseconds; both ends of what can be a call's time.
_SECONDS_BELOW = 1e11
_FIRST_MS, _LAST_MS = 946_684_800_000, 4_102_444_800_000  # 2000 to 2100
_TOLERANCE = 1e-6


class GatewayUsage(Struct, frozen=True, kw_only=True):
    """Tokens of a call. `input_tokens` includes cached and cache-write tokens."""

    input_tokens: Count | None = None
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    output_tokens: Count | None = None


class GatewayCall(Struct, frozen=True, kw_only=True):
    """One call that a gateway made, as it logged it. `ts_ms` is Unix time in milliseconds."""

    ts: Any
    request: Raw
    model: Name
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
    def is_drawn(self) -> bool:
        """True when the gateway says with which probability it drew each model."""
        return self.propensity is not None and self.distribution is not None


class Line(NamedTuple):
    """A line of the log with its number from 1; `call` or, where it is unusable, `problem`."""

    number: int
    text: bytes
    call: GatewayCall | None
    problem: str


_DECODER = msgspec.json.Decoder(GatewayCall)


def read_lines(path: Path, *, progress: bool = False) -> Iterator[Line]:
    """The lines of a file that are not blank, one by one."""
    try:
        with (
            path.open("rb") as file,
            tqdm(
                total=path.stat().st_size,
                desc="import",
                unit="B",
                unit_scale=True,
                disable=not progress,
            ) as bar,
        ):
            for number, text in enumerate(file, start=1):
                bar.update(len(text))
                if text.strip():
                    yield _line(number, text)
    except OSError as error:
        raise DatasetError(f"{path}: can't be read: {error}") from error


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


def _line(number: int, text: bytes) -> Line:
    try:
        call = _DECODER.decode(text.removeprefix(codecs.BOM_UTF8) if number == 1 else text)
        _check(call)
    except msgspec.ValidationError as error:
        return Line(number, text, None, str(error))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Line(number, text, None, "not valid JSON")
    except RecursionError:
        return Line(number, text, None, "nested too deeply")
    except DatasetError as error:
        return Line(number, text, None, str(error))
    return Line(number, text, call, "")


def _check(call: GatewayCall) -> None:
    time_ms(call.ts)
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

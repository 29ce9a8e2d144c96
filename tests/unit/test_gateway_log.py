"""Every line of a gateway's log is either a call or a problem with its number."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_data.gateway_log import Line, read_lines, time_ms
from router_model.errors import DatasetError

NEEDED: dict[str, Any] = {
    "ts": 1_795_168_800,
    "model": "small",
    "request": {"messages": [{"role": "user", "content": "x"}]},
}


def read(folder: Path, *lines: bytes | dict[str, Any]) -> list[Line]:
    data = [line if isinstance(line, bytes) else msgspec.json.encode(line) for line in lines]
    path = folder / "gateway.jsonl"
    path.write_bytes(b"\n".join(data))
    return list(read_lines(path))


def test_a_line_holds_the_call_and_its_number(tmp_path: Path) -> None:
    first, third = read(tmp_path, NEEDED, b"  ", NEEDED | {"reward": 0.5, "anything": [1]})
    assert (first.number, third.number) == (1, 3)
    assert first.call is not None
    assert third.call is not None
    assert (first.call.model, first.call.ts_ms) == ("small", 1_795_168_800_000)
    assert msgspec.json.decode(first.call.request) == NEEDED["request"]
    assert (first.call.reward, third.call.reward) == (None, 0.5)
    assert not first.call.is_drawn


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-20T10:00:00Z",
        "2026-11-20T10:00:00",
        "2026-11-20T12:00:00+02:00",
        "2026-11-20 10:00:00.000",
        1_795_168_800,
        1_795_168_800.0,
        1_795_168_800_000,
    ],
)
def test_times_may_be_iso_or_unix_seconds_or_milliseconds(value: object) -> None:
    assert time_ms(value) == 1_795_168_800_000


@pytest.mark.parametrize("value", ["yesterday", "", None, True, -5, 0, 1e300, [1], float("nan")])
def test_a_time_that_makes_no_sense_is_refused(value: object) -> None:
    with pytest.raises(DatasetError, match="ts: expected ISO 8601"):
        time_ms(value)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "not valid JSON"),
        (b'{"ts": 1795168800, "model": "\xff"}', "not valid JSON"),
        (b"[]", "Expected `object`, got `array`"),
        ({"ts": 1_795_168_800, "model": "m"}, "request: missing, expected the client's body, or"),
        (NEEDED | {"ts": "soon"}, "ts: expected ISO 8601"),
        (NEEDED | {"model": ""}, "model: expected `str` of length >= 1"),
        (NEEDED | {"reward": 2}, "reward: expected `float` <= 1.0"),
        (NEEDED | {"cost_usd": -1}, "cost_usd: expected `float` >= 0.0"),
        (NEEDED | {"usage": {"input_tokens": "many"}}, "usage.input_tokens: expected"),
        (NEEDED | {"signals": {"retried": [1]}}, "signals[...]: expected"),
        (NEEDED | {"propensity": 0}, "propensity: expected more than 0"),
        (
            NEEDED | {"propensity": 0.5, "distribution": {"small": 0.5}},
            "distribution: expected probabilities that sum to 1",
        ),
        (
            NEEDED | {"propensity": 0.5, "distribution": {"small": 0.4, "large": 0.6}},
            "propensity: expected the distribution's probability of the model",
        ),
        (
            NEEDED | {"propensity": 0.5, "distribution": {"large": 1.0}},
            "propensity: expected the distribution's probability of the model",
        ),
    ],
)
def test_an_unusable_line_says_why(
    tmp_path: Path, line: bytes | dict[str, Any], problem: str
) -> None:
    bad, good = read(tmp_path, line, NEEDED)
    assert bad.call is None
    assert problem in bad.problem
    assert good.problem == ""


@given(st.lists(st.binary(max_size=30).filter(lambda data: b"\n" not in data), max_size=5))
def test_any_bytes_are_read_without_failing(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    found = read(tmp_path_factory.mktemp("log"), *lines)
    assert [line.call for line in found] == [None] * len(found)
    assert all(line.problem for line in found)
    begun = b"".join(lines).removeprefix(b"\xef\xbb\xbf").lstrip()
    if not begun.startswith((b"[", b"{")):  # else it is an array or indented objects, not lines
        assert len(found) == sum(bool(line.strip()) for line in lines)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="can't be read"):
        list(read_lines(tmp_path / "none.jsonl"))

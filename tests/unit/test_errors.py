import pytest

from router_model.errors import InvalidRequestError


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_short_values_are_shown_as_they_are() -> None:
    for value in (1.5, None, "text", b"\xff", ["gpt-0", "no-such-model"], {"a": [1, {"b": 2}]}):
        shown = str(InvalidRequestError("field", value, "another"))
        assert shown == f"field: got {value!r}, expected another"


@pytest.mark.parametrize(
    "value",
    [
        "x" * 1_000_000,
        b"x" * 1_000_000,
        list(range(1_000_000)),
        {str(n): n for n in range(100_000)},
        nested(900),  # once a RecursionError
        [[[["x" * 1000] * 100] * 100] * 100] * 100,
        10**10_000,  # once a ValueError
        [10**10_000],
    ],
    ids=lambda value: type(value).__name__,
)
def test_of_a_large_value_the_start_is_shown(value: object) -> None:
    shown = str(InvalidRequestError("field", value, "another"))
    assert shown.startswith("field: got ")
    assert len(shown) < 120


def test_of_a_long_field_the_start_is_named() -> None:
    error = InvalidRequestError("policy." + "x" * 1_000_000, 1, "another")
    assert len(error.field) == 200
    assert len(str(error)) < 300

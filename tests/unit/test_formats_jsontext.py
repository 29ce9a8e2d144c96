"""JSON decoding: errors that name the field and the value, and text that stays what it is."""

import json
from typing import Any

import pytest
from msgspec import Raw

from router_model import formats
from router_model.errors import InvalidRequestError, MalformedJsonError
from router_model.formats.jsontext import (
    MAX_SCHEMA_DEPTH,
    MAX_VALUES,
    arguments_text,
    check_values,
    compact,
    compact_text,
    kept_raw,
    without_lone_surrogates,
)


def error_of(body: Any) -> InvalidRequestError:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(InvalidRequestError) as caught:
        formats.parse(encoded)
    return caught.value


def with_field(name: str, value: Any) -> Any:
    return {"messages": [{"role": "user", "content": "Hi"}], name: value}


@pytest.mark.parametrize(
    ("value", "shown"),
    [("hot", "'hot'"), (True, "True"), ([1], "'array'"), ({}, "'object'"), ("x" * 41, "'string'")],
)
def test_a_message_names_field_value_and_allowed(value: Any, shown: str) -> None:
    error = error_of(with_field("temperature", value))
    assert str(error) == f"temperature: got {shown}, expected number or null"


def test_a_field_given_twice_is_refused_for_its_first_value() -> None:
    error = error_of(b'{"messages": [5], "messages": []}')
    assert str(error) == "messages[0]: got 'integer', expected object"


def test_text_where_a_conversation_should_be_is_not_shown() -> None:
    assert "secret" not in str(error_of({"messages": "my secret"}))


@pytest.mark.parametrize("number", [b"1e999", b"1" * 5000])
def test_numbers_out_of_range_name_the_field(number: bytes) -> None:
    error = error_of(b'{"messages": [{"role": "user"}], "seed": %s}' % number)
    assert error.field == "seed"
    assert not isinstance(error, MalformedJsonError)


def test_a_wrong_type_before_the_end_of_cut_off_json_is_malformed() -> None:
    assert isinstance(error_of(b'{"messages": 5, "tools": ['), MalformedJsonError)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"hello", "body: not valid JSON: invalid character (byte 0)"),
        (b'{"messages": []} x', "body: not valid JSON: trailing characters (byte 18)"),
        (b'{"messages": [', "body: not valid JSON: it ends too early"),
        (b'{"messages": 5, "tools": [', "body: not valid JSON: it ends too early"),
    ],
)
def test_what_no_parser_takes_is_told_once_with_its_place(body: bytes, message: str) -> None:
    error = error_of(body)
    assert (str(error), error.allowed) == (message, "JSON")


def test_an_empty_body_says_so() -> None:
    assert "the body is empty" in str(error_of(b""))


def test_invalid_utf8_says_where() -> None:
    error = error_of(b'{"messages": "\xc3\x28"}')
    assert isinstance(error, MalformedJsonError)
    assert "invalid at byte 14" in str(error)


@pytest.mark.parametrize("text", ["", "not json", '{"cut', "[" * 5000, "1e999", '"\\ud83d"'])
def test_text_that_is_no_readable_json_stays_as_it_is(text: str) -> None:
    assert compact_text(text) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "{}"),
        ("", "{}"),
        (" \n", "{}"),
        ({}, "{}"),
        ({"a": [1.0, "é"]}, '{"a":[1.0,"é"]}'),
        ('{ "a": [1.0, "\\u00e9"] }', '{"a":[1.0,"é"]}'),
        ("*** Begin Patch", "*** Begin Patch"),
    ],
)
def test_arguments_are_the_same_text_however_they_are_sent(value: Any, text: str) -> None:
    assert arguments_text(value) == text


def test_a_value_too_deep_to_encode_is_refused() -> None:
    value: Any = 1
    for _ in range(5000):
        value = [value]
    with pytest.raises(InvalidRequestError, match="nested"):
        compact(value)


@pytest.mark.parametrize(("raw", "kept"), [(b"", b""), (b"null", b""), (b"{}", b"{}")])
def test_null_and_absent_schemas_are_empty(raw: bytes, kept: bytes) -> None:
    assert kept_raw(Raw(raw), "field") == kept


def test_the_deepest_schema_allowed_is_kept_and_one_deeper_refused() -> None:
    padding = b'"' + b"x" * 2 * MAX_SCHEMA_DEPTH + b'"'
    allowed = b"[" * MAX_SCHEMA_DEPTH + padding + b"]" * MAX_SCHEMA_DEPTH
    assert kept_raw(Raw(allowed), "field") == allowed
    with pytest.raises(InvalidRequestError, match=r"^tools\[3\]\.schema"):
        kept_raw(Raw(b"[" + allowed + b"]"), "tools[", 3, "].schema")


COUNTLESS = [b"[" + b"1," * MAX_VALUES + b"1]", b"[" * MAX_VALUES + b"]" * MAX_VALUES + b"{}"]


@pytest.mark.parametrize("body", COUNTLESS)
def test_a_body_of_countless_values_is_refused_before_any_is_made(body: bytes) -> None:
    # A megabyte of empty objects once took a second to decide about.
    with pytest.raises(InvalidRequestError, match=f"values', expected at most {MAX_VALUES}"):
        formats.parse(body)


def test_commas_and_brackets_in_text_are_no_values() -> None:
    text = json.dumps('a, [b], {c} " \\' * MAX_VALUES).encode()
    check_values(b'{"messages": [{"content": ' + text + b"}]}")
    check_values(b"[" + b"1," * (MAX_VALUES - 2) + b"1]")


@pytest.mark.parametrize(
    ("sent", "mended"),
    [
        (rb"\ud83d", rb"\ufffd"),
        (rb"\uDE00 tail", rb"\ufffd tail"),
        (rb"\ud83d\ude00", rb"\ud83d\ude00"),
        (rb"\ud83d\ud83d\ude00", rb"\ufffd\ud83d\ude00"),
        (rb"\\ud83d", rb"\\ud83d"),
        (rb"\\\ud83d", rb"\\\ufffd"),
        (rb"\n\u00e9", rb"\n\u00e9"),
    ],
)
def test_only_unpaired_surrogates_are_replaced(sent: bytes, mended: bytes) -> None:
    assert without_lone_surrogates(sent) == mended

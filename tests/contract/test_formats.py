"""What every dialect's parser owes, checked on the same conversations in each."""

import json
from typing import Any

import pytest
from dialects import BUG_HUNT, RENDERERS, Talk, Turn, encoded, rendered

from router_model import formats
from router_model.errors import InvalidRequestError, MalformedJsonError
from router_model.types import Request, ToolChoice, WireFormat

PATHS = {
    WireFormat.OPENAI_CHAT: "/v1/chat/completions",
    WireFormat.OPENAI_RESPONSES: "/v1/responses",
    WireFormat.ANTHROPIC_MESSAGES: "/v1/messages?beta=true",
    WireFormat.GEMINI: "/v1beta/models/some-model:generateContent",
}
CONVERSATION_FIELD = {
    WireFormat.OPENAI_CHAT: "messages",
    WireFormat.OPENAI_RESPONSES: "input",
    WireFormat.ANTHROPIC_MESSAGES: "messages",
    WireFormat.GEMINI: "contents",
}
every_dialect = pytest.mark.parametrize("dialect", list(WireFormat), ids=lambda d: d.value)


def parsed(talk: Talk, dialect: WireFormat) -> Request:
    return formats.parse(rendered(talk, dialect), wire_format=dialect)


@every_dialect
def test_the_roles_alternate_with_tool_results_apart(dialect: WireFormat) -> None:
    request = parsed(BUG_HUNT, dialect)
    roles = [message.role for message in request.messages]
    expected = ["user", "assistant", "tool", "assistant", "tool", "assistant", "user"]
    assert roles == [*expected, "assistant", "tool"]
    assert request.last_user_text == "Then fix it."
    assert request.system == "You repair Python programs."


@every_dialect
def test_calls_and_results_are_joined_by_id_and_name(dialect: WireFormat) -> None:
    parts = [part for message in parsed(BUG_HUNT, dialect).messages for part in message.parts]
    calls = [(p.call_id, p.tool_name, p.text) for p in parts if p.kind == "tool_call"]
    assert calls == [
        ("c1", "read_file", '{"path":"parser.py"}'),
        ("c2", "run", '{"command":"pytest -q","seconds":30}'),
        ("c3", "read_file", '{"path":"naïve.txt"}'),
        ("c4", "run", '{"command":"sed"}'),
    ]
    results = [(p.call_id, p.tool_name, p.text) for p in parts if p.kind == "tool_result"]
    assert results == [
        ("c1", "read_file", "for line in f"),
        ("c2", "run", "1 failed"),
        ("c3", "read_file", ""),
        ("c4", "run", "done"),
    ]


@every_dialect
def test_the_settings_are_read(dialect: WireFormat) -> None:
    request = parsed(BUG_HUNT, dialect)
    assert request.requested_model == "some-model"
    assert (request.max_output_tokens, request.temperature) == (4096, 0.5)
    assert [tool.name for tool in request.tools] == ["read_file", "run"]
    assert json.loads(request.tools[0].schema) == BUG_HUNT.tools["read_file"]


@every_dialect
def test_the_dialect_is_detected_from_the_body_and_from_the_path(dialect: WireFormat) -> None:
    body = rendered(BUG_HUNT, dialect)
    assert formats.detect(body) == dialect
    assert formats.format_of_path(PATHS[dialect]) == dialect
    assert formats.parse(body) == formats.parse(body, path=PATHS[dialect])


@every_dialect
def test_every_dialect_gives_the_request_that_chat_gives(dialect: WireFormat) -> None:
    assert parsed(BUG_HUNT, dialect) == parsed(BUG_HUNT, WireFormat.OPENAI_CHAT)


@every_dialect
@pytest.mark.parametrize("mode", ["auto", "none", "required"])
def test_the_tool_choice_is_read(dialect: WireFormat, mode: Any) -> None:
    talk = Talk(BUG_HUNT.turns, tools=BUG_HUNT.tools, tool_choice=mode)
    assert parsed(talk, dialect).tool_choice == ToolChoice(mode)


@every_dialect
def test_a_response_schema_is_read_as_strict(dialect: WireFormat) -> None:
    schema = {"type": "object", "properties": {"line": {"type": "integer"}}}
    request = parsed(Talk((Turn("Which line?"),), schema=schema), dialect)
    assert (request.response_format, request.is_strict_response) == ("json_schema", True)
    assert json.loads(request.response_schema) == schema


@every_dialect
def test_a_body_that_sets_nothing_has_the_defaults(dialect: WireFormat) -> None:
    request = parsed(Talk((Turn("Hi"),)), dialect)
    assert request == Request(messages=request.messages, requested_model="some-model")


@every_dialect
@pytest.mark.parametrize(
    "body", [b"", b" \n", b"nope", b'{"a": 1', b'{"a": "\xff"}', b"[1] [", b"{} {}"]
)
def test_what_is_no_json_is_malformed(dialect: WireFormat, body: bytes) -> None:
    with pytest.raises(MalformedJsonError) as caught:
        formats.parse(body, wire_format=dialect)
    assert caught.value.field == "body"


@every_dialect
@pytest.mark.parametrize("body", [b"[]", b"null", b"5", b'"text"'])
def test_json_that_is_no_object_is_refused(dialect: WireFormat, body: bytes) -> None:
    with pytest.raises(InvalidRequestError, match=r"^body: .*expected object"):
        formats.parse(body, wire_format=dialect)


@every_dialect
@pytest.mark.parametrize("wrong", [5, True, [], None, "absent"])
def test_a_body_without_a_conversation_names_the_field(dialect: WireFormat, wrong: Any) -> None:
    field = CONVERSATION_FIELD[dialect]
    body = {"model": "m"} if wrong == "absent" else {"model": "m", field: wrong}
    with pytest.raises(InvalidRequestError) as caught:
        formats.parse(encoded(body), wire_format=dialect)
    assert caught.value.field == field
    assert not isinstance(caught.value, MalformedJsonError)


@every_dialect
@pytest.mark.parametrize("levels", [10_000, 200_000])
def test_deep_nesting_is_refused_wherever_it_is(dialect: WireFormat, levels: int) -> None:
    deep = b"[" * levels + b"]" * levels
    whole = rendered(BUG_HUNT, dialect)
    unknown = whole[:-1] + b', "unknown": %s}' % deep
    tool = whole.replace(b'"type": "object"', b'"type": %s' % deep)
    for body in (unknown, tool):
        with pytest.raises(InvalidRequestError, match="nested"):
            formats.parse(body, wire_format=dialect)
    field = CONVERSATION_FIELD[dialect].encode()
    with pytest.raises(InvalidRequestError, match="nested"):
        formats.parse(b'{"%s": %s}' % (field, deep), wire_format=dialect)


@every_dialect
def test_a_schema_too_deep_for_its_readers_is_refused_by_name(dialect: WireFormat) -> None:
    schema: dict[str, Any] = {}
    for _ in range(300):
        schema = {"items": schema, "note": '{"quoted [brackets'}
    with pytest.raises(InvalidRequestError, match=r"^tools\[0\]\..*nested"):
        parsed(Talk((Turn("Hi"),), tools={"deep": schema}), dialect)


@every_dialect
def test_a_wide_schema_is_not_taken_for_a_deep_one(dialect: WireFormat) -> None:
    schema = {"properties": {f"p{i}": {"enum": ["[{", "\\"]} for i in range(500)}}
    request = parsed(Talk((Turn("Hi"),), tools={"wide": schema}), dialect)
    assert json.loads(request.tools[0].schema) == schema


@every_dialect
def test_ten_thousand_tools_and_two_megabytes_parse(dialect: WireFormat) -> None:
    schema = {"type": "object", "properties": {"path": {"type": "string"}}}
    tools = {f"tool_{i}": schema for i in range(10_000)}
    request = parsed(Talk((Turn("line\n" * 400_000),), tools=tools), dialect)
    assert len(request.tools) == 10_000
    assert len(request.last_user_text) == 2_000_000


@every_dialect
def test_half_an_emoji_is_replaced_and_a_whole_one_kept(dialect: WireFormat) -> None:
    talk = Talk((Turn("CUT and \N{GRINNING FACE} and \\ud83d"),))
    body = rendered(talk, dialect).replace(b"CUT", rb"\ud83d")
    assert parsed(talk, dialect).last_user_text.startswith("CUT")
    text = formats.parse(body, wire_format=dialect).last_user_text
    assert text == "\N{REPLACEMENT CHARACTER} and \N{GRINNING FACE} and \\ud83d"


@every_dialect
def test_a_byte_order_mark_is_ignored(dialect: WireFormat) -> None:
    body = rendered(BUG_HUNT, dialect)
    assert formats.parse(b"\xef\xbb\xbf" + body) == formats.parse(body)


@every_dialect
def test_unknown_fields_and_nulls_change_nothing(dialect: WireFormat) -> None:
    body = RENDERERS[dialect](BUG_HUNT)
    nulls = dict.fromkeys(("tools", "tool_choice", "stream", "top_p", "metadata"))
    noisy = {"x_vendor": {"deep": [1]}, **nulls, **body}
    assert formats.parse(encoded(noisy), wire_format=dialect) == parsed(BUG_HUNT, dialect)

"""Real clients' bodies, compared with the index that came with them and with a naive reading.

The naive reading below shares no code with the parsers: it walks plain dictionaries.
"""

import csv
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from paths import CAPTURED, requires_captured

from router_model import formats
from router_model.outline import outline_of
from router_model.session import fingerprint, session_id
from router_model.types import Caller, Request

pytestmark = requires_captured

FILES = sorted(path.name for path in CAPTURED.glob("*.json")) if CAPTURED.is_dir() else []
every_body = pytest.mark.parametrize("name", FILES)

Said = list[tuple[str, str]]


@cache
def capture(name: str) -> Any:
    return json.loads((CAPTURED / name).read_text())


def body_of(name: str) -> Any:
    body = capture(name)["body"]
    return json.loads(body) if isinstance(body, str) else body


@cache
def request_of(name: str) -> Request:
    return formats.parse(json.dumps(body_of(name)).encode())


@cache
def index() -> dict[str, dict[str, str]]:
    with (CAPTURED / "INDEX.csv").open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def texts(content: Any) -> str:
    if isinstance(content, str):
        return content
    found = [part.get("text") for part in content or [] if isinstance(part, dict)]
    return "\n".join(text for text in found if text)


def turns(body: Any) -> list[Any]:
    """Messages, items or contents, whatever the body calls them."""
    held = body.get("messages") or body.get("input") or body.get("contents") or []
    return [{"role": "user", "content": held}] if isinstance(held, str) else held


def spoken(body: Any) -> Said:
    """(role, text) of everything with a role and text; neighbours of one role joined."""
    said: Said = []
    for turn in turns(body):
        role = {"developer": "system", "model": "assistant"}.get(turn.get("role"), turn.get("role"))
        content = turn.get("content") if "content" in turn else turn.get("parts")
        text = texts(content)
        if role in ("user", "assistant", "system") and text:
            said.append((role, text))
        elif role != "user" or text:
            said.append(("break", ""))
    return said


def last_user_text(body: Any) -> str:
    """The last run of user messages, as one text."""
    runs: list[list[str]] = []
    previous = ""
    for role, text in spoken(body):
        if role == "user":
            if previous != "user":
                runs.append([])
            runs[-1].append(text)
        previous = role
    return "\n".join(runs[-1]) if runs else ""


def every_object(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from every_object(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from every_object(inner)


def count_results(body: Any) -> int:
    return sum(
        item.get("type") in ("tool_result", "function_call_output", "custom_tool_call_output")
        or item.get("role") == "tool"
        or "functionResponse" in item
        for item in every_object(turns(body))
    )


def count_calls(body: Any) -> int:
    return sum(
        item.get("type") in ("tool_use", "function_call", "custom_tool_call")
        or "functionCall" in item
        for item in every_object(turns(body))
    ) + sum(len(turn.get("tool_calls") or []) for turn in turns(body))


def tool_names(body: Any) -> list[str]:
    names: list[str] = []
    for tool in body.get("tools") or []:
        if inner := tool.get("tools") or tool.get("functionDeclarations"):
            names += [each["name"] for each in inner]
        else:
            named = tool.get("function") or tool
            names.append(named.get("name") or tool.get("type"))
    return names


def leading_system(body: Any) -> str:
    blocks = [texts(body.get("system")), texts(body.get("instructions"))]
    blocks.append(texts((body.get("systemInstruction") or {}).get("parts")))
    for turn in turns(body):
        if turn.get("role") not in ("system", "developer"):
            break
        blocks.append(texts(turn.get("content")))
    return "\n\n".join(block for block in blocks if block)


def parts_of_kind(request: Request, kind: str) -> int:
    return sum(part.kind == kind for message in request.messages for part in message.parts)


def test_there_are_bodies_of_several_clients() -> None:
    assert len(FILES) >= 10
    assert set(FILES) == set(index())


@every_body
def test_the_dialect_is_detected_as_the_path_says(name: str) -> None:
    body = json.dumps(body_of(name)).encode()
    detected = formats.detect(body)
    assert detected == formats.format_of_path(capture(name)["path"])
    assert index()[name]["wire"] in detected.value


@every_body
def test_path_and_body_lead_to_the_same_request(name: str) -> None:
    body = json.dumps(body_of(name)).encode()
    assert formats.parse(body, path=capture(name)["path"]) == request_of(name)


@every_body
def test_the_tools_are_all_there(name: str) -> None:
    body, request = body_of(name), request_of(name)
    assert [tool.name for tool in request.tools] == tool_names(body)
    assert len(body.get("tools") or []) == int(index()[name]["n_tools"])
    for tool in request.tools:
        assert tool.kind != "function" or json.loads(tool.schema)["type"] == "object"


@every_body
def test_calls_and_results_are_all_there_and_joined(name: str) -> None:
    body, request = body_of(name), request_of(name)
    assert parts_of_kind(request, "tool_result") == count_results(body)
    assert parts_of_kind(request, "tool_call") == count_calls(body)
    for message in request.messages:
        for part in message.parts:
            if part.kind == "tool_call":
                assert isinstance(json.loads(part.text), dict)
            if part.kind in ("tool_call", "tool_result"):
                assert part.tool_name
                assert part.call_id


@every_body
def test_what_user_and_assistant_said_is_kept(name: str) -> None:
    body, request = body_of(name), request_of(name)
    assert request.last_user_text == last_user_text(body)
    for role in ("user", "assistant"):
        expected = [text for who, text in spoken(body) if who == role]
        kept = [message.text for message in request.messages if message.role == role]
        assert "\n".join(text for text in kept if text) == "\n".join(expected)


@every_body
def test_the_system_text_is_kept_in_its_place(name: str) -> None:
    body, request = body_of(name), request_of(name)
    assert request.system == leading_system(body)
    said = [text for role, text in spoken(body) if role == "system"]
    later = [message.text for message in request.messages if message.role == "system"]
    assert later == said[len(said) - len(later) :]
    n_leading = len(said) - len(later)
    assert all(text in request.system for text in said[:n_leading])


@every_body
def test_cache_markers_and_media_are_counted(name: str) -> None:
    body, request = body_of(name), request_of(name)
    assert request.n_cache_markers == int(index()[name]["n_cache_control"])
    images = [
        item
        for item in every_object(turns(body))
        if item.get("type") in ("image", "image_url", "input_image")
    ]
    assert len(outline_of(request).images) == len(images)


@every_body
def test_the_settings_are_read(name: str) -> None:
    body, request, row = body_of(name), request_of(name), index()[name]
    assert request.requested_model == row["model"]
    assert str(request.max_output_tokens or "") == row["max_tokens"]
    assert request.stream == (row["stream"] == "True")
    config = body.get("generationConfig") or {}
    assert request.seed == body.get("seed", config.get("seed"))
    assert request.temperature == body.get("temperature", config.get("temperature"))
    assert request.parallel_tool_calls == body.get("parallel_tool_calls")


@every_body
def test_thinking_format_and_tool_choice_are_read(name: str) -> None:
    body, request = body_of(name), request_of(name)
    asked = (body.get("output_config") or {}).get("effort")
    asked = asked or (body.get("reasoning") or {}).get("effort") or body.get("reasoning_effort")
    if asked or not (body.get("thinking") or body.get("generationConfig")):
        assert request.thinking == asked
    form = body.get("response_format") or (body.get("text") or {}).get("format") or {}
    assert request.response_format == form.get("type", "text")
    if schema := (form.get("json_schema") or {}).get("schema"):
        assert json.loads(request.response_schema) == schema
        assert request.is_strict_response == form["json_schema"]["strict"]
    choice = body.get("tool_choice", "auto")
    mode = choice if isinstance(choice, str) else choice["type"]
    modes = {"any": "required", "tool": "named", "function": "named"}
    assert request.tool_choice.mode == modes.get(mode, mode)


@every_body
def test_the_session_is_the_one_the_client_names(name: str) -> None:
    headers = capture(name)["headers"]
    session = session_id(outline_of(request_of(name)), headers, Caller())
    known = ("x-claude-code-session-id", "x-session-id", "session-id")
    named = next((headers[header] for header in known if header in headers), None)
    assert session == (named or request_of(name).session_hint or session)
    assert named or body_of(name).get("prompt_cache_key") or session.startswith("fp:")


# One-off calls of SDKs and of aider are no session.
FAMILIES = sorted({name.rpartition("-")[0] for name in FILES if "-sdk-" not in name} - {"aider"})


@pytest.mark.parametrize("family", FAMILIES)
def test_the_turns_of_one_session_have_one_fingerprint(family: str) -> None:
    names = [name for name in FILES if name.rpartition("-")[0] == family]
    calls = [request_of(name) for name in names if body_of(name).get("tools")]
    assert len(calls) > 1
    assert len({fingerprint(outline_of(call), Caller()) for call in calls}) == 1

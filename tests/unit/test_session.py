"""Which session a call belongs to, and what its fingerprint survives."""

import json
from typing import Any

import pytest

from router_model import formats
from router_model.outline import outline_of
from router_model.session import fingerprint, session_id
from router_model.types import Caller, Request

UUID = "0b8f6f0e-4a57-4c35-9d3e-5b8b8a1f2c3d"
TOOL = {"name": "read", "input_schema": {"type": "object"}}
CACHED = {"cache_control": {"type": "ephemeral"}}


def request(*messages: Any, tools: Any = (TOOL,), **fields: Any) -> Request:
    body = {"messages": list(messages), "tools": list(tools), "system": "Be brief.", **fields}
    return formats.parse(json.dumps(body).encode())


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def text(words: str, **extra: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **extra}


def name(parsed: Request, caller: Caller | None = None, **headers: str) -> str:
    spelled = {header.replace("_", "-"): value for header, value in headers.items()}
    return session_id(outline_of(parsed), spelled, caller or Caller())


def test_the_caller_comes_before_headers_and_headers_before_the_body() -> None:
    parsed = request(user("Fix it"), metadata={"session_id": "from-the-body"})
    assert name(parsed, Caller(session="s1"), x_session_id=UUID) == "s1"
    assert name(parsed, x_session_id=UUID) == UUID
    assert name(parsed) == "from-the-body"


@pytest.mark.parametrize(
    "header",
    [
        "X-Claude-Code-Session-Id",
        "session-id",
        "thread-id",
        "session_id",
        "x-session-id",
        "x-session-affinity",
        "x-litellm-session-id",
        "x-litellm-trace-id",
        "conversation_id",
        "X-Acme-Session-Id",
        "x-acme-cloud-session-id",
    ],
)
def test_session_headers_are_found_whatever_their_case(header: str) -> None:
    assert (
        session_id(outline_of(request(user("Fix it"))), {"accept": "*/*", header: UUID}, Caller())
        == UUID
    )


@pytest.mark.parametrize("value", ["true", "1", "", "has some spaces in it", "x" * 300])
@pytest.mark.parametrize("header", ["x_acme_session_id", "x_session_id", "thread_id"])
def test_a_header_must_hold_something_like_an_id(header: str, value: str) -> None:
    headers = {header.replace("_", "-"): value}
    assert session_id(outline_of(request(user("Fix it"))), headers, Caller()).startswith("fp:")


def test_a_subagent_is_not_taken_for_the_session_that_started_it() -> None:
    parsed = request(user("Search the code"))
    assert name(parsed, x_parent_session_id=UUID).startswith("fp:")
    assert name(parsed, x_acme_parent_session_id=UUID).startswith("fp:")
    assert name(parsed, x_parent_session_id=UUID, x_session_id="child-of-it") == "child-of-it"
    assert name(parsed, session_id=UUID, thread_id="thread-of-its-own") == "thread-of-its-own"


@pytest.mark.parametrize("header", ["x-session-id-count", "acme-session-id", "x-request-id"])
def test_other_headers_are_no_session(header: str) -> None:
    assert session_id(outline_of(request(user("Fix it"))), {header: UUID}, Caller()).startswith(
        "fp:"
    )


def test_a_blank_header_is_passed_over() -> None:
    assert name(request(user("Fix it")), session_id=" ", thread_id=UUID) == UUID


def test_a_known_header_comes_before_a_vendors() -> None:
    assert name(request(user("Fix it")), x_acme_session_id="a" * 9, thread_id=UUID) == UUID


@pytest.mark.parametrize(
    "moved",
    [
        user("Fix the  bug\n"),
        user([text("Fix the bug")]),
        user([text("Fix the"), text(" bug", **CACHED)]),
        user([text("<system-reminder>It is Monday</system-reminder>"), text("Fix the bug")]),
        user("<environment_context>\n<cwd>/a</cwd>\n</environment_context>\nFix the bug"),
        user("Fix the bug<system-reminder>It is Tuesday</system-reminder>"),
        user([text("<session_context>2026-11-25</session_context>"), text("Fix the bug")]),
    ],
)
def test_the_fingerprint_survives_how_the_first_message_is_written(moved: Any) -> None:
    assert name(request(moved)) == name(request(user("Fix the bug")))


def test_the_fingerprint_survives_new_turns_system_text_and_moved_cache_markers() -> None:
    first = name(request(user([text("Fix the bug", **CACHED)])))
    answer = {"role": "assistant", "content": [text("Which one?")]}
    later = request(
        user("Fix the bug"),
        answer,
        user([text("The first", **CACHED)]),
        tools=[{**TOOL, **CACHED}],
        system="Today is Tuesday.",
        model="another-model",
    )
    assert name(later) == first


def test_the_fingerprint_is_short_hexadecimal_and_fixed() -> None:
    assert name(request(user("Fix the bug"))) == "fp:4420eb94d6cf5321"


@pytest.mark.parametrize(
    "other",
    [
        request(user("Fix another bug")),
        request(user("Fix the bug"), tools=[]),
        request(user("Fix the bug"), tools=[TOOL, {**TOOL, "name": "write"}]),
    ],
)
def test_other_words_or_tools_are_another_session(other: Request) -> None:
    assert name(other) != name(request(user("Fix the bug")))


def test_tenants_and_users_with_the_same_words_are_different_sessions() -> None:
    parsed = request(user("Hi"))
    callers = [Caller(), Caller(tenant="t"), Caller(user="t"), Caller(tenant="t", user="u")]
    assert len({fingerprint(outline_of(parsed), caller) for caller in callers}) == 4


def test_a_request_without_user_text_is_named_by_what_else_it_says() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    said = request(user([image]), {"role": "assistant", "content": "A red square."})
    other = request(user([image]), {"role": "assistant", "content": "A blue square."})
    assert name(said) != name(other)
    assert name(request(user([image]), system="A")) != name(request(user([image]), system="B"))


def test_a_message_of_harness_text_alone_still_tells_sessions_apart() -> None:
    one, two = (user(f"<system-reminder>{word}</system-reminder>") for word in ("one", "two"))
    assert name(request(one)) != name(request(two))


def test_an_opening_of_the_client_alone_does_not_make_two_conversations_one() -> None:
    setup = user("This is the Gemini CLI. We are setting up the context for our chat. It is Monday")
    got_it = {"role": "assistant", "content": "Got it."}
    one, two = (request(setup, got_it, user(words)) for words in ("Fix the bug", "Add a test"))
    assert name(one) != name(two)
    assert name(one) == name(request(setup, got_it, user("Fix the bug"), got_it, user("Thanks")))


def test_unclosed_harness_tags_cost_no_more_than_linear_time() -> None:
    assert name(request(user("<system-reminder>" * 120_000))).startswith("fp:")


def test_long_first_messages_differ_by_their_ends() -> None:
    padding = "word " * 20_000
    assert name(request(user(padding + "A"))) != name(request(user(padding + "B")))

import pytest
from conversations import SHELL_TOOLS, ask, assistant, bash, user, values

from router_model.features import extract
from router_model.tokens import FILE_TOKENS, IMAGE_TOKENS
from router_model.types import Message, Part, Request, ToolChoice, ToolSpec


def settings(**fields: object) -> dict[str, float]:
    return values(Request(messages=(user("Go."),), **fields))  # type: ignore[arg-type]  # any field


def test_messages_are_counted_by_role() -> None:
    messages = (user("a"), assistant("b"), user("c"), Message("system", (Part("text", "d"),)))
    found = values(ask(*messages, system="Be kind."))
    assert found["n_messages"] == 4
    assert (found["n_user_messages"], found["n_assistant_messages"]) == (2, 1)
    assert found["n_later_system"] == 1


def test_tokens_go_to_who_said_them() -> None:
    words = "some words of ordinary English text " * 40
    quiet = values(ask(user("Go."), *bash(("ls", "x"))))
    loud = values(ask(user("Go."), *bash(("ls", words))))
    assert loud["tool_result_tokens"] > quiet["tool_result_tokens"] + 150
    assert loud["user_tokens"] == quiet["user_tokens"]
    assert loud["assistant_tokens"] == quiet["assistant_tokens"] == 0
    assert values(ask(user("Go."), system=words))["system_tokens"] > 150


def test_the_last_user_tokens_leave_out_what_the_client_added() -> None:
    reminder = f"<system-reminder>{'be careful ' * 200}</system-reminder>\n"
    found = values(ask(user(reminder + "Fix it.")))
    assert found["last_user_tokens"] < 6
    assert found["user_tokens"] > 200
    assert found["last_user_harness_share"] > 0.9


def test_tokens_since_the_user_grow_with_the_agents_work() -> None:
    short = values(ask(user("Fix it."), *bash(("ls", "a b c"))))
    long = values(ask(user("Fix it."), *bash(("ls", "a b c"), ("cat a", "word " * 500))))
    assert 0 < short["tokens_since_user"] < long["tokens_since_user"]
    assert values(ask(assistant("hello"), user("Fix it.")))["tokens_since_user"] == 0


def test_images_and_files_count_as_tokens() -> None:
    plain = ask(user("Look."))
    parts = (Part("text", "Look."), Part("image"), Part("image"), Part("file"))
    rich = ask(Message("user", parts))
    found = values(rich)
    assert (found["n_images"], found["n_files"]) == (2, 1)
    assert (
        extract(rich).input_tokens - extract(plain).input_tokens == 2 * IMAGE_TOKENS + FILE_TOKENS
    )


def test_thinking_parts_are_counted_and_signed_ones_marked() -> None:
    thinking = Message("assistant", (Part("thinking", "hm hm", is_signed=True), Part("thinking")))
    found = values(ask(user("Go."), thinking, user("On.")))
    assert (found["n_thinking"], found["n_signed_thinking"]) == (2, 1)
    assert found["thinking_tokens"] > 0


@pytest.mark.parametrize(
    ("word", "budget", "level"),
    [(None, None, 0), ("none", None, 0), ("low", None, 2), ("high", None, 4), ("adaptive", None, 3),
     ("budget", 1_024, 2), ("budget", 8_192, 3), ("budget", 60_000, 5), ("budget", -1, 3),
     ("something new", None, 3), (None, 0, 0)],
)  # fmt: skip
def test_effort_becomes_a_level(word: str | None, budget: int | None, level: float) -> None:
    assert settings(thinking=word, thinking_budget=budget)["thinking_level"] == level


def test_settings_become_flags_and_values() -> None:
    found = settings(
        temperature=0.0,
        seed=7,
        stream=True,
        max_output_tokens=512,
        parallel_tool_calls=False,
        n_cache_markers=3,
        has_provider_state=True,
    )
    assert (found["temperature"], found["is_temperature_given"]) == (0, 1)
    assert found["is_seed_given"] == 1
    assert (found["is_stream"], found["max_output_tokens"], found["n_cache_markers"]) == (1, 512, 3)
    assert found["is_parallel_off"] == found["has_provider_state"] == 1
    plain = settings()
    assert (plain["temperature"], plain["is_temperature_given"], plain["is_parallel_off"]) == (
        1,
        0,
        0,
    )


def test_the_choice_of_tools_counts_only_where_there_are_tools() -> None:
    named = settings(tools=SHELL_TOOLS, tool_choice=ToolChoice("named", "bash"))
    assert named["is_tool_required"] == named["is_tool_named"] == 1
    assert settings(tool_choice=ToolChoice("required"))["is_tool_required"] == 0


def test_the_response_schema_is_measured() -> None:
    schema = b'{"properties": {"a": {"properties": {"b": {}}}}}'
    found = settings(response_format="json_schema", response_schema=schema, is_strict_response=True)
    assert found["is_json_schema"] == found["is_strict_response"] == 1
    assert (found["response_n_properties"], found["response_depth"]) == (2, 2)
    assert settings(response_format="json_object")["is_json_object"] == 1


@pytest.mark.parametrize(
    ("family", "system"),
    [("codex", "You are a coding agent in the Codex CLI."), ("cline", "You are Cline, an agent."),
     ("", "You are a helpful assistant.")],
)  # fmt: skip
def test_the_client_is_guessed_from_its_system_text(family: str, system: str) -> None:
    assert extract(ask(user("Go."), system=system)).family == family


def test_the_client_is_guessed_from_its_tools_where_the_system_text_is_silent() -> None:
    tools = tuple(ToolSpec(name=name) for name in ("exec_command", "write_stdin", "other"))
    assert extract(ask(user("Go."), tools=tools)).family == "codex"

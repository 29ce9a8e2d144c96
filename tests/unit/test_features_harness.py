import pytest
from conversations import ask, assistant, result, user

from router_model.features import extract
from router_model.features.harness import (
    SCAN_HEAD,
    SCAN_TAIL,
    TEXT_HEAD,
    TEXT_TAIL,
    first_user_text,
    last_user_text,
    strip_harness,
)

BLOCKS = (
    "<system-reminder>\nRemember the rules.\n</system-reminder>",
    "<environment_context>\n  <cwd>/home</cwd>\n</environment_context>",
    "<environment_details>\n# Open tabs\nmain.py\n</environment_details>",
    "<user_instructions>\nUse tabs.\n</user_instructions>",
    "<permissions instructions>\nNo network.\n</permissions instructions>",
    "<command-name>/init</command-name>",
    "<local-command-stdout>done</local-command-stdout>",
)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_harness_block_is_removed_before_and_after_the_text(block: str) -> None:
    assert strip_harness(f"{block}\nFix the parser.") == "Fix the parser."
    assert strip_harness(f"Fix the parser.\n{block}\n") == "Fix the parser."


def test_blocks_in_a_row_are_all_removed() -> None:
    assert strip_harness("".join(BLOCKS) + "Go on.") == "Go on."


@pytest.mark.parametrize("name", ["task", "user_query", "userRequest", "feedback"])
def test_a_wrapper_loses_its_tags_and_keeps_its_text(name: str) -> None:
    assert strip_harness(f"<{name}>\nAdd a flag.\n</{name}>") == "Add a flag."


@pytest.mark.parametrize(
    "text",
    [
        "Why does <system-reminder> appear in my log?",
        "Render <div>hello</div> as <b>bold</b>",
        "Parse `a <system-reminder>x</system-reminder> b` without losing x",
        "if a < b and c > d: pass",
    ],
)
def test_tags_that_are_talked_about_stay(text: str) -> None:
    assert strip_harness(text) == text


@pytest.mark.parametrize(
    "listing",
    [
        "Here are summaries of some files present in my git repository.\n\nREADME.md",
        "I have *added these files to the chat* so you can edit them.\n\na.py\n```\nx\n```",
        "This is the Gemini CLI. We are setting up the context for our chat.\nToday is Monday.",
    ],
)
def test_a_listing_written_by_the_client_is_no_user_text(listing: str) -> None:
    messages = (user(listing), assistant("Ok."), user("Rename x to y."))
    assert strip_harness(listing) == ""
    assert last_user_text(messages).text == first_user_text(messages) == "Rename x to y."


def test_the_template_around_an_issue_is_cut_off() -> None:
    text = "Please solve this issue: It crashes.\n\nYou can execute bash commands and so on."
    assert strip_harness(text) == "It crashes."
    ide = "# Context from my IDE setup:\n\n## Open tabs:\n- a.py\n\n## My request for Codex:\nGo."
    assert strip_harness(ide) == "Go."


def test_quotes_around_the_whole_text_are_dropped() -> None:
    assert strip_harness('"Fix the bug."') == "Fix the bug."
    assert strip_harness('"a" is not "b"') == '"a" is not "b"'


def test_the_last_text_skips_messages_that_hold_only_harness_text() -> None:
    messages = (user("Fix the parser."), assistant("Done."), user(BLOCKS[0]))
    found = last_user_text(messages)
    assert (found.text, found.message, found.harness_share) == ("Fix the parser.", 0, 0.0)


def test_parts_of_one_message_are_told_apart() -> None:
    found = last_user_text((user(BLOCKS[1], "Fix the parser."),))
    assert found.text == "Fix the parser."
    assert 0.5 < found.harness_share < 1.0


def test_a_conversation_of_harness_text_alone_falls_back_to_it_as_it_is() -> None:
    found = last_user_text((user(BLOCKS[0]),))
    assert found.text == BLOCKS[0]
    assert found.message == -1


def test_tool_output_in_the_user_role_is_not_the_users_text() -> None:
    messages = (user("Fix it."), assistant("```bash\nls\n```"), user("<returncode>0</returncode>"))
    assert last_user_text(messages).text == "Fix it."


def test_the_text_to_embed_keeps_the_head_and_the_tail_of_a_long_text() -> None:
    text = extract(ask(user("START " + "x" * 100_000 + " END"))).text
    assert len(text) == TEXT_HEAD + TEXT_TAIL + 1
    assert text.startswith("START ")
    assert text.endswith(" END")


def test_a_reminder_longer_than_what_is_scanned_is_still_removed() -> None:
    reminder = f"<system-reminder>{'y ' * (SCAN_HEAD + SCAN_TAIL)}</system-reminder>"
    assert strip_harness(reminder + "\nFix it.") == "Fix it."


def test_a_tool_message_is_never_user_text() -> None:
    assert last_user_text((user("Go."), result("Some output"))).text == "Go."

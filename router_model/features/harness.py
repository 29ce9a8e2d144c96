"""Tells what the user wrote from what the client put around it.

Agent clients send reminders, environment blocks, file listings and command echoes in the user
role. They are recognised by the names of their tags (a block that opens at the start of a line
and is closed) or by a fixed opening. Wrappers such as `<task>` lose only their tags.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from router_model.features.lexicon import word_set
from router_model.types import Message

SCAN_HEAD = 16_000
SCAN_TAIL = 8_000
"""Of a longer text only this much of the beginning and the end is looked at."""

TEXT_HEAD = 1_400
TEXT_TAIL = 600
"""What is kept of the user's text for word features and the embedding."""

_MAX_USER_MESSAGES = 64
"""How many user messages are searched, from the last one, for something the user wrote."""

_DROPPED = word_set(
    """
    system-reminder system_reminder environment_context environment_details environment_info
    user_instructions INSTRUCTIONS skills_instructions apps_instructions plugins_instructions
    collaboration_mode turn_aborted subagent_notification user_shell_command skill
    command-name command-message command-contents local-command-stdout local-command-stderr
    local-command-caveat bash-stdout bash-stderr user-prompt-submit-hook session-start-hook
    task-notification ide_opened_file ide_selection ide_diagnostics new-diagnostics
    system_information system_info session_context workspace_info workspace_context
    project_layout project_instructions open_and_recently_viewed_files user_info git_status
    additional_data attached_files editorContext reminderInstructions toolReferences
    explicit_instructions file_content folder_content function_calls repo_map task_progress
    RUNTIME_INFORMATION EXTRA_INFO uploaded_files info-msg files_in_context format_example
    """
) | {"permissions instructions"}

_UNWRAPPED = word_set(
    """
    task user_query userRequest user_request user_message user-message user_input feedback
    answer query request prompt command-args bash-input pr_description issue issue_description
    problem_statement objective
    """
)

_NAMES = sorted(_DROPPED | _UNWRAPPED, key=lambda name: (-len(name), name))
_TAG = re.compile(rf"<(/?)({'|'.join(map(re.escape, _NAMES))})(?:\s[^<>\n]*)?>")

# A whole text part that opens like this was written by a client.
_PREAMBLES = (
    "Here are summaries of some files present in my git repo",
    "I have *added these files to the chat*",
    "Here are some READ ONLY files",
    "Here are some example files",
    "I switched to a new code base",
    "I am not sharing any files",
    "I updated the files.",
    "This is the Gemini CLI. We are setting up the context",
    "This is the Qwen Code. We are setting up the context",
    "Caveat: The messages below were generated",
    "[Request interrupted",
    "# AGENTS.md instructions",
    "# Context from AGENTS.md",
    "Contents of /",
)

# (where the user's text begins, where it ends): the client's template around it is cut off.
_FRAMES = (
    ("<pr_description>", "</pr_description>"),
    ("## My request for Codex:", ""),
    ("Please solve this issue:", "\n\nYou can execute bash commands"),
    ("Here's the issue text:", "\nINSTRUCTIONS:"),
    ("", "\n\n# task_progress"),
    ("", "\n\n# TODO LIST"),
)

# Clients without native tools send what a tool returned as user text.
_PROTOCOL_RESULT = re.compile(
    r"\s*(?:<returncode>|<tool_result|<function_results>|<command_output|<tool_response|"
    r"(?:Observation|OBSERVATION|Tool result|TOOL RESULT|EXECUTION RESULT)\b|"
    r"\[[a-z_]{3,40} for '[^'\n]{0,300}'\] Result:|\[[a-z_]{3,40}\] Result:)"
)


class UserText(NamedTuple):
    """The last thing the user wrote.

    `message` is the index of its message (-1 if there is none); `harness_share` the share of
    that message's characters which the client had added.
    """

    text: str
    message: int
    harness_share: float


def bounded(text: str, *, head: int, tail: int) -> str:
    """The text itself, or its beginning and its end when it is longer than both together.

    >>> bounded("abcdefgh", head=3, tail=2)
    'abc\\ngh'
    """
    if len(text) <= head + tail:
        return text
    return f"{text[:head]}\n{text[-tail:]}"


def is_protocol_result(text: str) -> bool:
    """True if a user text is the output of a tool, in a client that has no tool messages.

    >>> is_protocol_result("<returncode>0</returncode>"), is_protocol_result("Observe this")
    (True, False)
    """
    return _PROTOCOL_RESULT.match(text) is not None


def strip_harness(text: str) -> str:
    """What is left of a user text without the client's additions, scanned within bounds.

    >>> strip_harness("<system-reminder>Be brief.</system-reminder>\\nFix the <b>bug</b>.")
    'Fix the <b>bug</b>.'
    """
    text = bounded(text, head=SCAN_HEAD, tail=SCAN_TAIL)
    if text.lstrip().startswith(_PREAMBLES):
        return ""
    text = _without_frames(text)
    if "<" in text:
        text = _without_blocks(text)
    text = text.strip()
    if len(text) > 2 and text[0] == text[-1] == '"' and '"' not in text[1:-1]:
        return text[1:-1].strip()
    return text


def _without_frames(text: str) -> str:
    for opening, closing in _FRAMES:
        if opening:
            _, found, rest = text.rpartition(opening)
            if not found:
                continue
            text = rest
        if closing:
            text = text.partition(closing)[0]
    return text


def _without_blocks(text: str) -> str:
    pieces: list[str] = []
    position = 0
    search_from = 0
    while match := _TAG.search(text, search_from):
        closes, name = match.groups()
        before = text[position : match.start()]
        end = match.end()
        if name in _DROPPED:
            opens = not closes and _opens_a_line(text, match.start())
            closing = text.find(f"</{name}>", end) if opens else -1
            if closing < 0:  # a tag that is only talked about
                search_from = end
                continue
            end = closing + len(name) + 3
        pieces.append(before)
        position = search_from = end
    pieces.append(text[position:])
    return "".join(pieces)


def _opens_a_line(text: str, start: int) -> bool:
    before = text[max(0, start - 40) : start].rstrip(" \t")
    return not before or before[-1] in "\n>"


def _user_text(message: Message) -> tuple[str, int]:
    """The user's own words in a message, and how many characters the message has."""
    kept: list[str] = []
    n_chars = 0
    for part in message.parts:
        if part.kind == "text":
            n_chars += len(part.text)
            if not is_protocol_result(part.text) and (text := strip_harness(part.text)):
                kept.append(text)
    return "\n".join(kept), n_chars


def last_user_text(messages: Sequence[Message]) -> UserText:
    """The last real user text; the last one as it is when no message holds any."""
    n_seen = 0
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if message.role != "user":
            continue
        text, n_chars = _user_text(message)
        if text:
            return UserText(text, index, max(0.0, 1.0 - len(text) / n_chars))
        n_seen += 1
        if n_seen >= _MAX_USER_MESSAGES:
            break
    for message in reversed(messages):
        if message.role == "user" and (text := message.text.strip()):
            return UserText(bounded(text, head=SCAN_HEAD, tail=SCAN_TAIL), -1, 1.0)
    return UserText("", -1, 0.0)


def first_user_text(messages: Sequence[Message]) -> str:
    """The first real user text among the first few messages: in an agent's loop, the task."""
    for message in messages[:8]:
        if message.role == "user" and (text := _user_text(message)[0]):
            return text
    return ""

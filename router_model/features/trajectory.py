"""Features of how the agent's work has gone so far: errors, repetitions, edits and reads.

Counts of kinds and errors cover the last `WINDOW` tool calls, so that a session of any length
costs the same; `n_tool_calls` covers all.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from router_model.features.conversation import Conversation
from router_model.features.harness import is_protocol_result
from router_model.features.kinds import ToolKind, command_kind, tool_kind
from router_model.features.results import ResultStatus, count_tests, result_status
from router_model.features.schema import Feature
from router_model.types import Message, Part

WINDOW = 40
"""Tool calls that are looked at, counted from the last."""

_KINDS: tuple[ToolKind, ...] = ("shell", "edit", "read", "search", "test", "other")

TRAJECTORY_FEATURES = (
    Feature("n_tool_calls", "count", "tool calls in the conversation"),
    Feature("n_calls_since_user", "count", "tool calls after the last real user text"),
    Feature("n_parallel_turns", "count", "assistant turns with more than one tool call"),
    Feature("n_tool_errors", "count", "failed calls in the window"),
    Feature("tool_error_share", "share", "failed of the calls in the window"),
    Feature("n_errors_last_4", "count", "failed among the last four calls"),
    Feature("n_errors_in_a_row", "count", "failed calls at the end, without a success between"),
    Feature("n_identical_calls", "count", "most often repeated call with the same arguments"),
    Feature("is_last_call_repeated", "flag", "the last call was made before with those arguments"),
    Feature("n_same_tool_in_a_row", "count", "calls of the same tool at the end"),
    Feature("n_edits_of_one_file", "count", "most often edited file"),
    *(Feature(f"n_{kind}_calls", "count", f"calls in the window: {kind}") for kind in _KINDS),
    Feature("n_calls_since_edit", "count", "calls after the last edit, all when there was none"),
    *(Feature(f"is_last_{kind}", "flag", f"the last call: {kind}") for kind in _KINDS),
    Feature("last_result_tokens", "tokens", "size of the last tool result"),
    Feature("is_last_error", "flag", "the last call failed"),
    Feature("is_last_empty", "flag", "the last call returned nothing"),
    Feature("is_last_truncated", "flag", "the last result was cut"),
    Feature("n_last_tests_passed", "count", "tests that passed, as the last result says"),
    Feature("n_last_tests_failed", "count", "tests that failed, as the last result says"),
)

_COMMAND_KEY = re.compile(
    r'"(?:command|cmd|script|code)"\s*:\s*(?:\[\s*)?"([^"\\]*(?:\\.[^"\\]*)*)'
)
_FILE_KEY = re.compile(
    r'"(?:file_?path|path|file|filename|filePath|target_file|notebook_path)"\s*:\s*"([^"\\]{1,300})"'
    r"|\*\*\* (?:Update|Add) File: ([^\\\n]{1,300})"
)
_FENCED = re.compile(r"```(?:bash|sh|shell)?[ \t]*\n(.{1,600}?)(?:\n```|$)", re.DOTALL)
_FILE_IN_COMMAND = re.compile(r"[\w./~-]*\w\.[A-Za-z]\w{0,9}(?=[\s'\"]|$)")
_KEY_CHARS = 300


class _Call(NamedTuple):
    """A call in the window with what is known about its end."""

    name: str
    kind: ToolKind
    arguments: tuple[int, str, str]
    file: str
    status: ResultStatus


_PENDING = ResultStatus(is_error=False, is_empty=False, is_truncated=False)


def trajectory_values(
    messages: Sequence[Message], *, conversation: Conversation, user_message: int
) -> tuple[float, ...]:
    """Values of `TRAJECTORY_FEATURES`."""
    calls, results = conversation.calls, conversation.results
    if not calls and not results:
        calls, results = _protocol_calls(messages)
    if not calls:
        return (0.0,) * len(TRAJECTORY_FEATURES)
    window = _window(calls[-WINDOW:], results[-2 * WINDOW :])
    last_text = results[-1][1].text if results else ""
    passed, failed = count_tests(last_text) if results else (0, 0)
    last = window[-1]
    last_tokens = conversation.last_result_tokens or len(last_text) / 4
    kinds = [call.kind for call in window]
    return (
        len(calls),
        sum(index > user_message for index, _ in calls),
        _n_parallel_turns(calls),
        *_error_values(window),
        *_repetition_values(window),
        *(kinds.count(kind) for kind in _KINDS),
        _since(kinds, "edit"),
        *(last.kind == kind for kind in _KINDS),
        last_tokens,
        last.status.is_error,
        last.status.is_empty,
        last.status.is_truncated,
        passed,
        failed,
    )


def _window(calls: Sequence[tuple[int, Part]], results: Sequence[tuple[int, Part]]) -> list[_Call]:
    """The calls with their results: matched by call id, else in their order from the end."""
    by_id = {part.call_id: part for _, part in results if part.call_id}
    unnamed = [part for _, part in results if not part.call_id]
    window = []
    for position, (_, part) in enumerate(calls):
        result = by_id.get(part.call_id)
        if result is None and not part.call_id:
            from_end = position - len(calls) + len(unnamed)
            result = unnamed[from_end] if 0 <= from_end < len(unnamed) else None
        window.append(_call(part, result))
    return window


def _call(part: Part, result: Part | None) -> _Call:
    kind = tool_kind(part.tool_name)
    arguments = part.text
    head = arguments[:1_000]
    file = ""
    if kind == "shell":
        match = _COMMAND_KEY.search(head)
        command = match[1].replace("\\n", "\n") if match else head
        kind = command_kind(command)
        if kind == "edit":
            file = _last_file(command)
    elif kind == "edit" and (match := _FILE_KEY.search(head)):
        file = match[1] or match[2]
    status = _PENDING
    if result is not None:
        status = result_status(result.text, kind=kind, is_error=result.is_error)
    key = (len(arguments), arguments[:_KEY_CHARS], arguments[-_KEY_CHARS:])
    return _Call(part.tool_name, kind, key, file, status)


def _last_file(command: str) -> str:
    files = _FILE_IN_COMMAND.findall(command[:300])
    return files[-1] if files else ""


def _error_values(window: Sequence[_Call]) -> tuple[float, ...]:
    errors = [call.status.is_error for call in window]
    in_a_row = 0
    for is_error in reversed(errors):
        if not is_error:
            break
        in_a_row += 1
    return sum(errors), sum(errors) / len(errors), sum(errors[-4:]), in_a_row


def _repetition_values(window: Sequence[_Call]) -> tuple[float, ...]:
    times: dict[tuple[str, tuple[int, str, str]], int] = {}
    edited: dict[str, int] = {}
    for call in window:
        key = (call.name, call.arguments)
        times[key] = times.get(key, 0) + 1
        if call.file:
            edited[call.file] = edited.get(call.file, 0) + 1
    last = window[-1]
    same_tool = 0
    for call in reversed(window):
        if call.name != last.name:
            break
        same_tool += 1
    return (
        max(times.values()),
        times[(last.name, last.arguments)] > 1,
        same_tool,
        max(edited.values(), default=0),
    )


def _since(kinds: Sequence[ToolKind], kind: ToolKind) -> int:
    for distance, other in enumerate(reversed(kinds)):
        if other == kind:
            return distance
    return len(kinds)


def _n_parallel_turns(calls: Sequence[tuple[int, Part]]) -> int:
    """Messages with more than one call: those whose index comes twice or more in a row."""
    n, previous, is_counted = 0, -1, False
    for index, _ in calls:
        if index != previous:
            previous, is_counted = index, False
        elif not is_counted:
            n += 1
            is_counted = True
    return n


def _protocol_calls(
    messages: Sequence[Message],
) -> tuple[list[tuple[int, Part]], list[tuple[int, Part]]]:
    """Calls written as fenced shell blocks, answered in the user role."""
    calls: list[tuple[int, Part]] = []
    results: list[tuple[int, Part]] = []
    command = ""
    command_index = 0
    for index, message in enumerate(messages):
        if message.role == "assistant":
            command_index = index
            command = message.text
        elif message.role == "user":
            for part in message.parts:
                if part.kind == "text" and is_protocol_result(part.text):
                    calls.append((command_index, _shell_call(command)))
                    results.append((index, part))
    return calls, results


def _shell_call(text: str) -> Part:
    match = _FENCED.search(text[:6_000])
    command = match[1] if match else text[:300]
    return Part(kind="tool_call", tool_name="bash", text=command)

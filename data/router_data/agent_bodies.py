"""Chat bodies of simulated agents: the conversation so far, with tools, results and errors.

Texts are small templates, and sizes are scaled: one token of text stands for `SCALE` tokens of
the call's true prefix, so that a prefix of 100k tokens is a body of about 50 kB. How hard a task
looks (`AgentTraffic.hint`) can be read from its wording.
"""

import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from router_data.agent_outcomes import AgentTraffic
from router_data.agent_sessions import TOOLS
from router_model.types import StepType

SCALE: Final = 8
_CHARS_PER_TOKEN = 4
_MODULES = ("billing", "parser", "cache", "router", "session", "export", "search", "limits")
_NAMES = ("load", "merge", "render", "split", "apply", "resolve", "flush", "collect")
_POOL_LINES = 400

SYSTEM: Final = (
    "You are a coding agent that works in a repository of the user's. Look before you edit, keep "
    "changes small, run the tests after each change, and say briefly what you did. "
)
_RULES = (
    "Read a file before you change it. ",
    "Do not touch files that the task does not need. ",
    "Prefer the project's own helpers over new ones. ",
    "When a command fails, read its output before you try again. ",
    "Never push, and never rewrite history. ",
)
# By hint: from chores to work across modules.
_TASKS = (
    "Rename the function {name} in src/{module}.py to {name}_all and fix its imports.",
    "Add a docstring to {name} in src/{module}.py and format the file.",
    "Fix the bug in src/{module}.py: {name} drops the last row when the input is empty.",
    "Implement paging in src/{module}.py: {name} must accept a limit and a cursor, old callers "
    "have to keep working, and the tests should cover the last page.",
    "Investigate why {name} in src/{module}.py sometimes returns stale data when two workers "
    "write at once, find the root cause across all modules that share its lock, and fix it "
    "without slowing down reads. Then add a test that fails before the change.",
)
_FOLLOW_UPS = (
    "Looks good so far. Also handle the case where {name} gets None.",
    "That is not quite what I meant: keep the old name as an alias.",
    "Now add a test for {name} in tests/test_{module}.py.",
)
_ERRORS = (
    "Error: file not found: src/{module}_old.py",
    "Error: invalid pattern: unbalanced parenthesis",
    "Error: string to replace not found in src/{module}.py",
    "Error: exit code: 2\ntests/test_{module}.py could not be collected",
    "exit code: 127\nbash: {name}: command not found",
)
_ARGUMENTS = (
    {"path": "src/{module}.py", "offset": "{number}"},
    {"pattern": "def {name}", "path": "src", "limit": "{number}"},
    {"path": "src/{module}.py", "old": "{name}(rows)", "new": "{name}(rows, limit={number})"},
    {"command": "pytest -q tests/test_{module}.py -k {name} --maxfail={number}"},
    {"command": "make {name}-{module} JOBS={number}"},
)
_DESCRIPTIONS = (
    "Read a file, from a line on.",
    "Search the repository for a pattern.",
    "Replace a text in a file by another.",
    "Run tests and return the end of their output.",
    "Run a command in a shell.",
)
_OPENINGS: Final = {
    StepType.TITLE: "Generate a short title for a coding task. Answer with the title only.",
    StepType.COMMIT_MESSAGE: "You are an assistant that writes commit messages. Add nothing else.",
    StepType.SUMMARY: "Summarize the output of a tool for a coding agent. Keep names and numbers.",
}
COMPACT: Final = (
    "Summarize the conversation so far, so that the work can be continued in a new session: what "
    "was asked, what was changed, what failed, and what is left."
)
Message = dict[str, Any]


def agent_body(traffic: AgentTraffic, index: int, *, seed: int) -> bytes:
    """Call `index` as an OpenAI chat body; the same for the same world."""
    step = traffic.calls.step[index]
    if step in _OPENINGS:
        return msgspec.json.encode(_side_body(traffic, index, step, seed))
    start = index - int(traffic.calls.turn[index] - traffic.calls.chain_start[index])
    messages = [_system(int(traffic.calls.input_tokens[start])), _opening(traffic, start, seed)]
    for position in range(start + 1, index + 1):
        if traffic.calls.chain_start[position] >= 0:
            messages += _exchange(traffic, position, seed)
    body = {"model": "auto", "messages": messages, "tools": _tools(), "stream": True}
    return msgspec.json.encode(body)


def _side_body(traffic: AgentTraffic, index: int, step: StepType, seed: int) -> Message:
    """A call with a prompt of its own and no tools."""
    size = int(traffic.calls.input_tokens[index])
    places = _places(seed, int(traffic.calls.session[index]), int(traffic.calls.turn[index]))
    content = {
        StepType.TITLE: f"Task of the session: {_task(traffic, index, seed)}",
        StepType.COMMIT_MESSAGE: f"Staged changes:\n{_filler(2, size, places)}",
        StepType.SUMMARY: f"Output of {TOOLS[0]}:\n{_filler(0, size, places)}",
    }[step]
    messages = [
        {"role": "system", "content": _OPENINGS[step]},
        {"role": "user", "content": content},
    ]
    return {
        "model": "auto",
        "messages": messages,
        "max_tokens": 64 if step is StepType.TITLE else 512,
    }


def _system(base_tokens: int) -> Message:
    """The harness' prompt, as long as the conversation's first prefix."""
    size = max(0, base_tokens * _CHARS_PER_TOKEN // SCALE - len(_tools_json()))
    rules = "".join(_RULES) * (1 + size // sum(map(len, _RULES)))
    content = SYSTEM + rules[: max(0, size - len(SYSTEM))]
    # Agents mark what may be cached, for the models that cache nothing else.
    return {"role": "system", "content": content, "cache_control": {"type": "ephemeral"}}


def _opening(traffic: AgentTraffic, start: int, seed: int) -> Message:
    task = _task(traffic, start, seed)
    if traffic.calls.turn[start] > 1:
        task = f"<summary>Earlier work on this task is done in part.</summary>\nGo on with: {task}"
    return {"role": "user", "content": task}


def _exchange(traffic: AgentTraffic, position: int, seed: int) -> list[Message]:
    """What was added between a call and the one before: a tool's result, or the user's words."""
    calls = traffic.calls
    places = _places(seed, int(calls.session[position]), int(calls.turn[position]))
    step = calls.step[position]
    if step is not StepType.TOOL_RESULT:
        words = _FOLLOW_UPS[places["number"] % len(_FOLLOW_UPS)].format_map(places)
        words = COMPACT if step is StepType.COMPACTION else words
        reply = {"role": "assistant", "content": f"{places['name']} is done."}
        return [reply, {"role": "user", "content": words}]
    tool = int(calls.tool[position])
    made = position
    while calls.is_repeat[made]:
        made -= 1
    arguments = _arguments(tool, _places(seed, int(calls.session[made]), int(calls.turn[made])))
    call_id = f"call_{int(calls.turn[position]):03d}"
    function = {"name": TOOLS[tool], "arguments": arguments}
    call = {"id": call_id, "type": "function", "function": function}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": _result(traffic, position, places)},
    ]


def _result(traffic: AgentTraffic, position: int, places: Mapping[str, Any]) -> str:
    calls = traffic.calls
    tool = int(calls.tool[position])
    if calls.is_error[position]:
        return _ERRORS[tool].format_map(places)
    text = _filler(tool, int(calls.result_tokens[position]), places)
    if TOOLS[tool] == "run_tests":
        n_failed = places["number"] % 4
        failed = f"{n_failed} failed, " if n_failed else ""
        return f"{text}\n==== {failed}{places['number'] + 5} passed in 1.2s ===="
    return text


def _task(traffic: AgentTraffic, index: int, seed: int) -> str:
    places = _places(seed, int(traffic.calls.session[index]), -1)
    return _TASKS[int(traffic.hint[index])].format_map(places)


def _places(seed: int, session: int, turn: int) -> dict[str, Any]:
    """What fills a template's gaps at one turn of one session."""
    digest = zlib.crc32(b"%d %d %d" % (seed, session, turn))
    return {
        "module": _MODULES[digest % 8],
        "name": _NAMES[digest // 8 % 8],
        "number": digest // 64 % 90 + 1,
    }


def _arguments(tool: int, places: Mapping[str, Any]) -> str:
    filled = {key: text.format_map(places) for key, text in _ARGUMENTS[tool].items()}
    return msgspec.json.encode(filled).decode()


def _filler(tool: int, n_tokens: int, places: Mapping[str, Any]) -> str:
    """Text of a tool's kind for `n_tokens` of the true prefix."""
    n_chars = n_tokens * _CHARS_PER_TOKEN // SCALE
    pool = _pool(tool)
    start = places["number"] * 53 % 4_000
    start = pool.rfind("\n", 0, start + 1) + 1
    return pool[start : start + n_chars]


@lru_cache(maxsize=len(TOOLS))
def _pool(tool: int) -> str:
    """A long text that looks like what the tool returns and holds no word of a failure."""
    lines = []
    for number in range(_POOL_LINES):
        module, name = _MODULES[number * 5 % 8], _NAMES[number * 3 % 8]
        lines.append(
            (
                f"{number:4d}  def {name}_{module}(rows, limit={number}): return rows[:limit]",
                f"src/{module}.py:{number}: {name}_{module}(rows)",
                f"+    {name}_{module}(rows, limit={number})",
                f"tests/test_{module}.py::test_{name}_{number} PASSED",
                f"[{number}] {module}: {name} ok",
            )[tool]
        )
    return "\n".join(lines)


@lru_cache(maxsize=1)
def _tools_json() -> bytes:
    return msgspec.json.encode(
        [
            {
                "type": "function",
                "function": {
                    "name": name,
                    "description": description,
                    "parameters": {
                        "type": "object",
                        "properties": {key: {"type": "string"} for key in arguments},
                        "required": list(arguments),
                    },
                },
            }
            for name, description, arguments in zip(TOOLS, _DESCRIPTIONS, _ARGUMENTS, strict=True)
        ]
    )


def _tools() -> msgspec.Raw:
    return msgspec.Raw(_tools_json())

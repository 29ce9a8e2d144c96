"""What a tool is for, told from its name and from the commands it runs."""

import re
from functools import lru_cache
from typing import Literal

from router_model.features.lexicon import word_set

ToolKind = Literal["shell", "edit", "read", "search", "web", "task", "test", "other"]
"""`test` is only a kind of call (a shell command that runs tests), never of a tool."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_SHELL = word_set("bash shell terminal exec cmd powershell stdin console")
_WEB = word_set("web webfetch websearch url browser http google internet")
_TASK = word_set(
    "todo todos todowrite todoread plan goal skill workflow agent agents subagent task tasks "
    "delegate wakeup cron memory"
)
_EDIT = word_set("edit write patch replace diff insert multiedit notebookedit")
_EDIT_MORE = _EDIT | word_set(
    "apply create str string multi file files in to into notebook text editor based tool code "
    "block content lines line"
)
_READ = word_set("read view open cat")
_READ_MORE = _READ | word_set(
    "file files get many image notebook lines content contents source code tool"
)
_SEARCH = word_set("grep glob search find ls rg list listdir")
_SEARCH_MORE = _SEARCH | word_set(
    "file files dir directory folder code codebase content contents text symbol symbols tool "
    "definition references usages by name semantic ripgrep"
)

_TESTS = re.compile(
    r"\b(?:pytest|unittest|nosetests|tox|jest|vitest|mocha|rspec|phpunit|ctest|runtests\.py)\b"
    r"|\b(?:npm|pnpm|yarn|bun|cargo|go|make|gradle|gradlew|mvn|dotnet|mix|swift)\s+(?:run\s+)?test"
)
_EDITS = re.compile(
    r"\bsed\s+(?:-\w+\s+)*-i|\bapply_patch\b|\btee\s|\bpatch\s+-p|\bgit\s+apply\b"
    r"|(?:\bcat|\becho|\bprintf)\b[^|;&\n]{0,200}>{1,2}\s*[\w./~]|<<\s*\\?['\"]*EOF[^\n]{0,80}>"
)
# One of these has to occur before the patterns are tried.
_TEST_SIGNS = ("test", "tox", "jest", "mocha", "rspec", "phpunit")
_EDIT_SIGNS = ("sed ", "patch", "tee ", ">", "git apply")
_COMMAND = re.compile(
    r"(?:^|&&|\|\||;)\s*(?:cd\s+\S+\s*(?:&&|;)\s*)?"
    r"(?:(cat|head|tail|less|more|nl|bat|sed\s+-n|wc)|(grep|rg|find|ls|tree|fd|ag|git\s+grep))\b"
)


def name_words(name: str) -> list[str]:
    """The lower-case words of an identifier.

    >>> name_words("getUserByID_v2"), name_words("math.hypot")
    (['get', 'user', 'by', 'id', 'v', '2'], ['math', 'hypot'])
    """
    return [word.lower() for word in _WORD.findall(name)]


@lru_cache(maxsize=4096)
def tool_kind(name: str) -> ToolKind:
    """What a coding tool does; "other" for the functions of an application.

    >>> [tool_kind(name) for name in ("run_shell_command", "apply_patch", "ReadFile", "Grep")]
    ['shell', 'edit', 'read', 'search']
    >>> tool_kind("find_hotels")
    'other'
    """
    words = {word for word in name_words(name[:80]) if not word.isdigit()}
    if words & _SHELL or ("command" in words and words & {"run", "execute"}):
        return "shell"
    if words & _WEB or words == {"fetch"}:
        return "web"
    if words & _TASK:
        return "task"
    is_edit = words & _EDIT or words == {"create", "file"}
    for kind, is_kind, allowed in (
        ("edit", is_edit, _EDIT_MORE),
        ("read", words & _READ, _READ_MORE),
        ("search", words & _SEARCH, _SEARCH_MORE),
    ):
        if is_kind and words <= allowed:
            return kind  # type: ignore[return-value]  # one of the three literals above
    return "other"


def command_kind(command: str) -> ToolKind:
    """What a shell command does, from its first 400 characters.

    >>> [command_kind(c) for c in ("sed -i s/a/b/ f.py", "cd x && cat f.py", "pytest -q", "make")]
    ['edit', 'read', 'test', 'shell']
    """
    return _command_kind(command[:400])


@lru_cache(maxsize=4096)
def _command_kind(command: str) -> ToolKind:
    if any(sign in command for sign in _TEST_SIGNS) and _TESTS.search(command):
        return "test"
    if any(sign in command for sign in _EDIT_SIGNS) and _EDITS.search(command):
        return "edit"
    match = _COMMAND.match(command.lstrip())
    if match is None:
        return "shell"
    return "read" if match[1] else "search"

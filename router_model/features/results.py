"""Recognises errors, emptiness, truncation and test counts in what a tool returned.

Only the beginning and the end of a result are read. An exit code, where there is one, decides;
words decide otherwise, and only in the first line when the tool returns files or matches,
whose content may well talk about errors.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from router_model.features.kinds import ToolKind

HEAD = 300
TAIL = 500
"""Characters of a result that are looked at."""

_MIN_TRUNCATED = 100
_CODE_AT_START = 80

# The patterns are tried on lower-case text, and only where a cheap substring search allows it.
_EXIT_CODE = re.compile(
    r"(?:exit(?:ed with)?[ _]?(?:code|status)|return_?code)[\"'>]*\s*[:=]?\s*(-?\d+)"
)
_EXIT_SIGNS = ("exit", "return")
_MAX_SIGNS = 8
_FIRST_LINE = re.compile(
    r"<tool_use_error>|<error>|[\[(\"']*(?:error|fatal|[a-z]\w*(?:error|exception))\b\s*"
    r"(?:[:\]]|executing |reading |running |calling |while |in\b)|traceback \(most recent|"
    r"(?:failed|unable|cannot|could not|can't) |(?:file|path|directory) (?:\S+ )?"
    r"(?:does not exist|not found)"
)
_REFUSALS = (
    "no such file or directory",
    "command not found",
    "permission denied",
    "string to replace not found",
    "invalid arguments",
    "invalid parameters",
    "unknown tool",
)
_ANY_LINE = re.compile(
    r"^(?:traceback \(most recent call last\)|(?:\w+\.)*[a-z]\w*(?:error|exception)(?::|$)|"
    r"error(?:\[\w+\])?:|fatal: |npm err!|panic: |make: \*\*\* |segmentation fault|"
    r"(?:[^\s:]+: ){1,3}[^\n]{0,120}(?:no such file or directory|command not found|"
    r"permission denied))",
    re.MULTILINE,
)
_LINE_SIGNS = (
    "error",
    "exception",
    "traceback",
    "fatal: ",
    "npm err!",
    "panic: ",
    "*** ",
    "segmentation",
    *_REFUSALS[:3],
)
_EMPTY = frozenset(
    (
        "",
        "(no output)",
        "<no output>",
        "no output",
        "[]",
        "{}",
        "null",
        "none",
        "no files found",
        "no matches found",
        "no results found",
        "no matches found.",
        "no results found.",
        "file is empty",
        "(empty)",
        "tool ran without output or errors",
    )
)
_TRUNCATION_SIGNS = (
    "truncated",
    " omitted",
    "<output_head>",
    "output of your last command was too long",
    "more lines",
    "use offset",
)
_OUTPUT = re.compile(r"(?:\nOutput:\n|<output>|\"output\":\s*\")(.*)", re.DOTALL)
# Words of test runners' summaries, the number before them, and verdicts without a number.
_PASSED = ("passed", "passing")
_FAILED = ("failed", "failing", "failure", "error")
_NUMBER_BEFORE = re.compile(r"(\d{1,6})(?: tests?)? $")
_UNITTEST = re.compile(r"\b(?:failures|errors)=(\d{1,6})")
_PASS_VERDICTS = ("\nOK", "test result: ok")
_FAIL_VERDICTS = ("\nFAIL", "test result: FAILED")


class ResultStatus(NamedTuple):
    """What a tool result says about the call."""

    is_error: bool
    is_empty: bool
    is_truncated: bool


def result_status(text: str, *, kind: ToolKind, is_error: bool = False) -> ResultStatus:
    """Whether the call failed, returned nothing, or was cut; `is_error` is the client's own flag.

    >>> result_status('{"returncode": 2, "output": ""}', kind="shell")
    ResultStatus(is_error=True, is_empty=True, is_truncated=False)
    >>> result_status("# On errors\\nError: is a prefix", kind="read").is_error
    False
    """
    seen = text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"
    status = _status(seen, kind)
    return status._replace(is_error=True) if is_error else status


@lru_cache(maxsize=4096)
def _status(seen: str, kind: ToolKind) -> ResultStatus:
    """Kept in a cache: an agent sends its whole history again on every turn."""
    lowered = seen.lower()
    code = _exit_code(lowered)
    return ResultStatus(
        is_error=_is_error(lowered, kind, code),
        is_empty=_is_empty(seen, code),
        is_truncated=len(seen) > _MIN_TRUNCATED and any(s in lowered for s in _TRUNCATION_SIGNS),
    )


def _exit_code(seen: str) -> re.Match[str] | None:
    for sign in _EXIT_SIGNS:
        start = seen.find(sign)
        for _ in range(_MAX_SIGNS):
            if start < 0:
                break
            if match := _EXIT_CODE.match(seen, start):
                return match
            start = seen.find(sign, start + 1)
    return None


def _is_error(seen: str, kind: ToolKind, code: re.Match[str] | None) -> bool:
    shows_content = kind in ("read", "search", "web")
    if code is not None and (not shows_content or _opens_a_line(seen, code.start())):
        return int(code[1]) != 0
    first = seen.lstrip()[:200].partition("\n")[0]
    if _FIRST_LINE.match(first) or any(refusal in first for refusal in _REFUSALS):
        return True
    if kind in ("shell", "test", "edit") and any(sign in seen for sign in _LINE_SIGNS):
        return _ANY_LINE.search(seen) is not None
    return False


def _opens_a_line(seen: str, start: int) -> bool:
    """True for an exit code that the harness reports, not one that a file talks about."""
    line = seen[:start].rpartition("\n")[2]
    return start < _CODE_AT_START and line.strip(' \t{"<') in ("", "process", "command")


def _is_empty(text: str, code: re.Match[str] | None) -> bool:
    if len(text) > HEAD:
        return False
    if code is not None and (match := _OUTPUT.search(text)):
        text = match[1].removesuffix("</output>").strip().rstrip('"} \n')
    return len(text) < 60 and text.strip().lower() in _EMPTY


def count_tests(text: str) -> tuple[int, int]:
    """Tests (passed, failed) as a test runner's summary says it; a bare OK or FAILED counts one.

    >>> count_tests("==== 2 failed, 31 passed in 0.4s ====")
    (31, 2)
    """
    tail = "\n" + text[-1_200:]
    failed = _count(_FAILED, tail)
    if "s=" in tail:
        failed = max(failed, *map(int, _UNITTEST.findall(tail)), 0)
    passed = _count(_PASSED, tail)
    return (
        passed or int(any(verdict in tail for verdict in _PASS_VERDICTS)),
        failed or int(any(verdict in tail for verdict in _FAIL_VERDICTS)),
    )


def _count(words: tuple[str, ...], tail: str) -> int:
    """The largest number that stands before one of the words."""
    best = 0
    for word in words:
        start = tail.find(word)
        for _ in range(_MAX_SIGNS):
            if start < 0:
                break
            if match := _NUMBER_BEFORE.search(tail[max(0, start - 14) : start]):
                best = max(best, int(match[1]))
            start = tail.find(word, start + 1)
    return best

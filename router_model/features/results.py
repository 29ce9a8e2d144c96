"""Recognises errors, emptiness, truncation and test counts in what a tool returned.

Only the beginning and the end of a result are read. An exit code, where there is one, decides;
words decide otherwise, and only in the first line when the tool returns files or matches,
whose content may well talk about errors.
"""

import re
from typing import NamedTuple

from router_model.features.kinds import ToolKind

HEAD = 400
TAIL = 600
"""Characters of a result that are looked at."""

_EXIT_CODE = re.compile(
    r"(?:[Pp]rocess exited with code|[Ee]xit(?:ed with)? (?:code|status)|\"?(?:return_?code|"
    r"exit_?code)\"?|<returncode>|<exit_code>)\s*[:=]?\s*(-?\d+)"
)
_FIRST_LINE = re.compile(
    r"\s*(?:<tool_use_error>|<error>|[\[(\"']*(?:[Ee]rror|ERROR|fatal|[A-Z]\w*(?:Error|Exception))\b"
    r"\s*(?:[:\]]|executing|reading|running|calling|while|in\b)|Traceback \(most recent|"
    r"(?:Failed|Unable|Cannot|Could not|Can't) |"
    r"(?:File|Path|Directory) (?:\S+ )?(?:does not|not found)|"
    r"[^\n]{0,120}(?:No such file or directory|command not found|Permission denied|"
    r"String to replace not found|[Ii]nvalid (?:arguments|tool|input|parameters)))"
)
_ANY_LINE = re.compile(
    r"^(?:Traceback \(most recent call last\)|(?:\w+\.)*[A-Z]\w*(?:Error|Exception)\b(?::|$)|"
    r"(?:error|Error|ERROR)(?:\[\w+\])?:|fatal: |npm ERR!|panic: |make: \*\*\* |"
    r"(?:\S+: ){1,3}[^\n]{0,120}(?:No such file or directory|command not found|Permission denied)|"
    r"Segmentation fault)",
    re.MULTILINE,
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
_TRUNCATED = re.compile(
    r"truncated|<output_head>|output of your last command was too long|(?:lines|chars|characters|"
    r"tokens) (?:omitted|elided)|more lines|Showing lines|use offset",
    re.IGNORECASE,
)
_OUTPUT = re.compile(r"(?:\nOutput:\n|<output>|\"output\":\s*\")(.*)", re.DOTALL)
_PASSED = re.compile(r"\b(\d{1,6}) (?:tests? )?(?:passed|passing|ok)\b|^OK\b|test result: ok", re.M)
_FAILED = re.compile(
    r"\b([1-9]\d{0,5}) (?:tests? )?(?:failed|failing|failures?|errors?)\b"
    r"|^FAILED\b|\bfailures=[1-9]|\berrors=[1-9]|test result: FAILED|^FAIL\b",
    re.M,
)


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
    looked_at = text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"
    code = _EXIT_CODE.search(looked_at[:HEAD]) or _EXIT_CODE.search(looked_at[-TAIL:])
    return ResultStatus(
        is_error=is_error or _is_error(looked_at, kind, code),
        is_empty=_is_empty(text, code),
        is_truncated=len(text) > HEAD // 4 and _TRUNCATED.search(looked_at) is not None,
    )


def _is_error(text: str, kind: ToolKind, code: re.Match[str] | None) -> bool:
    if code is not None and kind not in ("read", "search", "web"):
        return int(code[1]) != 0
    if code is not None and code.start() < 80:
        return int(code[1]) != 0
    if _FIRST_LINE.match(text):
        return True
    if kind in ("shell", "test", "edit"):
        return _ANY_LINE.search(text) is not None
    return False


def _is_empty(text: str, code: re.Match[str] | None) -> bool:
    if code is not None and len(text) < HEAD and (match := _OUTPUT.search(text)):
        text = match[1].removesuffix("</output>").strip().rstrip('"} \n')
    return len(text) < 60 and text.strip().lower() in _EMPTY


def count_tests(text: str) -> tuple[int, int]:
    """Tests (passed, failed) as a test runner's summary says it; a bare OK or FAILED counts one.

    >>> count_tests("==== 2 failed, 31 passed in 0.4s ====")
    (31, 2)
    """
    tail = text[-1_200:]
    return _count(_PASSED, tail), _count(_FAILED, tail)


def _count(pattern: re.Pattern[str], text: str) -> int:
    best = 0
    for match in pattern.finditer(text):
        best = max(best, int(match[1]) if match.lastindex else 1)
    return best

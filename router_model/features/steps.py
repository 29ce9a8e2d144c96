"""Recognises what a call is for: the main turn, a tool's result, or a client's side call.

A side call is recognised by who speaks, never by a mere mention: either a short system prompt
without tools opens by giving the model one clerical job ("You generate commit messages"), or
the user's text opens with the order itself ("Summarize the conversation so far"). Orders that a
user may well give in the main loop ("Write a commit message") count only without tools.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from router_model.features.harness import UserText, is_protocol_result
from router_model.types import Message, Request, StepType

_SYSTEM_HEAD = 900
_USER_HEAD = 500
_MAX_SYSTEM_CHARS = 8_000

_MAKE = (
    r"(?:generat\w+|writ\w+|creat\w+|produc\w+|com\w+ up with|suggest\w*|giv\w+|propos\w+|"
    r"draft\w*|output\w*|craft\w*|respond with|return)"
)
_FEW = r"(?:[\w,'()-]+[ ]){0,7}"
_SUBJECT = (
    r"(?:conversation|chat|session|thread|discussion|dialog(?:ue)?|transcript|messages?|histor\w+|"
    r"context|exchange)"
)
_SUMMARIZE = r"(?:summari[sz]\w+|condens\w+|compact\w*|compress\w*|distil\w*)"
# An order opens the text or follows a sentence end; politeness and "your task is to" may precede.
_ORDER = (
    r"(?:^\s*|[.!?]\s+|\n\s*)(?:please |now,? |briefly |\*+)*"
    r"(?:your (?:\w+ )?(?:task|job|goal) is to |"
    r"you (?:will|must|should|need to|are (?:going )?to|have been asked to|are tasked with) |"
    r"(?:i|we) (?:want|need) you to )?(?:please |now |\*?briefly\*? )*"
)
# An identity: "You are a ... that ...".
_AGENT = r"(?:^|[.\n]\s*)(?:you(?:'re| are| act)|act as|as an?)\b[^.\n]{0,80}?\b"

# Stricter: nothing but this is asked.
_TASK = r"(?:^\s*|\byour (?:\w+ )?(?:task|job|goal) is to )"
_SHORT = r"(?:under|fewer than|less than|at most) \d+ (?:char|word)"

_TITLE = r"(?:titles?|thread name|session name|branch names?|slug|headline|topic name)"
_COMMIT = r"(?:commit messages?|pull request (?:titles?|descriptions?|body)|PR descriptions?)"
_THIS = r"(?:this|these|the|our|that|their|a|an|my|all|any|each|previous|provided|given)"


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


class _Rule(NamedTuple):
    """A step type, the words of which one has to occur, and the pattern that decides."""

    step: StepType
    signs: tuple[str, ...]
    pattern: re.Pattern[str]


_COMMIT_SIGNS = ("commit", "pull request", "pr description")
_TITLE_SIGNS = ("title", "name", "slug", "headline", "summar")
_COMPACTION_SIGNS = (
    *("summar", "compact", "compress", "condens", "distil"),
    *("snapshot", "checkpoint", "handoff", "hand-off", "prompt"),
)
_CLASSIFY_SIGNS = (
    *("classif", "categori", "moderat", "rout", "analy", "determine", "decide", "process"),
    *("extract", "speak next", "suggestion mode", "quota"),
)

_SYSTEM_RULES = (
    _Rule(
        StepType.COMMIT_MESSAGE,
        _COMMIT_SIGNS,
        _any(rf"{_AGENT}{_MAKE} {_FEW}{_COMMIT}", rf"{_ORDER}{_MAKE} {_FEW}{_COMMIT}"),
    ),
    _Rule(
        StepType.TITLE,
        _TITLE_SIGNS,
        _any(
            rf"\b{_TITLE} generator\b",
            rf"{_AGENT}{_MAKE} {_FEW}{_TITLE}\b",
            rf"{_ORDER}{_MAKE} {_FEW}{_TITLE}\b",
            rf"{_SUMMARIZE} {_FEW}{_SUBJECT} in {_SHORT}",
        ),
    ),
    _Rule(
        StepType.COMPACTION,
        _COMPACTION_SIGNS,
        _any(
            rf"{_AGENT}{_SUMMARIZE} {_FEW}{_SUBJECT}",
            rf"{_AGENT}summar(?:y|ies|izer|iser)\b[^.\n]{{0,60}}\b{_SUBJECT}",
            rf"{_ORDER}{_SUMMARIZE} {_FEW}{_SUBJECT}",
            rf"{_ORDER}{_MAKE} {_FEW}(?:summary|snapshot|checkpoint)[^.\n]{{0,60}}\b{_SUBJECT}",
        ),
    ),
    _Rule(
        StepType.SUMMARY,
        ("summar", "condens", "distil", "compact", "compress"),
        _any(
            rf"{_AGENT}{_SUMMARIZE}",
            rf"{_AGENT}(?:{_MAKE} {_FEW}summar(?:y|ies)|summari[sz]er)\b",
            rf"{_ORDER}{_SUMMARIZE} {_THIS} ",
        ),
    ),
    _Rule(
        StepType.CLASSIFY,
        _CLASSIFY_SIGNS,
        _any(
            rf"{_AGENT}(?:classif\w+|categori[sz]\w+|moderat\w+)",
            rf"{_AGENT}(?:task|request|query|model)[- ]rout\w+",
            r"\banaly[sz]e (?:if|whether) (?:this|the) (?:\w+ )?message\b",
            rf"{_TASK}(?:classify|categori[sz]e|(?:determine|decide) (?:if|whether|which))",
            rf"{_TASK}(?:process|extract) {_FEW}(?:commands?|file ?paths?) (?:that|from)",
        ),
    ),
)

# Orders that clients give in the user role although the tools may still be attached.
_COMPACTION_ORDER = _any(
    rf"{_ORDER}{_MAKE} {_FEW}(?:summary|snapshot|checkpoint|hand-?off|prompt)\b[^.\n]{{0,80}}"
    rf"\b{_SUBJECT}\b",
    rf"{_ORDER}{_MAKE} {_FEW}(?:context|conversation|hand-?off|checkpoint) "
    rf"{_FEW}(?:summary|checkpoint)",
    rf"{_ORDER}{_SUMMARIZE} (?:(?!in |from |for )\w+ ){{0,4}}"
    r"(?:conversation|chat|session|discussion|dialog\w*)"
    rf"(?: so far| above| history| until now|\b[^.\n]{{0,60}}\b(?:continu\w+|resum\w+|hand))?",
    r"\bcontext checkpoint compaction\b",
    r"\brunning out of context\b[^\n]{0,160}\bsummary\b",
)
_USER_RULES = (
    _Rule(
        StepType.COMMIT_MESSAGE,
        _COMMIT_SIGNS,
        _any(
            rf"{_ORDER}{_MAKE} {_FEW}{_COMMIT}(?: "
            r"(?:for|from|based on|describing|that|using|given) "
            rf"(?:\w+ ){{0,4}}(?:diffs?|changes?|patch|staged|commits?|edits)|\s*[.:\n]|$)"
        ),
    ),
    _Rule(
        StepType.TITLE,
        _TITLE_SIGNS,
        _any(
            rf"{_ORDER}{_MAKE} {_FEW}{_TITLE} (?:for|of|that|summari[sz]ing|based on) "
            rf"{_FEW}{_SUBJECT}\b",
            rf"{_ORDER}{_SUMMARIZE} {_FEW}{_SUBJECT} in {_SHORT}",
        ),
    ),
    _Rule(StepType.COMPACTION, _COMPACTION_SIGNS, _COMPACTION_ORDER),
    _Rule(
        StepType.SUMMARY,
        ("summar", "condens", "distil", "compact", "compress"),
        _any(
            rf"{_ORDER}{_SUMMARIZE} (?:\w+ ){{0,3}}(?:tool|command|shell|web ?page|file|search) "
            r"(?:output|result|content)",
        ),
    ),
    _Rule(
        StepType.CLASSIFY,
        _CLASSIFY_SIGNS,
        _any(
            r"\banaly[sz]e (?:if|whether) (?:this|the) (?:\w+ )?message\b",
            r"\bwho should (?:logically )?speak next\b",
            r"^\s*\[suggestion mode",
            r"^\s*quota\s*$",
        ),
    ),
)


_COMPACTION = 2
"""Position in `_USER_RULES`: the one side call that clients make with their tools attached."""


def step_type(request: Request, user: UserText, *, last_part_is_result: bool) -> StepType:
    """What this call is for; `last_part_is_result` says that a tool's result came last."""
    has_tools = bool(request.tools) and request.tool_choice.mode != "none"
    head = user.text[:_USER_HEAD]
    if last_part_is_result:
        return StepType.TOOL_RESULT
    if has_tools:
        is_late = any(m.role == "assistant" for m in request.messages[:3])
        is_order = is_late and _matching(_USER_RULES[_COMPACTION : _COMPACTION + 1], head)
        return StepType.COMPACTION if is_order else StepType.MAIN
    if 0 < len(request.system) <= _MAX_SYSTEM_CHARS:
        by_system = _system_step(request.system[:_SYSTEM_HEAD])
        if by_system is not None:
            return by_system
    return _matching(_USER_RULES, head) or StepType.MAIN


@lru_cache(maxsize=512)
def _system_step(head: str) -> StepType | None:
    """A client repeats its system prompt on every call, so the answer is kept."""
    return _matching(_SYSTEM_RULES, head)


def _matching(rules: Sequence[_Rule], text: str) -> StepType | None:
    lowered = text.lower()
    for rule in rules:
        if any(sign in lowered for sign in rule.signs) and rule.pattern.search(text):
            return rule.step
    return None


def ends_with_result(messages: Sequence[Message], user: UserText) -> bool:
    """True if the last thing said, client's additions apart, is the result of a tool."""
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if message.role == "tool":
            return True
        if message.role == "assistant" and index == len(messages) - 1:
            continue  # the beginning of the answer, put there by the client
        if message.role == "assistant" or index == user.message:
            return False
        if message.role == "user" and any(is_protocol_result(p.text) for p in message.parts):
            return True
    return False

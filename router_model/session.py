"""Names the session a call belongs to.

A client's id is taken from where the client is known to put it; without one, the conversation is
recognised by a fingerprint. A conversation that a client continues by `previous_response_id` alone
shows neither: each of its calls then is a session of its own.
"""

import re
from collections.abc import Mapping

from router_model.outline import Outline, digest_of_texts
from router_model.types import Caller

# In the order of trust: set for this very purpose by the caller, a client's own, any client's. A
# thread of codex has caches of its own and keeps its session's id, so it comes first.
_KNOWN_HEADERS = (
    "x-litellm-session-id",
    "x-litellm-trace-id",
    "x-claude-code-session-id",
    "thread-id",  # codex
    "session-id",  # codex
    "session_id",  # codex before 0.60
    "conversation_id",  # codex before 0.60
    "x-session-id",  # opencode
    "x-session-affinity",  # opencode
)
_VENDOR_HEADER = re.compile(r"x-[a-z0-9]+(?:-[a-z0-9]+)*-session-id")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@/-]{7,255}")


def session_id(outline: Outline, headers: Mapping[str, str], caller: Caller) -> str:
    """The session's id: named by the caller, a known header, the body, else a fingerprint."""
    return (
        caller.session
        or session_of_headers(headers)
        or outline.session_hint
        or fingerprint(outline, caller)
    )


def session_of_headers(headers: Mapping[str, str]) -> str | None:
    """The session that a client names in its headers, None if none does.

    Header names are compared without case. A header counts only if its value looks like an id of
    at least 8 characters: "true" or "1" would make one session of many. One that names a parent
    session never counts.
    """
    named = {
        name.lower(): value.strip()
        for name, value in headers.items()
        if _ID.fullmatch(value.strip())
    }
    for known in _KNOWN_HEADERS:
        if value := named.get(known):
            return value
    for name in sorted(named):
        if _VENDOR_HEADER.fullmatch(name) and not _is_parents(name):
            return named[name]
    return None


def _is_parents(header: str) -> bool:
    """A subagent so names the session that started it; its own conversation is another one."""
    return "-parent-" in header or "-root-" in header


def fingerprint(outline: Outline, caller: Caller) -> str:
    """ "fp:" and 16 hex digits of what stays the same over the turns of one conversation.

    That is the first user text without harness blocks and whitespace, the tools' names in
    alphabetical order, the tenant and the user. System text is left out because clients put dates
    and attribution into it. Two conversations of one user that open with the same words and tools
    get the same fingerprint.
    """
    ingredients = (caller.tenant, caller.user or "", outline.opening, outline.tools)
    return f"fp:{digest_of_texts(ingredients)}"

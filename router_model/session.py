"""Names the session a call belongs to.

A client's id is taken from where the client is known to put it; without one, the conversation is
recognised by a fingerprint. A conversation that a client continues by `previous_response_id` alone
shows neither: each of its calls then is a session of its own.
"""

import hashlib
import re
from collections.abc import Mapping

from router_model.features.harness import strip_harness
from router_model.types import Caller, Message, Request

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
# Blocks that harnesses put anywhere into a user's words and may change from turn to turn.
_MOVING_TAGS = ("system-reminder", "environment_context")
_END_CHARS = 8192


def session_id(request: Request, headers: Mapping[str, str], caller: Caller) -> str:
    """The session's id: named by the caller, a known header, the body, else a fingerprint.

    Header names are compared without case. A header counts only if its value looks like an id of
    at least 8 characters: "true" or "1" would make one session of many. One that names a parent
    session never counts.
    """
    if caller.session:
        return caller.session
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
    return request.session_hint or fingerprint(request, caller)


def _is_parents(header: str) -> bool:
    """A subagent so names the session that started it; its own conversation is another one."""
    return "-parent-" in header or "-root-" in header


def fingerprint(request: Request, caller: Caller) -> str:
    """ "fp:" and 16 hex digits of what stays the same over the turns of one conversation.

    That is the first user text without harness blocks and whitespace, the tools' names in
    alphabetical order, the tenant and the user. System text is left out because clients put dates
    and attribution into it. Two conversations of one user that open with the same words and tools
    get the same fingerprint.
    """
    names = sorted({tool.name for tool in request.tools})
    ingredients = (caller.tenant, caller.user or "", _first_text(request), *names)
    digest = hashlib.blake2b(digest_size=8)
    for ingredient in ingredients:
        encoded = ingredient.encode("utf-8", "replace")
        digest.update(b"%d:" % len(encoded) + encoded)
    return f"fp:{digest.hexdigest()}"


def _first_text(request: Request) -> str:
    """First words of the user, else any first text, else the system text; both ends if long.

    A message in which the client alone speaks is passed over: several clients open every
    conversation of a day with the same one.
    """
    users = [message for message in request.messages if message.role == "user"]
    own = next((words for message in users if (words := _words_of(message))), "")
    if not own:
        texts = [message.text for message in users]
        texts += [part.text for message in request.messages for part in message.parts]
        own = next((text for text in texts if text), request.system)
    if len(own) > 2 * _END_CHARS:
        own = own[:_END_CHARS] + own[-_END_CHARS:]
    return "".join(own.split())


def _words_of(message: Message) -> str:
    parts = (part.text for part in message.parts if part.kind == "text" and part.text)
    return "".join(strip_harness(_without_reminders(text)) for text in parts)


def _without_reminders(text: str) -> str:
    """The text without closed blocks wherever they stand, in time linear in its length."""
    for tag in _MOVING_TAGS:
        before, *blocks = text.split(f"<{tag}>")
        kept = [before]
        for block in blocks:
            _, closing, after = block.partition(f"</{tag}>")
            kept.append(after if closing else f"<{tag}>{block}")
        text = "".join(kept)
    return text.strip()

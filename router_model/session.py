"""Names the session a call belongs to."""

import hashlib
import re
from collections.abc import Mapping

from router_model.types import Caller, Request

# In the order of trust: what a client's own documentation or traffic shows to be the session.
_KNOWN_HEADERS = (
    "x-claude-code-session-id",
    "session-id",  # codex
    "session_id",  # codex before 0.60
    "thread-id",  # codex
    "x-session-id",  # opencode
    "x-session-affinity",  # opencode
    "x-litellm-session-id",
)
_VENDOR_HEADER = re.compile(r"x-[a-z0-9]+(?:-[a-z0-9]+)*-session-id")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@/-]{7,255}")
# Blocks that harnesses put around a user's words and may change from turn to turn.
_HARNESS_TAGS = ("system-reminder", "environment_context")
_END_CHARS = 8192


def session_id(request: Request, headers: Mapping[str, str], caller: Caller) -> str:
    """The session's id: named by the caller, a known header, the body, else a fingerprint.

    Header names are compared without case. An `x-<vendor>-session-id` counts only if its value
    looks like an id of at least 8 characters.
    """
    if caller.session:
        return caller.session
    named = {name.lower(): value.strip() for name, value in headers.items()}
    for known in _KNOWN_HEADERS:
        if value := named.get(known):
            return value
    for name in sorted(named):
        if _VENDOR_HEADER.fullmatch(name) and _ID.fullmatch(named[name]):
            return named[name]
    return request.session_hint or fingerprint(request, caller)


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
    """First user text, else any first text, else the system text; both ends if it is long."""
    texts = [message.text for message in request.messages if message.role == "user"]
    texts += [part.text for message in request.messages for part in message.parts]
    text = next((text for text in texts if text), request.system)
    own = _own_words(text) or text
    if len(own) > 2 * _END_CHARS:
        own = own[:_END_CHARS] + own[-_END_CHARS:]
    return "".join(own.split())


def _own_words(text: str) -> str:
    """The text without closed harness blocks, in time linear in its length."""
    for tag in _HARNESS_TAGS:
        before, *blocks = text.split(f"<{tag}>")
        kept = [before]
        for block in blocks:
            _, closing, after = block.partition(f"</{tag}>")
            kept.append(after if closing else f"<{tag}>{block}")
        text = "".join(kept)
    return text.strip()

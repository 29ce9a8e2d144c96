"""Notices that a step of a session is asked again: the answer before was of no use.

A step is a session and all that its request says. It counts as asked again only once its answer
has ended: agents that ask the same several times at once want several answers.
"""

import hashlib
from collections import OrderedDict

from msgspec import Struct

from router_model.types import Request


class _Step(Struct):
    decision_id: str
    asked_at: float
    is_ended: bool = False


class Steps:
    """The steps of the last `window_s` seconds, of which at most `max_steps` are kept.

    `session` is an id that no other tenant's session has. One object belongs to one thread.

    >>> from router_model.types import Message, Part
    >>> request = Request(messages=(Message("user", (Part("text", "Fix it"),)),))
    >>> steps = Steps()
    >>> steps.asked(request, session="s", decision_id="d1", now=0.0)
    >>> steps.ended("d1")
    >>> steps.asked(request, session="s", decision_id="d2", now=9.0)
    'd1'
    """

    def __init__(self, *, max_steps: int = 10_000, window_s: float = 600.0) -> None:
        self._max_steps = max_steps
        self._window_s = window_s
        self._steps: OrderedDict[bytes, _Step] = OrderedDict()
        self._keys: dict[str, bytes] = {}

    def __len__(self) -> int:
        return len(self._steps)

    def asked(self, request: Request, *, session: str, decision_id: str, now: float) -> str | None:
        """The earlier decision whose step this request asks again, None for a new step.

        Its outcome gets the signal `retried`. `now` is in seconds of any clock. The same decision
        repeated is no retry.
        """
        key = step_key(request, session=session)
        before = self._steps.pop(key, None)
        again = None
        if before is not None:
            self._keys.pop(before.decision_id, None)
            is_retry = before.is_ended and before.decision_id != decision_id
            again = before.decision_id if is_retry and self._is_recent(before, now) else None
        self._steps[key] = _Step(decision_id, now)
        self._keys[decision_id] = key
        self._forget(now)
        return again

    def ended(self, decision_id: str) -> None:
        """Take that a decision's answer has ended, well or not."""
        step = self._steps.get(self._keys.get(decision_id, b""))
        if step is not None and step.decision_id == decision_id:
            step.is_ended = True

    def _is_recent(self, step: _Step, now: float) -> bool:
        return now - step.asked_at <= self._window_s

    def _forget(self, now: float) -> None:
        while self._steps:
            key, oldest = next(iter(self._steps.items()))
            if len(self._steps) <= self._max_steps and self._is_recent(oldest, now):
                return
            del self._steps[key]
            self._keys.pop(oldest.decision_id, None)


def step_key(request: Request, *, session: str) -> bytes:
    """A digest of a session's step: what is said and done in it, and the tools by name.

    Cache markers move from call to call, and ids and models may change with a retry: none counts.
    """
    digest = hashlib.blake2b(digest_size=16)
    for text in _ingredients(request, session):
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(encoded) + encoded)
    return digest.digest()


def _ingredients(request: Request, session: str) -> list[str]:
    texts = [session, request.system, request.response_format]
    texts += [tool.name for tool in request.tools]
    for message in request.messages:
        texts.append(message.role)
        for part in message.parts:
            size = f"{part.width}x{part.height}" if part.kind == "image" else ""
            texts += (part.kind, part.text, part.tool_name, size)
    return texts

"""What sessions share before their first word: system text and tools, warm from one another.

A coding agent's tools and instructions are 5,000 to 20,000 tokens, and a provider that has them
from another session reads them from its cache in the first call of the next. How much that is, only
a bill can tell: it is what the last first call with the same tools was billed as read.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from router_model.outline import Outline
from router_model.session_view import Prefix
from router_model.types import Usage
from router_serving.prefixes import HeldPrefix

MAX_FRAMES: Final = 1024
"""Sets of tools of a tenant that are remembered; the one used longest ago goes first."""

FrameKey = tuple[str, str]
_NOTHING: Final[Mapping[str, HeldPrefix]] = {}


class FrameMemory:
    """For each tenant and set of tools, what a first call to each model found cached."""

    def __init__(self) -> None:
        self._frames: OrderedDict[FrameKey, dict[str, HeldPrefix]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._frames)

    def seen(self, key: FrameKey | None, now_s: float) -> dict[str, Prefix]:
        """The frame as each model probably has it; models whose first calls read nothing lack."""
        held = _NOTHING if key is None else self._frames.get(key, _NOTHING)
        return {
            model: frame.seen(now_s, is_shared=True)
            for model, frame in held.items()
            if frame.tokens > 0
        }

    def touch(self, key: FrameKey | None, model: str, now_s: float) -> None:
        """A call with this frame went to `model`, which so keeps it for another lifetime."""
        if key is not None and (frame := self._frames.get(key, {}).get(model)) is not None:
            frame.used_s = now_s
            self._frames.move_to_end(key)

    def learn(self, key: FrameKey | None, model: str, usage: Usage, left: HeldPrefix) -> None:
        """Learn from the bill of a session's first call to `model`, which left `left` there."""
        if key is None:
            return
        frames = self._frames.setdefault(key, {})
        self._frames.move_to_end(key)
        held = frames.get(model)
        used_s = left.used_s if held is None else max(held.used_s, left.used_s)
        frames[model] = HeldPrefix(
            tokens=usage.cached_tokens,
            read_tokens=usage.cached_tokens,
            used_s=used_s,
            ttl_s=left.ttl_s,
        )
        if len(self._frames) > MAX_FRAMES:
            self._frames.popitem(last=False)


def frame_of(tenant: str, outline: Outline) -> FrameKey | None:
    """Names the frame by the tools' names; None without tools, whose frame is too short to matter.

    System text is left out: clients put dates and folders into its end, and what is common is read
    all the same.
    """
    return (tenant, outline.tools) if outline.tools else None

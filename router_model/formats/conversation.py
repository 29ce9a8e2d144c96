"""Builds the messages of a request from parts as they come, whatever the dialect."""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from router_model.types import Message, Part, Role, ToolSpec

# What LiteLLM puts between a call's id and the thought signature that Gemini gave the call.
_SIGNED_ID = "__thought__"
ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
}


def normal_role(role: str | None) -> Role:
    """The role as we name it; one that no dialect documents counts as the user's.

    >>> normal_role("developer"), normal_role("model"), normal_role("critic")
    ('system', 'assistant', 'user')
    """
    return ROLES.get(role or "", "user")


class Conversation:
    """Messages under construction: neighbours of one role merge, leading system text is set apart.

    `provider` is the one whose signatures and state the dialect carries, "" where it is no one's
    own. `ties` collects the providers whose signatures were added.

    >>> talk = Conversation()
    >>> talk.add_system([Part("text", "Be brief.")])
    >>> talk.add("user", Part("text", "Hi"))
    >>> talk.add("user", Part("text", "there"))
    >>> talk.system, [message.text for message in talk.messages()]
    ('Be brief.', ['Hi\\nthere'])
    """

    def __init__(self, provider: str = "") -> None:
        self.n_cache_markers = 0
        self.ties: set[str] = set()
        self._provider = provider
        self._system: list[str] = []
        self._runs: list[tuple[Role, list[Part]]] = []
        self._role: Role | None = None
        self._parts: list[Part] = []
        self._tool_names: dict[str, str] = {}

    @property
    def system(self) -> str:
        """Leading system texts, joined by an empty line."""
        return "\n\n".join(self._system)

    def add(self, role: Role, part: Part) -> None:
        """Append one part; an empty text part is dropped, its cache marker still counts."""
        self.n_cache_markers += part.has_cache_marker
        if part.kind == "text" and not part.text:
            return
        if role != self._role:
            self._role, self._parts = role, []
            self._runs.append((role, self._parts))
        self._parts.append(part)
        if part.is_signed:
            signer = "google" if _SIGNED_ID in part.call_id else self._provider
            if signer:
                self.ties.add(signer)

    def add_system(self, parts: Sequence[Part]) -> None:
        """Append one system message: to `system` while no other message came, else in order."""
        if self._runs:
            for part in parts:
                self.add("system", part)
            return
        self.n_cache_markers += sum(part.has_cache_marker for part in parts)
        if text := "\n".join(part.text for part in parts if part.text):
            self._system.append(text)

    def add_tool_call(self, part: Part) -> None:
        """Append a call by the assistant and remember the tool's name for its result."""
        if part.call_id:
            self._tool_names[part.call_id] = part.tool_name
            if _SIGNED_ID in part.call_id:
                part = replace(part, is_signed=True)
        self.add("assistant", part)

    def add_tool_result(
        self,
        parts: Iterable[Part],
        *,
        call_id: str = "",
        tool_name: str = "",
        is_error: bool = False,
        has_cache_marker: bool = False,
    ) -> None:
        """Append a tool's result: texts joined into one part, images and files after it."""
        texts: list[str] = []
        others: list[Part] = []
        for part in parts:
            if part.kind == "text":
                texts.append(part.text)
                self.n_cache_markers += part.has_cache_marker
            else:
                others.append(part)
        result = Part(
            kind="tool_result",
            text="\n".join(texts),
            tool_name=self._tool_names.get(call_id, tool_name),
            call_id=call_id,
            is_error=is_error,
            has_cache_marker=has_cache_marker,
        )
        self.add("tool", result)
        for part in others:
            self.add("tool", part)

    def mark_last(self) -> None:
        """Put a message's own cache marker on the part that was added last."""
        self.n_cache_markers += 1
        if self._parts:
            self._parts[-1] = replace(self._parts[-1], has_cache_marker=True)

    def count_tool_markers(self, tools: Iterable[ToolSpec]) -> None:
        """Add the cache markers that sit on tool definitions."""
        self.n_cache_markers += sum(tool.has_cache_marker for tool in tools)

    def tied_to(self, *, has_state: bool = False) -> tuple[str, ...]:
        """The providers to whose shape the signatures belong, and the kept state if there is any.

        In alphabetical order, "" for a shape that is no single provider's.
        """
        ties = self.ties | {self._provider} if has_state else self.ties
        return tuple(sorted(ties))

    def messages(self) -> tuple[Message, ...]:
        """The merged messages."""
        return tuple([Message(role, tuple(parts)) for role, parts in self._runs])

"""Adds the input items of the Responses API to a conversation."""

from collections.abc import Iterator
from typing import Any

from router_model.errors import InvalidRequestError
from router_model.formats import jsontext
from router_model.formats.conversation import Conversation, normal_role
from router_model.formats.image_size import image_size
from router_model.formats.openai_responses_wire import Content, ContentPart, Item
from router_model.types import Part

_TEXTS = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})
_IMAGES = frozenset({"input_image", "image", "image_url", "computer_screenshot", "screenshot"})
_THOUGHTS = frozenset({"reasoning", "compaction", "compaction_summary", "context_compaction"})
# Neither said nor done by anyone: lists of tools, approvals, and triggers.
_SILENT = frozenset(
    {
        "additional_tools",
        "compaction_trigger",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_list_tools",
    }
)


def add_item(conversation: Conversation, item: str | Item, at: str) -> None:
    """Append what one input item says; `at` is its path, for errors."""
    if isinstance(item, str):
        conversation.add("user", Part("text", item))
        return
    kind = item.type or "message"
    if is_reference(item) or kind in _SILENT:
        return
    if kind == "message":
        _add_message(conversation, item, at)
    elif kind in _THOUGHTS:
        _add_reasoning(conversation, item)
    elif kind.endswith("_output"):
        _add_output(conversation, item)
    elif kind.endswith("_call"):
        _add_call(conversation, item)
    else:
        for part in parts_of(item.content):
            conversation.add(normal_role(item.role), part)


def is_reference(item: str | Item) -> bool:
    """True for an item that only names one which the provider keeps."""
    if isinstance(item, str):
        return False
    is_bare = item.type is None and item.role is None and item.content is None
    return item.type == "item_reference" or (is_bare and bool(item.id))


def parts_of(content: Content) -> Iterator[Part]:
    """Parts of message content or tool output, whichever of its forms it has."""
    if content is None:
        return
    if isinstance(content, str):
        yield Part("text", content)
        return
    for part in [content] if isinstance(content, ContentPart) else content:
        if isinstance(part, str):
            yield Part("text", part)
        elif part is not None:
            yield _part(part)


def _part(part: ContentPart) -> Part:
    has_marker = bool(part.cache_control)
    if part.type in _IMAGES:
        width, height = image_size(part.image_url)
        return Part("image", has_cache_marker=has_marker, width=width, height=height)
    shell = [text for text in (part.stdout, part.stderr) if text]
    text = part.text if part.text is not None else part.refusal
    if text is None and (shell or part.stdout is not None):
        text = "\n".join(shell)
    if text is not None or part.type in _TEXTS:
        return Part("text", text or "", has_cache_marker=has_marker)
    return Part("file", has_cache_marker=has_marker)


def _add_message(conversation: Conversation, item: Item, at: str) -> None:
    if item.role is None:
        raise InvalidRequestError(f"{at}.role", None, "user, assistant, system or developer")
    role = normal_role(item.role)
    if role == "system":
        conversation.add_system(list(parts_of(item.content)))
        return
    if role == "tool":
        name = item.name or ""
        call_id = item.call_id or ""
        conversation.add_tool_result(parts_of(item.content), call_id=call_id, tool_name=name)
        return
    for part in parts_of(item.content):
        conversation.add(role, part)
    if item.cache_control:
        conversation.mark_last()


def _add_reasoning(conversation: Conversation, item: Item) -> None:
    texts = [text for text in (_text(item.summary), _text(item.content)) if text]
    signed = bool(item.encrypted_content)
    conversation.add("assistant", Part("thinking", "\n".join(texts), is_signed=signed))


def _text(content: Content) -> str:
    return "\n".join(part.text for part in parts_of(content) if part.kind == "text")


def _add_call(conversation: Conversation, item: Item) -> None:
    kind = (item.type or "").removesuffix("_call")
    name = item.name or kind
    call_id = item.call_id or item.id or ""
    conversation.add_tool_call(Part("tool_call", _arguments(item), name, call_id))
    has_result = item.output is not None or isinstance(item.result, str) or bool(item.error)
    if kind != "function" and has_result:
        failed = _error_text(item.error)
        parts = list(parts_of(item.output))
        if isinstance(item.result, str):
            parts.append(Part("image"))
        if failed:
            parts.append(Part("text", failed))
        conversation.add_tool_result(parts, call_id=call_id, is_error=bool(failed))


def _arguments(item: Item) -> str:
    """A call's arguments: JSON text, freeform input, or what a hosted tool was asked to do."""
    if item.type == "custom_tool_call":
        return item.input if isinstance(item.input, str) else jsontext.arguments_text(item.input)
    asked = (item.arguments, item.action, item.operation, item.input, item.queries, item.code)
    return jsontext.arguments_text(next((value for value in asked if value is not None), None))


def _error_text(error: Any) -> str:
    if not error:
        return ""
    return error if isinstance(error, str) else jsontext.compact(error)


def _add_output(conversation: Conversation, item: Item) -> None:
    call_id = item.call_id or item.id or ""
    content = item.output if item.output is not None else item.content
    conversation.add_tool_result(
        parts_of(content),
        call_id=call_id,
        tool_name=item.name or "",
        has_cache_marker=bool(item.cache_control),
    )

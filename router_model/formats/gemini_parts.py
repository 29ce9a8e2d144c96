"""Adds the contents of a Gemini request to a conversation."""

from typing import Any

from router_model.formats import jsontext
from router_model.formats.conversation import Conversation, normal_role
from router_model.formats.gemini_wire import (
    Blob,
    Code,
    Content,
    FunctionResponse,
    ServerTool,
    either,
)
from router_model.formats.gemini_wire import Part as WirePart
from router_model.formats.image_size import image_size
from router_model.types import Part, PartKind, Role

_WRAPPERS = ("output", "error", "result", "content")
_CODE_TOOL = "code_execution"


def system_parts(system: str | Content | None) -> list[Part]:
    """Parts of the system instruction."""
    if isinstance(system, str):
        return [Part("text", system)]
    return [Part("text", part.text or "") for part in _parts(system)] if system else []


def add_content(conversation: Conversation, content: str | Content) -> None:
    """Append one turn; the tool results of a user's turn come first."""
    if isinstance(content, str):
        conversation.add("user", Part("text", content))
        return
    role = normal_role(content.role)
    if role == "system":
        conversation.add_system(system_parts(content))
        return
    speaker: Role = "assistant" if role == "assistant" else "user"
    parts = _parts(content)
    if speaker == "user":
        parts.sort(key=_follows_results)
    for part in parts:
        _add_part(conversation, part, speaker)


def _parts(content: Content) -> list[WirePart]:
    held = content.parts if isinstance(content.parts, list) else [content.parts]
    wrapped = [WirePart(text=part) if isinstance(part, str) else part for part in held]
    return [part for part in wrapped if part is not None]


def _follows_results(part: WirePart) -> bool:
    return either(part.response_camel, part.function_response) is None


def _add_part(conversation: Conversation, part: WirePart, role: Role) -> None:
    is_signed = bool(either(part.signature_camel, part.thought_signature))
    if response := either(part.response_camel, part.function_response):
        _add_response(conversation, response)
    elif call := either(part.call_camel, part.function_call):
        arguments = jsontext.arguments_text(call.args)
        name, call_id = call.name or "", call.id or ""
        conversation.add_tool_call(Part("tool_call", arguments, name, call_id, is_signed=is_signed))
    elif part.text is not None:
        kind: PartKind = "thinking" if part.thought else "text"
        conversation.add(role, Part(kind, part.text, is_signed=is_signed))
    elif _add_server_tool(conversation, part):
        return
    elif blob := _blob(part):
        conversation.add(role, _media(blob))
    elif is_signed or part.thought:
        conversation.add(role, Part("thinking", is_signed=is_signed))
    else:
        conversation.add(role, Part("file"))


def _add_server_tool(conversation: Conversation, part: WirePart) -> bool:
    """Append a call or result of a tool that Google runs; False if the part is none."""
    if code := either(part.code_camel, part.executable_code):
        arguments = jsontext.compact({"language": code.language, "code": code.code})
        conversation.add_tool_call(Part("tool_call", arguments, _CODE_TOOL, code.id or ""))
    elif result := either(part.result_camel, part.code_execution_result):
        _add_code_result(conversation, result)
    elif asked := either(part.tool_call_camel, part.tool_call):
        arguments = jsontext.arguments_text(asked.args)
        conversation.add_tool_call(Part("tool_call", arguments, _kind(asked), asked.id or ""))
    elif answer := either(part.tool_response_camel, part.tool_response):
        text, is_error = _answer(answer.response)
        name, call_id = _kind(answer), answer.id or ""
        conversation.add_tool_result(
            [Part("text", text)], call_id=call_id, tool_name=name, is_error=is_error
        )
    else:
        return False
    return True


def _kind(tool: ServerTool) -> str:
    return (either(tool.type_camel, tool.tool_type) or "").lower()


def _add_code_result(conversation: Conversation, result: Code) -> None:
    conversation.add_tool_result(
        [Part("text", result.output or "")],
        call_id=result.id or "",
        tool_name=_CODE_TOOL,
        is_error=result.outcome not in (None, "OUTCOME_OK", "OUTCOME_UNSPECIFIED"),
    )


def _add_response(conversation: Conversation, response: FunctionResponse) -> None:
    text, is_error = _answer(response.response)
    parts = [Part("text", text)]
    parts += [_media(blob) for part in response.parts or () if (blob := _blob(part))]
    conversation.add_tool_result(
        parts, call_id=response.id or "", tool_name=response.name or "", is_error=is_error
    )


def _answer(response: Any) -> tuple[str, bool]:
    """Text of a tool's answer, and whether it is an error, by the API's "output" and "error" keys.

    >>> _answer({"output": "2 passed"}), _answer({"error": "no such file"}), _answer({"n": 1})
    (('2 passed', False), ('no such file', True), ('{"n":1}', False))
    """
    if response is None or isinstance(response, str):
        return response or "", False
    if not isinstance(response, dict):
        return jsontext.compact(response), False
    is_error = bool(response.get("error"))
    wrapped = [response[key] for key in _WRAPPERS if isinstance(response.get(key), str)]
    if len(response) == 1 and wrapped:
        return wrapped[0], is_error
    return jsontext.compact(response) if response else "", is_error


def _blob(part: WirePart) -> Blob | None:
    inline = either(part.inline_camel, part.inline_data)
    return inline or either(part.file_camel, part.file_data)


def _media(blob: Blob) -> Part:
    mime = either(blob.mime_camel, blob.mime_type) or ""
    if not mime.startswith("image/"):
        return Part("file")
    width, height = image_size(blob.data)
    return Part("image", width=width, height=height)

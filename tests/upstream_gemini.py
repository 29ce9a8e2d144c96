"""Google's shape of the local upstream: generateContent."""

from collections.abc import Iterator

from upstream_script import Asked, Said, Tool
from upstream_wire import Body, Dialect, Used, asked_of, pieces, sse


def _read_gemini(body: Body, path: str) -> Asked:
    parts = [part for content in body["contents"] for part in content.get("parts") or ()]
    results = sum(bool({"functionResponse", "function_response"} & set(part)) for part in parts)
    tools = [
        Tool(one["name"], one.get("parameters") or one.get("parametersJsonSchema") or {})
        for offered in body.get("tools") or ()
        for one in _either(offered, "functionDeclarations", "function_declarations")
    ]
    model = path.rpartition("/models/")[2].partition(":")[0]
    start = body.get("systemInstruction") or body["contents"][0]
    asked = asked_of(model, body, start, tools, results)
    is_stream = ":streamGenerateContent" in path
    return Asked(model, is_stream, asked.start, asked.tools, asked.n_results)


def _either(body: Body, *names: str) -> list[Body]:
    """The list under any of these names: JSON of protobuf knows both spellings."""
    return next((body[name] for name in names if body.get(name)), [])


_GEMINI_FINISH = {"stop": "STOP", "tool": "STOP", "length": "MAX_TOKENS", "refusal": "SAFETY"}


def _gemini(model: str, parts: list[Body], finish: str | None, used: Used) -> Body:
    candidate: Body = {"index": 0, "content": {"role": "model", "parts": parts}}
    if finish:
        candidate["finishReason"] = finish
    usage = {
        "promptTokenCount": used.n_input,
        "cachedContentTokenCount": used.n_cached,
        "candidatesTokenCount": used.n_output,
        "totalTokenCount": used.n_input + used.n_output,
    }
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model}


def _call_parts(said: Said) -> list[Body]:
    return [{"functionCall": {"name": said.tool, "args": said.values}}] if said.tool else []


def _whole_gemini(model: str, said: Said, used: Used) -> Body:
    parts: list[Body] = [{"text": said.text}] if said.text else []
    return _gemini(model, parts + _call_parts(said), _GEMINI_FINISH[said.finish], used)


def _gemini_events(model: str, said: Said, used: Used) -> Iterator[bytes]:
    for piece in pieces(said.text):
        yield sse(_gemini(model, [{"text": piece}], None, used))
    yield sse(_gemini(model, _call_parts(said), _GEMINI_FINISH[said.finish], used))


def _gemini_error(status: int, text: str) -> Body:
    name = "RESOURCE_EXHAUSTED" if status == 429 else "INTERNAL"
    return {"error": {"code": status, "message": text, "status": name}}


GEMINI = Dialect(_read_gemini, _whole_gemini, _gemini_events, _gemini_error)

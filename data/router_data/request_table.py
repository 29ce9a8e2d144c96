"""Reads `requests.parquet` of an interchange folder."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from router_data import store
from router_data.cells import as_text, cell, existing, require
from router_model.errors import DatasetError


@dataclass(frozen=True, slots=True)
class TableRequest:
    """One row of `requests.parquet`.

    `body` is an OpenAI chat body; `has_content` is False when the row brought neither messages
    nor a prompt (the body is then an empty user message). `content_hash` is the same for
    requests with the same messages and tools. `ts_ms` is None where the table has no time.
    """

    request_id: str
    dataset: str
    task: str
    group: str
    session: str | None
    body: bytes
    content_hash: str
    has_content: bool
    ts_ms: int | None = None


def read_requests(
    folder: Path, *, group_by: str | None, problems: Counter[str]
) -> list[TableRequest]:
    """The usable requests, ordered by id; of two with one id the first is kept."""
    path = existing(folder, "requests.parquet")
    types = store.parquet_types(path)
    require(path, types, "request_id")
    _check_group_by(path, types, group_by)
    names = [name for name in types if types[name] != '"NULL"']
    table = store.read_parquet(path, {name: as_text(name, types[name]) for name in names})
    rows: dict[str, TableRequest] = {}
    for index in range(len(table["request_id"])):
        cells = {name: text for name in names if (text := cell(table[name][index])) is not None}
        request = _request(cells, folder=folder, group_by=group_by, problems=problems)
        if request is None:
            continue
        known = rows.setdefault(request.request_id, request)
        if known is not request and known != request:
            problems["request: request_id appears again with other content"] += 1
    return [rows[key] for key in sorted(rows)]


def _request(
    cells: Mapping[str, str], *, folder: Path, group_by: str | None, problems: Counter[str]
) -> TableRequest | None:
    request_id = cells.get("request_id")
    if request_id is None:
        problems["request: no request_id"] += 1
        return None
    content = _content(cells, problems)
    body = msgspec.json.encode(content or {"messages": [{"role": "user", "content": ""}]})
    content_hash = hashlib.sha256(body).hexdigest()[:32]
    dataset = cells.get("dataset") or folder.resolve().name
    group = _group(cells, group_by)
    if group is None and group_by is not None:
        problems[f"request: no value for group_by {group_by}"] += 1
    return TableRequest(
        request_id=request_id,
        dataset=dataset,
        task=cells.get("task") or cells.get("split") or dataset,
        group=group or (content_hash if content else request_id),
        session=cells.get("session_id"),
        body=body,
        content_hash=content_hash,
        has_content=content is not None,
        ts_ms=_time(cells),
    )


def _content(cells: Mapping[str, str], problems: Counter[str]) -> dict[str, object] | None:
    messages = _json_list(cells.get("messages"), "messages", problems)
    if messages is None:
        if (prompt := cells.get("prompt")) is None:
            problems["request: neither messages nor prompt"] += 1
            return None
        messages = [{"role": "user", "content": prompt}]
    tools = _json_list(cells.get("tools"), "tools", problems)
    if not tools:
        return {"messages": messages}
    return {"messages": messages, "tools": [chat_tool(tool) for tool in tools]}


def chat_tool(tool: object) -> object:
    """A tool as chat completions writes it; bare and Anthropic-shaped tools are wrapped."""
    if not isinstance(tool, dict) or "function" in tool or "name" not in tool:
        return tool
    function = {key: value for key, value in tool.items() if key not in ("type", "input_schema")}
    if "input_schema" in tool:
        function["parameters"] = tool["input_schema"]
    return {"type": "function", "function": function}


def _json_list(text: str | None, name: str, problems: Counter[str]) -> list[object] | None:
    if text is None:
        return None
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        problems[f"request: {name} is not JSON"] += 1
        return None
    if not isinstance(value, list):
        problems[f"request: {name} is not a list"] += 1
        return None
    return value or None


def _group(cells: Mapping[str, str], group_by: str | None) -> str | None:
    if group_by is None:
        return cells.get("group")
    if not group_by.startswith("metadata."):
        return cells.get(group_by)
    try:
        metadata = msgspec.json.decode(cells.get("metadata", "{}"))
    except msgspec.DecodeError:
        return None
    value = metadata.get(group_by.removeprefix("metadata.")) if isinstance(metadata, dict) else None
    return None if value is None else str(value)


def _time(cells: Mapping[str, str]) -> int | None:
    for name, factor in (("ts_ms", 1), ("created_unix", 1000)):
        try:
            return int(float(cells[name]) * factor)
        except (KeyError, ValueError, OverflowError):
            continue
    return None


def _check_group_by(path: Path, types: Mapping[str, str], group_by: str | None) -> None:
    if group_by is None:
        return
    column = "metadata" if group_by.startswith("metadata.") else group_by
    if column not in types:
        raise DatasetError(
            f"{path}: group_by: got {group_by!r}, expected one of {', '.join(types)} "
            "or metadata.KEY"
        )

"""What realistic bodies of each dialect parse to, as reviewed files.

The conversations are our own inventions in the manner of coding agents. After a deliberate change
run with ROUTER_UPDATE_GOLDEN=1 and review the diff of `parsed_requests/`.
"""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router_model import formats
from router_model.types import Request, WireFormat

HERE = Path(__file__).parent
every_dialect = pytest.mark.parametrize("dialect", list(WireFormat), ids=lambda d: d.value)


def sent_body(dialect: WireFormat) -> bytes:
    """The body as clients send it: the files are indented only for their readers."""
    return msgspec.json.format((HERE / "requests" / f"{dialect.value}.json").read_bytes(), indent=0)


def readable(request: Request) -> Any:
    """The request as plain JSON, schemas as text, without fields at their default."""
    shown = msgspec.to_builtins(request)
    shown["response_schema"] = request.response_schema.decode()
    for tool, spec in zip(shown["tools"], request.tools, strict=True):
        tool["schema"] = spec.schema.decode()
    return _without_defaults(shown)


def _without_defaults(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: _without_defaults(inner) for name, inner in value.items()}
        return {name: inner for name, inner in kept.items() if inner not in ("", None, False, [])}
    is_array = isinstance(value, list | tuple)
    return [_without_defaults(inner) for inner in value] if is_array else value


@every_dialect
def test_a_realistic_body_parses_as_reviewed(dialect: WireFormat) -> None:
    parsed = readable(formats.parse(sent_body(dialect)))
    expected = HERE / "parsed_requests" / f"{dialect.value}.json"
    if os.environ.get("ROUTER_UPDATE_GOLDEN") == "1":
        expected.write_text(json.dumps(parsed, indent=2, ensure_ascii=False) + "\n")
    assert parsed == json.loads(expected.read_text())


@every_dialect
def test_the_dialect_of_a_realistic_body_is_detected(dialect: WireFormat) -> None:
    assert formats.detect(sent_body(dialect)) == dialect


def test_every_golden_body_belongs_to_a_dialect() -> None:
    dialects = {f"{dialect.value}.json" for dialect in WireFormat}
    for folder in ("requests", "parsed_requests"):
        assert {path.name for path in (HERE / folder).glob("*.json")} == dialects

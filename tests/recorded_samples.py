"""Recorded sessions made by hand, and folders that hold them as tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from router_data.store import write_parquet
from router_model.catalog import Catalog, catalog_of
from router_model.features import extract
from router_model.types import (
    Capabilities,
    Message,
    ModelCard,
    Part,
    PriceCard,
    Request,
)
from router_training.recorded_sessions import RecordedCall, RecordedSession
from router_training.session_replay import Prepared, Rule, prepare


def model(name: str, price: PriceCard, **changes: object) -> ModelCard:
    plain = ModelCard(
        id=name,
        provider=name,
        snapshot=name,
        family=name,
        context_window=1_000_000,
        max_output_tokens=64_000,
        capabilities=Capabilities(tools=True, caching="automatic"),
        price=price,
        min_cache_tokens=1_000,
        cache_ttl_s=300,
    )
    fields = {name: getattr(plain, name) for name in plain.__struct_fields__}
    return ModelCard(**(fields | changes))


def call(
    input_tokens: int,
    *,
    output_tokens: int = 100,
    gap_s: float = 10.0,
    is_result: bool = False,
    **changes: object,
) -> RecordedCall:
    said = Message(role="user", parts=(Part(kind="text", text="Fix the parser, please."),))
    messages: tuple[Message, ...] = (said,)
    if is_result:
        called = Part(kind="tool_call", text="{}", tool_name="read", call_id="c1")
        answered = Part(kind="tool_result", text="ok", call_id="c1")
        messages += (
            Message(role="assistant", parts=(called,)),
            Message(role="tool", parts=(answered,)),
        )
    request = Request(messages=messages)
    values: dict[str, object] = {
        "request": request,
        "context": extract(request),
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "gap_s": gap_s,
    }
    return RecordedCall(**(values | changes))  # type: ignore[arg-type]


def session(calls: Sequence[RecordedCall], *, name: str = "s") -> RecordedSession:
    return RecordedSession(id=name, request_id=name, model="recorded", calls=tuple(calls))


def prepared(
    sessions: Sequence[RecordedSession],
    cards: Sequence[ModelCard],
    p: Sequence[Sequence[Sequence[float]]],
    **rule: float,
) -> Prepared:
    catalog: Catalog = catalog_of(cards, as_of="2026-11-23")
    return prepare(sessions, catalog, [np.array(table) for table in p], rule=Rule(**rule))


def write_recording(
    folder: Path, *, n_sessions: int = 6, n_calls: int = 4, without: Sequence[str] = ()
) -> Path:
    """Requests, outcomes, steps and messages of sessions that call a tool at every other turn."""
    folder.mkdir(parents=True)
    steps: list[Mapping[str, object]] = []
    messages: list[Mapping[str, object]] = []
    requests: list[Mapping[str, object]] = []
    outcomes: list[Mapping[str, object]] = []
    for number in range(n_sessions):
        task, name = f"t{number:02d}", f"s{number:02d}"
        opening = [
            {"role": "system", "content": "You fix parsers. " * 400},
            {"role": "user", "content": f"Parser {number} fails on empty input."},
        ]
        requests.append({"request_id": task, "messages": opening, "dataset": "sample"})
        for model_name, success in (("gpt-5.4", 1.0), ("glm-5", float(number % 2))):
            outcomes.append({"request_id": task, "model": model_name, "success": success})
        messages.append({"session_id": name, "idx": 1, **opening[1]})
        place = 2
        for step in range(n_calls):
            row = {
                "request_id": task,
                "session_id": name,
                "model": "gpt-5.4",
                "step": step,
                "n_prefix_messages": place,
                "input_tokens": 2_000 + 500 * step,
                "output_tokens": 40,
                "gap_since_prev_call_s": None if step == 0 else 7.0,
            }
            steps.append({key: value for key, value in row.items() if key not in without})
            tool_calls = [{"name": "read", "arguments": {"path": f"{step}.py"}}]
            messages += [
                {
                    "session_id": name,
                    "idx": place,
                    "role": "assistant",
                    "content": "",
                    "tool_calls": tool_calls,
                },
                {"session_id": name, "idx": place + 1, "role": "tool", "content": "line\n" * 50},
            ]
            place += 2
    for table, rows in (
        ("requests", requests),
        ("outcomes", outcomes),
        ("steps", steps),
        ("messages", messages),
    ):
        write_parquet(folder / f"{table}.parquet", rows)
    return folder

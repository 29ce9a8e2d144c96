import asyncio
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import pytest
from routers import router
from serving_decisions import decision

from router_data.compact import compact
from router_data.log import SEGMENTS, SegmentWriter
from router_data.manifest import parquet_paths
from router_data.rows import candidate_rows, outcome_row
from router_model.errors import LogError
from router_model.types import Outcome, PolicyOverrides
from router_serving.errors import DecisionNotFoundError, OverloadedError
from router_serving.history import MAX_QUESTIONS, History
from router_serving.recent import RecentAnswers, answer_of
from router_serving.settings import Settings
from router_serving.telemetry import Metrics
from router_serving.writer import LogWriter

FAR_FUTURE_MS = 4_000_000_000_000


def decision_of(decision_id: str, *, model: str = "m", **fields: Any) -> dict[str, Any]:
    taken = decision(decision_id=decision_id, model=model)
    return {
        **msgspec.to_builtins(taken),
        "schema": 1,
        "kind": "decision",
        "ts_ms": FAR_FUTURE_MS,
        "tenant": "t",
        "key": None,
        "user": None,
        "request_hash": "hash",
        "candidates": candidate_rows(taken.candidates, taken.distribution),
        "dataset": None,
        **fields,
    }


def outcome_of(decision_id: str, **fields: Any) -> dict[str, Any]:
    outcome = Outcome(**{"decision_id": decision_id, "model": "m", **fields})
    return outcome_row(outcome, tenant="t", now_ms=FAR_FUTURE_MS)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[LogWriter, History]]:
    settings = Settings(state_dir=tmp_path)
    segments = SegmentWriter(settings.log_dir / SEGMENTS, "w")
    writer = LogWriter(segments, max_rows=100, flush_s=10.0, metrics=Metrics())
    writer.start()
    history = History(settings, writer=writer)
    yield writer, history
    writer.close()
    history.close()


def test_questions_that_wait_are_bounded(
    opened: tuple[LogWriter, History], monkeypatch: pytest.MonkeyPatch
) -> None:
    # One caller could keep everybody's explanations waiting for as long as it liked.
    _, history = opened
    let_go = Event()
    monkeypatch.setattr(history, "_answer", lambda question: let_go.wait(30))

    async def ask_all() -> list[Any]:
        asked = [asyncio.create_task(history.spend("user")) for _ in range(MAX_QUESTIONS + 3)]
        refused, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        assert all(isinstance(task.exception(), OverloadedError) for task in refused)
        let_go.set()
        return list(await asyncio.gather(*asked, return_exceptions=True))

    answers = asyncio.run(ask_all())
    assert sum(isinstance(answer, OverloadedError) for answer in answers) == 3
    assert asyncio.run(history.spend("user"))


def spent(
    opened: tuple[LogWriter, History], rows: list[dict[str, Any]], group_by: str
) -> dict[str | None, dict[str, Any]]:
    writer, history = opened
    for row in rows:
        writer.offer(row)
    return {row.pop("group"): row for row in asyncio.run(history.spend(group_by))}


def test_an_empty_log_has_no_spend(opened: tuple[LogWriter, History]) -> None:
    assert spent(opened, [], "model") == {}


def test_what_was_reported_counts_and_else_what_was_expected(
    opened: tuple[LogWriter, History],
) -> None:
    rows = [
        decision_of("a", user="kim"),
        decision_of("b", user="kim"),
        decision_of("c", user="lee"),
        outcome_of("a", cost_usd=0.5),
        outcome_of("b", latency_ms=10.0),
        outcome_of("c", cost_usd=0.25),
    ]
    found = spent(opened, rows, "user")
    assert list(found) == ["kim", "lee"]
    assert found["kim"] == {
        "n_decisions": 2,
        "cost_usd": pytest.approx(0.51),
        "reported_usd": pytest.approx(0.5),
        "expected_usd": pytest.approx(0.01),
        "is_estimated": True,
    }
    assert found["lee"]["is_estimated"] is False


def test_each_attempt_is_paid_under_the_model_that_served_it(
    opened: tuple[LogWriter, History],
) -> None:
    rows = [
        decision_of("a"),
        outcome_of("a", cost_usd=0.1),
        outcome_of("a", attempt=1, model="fallback", cost_usd=0.4),
    ]
    found = spent(opened, rows, "model")
    assert {model: row["cost_usd"] for model, row in found.items()} == {"m": 0.1, "fallback": 0.4}
    assert spent(opened, [], "tenant")["t"]["n_decisions"] == 1


def test_a_corrected_outcome_is_paid_once(opened: tuple[LogWriter, History]) -> None:
    rows = [decision_of("a"), outcome_of("a", cost_usd=0.1), outcome_of("a", cost_usd=0.3)]
    assert spent(opened, rows, "key")[None]["cost_usd"] == pytest.approx(0.3)


def test_imported_rounds_were_paid_by_nobody_here(opened: tuple[LogWriter, History]) -> None:
    rows = [decision_of("a", dataset="bfcl"), outcome_of("a", cost_usd=3.0)]
    assert spent(opened, rows, "tenant") == {}


def test_a_tenant_sees_what_it_spent_itself(opened: tuple[LogWriter, History]) -> None:
    writer, history = opened
    for row in (
        decision_of("same", session="s1"),
        decision_of("same", session="s1", tenant="other"),
        outcome_of("same", cost_usd=0.5),
        outcome_row(
            Outcome(decision_id="same", model="m", cost_usd=0.25), tenant="other", now_ms=1
        ),
    ):
        writer.offer(row)
    for tenant, cost_usd in ((None, 0.75), ("t", 0.5), ("other", 0.25), ("nobody", None)):
        (*rows,) = asyncio.run(history.spend("session", tenant=tenant))
        shown = [(row["group"], row["cost_usd"]) for row in rows]
        assert shown == ([] if cost_usd is None else [("s1", cost_usd)]), tenant


def test_the_log_recalls_the_answers_given_last(opened: tuple[LogWriter, History]) -> None:
    writer, history = opened
    for row in (decision_of("a"), decision_of("b"), decision_of("old", ts_ms=1)):
        writer.offer(row)
    recent = RecentAnswers(10)
    assert asyncio.run(history.recall(recent)) == 2
    (answer,) = [recent.repeated("t", "a", request_hash="hash", overrides=PolicyOverrides())]
    assert answer == answer_of(decision(decision_id="a"))


def test_a_damaged_file_hides_its_own_rows_only_and_no_sum_is_told_without_it(
    opened: tuple[LogWriter, History], tmp_path: Path
) -> None:
    writer, history = opened
    with SegmentWriter(tmp_path / "log" / SEGMENTS, "earlier") as segments:
        segments.append([decision_of("old", ts_ms=1)])
    compact(tmp_path)
    (path,) = parquet_paths(tmp_path / "log")
    path.write_bytes(path.read_bytes()[:-10])
    writer.offer(decision_of("new"))
    recent = RecentAnswers(10)
    assert asyncio.run(history.recall(recent)) == 1
    with pytest.raises(DecisionNotFoundError):
        asyncio.run(history.explanation("old", tenant="t", router_of=lambda _: router()))
    with pytest.raises(LogError, match="router-data repair"):
        asyncio.run(history.spend("user"))
    text = writer.metrics.exposition(queue_rows=0, sessions=0).decode()
    assert 'router_log_left_out{of="files"} 1.0' in text

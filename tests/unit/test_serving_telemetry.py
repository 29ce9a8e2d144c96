import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from router_model.types import Versions
from router_serving.log_lines import configure_logging
from router_serving.telemetry import Metrics, code_of


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    text = metrics.exposition(queue_rows=3, sessions=2).decode()
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_decision_is_counted_by_model_reason_and_exclusion() -> None:
    metrics = Metrics()
    for _ in range(2):
        metrics.decided(
            model="m",
            reason="cheapest_adequate: p 0.93 reaches 0.9",
            excluded={"a": "no_tools", "b": "context_window: needs 9 of 8 tokens", "c": "no_tools"},
            stages={"parse": 1_000_000, "total": 2_000_000},
        )
    found = samples(metrics)
    assert found["router_decisions_total", "m", "cheapest_adequate"] == 2
    assert found["router_exclusions_total", "no_tools"] == 4
    assert found["router_exclusions_total", "context_window"] == 2
    assert found["router_stage_seconds_count", "parse"] == 2
    assert found["router_stage_seconds_sum", "total"] == pytest.approx(0.004)


def test_gauges_are_read_when_asked() -> None:
    found = samples(Metrics())
    assert found["router_log_queue_rows",] == 3
    assert found["router_sessions",] == 2


def test_only_the_versions_in_use_are_one() -> None:
    metrics = Metrics()
    metrics.serving(Versions(artifact="a1", catalog="c", policy="p"))
    metrics.serving(Versions(artifact="a2", catalog="c", policy="p"))
    found = samples(metrics)
    assert found["router_artifact_info", "a1", "c", "p"] == 0
    assert found["router_artifact_info", "a2", "c", "p"] == 1


def test_outcomes_are_counted_by_what_was_observed() -> None:
    metrics = Metrics()
    for adequate in (True, False, None, None):
        metrics.observed(model="m", adequate=adequate)
    found = samples(metrics)
    counts = [found["router_outcomes_total", v, "m"] for v in ("true", "false", "unknown")]
    assert counts == [1, 1, 2]


@pytest.mark.parametrize(("text", "code"), [("a: b: c", "a"), ("plain", "plain"), ("", "")])
def test_a_code_stands_before_the_colon(text: str, code: str) -> None:
    assert code_of(text) == code


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    root = logging.getLogger()
    before, level = root.handlers, root.level
    configure_logging()
    yield stream
    root.handlers, root.level = before, level
    structlog.reset_defaults()


def test_an_event_is_one_json_line(lines: io.StringIO) -> None:
    structlog.get_logger("x").warning("log.dropped", rows=4)
    content = json.loads(lines.getvalue())
    assert content["event"] == "log.dropped"
    assert (content["rows"], content["level"], content["logger"]) == (4, "warning", "x")
    assert content["timestamp"].endswith("Z")


def test_a_failure_of_another_library_is_one_json_line_too(lines: io.StringIO) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("asyncio").exception("failed %s", "here")
    content = json.loads(lines.getvalue())
    assert content["event"] == "failed here"
    assert "ValueError: two" in content["exception"]

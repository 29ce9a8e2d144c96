"""A gateway's log becomes rows that can train, and that never pretend to have been drawn."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from log_samples import HashEncoder

from router_data.dataset import load_rounds
from router_data.gateway_import import GatewayImport, import_gateway_log
from router_data.logged import load_logged
from router_data.rewards import AdequacyRule
from router_data.rows import encode_features, request_hash
from router_data.store import Store
from router_model import features, formats
from router_model.embedding import embed
from router_model.errors import DatasetError
from router_model.outline import outline_of
from router_model.session import session_id
from router_model.types import Caller

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "my secret plan"}]}
ANTHROPIC = CHAT | {"model": "claude-x", "max_tokens": 50, "system": "be brief"}


def call(n: int = 0, **changes: Any) -> dict[str, Any]:
    return {"ts": 1_795_168_800 + n, "model": "small", "request": CHAT} | changes


def write(path: Path, *lines: bytes | dict[str, Any]) -> Path:
    data = [line if isinstance(line, bytes) else msgspec.json.encode(line) for line in lines]
    path.write_bytes(b"".join(line + b"\n" for line in data))
    return path


def imported(folder: Path, *lines: bytes | dict[str, Any], **options: Any) -> GatewayImport:
    path = write(folder / "gateway.jsonl", *lines)
    chosen: dict[str, Any] = {"encoder": HashEncoder(), "progress": False} | options
    return import_gateway_log(path, folder / "var", **chosen)


def test_calls_become_rounds_without_propensity(tmp_path: Path) -> None:
    report = imported(
        tmp_path,
        call(0, adequate=True, cost_usd=0.25, usage={"input_tokens": 9, "output_tokens": 2}),
        call(1, model="large", reward=0.2, latency_ms=800, key="k", session="s", tenant="acme"),
        call(2, signals={"retried": True}, error=None),
        call(3, error="timeout"),
        call(4),
    )
    assert (report.n_lines, report.n_decisions, report.n_known) == (5, 5, 0)
    assert (report.problems, report.quarantine) == ({}, None)
    rounds = load_rounds(tmp_path / "var")
    order = np.argsort(rounds.ts_ms)
    assert rounds.tenant[order].tolist() == ["default", "acme", "default", "default", "default"]
    assert rounds.key[order].tolist() == ["", "k", "", "", ""]
    assert set(rounds.dataset.tolist()) == {"gateway"}
    by_time = np.argsort(rounds.ts_ms[rounds.context_index])
    np.testing.assert_array_equal(rounds.adequate[by_time], [1.0, 0.0, 0.0, 0.0, np.nan])
    np.testing.assert_array_equal(rounds.weight[by_time], [1.0, 1.0, 0.6, 1.0, np.nan])
    np.testing.assert_array_equal(rounds.cost_usd[by_time], [0.25, *[np.nan] * 4])
    np.testing.assert_array_equal(rounds.input_tokens[by_time], [9.0, *[np.nan] * 4])
    assert rounds.model[by_time].tolist() == ["small", "large", "small", "small", "small"]
    assert np.isnan(rounds.propensity).all()
    with pytest.raises(DatasetError, match=r"feedback observational': 5"):
        load_logged(tmp_path / "var")


def test_features_embedding_session_and_hash_are_those_of_a_live_request(tmp_path: Path) -> None:
    encoder = HashEncoder()
    imported(tmp_path, call(request=ANTHROPIC, user="ann", format="anthropic.messages"))
    parsed = formats.parse(msgspec.json.encode(ANTHROPIC))
    context = features.extract(parsed)
    with Store(tmp_path / "var") as store:
        (row,) = store.query("select * from decisions")
    assert row["features"] == encode_features(context.values)
    assert row["request_hash"] == request_hash(parsed)
    assert row["session"] == session_id(outline_of(parsed), {}, Caller(user="ann"))
    assert (row["format"], row["requested_model"]) == ("anthropic.messages", "claude-x")
    assert (row["max_output_tokens"], row["schema"]) == (50, 3)
    rounds = load_rounds(tmp_path / "var")
    np.testing.assert_array_equal(rounds.embedding[0], embed(context, encoder))


def test_a_body_logged_as_text_is_the_same_request(tmp_path: Path) -> None:
    text = msgspec.json.encode(CHAT).decode()
    report = imported(tmp_path, call(request=CHAT), call(request=text))
    assert (report.n_decisions, report.problems) == (1, {"line: the same call again": 1})


def test_a_gateway_that_says_how_it_drew_gives_bandit_feedback(tmp_path: Path) -> None:
    drawn = {"propensity": 0.25, "distribution": {"small": 0.25, "large": 0.75}, "adequate": True}
    imported(tmp_path, call(0, **drawn), call(1, propensity=0.25, adequate=True))
    found = load_logged(tmp_path / "var")
    assert found.n == 1
    assert found.distribution.tolist() == [[0.75, 0.25]]
    assert (found.propensity.tolist(), found.adequate.tolist()) == ([0.25], [1.0])
    assert found.skipped == {"decision: feedback observational": 1}
    np.testing.assert_array_equal(np.sort(load_rounds(tmp_path / "var").propensity), [0.25, np.nan])


def test_importing_again_adds_nothing_and_a_late_outcome_replaces(tmp_path: Path) -> None:
    lines = [call(n) for n in range(3)]
    assert imported(tmp_path, *lines).n_decisions == 3
    again = imported(tmp_path, *reversed(lines))
    assert (again.n_decisions, again.n_known) == (0, 3)
    late = imported(tmp_path, *lines[:2], lines[2] | {"adequate": False})
    assert (late.n_decisions, late.n_known) == (1, 2)
    rounds = load_rounds(tmp_path / "var")
    assert (rounds.n_contexts, rounds.n_observed, rounds.skipped) == (3, 1, {})
    other = imported(tmp_path, *lines[:2], encoder=HashEncoder("other"))
    assert other.n_decisions == 2


def test_equal_calls_are_one_unless_they_have_ids(tmp_path: Path) -> None:
    report = imported(tmp_path, call(), call(), call(id="a"), call(id="b"))
    assert (report.n_decisions, report.problems) == (3, {"line: the same call again": 1})
    assert report.quarantine is None


def test_bad_lines_are_counted_named_and_kept_while_the_others_are_used(tmp_path: Path) -> None:
    lines: list[bytes | dict[str, Any]] = [
        call(0),
        b"{broken",
        call(1, request={"messages": "none"}),
        b"",
        call(2, request="text"),
        call(3, format="morse"),
        call(4, reward=3),
        b"{broken again",
        call(5),
    ]
    report = imported(tmp_path, *lines)
    assert (report.n_lines, report.n_decisions) == (8, 2)
    assert report.bad_lines["line: not valid JSON"] == (2, 8)
    assert sorted(n for numbers in report.bad_lines.values() for n in numbers) == [2, 3, 5, 6, 7, 8]
    assert sum(report.problems.values()) == 6
    assert report.quarantine is not None
    assert report.quarantine.parent == tmp_path / "var" / "log" / "quarantine"
    kept = [msgspec.json.decode(line) for line in report.quarantine.read_bytes().splitlines()]
    assert [row["line"] for row in kept] == [2, 3, 5, 6, 7, 8]
    assert kept[0] == {"line": 2, "reason": "line: not valid JSON", "text": "{broken\n"}
    assert report.quarantine.stat().st_mode & 0o077 == 0
    assert imported(tmp_path, *lines).quarantine == report.quarantine
    assert len(list(report.quarantine.parent.iterdir())) == 1
    assert load_rounds(tmp_path / "var").n_contexts == 2


def test_a_file_without_any_usable_line_is_an_error_that_counts_why(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"no usable line:\n  2 x line: not valid JSON \(line 1, 2\)"
    ):
        imported(tmp_path, b"x", b"y")
    with pytest.raises(DatasetError, match=r"no usable line:\n  the file is empty"):
        imported(tmp_path)


def test_the_prompt_is_not_logged(tmp_path: Path) -> None:
    imported(tmp_path, call())
    (segment,) = (tmp_path / "var" / "log" / "segments").iterdir()
    assert b"secret" not in segment.read_bytes()


def test_the_end_of_a_session_credits_imported_steps_too(tmp_path: Path) -> None:
    steps = [call(n, session="s") for n in range(3)]
    imported(tmp_path, *steps[:2], steps[2] | {"signals": {"session_succeeded": True}})
    rounds = load_rounds(tmp_path / "var", rule=AdequacyRule(session_discount=0.5))
    order = np.argsort(rounds.ts_ms[rounds.context_index])
    np.testing.assert_allclose(rounds.weight[order], [0.125, 0.25, 0.5])


# Each of these stopped the import with a traceback, or came in as something else.
@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (call(ts=10**400), "line: ts: expected ISO 8601"),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "line: nested too deeply"),
        (call(request="[" * 100_000), "request: "),
        (call(usage={"input_tokens": 10**30}), "line: usage.input_tokens: expected `int` <= "),
    ],
)
def test_a_line_that_no_reader_expects_is_kept_aside(
    tmp_path: Path, line: bytes | dict[str, Any], problem: str
) -> None:
    awkward = line if isinstance(line, bytes) else json.dumps(line).encode()
    report = imported(tmp_path, awkward, call(1))
    assert report.n_decisions == 1
    assert [text.startswith(problem) for text in report.problems] == [True]


def test_a_byte_order_mark_and_an_empty_error_mean_nothing(tmp_path: Path) -> None:
    report = imported(tmp_path, b"\xef\xbb\xbf" + msgspec.json.encode(call(error="")))
    assert report.problems == {}
    assert np.isnan(load_rounds(tmp_path / "var").adequate).all()

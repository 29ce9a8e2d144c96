"""Folders of recorded sessions as others write them: other names, broken cells, too little."""

import math
from pathlib import Path

import pytest
from recorded_calls import write_recording as write_bills
from recorded_samples import call, model, prepared, session, write_recording
from typer.testing import CliRunner

from router_data.store import write_parquet
from router_model.cards import PriceCard
from router_model.errors import DatasetError
from router_training.cli import app
from router_training.cost_forecast import forecast_folder
from router_training.recorded_bills import read_bills
from router_training.recorded_sessions import read_recording

READS = PriceCard(input=2.0, output=10.0, cache_read=0.2)


def _steps(**cells: object) -> list[dict[str, object]]:
    row = {"request_id": "r", "model": "m", "prefix_chars": 400, "input_tokens": 100}
    return [row | {"step": step} | cells for step in range(3)]


@pytest.mark.parametrize("calls", ['[1, "a", null]', '[{"function": "f"}]', '{"x": 1}', "nope"])
def test_tool_calls_that_are_none_are_left_out(tmp_path: Path, calls: str) -> None:
    folder = write_recording(tmp_path / "data", n_sessions=2)
    said = [
        {"session_id": "s00", "idx": 1, "role": "user", "content": "Fix it.", "tool_calls": None},
        {"session_id": "s00", "idx": 2, "role": "assistant", "content": "", "tool_calls": calls},
        {"session_id": "s00", "idx": 3, "role": "user", "content": "And?", "tool_calls": None},
    ]
    write_parquet(folder / "messages.parquet", said)
    assert len(read_recording(folder).sessions[0].calls) == 4


def test_messages_without_a_place_are_left_out(tmp_path: Path) -> None:
    folder = write_recording(tmp_path / "data", n_sessions=2)
    said = [
        {"session_id": "s00", "idx": place, "role": "user", "content": f"Number {place}."}
        for place in (1, None)
    ]
    write_parquet(folder / "messages.parquet", said)
    assert len(read_recording(folder).sessions[0].calls[-1].request.messages) == 1


def test_infinite_tokens_are_unknown_ones(tmp_path: Path) -> None:
    folder = write_recording(tmp_path / "data", n_sessions=2)
    tokens = {"input_tokens": math.inf, "output_tokens": math.inf}
    write_parquet(folder / "steps.parquet", _steps(session_id="s00", **tokens))
    recording = read_recording(folder)
    assert any("input tokens estimated" in note for note in recording.notes)


@pytest.mark.parametrize("name", ["session", "conversation"])
def test_bills_find_sessions_by_another_name_or_by_their_task(tmp_path: Path, name: str) -> None:
    write_parquet(tmp_path / "requests.parquet", [{"request_id": "r", "messages": "[]"}])
    rows = _steps(**{name: "s1"}) + _steps(**{name: "s1", "request_id": "other"})
    write_parquet(tmp_path / "steps.parquet", rows)
    expected = {"s1"} if name == "session" else {"r:m", "other:m"}
    assert set(read_bills(tmp_path)[0].sessions) == expected


@pytest.mark.parametrize("messages", ["{not json", '"text"', '["text"]', "null"])
def test_bills_do_not_need_the_text_of_requests(tmp_path: Path, messages: str) -> None:
    write_parquet(tmp_path / "requests.parquet", [{"request_id": "r", "messages": messages}])
    write_parquet(tmp_path / "steps.parquet", _steps(session_id="s1"))
    assert read_bills(tmp_path)[0].n_calls == 3


def test_too_few_sessions_to_learn_from_are_an_error(tmp_path: Path) -> None:
    folder = write_bills(tmp_path / "bills", n_sessions=3, n_calls=2)
    with pytest.raises(DatasetError, match=r"at most 3 sessions of a model .* expected 4 or more"):
        forecast_folder(folder)


def test_figures_go_to_a_folder_that_is_made(tmp_path: Path) -> None:
    folder = write_bills(tmp_path / "bills", n_sessions=8, n_calls=4)
    out = tmp_path / "new" / "forecast.json"
    arguments = ["forecast", "--data", str(folder), "--resamples", "5", "--out", str(out)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert out.is_file()


def test_one_session_has_no_intervals(tmp_path: Path) -> None:
    folder = write_recording(tmp_path / "data", n_sessions=1)
    result = CliRunner().invoke(app, ["replay", "--data", str(folder)])
    assert result.exit_code == 0, result.output
    assert "nan" not in result.output


def test_a_call_beyond_every_model_is_named_with_one_reason() -> None:
    cards = [model(name, READS) for name in ("a", "b")]
    with pytest.raises(DatasetError, match="call 0: none of 2 models takes it; a: context_window"):
        prepared([session([call(10**7)])], cards, [[[0.9, 0.9]]])


def test_models_without_recorded_outcomes_are_refused_with_those_that_have_some(
    tmp_path: Path,
) -> None:
    folder = write_recording(tmp_path / "data", n_sessions=2)
    arguments = ["replay", "--data", str(folder), "--strengths", "recorded", "--models", "nope"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "gpt-5.4" in result.output

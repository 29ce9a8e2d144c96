from pathlib import Path

import pytest
from paths import DATA, requires_data
from recorded_samples import write_recording

from router_data.store import write_parquet
from router_model.errors import DatasetError
from router_model.types import StepType
from router_training.recorded_sessions import (
    DEFAULT_GAP_S,
    DEFAULT_OUTPUT_TOKENS,
    read_recording,
)


def test_every_step_becomes_a_call_with_its_own_request(tmp_path: Path) -> None:
    recording = read_recording(write_recording(tmp_path / "data"))
    assert len(recording.sessions) == recording.n_sessions_in_data == 6
    first = recording.sessions[0]
    assert (first.id, first.request_id, first.model) == ("s00", "t00", "gpt-5.4")
    assert [c.input_tokens for c in first.calls] == [2_000, 2_500, 3_000, 3_500]
    assert [c.gap_s for c in first.calls] == [0.0, 7.0, 7.0, 7.0]
    assert [len(c.request.messages) for c in first.calls] == [1, 3, 5, 7]
    assert all(c.request.system.startswith("You fix parsers.") for c in first.calls)
    assert [c.step_type for c in first.calls] == [StepType.MAIN] + [StepType.TOOL_RESULT] * 3
    assert recording.successes[("t01", "glm-5")] == (1.0, 1)
    assert recording.notes == ()


def test_calls_share_the_messages_they_repeat(tmp_path: Path) -> None:
    calls = read_recording(write_recording(tmp_path / "data")).sessions[0].calls
    assert calls[1].request.messages[0] is calls[2].request.messages[0]


def test_what_the_table_does_not_say_is_estimated_and_noted(tmp_path: Path) -> None:
    without = ("input_tokens", "output_tokens", "gap_since_prev_call_s")
    recording = read_recording(write_recording(tmp_path / "data", without=without))
    second = recording.sessions[0].calls[1]
    assert second.input_tokens == second.context.input_tokens
    assert 0 < second.output_tokens < DEFAULT_OUTPUT_TOKENS
    assert second.gap_s == DEFAULT_GAP_S
    assert len(recording.notes) == 3
    assert any("input tokens estimated" in note for note in recording.notes)


def test_without_messages_the_opening_stands_for_every_call(tmp_path: Path) -> None:
    folder = write_recording(tmp_path / "data", without=("output_tokens",))
    (folder / "messages.parquet").unlink()
    recording = read_recording(folder)
    assert {len(c.request.messages) for c in recording.sessions[0].calls} == {1}
    assert recording.sessions[0].calls[0].output_tokens == DEFAULT_OUTPUT_TOKENS


def test_flags_of_the_table_reach_the_request(tmp_path: Path) -> None:
    folder = write_recording(tmp_path / "data")
    rows = [
        {"session_id": "s00", "request_id": "t00", "step": step, "n_prefix_messages": 2 + 2 * step}
        | {"has_provider_state": step == 1, "is_signed": step == 2}
        for step in range(3)
    ]
    write_parquet(folder / "steps.parquet", rows)
    plain, kept, signed = read_recording(folder).sessions[0].calls
    assert not plain.request.has_provider_state
    assert kept.request.has_provider_state
    assert any(part.is_signed for m in signed.request.messages for part in m.parts)


def test_a_shorter_history_is_rewritten(tmp_path: Path) -> None:
    folder = write_recording(tmp_path / "data")
    rows = [
        {"session_id": "s00", "request_id": "t00", "step": step, "n_prefix_messages": n}
        for step, n in enumerate((2, 6, 4))
    ]
    write_parquet(folder / "steps.parquet", rows)
    assert [c.is_rewritten for c in read_recording(folder).sessions[0].calls] == [
        False,
        False,
        True,
    ]


def test_a_sample_of_sessions_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    folder = write_recording(tmp_path / "data")
    names = [
        [s.id for s in read_recording(folder, n_sessions=3, seed=seed).sessions]
        for seed in (1, 1, 2)
    ]
    assert len(names[0]) == 3
    assert names[0] == names[1]


def test_a_folder_without_steps_is_refused(tmp_path: Path) -> None:
    folder = write_recording(tmp_path / "data")
    (folder / "steps.parquet").unlink()
    with pytest.raises(DatasetError, match=r"steps\*\.parquet"):
        read_recording(folder)


def test_steps_without_names_are_refused(tmp_path: Path) -> None:
    folder = write_recording(tmp_path / "data")
    write_parquet(folder / "steps.parquet", [{"step": 1}])
    with pytest.raises(DatasetError, match="session_id"):
        read_recording(folder)


@requires_data
@pytest.mark.parametrize("name", ["tau_bench", "tau2_bench", "swebench_verified_mini"])
def test_real_recordings_are_read(name: str) -> None:
    recording = read_recording(DATA / name, n_sessions=10)
    calls = [call for session in recording.sessions for call in session.calls]
    assert len(recording.sessions) >= 9
    assert {call.step_type for call in calls} == {StepType.MAIN, StepType.TOOL_RESULT}
    assert all(call.input_tokens > 100 and call.gap_s >= 0 for call in calls)
    ratios = [call.input_tokens / call.context.input_tokens for call in calls]
    assert 0.7 < sorted(ratios)[len(ratios) // 2] < 1.5

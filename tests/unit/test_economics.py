from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec import structs
from paths import DATA, requires_data

from router_data.store import read_parquet
from router_model.economics import (
    ECONOMICS_FILE,
    GAP_EDGES_S,
    PRIOR,
    TURN_EDGES,
    CacheFacts,
    Economics,
    save_economics,
)
from router_model.errors import ArtifactError
from router_model.types import StepType

LEARNED = structs.replace(
    PRIOR,
    growth_tokens=900.0,
    any_cache=CacheFacts(p_hit=0.8, n=40),
    caches={"Openai/GPT-X": CacheFacts(p_hit=0.5, n=30)},
    token_ratios={"Openai/GPT-X": 1.2},
    n_sessions=12,
)


def written(folder: Path, **changes: object) -> Path:
    found = msgspec.json.decode(msgspec.json.encode(LEARNED, enc_hook=dict))
    (folder / ECONOMICS_FILE).write_bytes(msgspec.json.encode(found | changes))
    return folder


def horizons(**changes: object) -> dict[str, list[dict[str, object]]]:
    made = {
        step: [structs.asdict(horizon) for horizon in of_step]
        for step, of_step in PRIOR.horizons.items()
    }
    made["main"][0] |= changes
    return made


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    save_economics(LEARNED, tmp_path)
    found = Economics.load(tmp_path)
    assert found == LEARNED.by_plain_names()
    assert found.horizon(StepType.MAIN, 0) == PRIOR.horizon(StepType.MAIN, 0)


def test_nothing_learned_is_no_file_and_the_prior(tmp_path: Path) -> None:
    save_economics(PRIOR, tmp_path)
    assert not (tmp_path / ECONOMICS_FILE).exists()
    assert Economics.load(tmp_path) is PRIOR


def test_a_part_that_a_file_leaves_out_is_the_prior_s(tmp_path: Path) -> None:
    (tmp_path / ECONOMICS_FILE).write_text('{"version": 1, "growth_tokens": 100.0}')
    assert Economics.load(tmp_path) == structs.replace(PRIOR, growth_tokens=100.0)


def test_models_are_found_without_provider_and_case(tmp_path: Path) -> None:
    found = Economics.load(written(tmp_path))
    for name in ("Openai/GPT-X", "gpt-x", "other/gpt-x"):
        assert found.cache_of(name).p_hit == 0.5
        assert found.token_ratio_of(name) == 1.2
    assert found.cache_of("unknown") == LEARNED.any_cache
    assert found.token_ratio_of("unknown") == 1.0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"version": 2}, "version: got 2, expected 1"),
        ({"growth_tokens": -1.0}, "growth_tokens: got -1.0"),
        ({"gaps": [0.5]}, "gaps: got 1, expected 12"),
        ({"gaps": [0.5, 0.4, *[1.0] * 10]}, r"gaps\[1\]: got 0.4, expected 0.5 to 1"),
        ({"any_cache": {"p_hit": 1.5, "n": 3}}, "any_cache: p_hit: got 1.5"),
        ({"caches": {"m": {"p_hit": 0.5, "n": -3}}}, "m: n: got -3"),
        ({"token_ratios": {"m": 0.0}}, "token_ratios: m: got 0.0"),
        ({"horizons": {"main": []}}, "horizons: got main, expected main, tool_result"),
        ({"horizons": horizons() | {"main": []}}, "horizons.main: got 0, expected 8"),
        ({"horizons": horizons(turns=-1.0)}, r"horizons.main\[0\].turns: got -1.0"),
        ({"horizons": horizons(low=30.0)}, r"horizons.main\[0\].low: got 30.0"),
        ({"horizons": horizons(high=20.0)}, r"horizons.main\[0\].high: got 20.0"),
        ({"horizons": horizons(second=20.0)}, r"horizons.main\[0\].second: got 20.0"),
        ({"horizons": horizons(p_any=1.2)}, r"horizons.main\[0\].p_any: got 1.2"),
        ({"horizons": horizons(p_any=0.0)}, r"horizons.main\[0\].p_any: got 0.0"),
        ({"unknown": 1}, "unknown"),
        ({"n_sessions": "many"}, "n_sessions"),
    ],
)
def test_a_file_that_training_did_not_write_is_refused(
    tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    with pytest.raises(ArtifactError, match=named) as caught:
        Economics.load(written(tmp_path, **changes))
    assert ECONOMICS_FILE in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{"])
def test_what_is_no_economics_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ECONOMICS_FILE).write_bytes(content)
    with pytest.raises(ArtifactError, match="can't be used"):
        Economics.load(tmp_path)


def test_turns_fall_into_their_bucket() -> None:
    for step in (StepType.MAIN, StepType.TOOL_RESULT):
        for place, first in enumerate((0, *TURN_EDGES)):
            assert PRIOR.horizon(step, first) is PRIOR.horizons[step][place]
        assert PRIOR.horizon(step, 10**6) is PRIOR.horizons[step][-1]


def test_side_calls_have_nothing_to_come() -> None:
    for step in StepType:
        assert (PRIOR.horizon(step, 3).turns == 0.0) == step.is_side_call


def test_gaps_are_a_distribution() -> None:
    at = [PRIOR.p_within(s) for s in np.linspace(0.0, 4_000.0, 500)]
    assert at == sorted(at)
    assert [PRIOR.p_within(s) for s in GAP_EDGES_S] == list(PRIOR.gaps)
    assert PRIOR.p_within(7.5) == pytest.approx((0.687 + 0.88) / 2)
    assert PRIOR.p_within(1e9) == 1.0


@requires_data
def test_the_prior_lies_between_the_recorded_sessions_of_both_kinds() -> None:
    coding = recorded(DATA / "swebench_verified_mini" / "steps_gemini3pro.parquet", "0")
    talking = recorded(
        DATA / "tau2_bench" / "steps.parquet", "coalesce(is_scripted_greeting, false)::int"
    )
    known = PRIOR.horizon(StepType.MAIN, 0)
    assert talking < known.turns < coding
    assert known.low < talking
    assert coding < known.high


def recorded(path: Path, is_scripted: str) -> float:
    """Mean number of calls after the first."""
    table = read_parquet(path, {"session": "session_id::varchar", "scripted": is_scripted})
    sessions = table["session"][table["scripted"] == 0]
    return len(sessions) / len(np.unique(sessions.astype(str))) - 1.0

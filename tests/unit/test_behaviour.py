"""What is learned of models' behaviour, as the router reads it."""

from pathlib import Path

import numpy as np
import pytest

from router_model.behaviour import (
    BEHAVIOUR_FILE,
    NO_BEHAVIOUR,
    Behaviour,
    Latency,
    LearnedFacts,
    ModelLatency,
    ModelValidity,
    ModelWindow,
    Validity,
    save_behaviour,
    schema_complexity,
)
from router_model.errors import ArtifactError
from router_model.features import SCHEMA
from router_model.types import ModelCard

CARD = ModelCard(
    id="m",
    provider="p",
    snapshot="m-1",
    family="f",
    context_window=200_000,
    max_output_tokens=8_000,
)
FULL = Behaviour(
    latency=Latency(
        p50=(0.5, -0.5, 0.2, 0.3),
        p95=(0.1, 0.0, 0.0, 0.0),
        low=(2.0, 0.0, 0.0, 0.0),
        high=(10.0, 1.0, 8.0, 3.0),
        models={"openai/M": ModelLatency(p50=3.0, p95=4.0, n=50)},
    ),
    windows={"openai/M": ModelWindow(tokens=40_000, loss=0.4, bound=0.2, n=60)},
    validity=Validity(
        slope=-0.4,
        models={"openai/M": ModelValidity(intercept=5.0, mean_complexity=4.0, n=40)},
    ),
    facts={"openai/M": LearnedFacts(parallel_share=0.3, chunked_share=None, n=20)},
)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save_behaviour(FULL, tmp_path)
    loaded = Behaviour.load(tmp_path)
    assert loaded.latency.models["openai/M"] == FULL.latency.models["openai/M"]
    assert loaded.facts_of("openai/M") == FULL.facts["openai/M"]


def test_a_loaded_model_is_found_by_its_plain_name(tmp_path: Path) -> None:
    save_behaviour(FULL, tmp_path)
    loaded = Behaviour.load(tmp_path)
    assert loaded.effective_window(CARD) == 40_000
    assert loaded.facts_of("m") is not None
    assert np.isfinite(
        loaded.latencies(["azure/m"], input_tokens=10, output_tokens=1, load=0)[0]
    ).all()


def test_an_exact_name_comes_before_a_plain_one(tmp_path: Path) -> None:
    two = Behaviour(
        windows={
            "m": ModelWindow(tokens=9, loss=0.4, bound=0.2, n=60),
            "openai/m": ModelWindow(tokens=8, loss=0.4, bound=0.2, n=60),
        }
    )
    save_behaviour(two, tmp_path)
    assert Behaviour.load(tmp_path).effective_window(CARD) == 9


def test_nothing_learned_writes_no_file_and_believes_cards(tmp_path: Path) -> None:
    save_behaviour(NO_BEHAVIOUR, tmp_path)
    assert not (tmp_path / BEHAVIOUR_FILE).exists()
    nothing = Behaviour.load(tmp_path)
    assert nothing.effective_window(CARD) == 200_000
    assert nothing.p_valid(["m"], 9.0).tolist() == [1.0]
    assert nothing.validity_factor(["m"], 9.0).tolist() == [1.0]
    assert nothing.facts_of("m") is None
    p50, p95 = nothing.latencies(["m"], input_tokens=9, output_tokens=9, load=[0])
    assert np.isnan(p50).all()
    assert np.isnan(p95).all()
    assert nothing.latencies([], input_tokens=9, output_tokens=9, load=[])[0].shape == (0,)


def test_a_learned_window_is_never_above_the_declared_one() -> None:
    wide = Behaviour(windows={"m": ModelWindow(tokens=10**6, loss=0.4, bound=0.2, n=60)})
    assert wide.effective_window(CARD) == 200_000


def test_terms_stay_within_what_was_seen() -> None:
    def p50(tokens: float, load: float) -> float:
        found, _ = FULL.latencies(["openai/M"], input_tokens=tokens, output_tokens=1, load=load)
        return float(found[0])

    assert p50(1e9, 0) == p50(1e12, 0)
    assert p50(1e3, 100) == p50(1e3, 1000)
    assert p50(1e3, 5) > p50(1e3, 0)


def test_the_tail_is_never_below_the_median() -> None:
    p50, p95 = FULL.latencies(["openai/M"], input_tokens=2e4, output_tokens=2_000, load=9)
    assert p50 == p95


def test_validity_counts_only_beyond_what_adequacy_was_learned_on() -> None:
    assert FULL.p_valid(["openai/M"], 4.0)[0] < 1.0
    assert FULL.validity_factor(["openai/M"], 4.0)[0] == 1.0
    assert FULL.validity_factor(["openai/M"], 2.0)[0] == 1.0
    assert FULL.validity_factor(["openai/M", "other"], 12.0).round(2).tolist() == [0.57, 1.0]


def test_complexity_grows_with_what_a_call_has_to_get_right() -> None:
    values = np.zeros(SCHEMA.n, dtype=np.float32)
    assert schema_complexity(values) == 0.0
    for name in ("schema_depth_max", "n_properties_max", "n_enums", "n_unions", "n_required"):
        before = schema_complexity(values)
        values[SCHEMA.index(name)] += 2
        assert schema_complexity(values) > before


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ('{"version": 2}', "version"),
        ('{"latency": {"p50": [0, 0]}}', r"latency\.p50"),
        ('{"latency": {"high": [0, 0, 0, 99]}}', r"latency\.high"),
        ('{"latency": {"models": {"m": {"p50": 99, "p95": 1, "n": 3}}}}', r"latency\['m'\]\.p50"),
        (
            '{"windows": {"m": {"tokens": 0, "loss": 0, "bound": 0, "n": 1}}}',
            r"windows\['m'\]\.tokens",
        ),
        ('{"validity": {"slope": 0.5}}', r"validity\.slope"),
        (
            '{"validity": {"models": {"m": {"intercept": 1, "mean_complexity": -1, "n": 1}}}}',
            "mean_complexity",
        ),
        (
            '{"facts": {"m": {"parallel_share": 2, "chunked_share": null, "n": 1}}}',
            "parallel_share",
        ),
        ('{"speed": 1}', "speed"),
        ("{", "truncated"),
    ],
)
def test_a_file_that_was_not_written_by_training_is_refused(
    tmp_path: Path, content: str, field: str
) -> None:
    (tmp_path / BEHAVIOUR_FILE).write_text(content)
    with pytest.raises(ArtifactError, match=field):
        Behaviour.load(tmp_path)

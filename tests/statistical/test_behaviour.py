"""What is learned of behaviour, in worlds where it is known, and on real latencies."""

import numpy as np
import pandas as pd
import pytest
from behaviour_samples import joined, probes, table
from numpy.typing import NDArray
from paths import DATA, requires_data
from scipy.special import expit
from scipy.stats import norm

from router_data.behaviour_table import BehaviourTable
from router_model.behaviour import Behaviour
from router_training.behaviour import latency_on_later
from router_training.behaviour_latency import check_latency, compare_with_constants, fit_latency
from router_training.behaviour_validity import fit_validity
from router_training.behaviour_window import fit_windows

pytestmark = pytest.mark.statistical

MODELS = ("fast", "middling", "slow")
SIGMA = 0.4


def timed_calls(n: int, seed: int) -> tuple[BehaviourTable, np.ndarray]:
    """Calls with log-normal times; also the true median of each."""
    rng = np.random.default_rng(seed)
    model = rng.choice(3, n, p=(0.6, 0.3, 0.1))
    tokens = np.exp(rng.uniform(np.log(1e3), np.log(1e5), n))
    cached = tokens * rng.choice([0.0, 0.9], n)
    output = np.exp(rng.normal(5.5, 0.6, n))
    load = rng.poisson(3.0, n).astype(float)
    log_ms = (
        np.array([3.0, 4.0, 5.0])[model]
        + 0.35 * np.log1p(tokens)
        - 0.5 * cached / tokens
        + 0.2 * np.log1p(output)
        + 0.3 * np.log1p(load)
    )
    calls = table(
        [MODELS[place] for place in model],
        input_tokens=tokens,
        cached_tokens=cached,
        output_tokens=output,
        load=load,
        tool_call_latency_ms=np.exp(log_ms + SIGMA * rng.normal(size=n)),
    )
    return calls, np.exp(log_ms)


def test_known_quantiles_of_latency_are_found() -> None:
    earlier, _ = timed_calls(4_000, seed=0)
    later, median = timed_calls(4_000, seed=1)
    latency = fit_latency(earlier)
    np.testing.assert_allclose(latency.p50, (0.35, -0.5, 0.2, 0.3), atol=0.08)
    p50, p95 = Behaviour(latency=latency).latencies(
        later.model.tolist(),
        input_tokens=later.input_tokens,
        output_tokens=later.output_tokens,
        load=later.load,
        cached_tokens=later.cached_tokens,
    )
    assert np.abs(np.log(p50 / median)).max() < 0.15
    assert np.abs(np.log(p95 / median) - SIGMA * norm.ppf(0.95)).mean() < 0.08


def test_quantiles_of_latency_are_calibrated_on_later_calls() -> None:
    earlier, _ = timed_calls(4_000, seed=2)
    later, _ = timed_calls(4_000, seed=3)
    for check in compare_with_constants(earlier, later):
        assert check.below == pytest.approx(check.level, abs=0.02)
        assert check.pinball < 0.8 * check.constant


def test_a_model_with_few_calls_leans_on_the_others_tail() -> None:
    rng = np.random.default_rng(4)
    errors = []
    for _ in range(40):
        ms = np.exp(np.concatenate([6 + rng.normal(size=600), 8 + rng.normal(size=12)]))
        calls = table(["known"] * 600 + ["new"] * 12, tool_call_latency_ms=ms)
        errors.append(fit_latency(calls).models["new"].p95 - (8 + norm.ppf(0.95)))
    alone = np.quantile(8 + rng.normal(size=(4_000, 12)), 0.95, axis=1) - (8 + norm.ppf(0.95))
    assert np.sqrt(np.mean(np.square(errors))) < np.sqrt(np.mean(np.square(alone)))


def judged_calls(n: int, seed: int, *, breaks_at: float, loss: float = 2.5) -> BehaviourTable:
    """Calls that get harder with length for everybody; "broken" breaks down beside."""
    rng = np.random.default_rng(seed)
    broken = rng.random(n) < 0.4
    tokens = np.exp(rng.normal(np.log(22_000), 0.8, n))
    log_odds = 1.6 - 0.25 * np.log2(tokens / 20_000) - loss * (broken & (tokens > breaks_at))
    session = rng.integers(0, n // 8, n)
    return table(
        np.where(broken, "broken", "sound").tolist(),
        input_tokens=tokens,
        session=session,
        adequate=(rng.random(n) < expit(log_odds)).astype(float),
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_breakdown_is_found_where_it_is(seed: int) -> None:
    windows = fit_windows(judged_calls(3_000, seed, breaks_at=40_000))
    assert set(windows) == {"broken"}
    assert 40_000 / 1.3 < windows["broken"].tokens < 40_000 * 1.3


def test_declared_windows_stand_without_a_breakdown() -> None:
    found = [fit_windows(judged_calls(2_000, seed, breaks_at=np.inf)) for seed in range(40)]
    assert sum(bool(windows) for windows in found) <= 2


def test_a_small_loss_cuts_no_window() -> None:
    found = [fit_windows(judged_calls(2_000, s, breaks_at=40_000, loss=0.3)) for s in range(20)]
    assert sum(bool(windows) for windows in found) <= 1


def test_few_answers_cut_no_window() -> None:
    assert not fit_windows(judged_calls(60, 0, breaks_at=40_000))


def test_probes_find_a_breakdown_that_traffic_has_not_met() -> None:
    lengths = [4_000, 8_000, 16_000, 32_000, 64_000, 128_000]
    sent = joined(
        judged_calls(500, 0, breaks_at=np.inf),
        probes("broken", lengths, works_to=40_000, each=6),
        probes("sound", lengths, works_to=1_000_000, each=6),
    )
    windows = fit_windows(sent)
    assert set(windows) == {"broken"}
    assert 32_000 <= windows["broken"].tokens < 64_000


def test_the_fall_of_validity_with_complexity_is_found() -> None:
    rng = np.random.default_rng(5)
    model = rng.choice(2, 6_000)
    complexity = rng.uniform(2, 10, 6_000)
    valid = rng.random(6_000) < expit(np.array([6.0, 4.5])[model] - 0.45 * complexity)
    calls = table(
        np.array(["careful", "sloppy"])[model].tolist(),
        complexity=complexity,
        tool_call_valid=valid.astype(float),
    )
    behaviour = Behaviour(validity=fit_validity(calls))
    for at in (3.0, 6.0, 9.0):
        truth = expit(np.array([6.0, 4.5]) - 0.45 * at)
        np.testing.assert_allclose(behaviour.p_valid(["careful", "sloppy"], at), truth, atol=0.03)


@pytest.mark.parametrize("at", [6.0, 8.0, 10.0])
def test_the_factor_makes_adequacy_that_of_a_complex_request(at: float) -> None:
    # Adequate is what is good and valid; learned is the share at the complexity of the traffic.
    rng = np.random.default_rng(6)
    complexity = rng.uniform(3, 5, 20_000)
    complexity[:2_000] = rng.uniform(5, 11, 2_000)
    valid = rng.random(20_000) < expit(5.0 - 0.5 * complexity)
    learned = float(np.mean(valid & (rng.random(20_000) < 0.8)))
    calls = table(["m"] * 20_000, complexity=complexity, tool_call_valid=valid.astype(float))
    behaviour = Behaviour(validity=fit_validity(calls))
    truth = 0.8 * expit(5.0 - 0.5 * at)
    assert learned * behaviour.validity_factor(["m"], at)[0] == pytest.approx(truth, abs=0.04)


@requires_data
def test_validity_of_real_models_holds_on_other_tasks() -> None:
    steps = pd.read_parquet(DATA / "tau2_bench" / "steps.parquet")
    steps = steps[steps.tool_calls_valid.notna()]
    valid = steps.tool_calls_valid.astype(float).to_numpy()
    tasks = np.random.default_rng(0).permutation(steps.request_id.unique())
    is_later = steps.request_id.isin(tasks[: len(tasks) // 2]).to_numpy()
    calls = table(steps.model.tolist(), tool_call_valid=valid)
    behaviour = Behaviour(validity=fit_validity(calls.select(~is_later)))
    p = behaviour.p_valid(steps.model[is_later].tolist(), 4.0)
    p = np.where(p == 1.0, valid[~is_later].mean(), p)

    def log_loss(predicted: NDArray[np.float64] | float) -> float:
        y = valid[is_later]
        return float(-np.mean(y * np.log(predicted) + (1 - y) * np.log1p(-np.asarray(predicted))))

    assert p.mean() == pytest.approx(valid[is_later].mean(), abs=0.02)
    assert log_loss(p) < log_loss(float(valid[~is_later].mean()))


@requires_data
def test_quantiles_hold_for_real_latencies_of_other_requests() -> None:
    found = pd.read_parquet(DATA / "coderouterbench" / "outcomes.parquet")
    found = found[(found.latency_ms > 0) & found.input_tokens.notna()]
    order = found.request_id.drop_duplicates().sample(frac=1.0, random_state=0)
    number = found.request_id.map(dict(zip(order, range(len(order)), strict=True)))
    found = found.assign(number=number).sort_values("number")
    usual = found.groupby("model").output_tokens.transform("median")
    calls = table(
        found.model.tolist(),
        ts_ms=found.number.to_numpy(np.int64),
        input_tokens=found.input_tokens.to_numpy(float),
        output_tokens=usual.to_numpy(float),
        latency_ms=found.latency_ms.to_numpy(float),
    )
    for check in latency_on_later(calls):
        assert check.below == pytest.approx(check.level, abs=0.03)
        assert check.pinball < check.constant


def test_nothing_is_checked_without_timed_calls() -> None:
    assert check_latency(Behaviour(), table(["m"] * 5)) == ()

"""Laws of the off-policy estimators, for every one of the registry where they hold."""

import inspect
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from router_training import ope
from router_training.intervals import Resampling
from router_training.ope import ESTIMATORS, BanditSample, Estimate

QUICK = Resampling(n_resamples=50)
# A busy machine is slow for reasons that have nothing to do with a law.
LAW = settings(deadline=None, max_examples=60)
unit = st.floats(0, 1).map(lambda x: round(x, 4))
probability = st.floats(0.01, 1).map(lambda x: round(x, 4))
shift = st.floats(-3, 3).map(lambda x: round(x, 3))


@st.composite
def samples(
    draw: st.DrawFn, *, min_size: int = 1, on_policy: bool = False, is_missing: bool = False
) -> BanditSample:
    rows = draw(
        st.lists(
            st.tuples(unit, probability, probability, unit, unit, st.integers(0, 5)),
            min_size=min_size,
            max_size=30,
        )
    )
    reward, propensity, target, q, v, group = (np.array(c) for c in zip(*rows, strict=True))
    observation = None
    if is_missing:
        observation = np.where(np.arange(len(rows)) % 3 == 0, 1 / draw(probability), 1.0)
    return BanditSample(
        reward=reward,
        propensity=propensity,
        target=propensity.copy() if on_policy else target,
        reward_model=q,
        value_model=v,
        groups=group,
        observation=observation,
        reward_range=(0.0, 1.0),
    )


def estimate(name: str, sample: BanditSample) -> Estimate:
    if name == "snips":
        return ope.snips(sample, resampling=QUICK)
    return ESTIMATORS[name].function(sample)


def value(name: str, sample: BanditSample) -> float:
    return estimate(name, sample).value


def numbers(found: Estimate) -> list[float]:
    names = ("value", "standard_error", "low", "high", "effective_sample_size")
    return [getattr(found, name) for name in names]


def close(expected: float) -> object:
    return pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_the_registry_holds_every_estimator() -> None:
    exported = {
        name
        for name in ope.__all__
        if inspect.isfunction(function := getattr(ope, name))
        and inspect.signature(function).return_annotation is Estimate
    }
    assert exported == ESTIMATORS.keys()
    assert all(ESTIMATORS[name].function is getattr(ope, name) for name in exported)


@pytest.mark.parametrize("name", ESTIMATORS)
@LAW
@given(sample=samples(), seed=st.integers(0, 100))
def test_the_order_of_rows_never_matters(name: str, sample: BanditSample, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(sample.n)
    columns = ("reward", "propensity", "target", "reward_model", "value_model", "groups")
    shuffled = replace(sample, **{name: getattr(sample, name)[order] for name in columns})
    assert numbers(estimate(name, shuffled)) == pytest.approx(
        numbers(estimate(name, sample)), rel=1e-6, abs=1e-9, nan_ok=True
    )


@pytest.mark.parametrize("name", ESTIMATORS)
@LAW
@given(sample=samples(min_size=2))
def test_intervals_hold_their_estimate_and_say_how_much_they_rest_on(
    name: str, sample: BanditSample
) -> None:
    found = estimate(name, sample)
    assert found.n == sample.n
    assert 1 - 1e-9 <= found.effective_sample_size <= sample.n + 1e-9
    if len(np.unique(np.asarray(sample.groups))) < 2:
        assert math.isnan(found.standard_error)
        return
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9
    if name != "snips":  # a bootstrap-t interval of a handful of groups can lie to one side
        assert found.robust_low - 1e-9 <= found.value <= found.robust_high + 1e-9
        assert found.robust_high - found.robust_low >= found.high - found.low - 1e-9


@pytest.mark.parametrize("name", ESTIMATORS)
@LAW
@given(sample=samples())
def test_one_group_leaves_nothing_to_compare(name: str, sample: BanditSample) -> None:
    single = replace(sample, groups=np.zeros(sample.n, dtype=np.int64))
    assert math.isnan(estimate(name, single).low)


@pytest.mark.parametrize("name", ["ips", "clipped_ips", "snips"])
@LAW
@given(sample=samples(on_policy=True))
def test_on_policy_estimates_are_the_mean_reward(name: str, sample: BanditSample) -> None:
    assert value(name, sample) == close(float(sample.reward.mean()))


@LAW
@given(sample=samples(on_policy=True))
def test_on_policy_every_row_counts_once(sample: BanditSample) -> None:
    assert sample.effective_sample_size == close(sample.n)


@LAW
@given(sample=samples(), by=shift)
def test_snips_shifts_with_the_reward(sample: BanditSample, by: float) -> None:
    shifted = replace(sample, reward=sample.reward + by, reward_range=(by, 1.0 + by))
    assert value("snips", shifted) == close(value("snips", sample) + by)


@LAW
@given(sample=samples(is_missing=True))
def test_snips_stays_in_the_range_of_the_rewards(sample: BanditSample) -> None:
    assert sample.reward.min() - 1e-9 <= value("snips", sample) <= sample.reward.max() + 1e-9


@LAW
@given(sample=samples(), by=shift)
def test_dr_shifts_when_reward_and_model_shift(sample: BanditSample, by: float) -> None:
    shifted = replace(
        sample,
        reward=sample.reward + by,
        reward_model=np.asarray(sample.reward_model) + by,
        value_model=np.asarray(sample.value_model) + by,
        reward_range=(by, 1.0 + by),
    )
    assert value("dr", shifted) == close(value("dr", sample) + by)


@LAW
@given(sample=samples())
def test_dr_without_a_reward_model_is_ips(sample: BanditSample) -> None:
    nothing = np.zeros(sample.n)
    bare = replace(sample, reward_model=nothing, value_model=nothing)
    assert numbers(ope.dr(bare)) == pytest.approx(numbers(ope.ips(sample)), nan_ok=True)


@LAW
@given(sample=samples())
def test_dr_with_a_model_that_fits_the_log_exactly_is_dm(sample: BanditSample) -> None:
    exact = replace(sample, reward_model=sample.reward)
    for name in ("dr", "switch_dr", "dr_shrinkage"):
        assert value(name, exact) == close(value("dm", exact))


@LAW
@given(sample=samples())
def test_dm_is_the_mean_of_what_the_model_says(sample: BanditSample) -> None:
    assert value("dm", sample) == close(float(np.mean(np.asarray(sample.value_model))))


@pytest.mark.parametrize("name", ["ips", "dm", "dr"])
@LAW
@given(one=samples(), other=samples())
def test_two_joined_logs_give_the_size_weighted_mean(
    name: str, one: BanditSample, other: BanditSample
) -> None:
    columns = ("reward", "propensity", "target", "reward_model", "value_model", "groups")
    joined = replace(
        one, **{c: np.concatenate([getattr(one, c), getattr(other, c)]) for c in columns}
    )
    total = one.n * value(name, one) + other.n * value(name, other)
    assert value(name, joined) == close(total / joined.n)


@LAW
@given(sample=samples(is_missing=True), clips=st.tuples(st.floats(0, 200), st.floats(0, 200)))
def test_a_lower_clip_never_raises_the_estimate_of_rewards_above_zero(
    sample: BanditSample, clips: tuple[float, float]
) -> None:
    low, high = (ope.clipped_ips(sample, clip=clip) for clip in sorted(clips))
    exact = ope.ips(sample).value
    assert low.value <= high.value + 1e-9 <= exact + 2e-9
    assert exact - low.value <= low.bias_bound + 1e-9
    assert ope.clipped_ips(sample).value <= exact + 1e-9


@LAW
@given(sample=samples())
def test_without_limit_nothing_is_lowered_and_with_zero_only_the_model_speaks(
    sample: BanditSample,
) -> None:
    exact, model = value("dr", sample), value("dm", sample)
    assert ope.clipped_ips(sample, clip=math.inf).value == close(value("ips", sample))
    assert ope.switch_dr(sample, threshold=math.inf).value == close(exact)
    assert ope.switch_dr(sample, threshold=0.0).value == close(model)
    assert ope.dr_shrinkage(sample, shrinkage=math.inf).value == close(exact)
    assert ope.dr_shrinkage(sample, shrinkage=0.0).value == close(model)


@LAW
@given(sample=samples(), threshold=st.floats(0, 100))
def test_what_lowers_weights_is_off_by_no_more_than_its_bound(
    sample: BanditSample, threshold: float
) -> None:
    exact = value("dr", sample)
    for found in (
        ope.switch_dr(sample, threshold=threshold),
        ope.dr_shrinkage(sample, shrinkage=threshold),
        ope.switch_dr(sample),
        ope.dr_shrinkage(sample),
    ):
        assert abs(found.value - exact) <= found.bias_bound + 1e-9


@pytest.mark.parametrize("name", ESTIMATORS)
@LAW
@given(sample=samples(is_missing=True))
def test_weights_of_one_are_the_same_as_none(name: str, sample: BanditSample) -> None:
    plain = replace(sample, observation=None)
    ones = replace(sample, observation=np.ones(sample.n))
    assert value(name, plain) == close(value(name, ones))


@LAW
@given(sample=samples(min_size=2))
def test_a_reward_that_was_not_observed_is_never_looked_at(sample: BanditSample) -> None:
    observation = np.ones(sample.n)
    observation[0] = 0.0
    missing = replace(sample, observation=observation)
    unknown = replace(missing, reward=np.concatenate([[math.nan], sample.reward[1:]]))
    for name in ESTIMATORS:
        assert value(name, unknown) == close(value(name, missing))

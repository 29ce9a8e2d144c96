import math

import numpy as np
import pytest
from msgspec.structs import replace

from router_model.errors import DatasetError
from router_training import ope
from router_training.intervals import Resampling
from router_training.ope import ESTIMATORS, BanditSample, OverlapError, PropensityError
from router_training.ope_intervals import bernstein_half_width, ratio_spread

# Weights 2, 0.5, 4: computed by hand below.
SAMPLE = BanditSample(
    reward=np.array([1.0, 0.0, 0.5]),
    propensity=np.array([0.4, 0.8, 0.2]),
    target=np.array([0.8, 0.4, 0.8]),
    reward_model=np.array([0.5, 0.25, 0.75]),
    value_model=np.array([0.5, 0.5, 0.75]),
    supported=np.array([1.0, 1.0, 0.7]),
    reward_range=(0.0, 1.0),
)


def test_ips_by_hand() -> None:
    found = ope.ips(SAMPLE)
    assert found.value == pytest.approx(4 / 3)  # (2 + 0 + 2) / 3
    # terms 2, 0, 2 with variance 4/3
    assert found.standard_error == pytest.approx(math.sqrt(4 / 3 / 3))
    assert found.high - found.value == pytest.approx(1.959964 * found.standard_error, rel=1e-6)
    assert found.effective_sample_size == pytest.approx(6.5**2 / 20.25)
    assert found.unsupported == pytest.approx(0.1)


def test_the_other_estimators_by_hand() -> None:
    assert ope.snips(SAMPLE).value == pytest.approx(4 / 6.5)
    assert ope.dm(SAMPLE).value == pytest.approx(1.75 / 3)
    # v + w (r - q): 0.5 + 2 x 0.5, 0.5 - 0.5 x 0.25, 0.75 - 4 x 0.25
    assert ope.dr(SAMPLE).value == pytest.approx((1.5 + 0.375 - 0.25) / 3)
    assert ope.switch_dr(SAMPLE, threshold=2.0).value == pytest.approx((1.5 + 0.375 + 0.75) / 3)
    # lambda w / (w^2 + lambda), lambda 4: 1, 2 / 4.25, 16 / 20
    shrunk = (0.5 + 0.5) + (0.5 - 0.25 * 2 / 4.25) + (0.75 - 0.25 * 0.8)
    assert ope.dr_shrinkage(SAMPLE, shrinkage=4.0).value == pytest.approx(shrunk / 3)


def test_clipping_by_hand() -> None:
    found = ope.clipped_ips(SAMPLE, clip=2.0)
    assert found.value == pytest.approx((2 + 0 + 1) / 3)
    assert found.bias_bound == pytest.approx(2 / 3)
    assert found.parameter == 2.0


def test_rows_of_a_group_count_as_one() -> None:
    pairs = BanditSample(
        reward=np.repeat([1.0, 0.0, 1.0, 1.0], 2),
        propensity=np.ones(8),
        target=np.ones(8),
        groups=np.repeat(np.arange(4), 2),
    )
    single = BanditSample(
        reward=np.array([1.0, 0.0, 1.0, 1.0]), propensity=np.ones(4), target=np.ones(4)
    )
    for name in ("ips", "snips"):
        grouped, plain = (ESTIMATORS[name].function(sample) for sample in (pairs, single))
        assert grouped.standard_error == pytest.approx(plain.standard_error)
        assert grouped.robust_low == pytest.approx(plain.robust_low)


def test_the_linearised_error_of_snips_by_hand() -> None:
    # w (r - value) over the sum of weights: value 8/13
    deviation = np.array([2 * 5 / 13, -0.5 * 8 / 13, 4 * (0.5 - 8 / 13)])
    expected = math.sqrt(3 / 2 * np.square(deviation).sum()) / 6.5
    assert ope.snips(SAMPLE).standard_error == pytest.approx(expected)


def test_the_bernstein_interval_by_hand() -> None:
    found = ope.ips(replace(SAMPLE, max_weight=5.0))
    log = math.log(4 / 0.05)
    expected = math.sqrt(2 * 4 / 3 * log / 3) + 7 * 5 * log / (3 * 2)
    assert found.robust_high - found.value == pytest.approx(expected)


def test_a_single_term_has_no_bernstein_interval() -> None:
    assert math.isnan(bernstein_half_width(np.array([1.0]), width=1.0))


def test_resamples_that_never_vary_leave_no_bootstrap_interval() -> None:
    # Two groups, one of which the policy never takes: every usable resample holds one group only.
    low, high = ratio_spread(
        np.array([0.5, 0.0]), np.array([1.0, 0.0]), None, resampling=Resampling(n_resamples=20)
    )[3:]
    assert low == high == 0.5


@pytest.mark.parametrize("bad", [0.0, -0.1, math.nan, 1.5, math.inf])
def test_a_propensity_that_is_none_is_refused(bad: float) -> None:
    with pytest.raises(PropensityError, match=r"in row 1 \(1 of 3 rows.*above 0, at most 1"):
        BanditSample(
            reward=SAMPLE.reward, propensity=np.array([0.4, bad, 0.2]), target=SAMPLE.target
        )
    assert PropensityError.code == "invalid_propensity"


def rebuilt(**columns: object) -> BanditSample:
    given = {name: getattr(SAMPLE, name) for name in SAMPLE.__struct_fields__} | columns
    return BanditSample(**given)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("reward", [1.0, 2.0, 0.5], "reward: got 2.0"),
        ("reward", [1.0, math.nan, 0.5], "reward: got nan"),
        ("target", [1.0, -0.5, 0.5], "target: got -0.5"),
        ("target", [1.0, 0.5], r"target: got shape \(2,\)"),
        ("reward_model", [1.0, math.inf, 0.5], "reward_model: got inf"),
        ("observation", [1.0, -1.0, 0.5], "observation: got -1.0"),
        ("groups", [1], r"groups: got shape \(1,\)"),
    ],
)
def test_columns_that_cannot_be_used_are_named(
    column: str, values: list[float], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        rebuilt(**{column: np.array(values)})


def test_no_rows_are_refused() -> None:
    with pytest.raises(DatasetError, match="no rows"):
        BanditSample(reward=np.empty(0), propensity=np.empty(0), target=np.empty(0))


@pytest.mark.parametrize("name", [n for n, e in ESTIMATORS.items() if e.needs_reward_model])
def test_what_needs_a_reward_model_says_so(name: str) -> None:
    with pytest.raises(DatasetError, match="reward_model, value_model: got None"):
        ESTIMATORS[name].function(rebuilt(reward_model=None, value_model=None))


def test_a_policy_that_takes_no_logged_action_has_no_ratio() -> None:
    sample = rebuilt(target=np.zeros(3))
    with pytest.raises(OverlapError, match="probability 0 for all 3 logged actions"):
        ope.snips(sample)
    assert ope.ips(sample).value == 0.0
    assert ope.ips(sample).effective_sample_size == 0.0
    assert ope.dr(sample).value == ope.dm(sample).value
    assert ope.clipped_ips(sample).value == 0.0


def test_a_heavy_tail_is_clipped_and_even_weights_are_not() -> None:
    rng = np.random.default_rng(0)
    n = 400
    reward = (rng.random(n) < 0.5).astype(float)
    even = BanditSample(reward=reward, propensity=np.full(n, 0.5), target=np.full(n, 0.5))
    assert ope.clipped_ips(even).bias_bound == 0.0
    target = np.ones(n)
    propensity = np.where(np.arange(n) == 0, 1e-3, 1.0)
    heavy = BanditSample(reward=np.ones(n), propensity=propensity, target=target)
    found = ope.clipped_ips(heavy)
    assert found.parameter < 1000
    assert found.standard_error < ope.ips(heavy).standard_error


def test_unbounded_shrinkage_and_rewards_without_range_are_fine() -> None:
    sample = rebuilt(reward_range=None)
    assert sample.reward_bounds == (0.0, 1.0)
    assert ope.dr_shrinkage(sample, shrinkage=math.inf).value == ope.dr(sample).value


def test_rewards_that_never_differ_leave_no_doubt_in_snips() -> None:
    found = ope.snips(rebuilt(reward=np.ones(3)))
    assert (found.low, found.high, found.robust_low) == pytest.approx((1, 1, 1))

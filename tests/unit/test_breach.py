import math

import pytest
from scipy.optimize import minimize_scalar
from scipy.special import betaln

from router_model.breach import log_evidence


def by_definition(s: int, n: int, s0: int, n0: int, margin: float) -> float:
    """The averaged likelihoods over the largest on the boundary, found by a general optimiser."""

    def log_likelihood(q: float) -> float:
        pairs = ((s, n, q + margin), (s0, n0, q))
        return sum(k * math.log(p) + (m - k) * math.log(1 - p) for k, m, p in pairs)

    found = minimize_scalar(
        lambda q: -log_likelihood(q),
        bounds=(1e-9, 1 - margin - 1e-9),
        method="bounded",
        options={"xatol": 1e-12},
    )
    averages = betaln(s + 0.5, n - s + 0.5) + betaln(s0 + 0.5, n0 - s0 + 0.5)
    return float(averages - 2 * betaln(0.5, 0.5) + found.fun)


@pytest.mark.parametrize(
    ("counts", "margin"),
    [((40, 100, 10, 100), 0.02), ((9, 10, 1, 50), 0.1), ((30, 60, 2, 400), 0.0)],
)
def test_the_evidence_is_the_averaged_over_the_largest_likelihood(
    counts: tuple[int, int, int, int], margin: float
) -> None:
    assert log_evidence(*counts, margin=margin) == pytest.approx(
        by_definition(*counts, margin), abs=1e-6
    )


def test_one_failure_each_is_computed_by_hand() -> None:
    # 1 of 1 against 0 of 1 without a margin: both averages are 1/2, the largest p (1 - p) is 1/4.
    assert log_evidence(1, 1, 0, 1, margin=0.0) == pytest.approx(math.log(1.0))


def test_streams_without_contrast_are_no_evidence() -> None:
    assert log_evidence(0, 0, 5, 10, margin=0.0) == -math.inf
    assert log_evidence(5, 10, 0, 0, margin=0.0) == -math.inf
    for counts in ((0, 500, 0, 500), (500, 500, 500, 500), (10, 100, 30, 100), (12, 100, 10, 100)):
        assert log_evidence(*counts, margin=0.02) < 0.0


def test_extreme_rates_are_evidence_too() -> None:
    assert log_evidence(50, 50, 0, 50, margin=0.1) > math.log(100.0)


def test_a_wider_margin_asks_for_more() -> None:
    values = [log_evidence(40, 100, 10, 100, margin=margin) for margin in (0.0, 0.02, 0.1, 0.3)]
    assert values == sorted(values, reverse=True)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_model.calibration import Calibration, sigmoid
from router_model.errors import ArtifactError

MAP = Calibration((-2.0, 0.0, 1.0), (-1.0, 0.0, 3.0))


@st.composite
def maps(draw: st.DrawFn) -> Calibration:
    steps = st.lists(st.floats(0.01, 5.0), min_size=1, max_size=8)
    raw = draw(steps)
    calibrated = draw(st.lists(st.floats(0.01, 5.0), min_size=len(raw), max_size=len(raw)))
    start = draw(st.floats(-10, 10))
    knots = (np.cumsum([start, *values]).tolist() for values in (raw, calibrated))
    return Calibration(*(tuple(k) for k in knots))


def test_lines_join_the_knots_and_go_on_beyond_them() -> None:
    raw = np.array([-4.0, -2.0, -1.0, 0.0, 0.5, 1.0, 2.0])
    assert MAP.logit(raw).tolist() == [-2.0, -1.0, -0.5, 0.0, 1.5, 3.0, 6.0]


def test_the_identity_changes_nothing() -> None:
    raw = np.linspace(-30, 30, 13)
    assert np.allclose(Calibration.identity().logit(raw), raw)


def test_a_probability_is_the_logistic_of_the_calibrated_score() -> None:
    assert MAP.probability(np.array([1.0])).item() == pytest.approx(1 / (1 + np.exp(-3.0)))


def test_shapes_are_kept() -> None:
    assert MAP.probability(np.zeros((2, 3))).shape == (2, 3)
    assert MAP.probability(np.zeros((0, 3))).shape == (0, 3)


def test_the_logistic_function_is_stable_at_both_ends() -> None:
    assert sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist() == [0.0, 0.5, 1.0]


@given(maps(), st.lists(st.floats(-50, 50), min_size=2, max_size=10))
def test_the_order_of_scores_is_kept(calibration: Calibration, raw: list[float]) -> None:
    scores = np.array(sorted(raw))
    assert (np.diff(calibration.logit(scores)) >= 0).all()
    assert (np.diff(calibration.probability(scores)) >= 0).all()


@given(maps(), st.lists(st.floats(-50, 50), max_size=10))
def test_the_inverse_gives_the_raw_scores_back(calibration: Calibration, raw: list[float]) -> None:
    scores = np.array(raw, dtype=np.float64)
    back = calibration.raw_of(calibration.logit(scores))
    assert np.allclose(back, scores, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("raw", "calibrated", "message"),
    [
        ((0.0,), (0.0,), "two or more knots"),
        ((), (), "two or more knots"),
        ((0.0, 1.0), (0.0, 1.0, 2.0), "as many raw as calibrated"),
        ((0.0, 0.0), (0.0, 1.0), "rise strictly"),
        ((0.0, 1.0), (1.0, 0.0), "rise strictly"),
        ((0.0, float("nan")), (0.0, 1.0), "finite and rise"),
        # Infinite knots rise, but give probabilities that are not numbers.
        ((0.0, float("inf")), (0.0, 1.0), "finite"),
    ],
)
def test_a_map_that_does_not_rise_is_refused(
    raw: tuple[float, ...], calibrated: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        Calibration(raw, calibrated).check()


def test_a_rising_map_passes_the_check() -> None:
    MAP.check()
    Calibration.identity().check()

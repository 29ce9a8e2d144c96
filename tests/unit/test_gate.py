"""The gate between challenger and champion."""

import pytest

from router_training.gate import Limits, reasons_against

CHAMPION = {"score": 0.80, "cost": 0.010, "expected_calibration_loss": 0.02}


def test_nothing_speaks_against_an_equal_challenger() -> None:
    assert reasons_against(CHAMPION, CHAMPION) == ()


def test_without_a_champion_a_calibrated_challenger_passes() -> None:
    assert reasons_against({"score": 0.1, "expected_calibration_loss": 0.02}, None) == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"score": 0.78}, "score: 0.7800, the champion has 0.8000"),
        ({"cost": 0.02}, "cost: 0.020000, the champion has 0.010000"),
        ({"expected_calibration_loss": 0.3}, "expected_calibration_loss: 0.3000, at most 0.1"),
    ],
)
def test_a_worse_challenger_is_refused_with_the_number(
    change: dict[str, float], reason: str
) -> None:
    found = reasons_against({**CHAMPION, **change}, CHAMPION)
    assert len(found) == 1
    assert found[0].startswith(reason)


def test_every_reason_is_listed() -> None:
    assert len(reasons_against({"score": 0.5, "cost": 1.0}, CHAMPION)) == 2


def test_a_metric_that_one_side_lacks_is_not_compared() -> None:
    assert reasons_against({"score": 0.8}, {"cost": 0.1}) == ()


def test_limits_can_be_widened() -> None:
    assert reasons_against({"score": 0.7}, {"score": 0.8}, limits=Limits(max_score_drop=0.2)) == ()

"""Whether a challenger may replace the champion, with reasons."""

from collections.abc import Mapping

from msgspec import Struct


class Limits(Struct, frozen=True, kw_only=True):
    """How much worse than the champion a challenger may be on the same held-out contexts."""

    max_score_drop: float = 0.01
    max_cost_rise: float = 0.05
    max_calibration_loss: float = 0.1


def reasons_against(
    challenger: Mapping[str, float],
    champion: Mapping[str, float] | None,
    *,
    limits: Limits | None = None,
) -> tuple[str, ...]:
    """Why the challenger should not be promoted; empty when nothing speaks against it.

    Both are headline metrics of a report; without a champion only the calibration is looked at.

    >>> reasons_against({"score": 0.7}, {"score": 0.8})
    ('score: 0.7000, the champion has 0.8000; a drop of at most 0.01 is allowed',)
    """
    allowed = limits or Limits()
    reasons = []
    calibration = challenger.get("expected_calibration_loss", 0.0)
    if calibration > allowed.max_calibration_loss:
        reasons.append(
            f"expected_calibration_loss: {calibration:.4f}, at most "
            f"{allowed.max_calibration_loss:g} is allowed"
        )
    if champion is None:
        return tuple(reasons)
    if _has_both("score", challenger, champion):
        ours, theirs = challenger["score"], champion["score"]
        if ours < theirs - allowed.max_score_drop:
            reasons.append(
                f"score: {ours:.4f}, the champion has {theirs:.4f}; a drop of at most "
                f"{allowed.max_score_drop:g} is allowed"
            )
    if _has_both("cost", challenger, champion):
        ours, theirs = challenger["cost"], champion["cost"]
        if ours > theirs * (1 + allowed.max_cost_rise):
            reasons.append(
                f"cost: {ours:.6f}, the champion has {theirs:.6f}; a rise of at most "
                f"{allowed.max_cost_rise:.0%} is allowed"
            )
    return tuple(reasons)


def _has_both(name: str, first: Mapping[str, float], second: Mapping[str, float]) -> bool:
    return name in first and name in second

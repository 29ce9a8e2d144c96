"""From what policies did in replayed sessions to figures with intervals over sessions."""

import numpy as np

from router_training.intervals import Interval, Resampling, grouped_interval
from router_training.session_replay import Floats, Played
from router_training.session_replay_report import Difference, Goal, PolicyFigures, Terms

BILL, TOTAL, P, N, CACHED, INPUT = range(6)
_MICRO = 1e-6


def session_sums(played: Played, *, decision_cost_usd: float = 0.0) -> Floats:
    """Sums over each session's calls, shape (n_sessions, 6).

    The bill and the bill with the cost of failing in US dollars, `decision_cost_usd` for every
    call in both, then p, calls, cached and all input tokens.
    """
    bill = played.cost_microusd * _MICRO + decision_cost_usd
    columns = (
        bill,
        bill + played.failure_usd,
        played.p,
        np.ones(len(bill)),
        played.cached_tokens,
        played.input_tokens,
    )
    sums: Floats = np.zeros((int(played.session.max()) + 1, len(columns)))
    np.add.at(sums, played.session, np.stack(columns, axis=1))
    return sums


def figures_of(
    name: str, played: Played, sums: Floats, models: tuple[str, ...], resampling: Resampling
) -> PolicyFigures:
    """The figures of one policy; `models` name the columns that were chosen among."""
    numbers, counts = np.unique(played.model, return_counts=True)
    shares = counts / counts.sum()
    return PolicyFigures(
        name=name,
        bill_usd=_sum(sums[:, BILL], resampling),
        total_usd=_sum(sums[:, TOTAL], resampling),
        p_adequate=_ratio(sums[:, P], sums[:, N], resampling),
        cached_share=_ratio(sums[:, CACHED], sums[:, INPUT], resampling),
        adequate_share=float(played.is_adequate.mean()),
        n_switches=int(played.is_switch.sum()),
        n_switches_in_tool_loop=int(played.is_in_tool_loop.sum()),
        n_unsafe_switches=int(played.is_unsafe.sum()),
        shares={models[m]: float(share) for m, share in zip(numbers, shares, strict=True)},
    )


def difference_of(
    of: str, against: str, sums: Floats, other: Floats, resampling: Resampling
) -> Difference:
    """One policy less another, session by session."""
    change = sums - other
    return Difference(
        of=of,
        against=against,
        bill_usd=_sum(change[:, BILL], resampling),
        bill_share=_ratio(change[:, BILL], other[:, BILL], resampling),
        total_usd=_sum(change[:, TOTAL], resampling),
        total_share=_ratio(change[:, TOTAL], other[:, TOTAL], resampling),
        p_adequate=_ratio(change[:, P], sums[:, N], resampling),
    )


def goal_of(of: str, figures: PolicyFigures, rivals: list[Difference], terms: Terms) -> Goal:
    """The policy beside the one of its rivals that does best by what policies compare by."""
    is_total = terms.min_adequacy is None
    shares = [rival.total_share if is_total else rival.bill_share for rival in rivals]
    place = max(range(len(shares)), key=lambda index: shares[index].estimate)
    return Goal(
        of=of,
        rivals=tuple(rival.against for rival in rivals),
        best=rivals[place].against,
        share=shares[place],
        n_unsafe_switches=figures.n_unsafe_switches,
    )


def _sum(values: Floats, resampling: Resampling) -> Interval:
    return grouped_interval(
        values[:, None], np.arange(len(values)), lambda s: s[:, 0], resampling=resampling
    )


def _ratio(above: Floats, below: Floats, resampling: Resampling) -> Interval:
    return grouped_interval(
        np.stack([above, below], axis=1),
        np.arange(len(above)),
        lambda s: s[:, 0] / s[:, 1],
        resampling=resampling,
    )

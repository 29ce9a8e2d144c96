"""The checks of the promotion gate; each answers with findings."""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import structs
from scipy.special import ndtri

from router_data.rounds import Rounds
from router_model.contract import ALL_TENANTS, Certified, Contracts
from router_training.certification import Sample
from router_training.gate import Finding, Limits
from router_training.gate_gain import Gain, Opponent
from router_training.intervals import Interval, Resampling
from router_training.off_policy_savings import interval_of
from router_training.reliability import calibration_of

_SLACK = 1e-9


def check_gain(gain: Gain, limits: Limits, *, resampling: Resampling, is_deciding: bool) -> Finding:
    """Whether the challenger is shown to be not worse by more than the margin.

    Where other data decide, only being surely worse by more than that counts against it.
    """
    return judged_gain(
        gain.interval(resampling=resampling),
        margin=limits.margin * float(gain.failure_usd.mean()),
        code=f"utility.{gain.source}",
        on=f"{gain.n} requests",
        figures=gain.figures,
        is_deciding=is_deciding,
    )


def judged_gain(
    found: Interval,
    *,
    margin: float,
    code: str,
    on: str,
    figures: Mapping[str, float],
    is_deciding: bool,
) -> Finding:
    """The finding about a gain in net utility; `on` says on what it was measured."""
    is_shown, is_worse = found.low >= -margin, found.high < -margin
    text = (
        f"net utility {found.estimate:+.6f} [{found.low:+.6f}, {found.high:+.6f}] US dollars a "
        f"request against the champion on {on}"
    )
    if is_worse:
        text += f": worse by more than the margin of {margin:.6f}"
    elif not is_shown:
        text += f": can't tell whether the loss is within the margin of {margin:.6f}"
    return Finding(
        code=code,
        is_ok=is_shown or (not is_deciding and not is_worse),
        text=text,
        figures={**_figures(found), "margin": margin, "is_shown": float(is_shown), **figures},
    )


def check_slices(gain: Gain, limits: Limits) -> tuple[Finding, ...]:
    """Tenants and step types on which the challenger is surely worse by more than the margin.

    The level is shared by all slices of a kind (Bonferroni).
    """
    findings = []
    for kind in ("tenant", "step_type"):
        names, index = np.unique(getattr(gain, kind).astype(str), return_inverse=True)
        sizes = np.bincount(index)
        large = np.flatnonzero(sizes >= limits.min_slice)
        worse, figures = [], {"n_slices": float(len(large))}
        for place in large.tolist():
            rows = index == place
            found = widened(interval_of(gain.gain_usd[rows], gain.groups[rows]), len(large))
            margin = limits.margin * float(gain.failure_usd[rows].mean())
            figures |= {f"{names[place]}.{k}": v for k, v in _figures(found).items()}
            if found.high < -margin:
                worse.append(
                    f"{names[place]} {found.estimate:+.6f} [{found.low:+.6f}, {found.high:+.6f}]"
                )
        text = f"{len(large)} with at least {limits.min_slice} requests, none surely worse"
        if worse:
            text = f"worse by more than the margin for {', '.join(worse)}"
        findings.append(
            Finding(code=f"{kind}.{gain.source}", is_ok=not worse, text=text, figures=figures)
        )
    return tuple(findings)


def check_calibration(
    rounds: Rounds,
    challenger: Opponent,
    champion: Opponent | None,
    limits: Limits,
    *,
    resampling: Resampling,
) -> Finding:
    """The expected calibration error against its limit and against the champion's."""
    if not rounds.n_observed:
        return Finding(code="calibration", is_ok=False, text="can't tell: no outcome was observed")
    ours = _calibration_loss(rounds, challenger, resampling)
    figures = {f"challenger_{name}": value for name, value in _figures(ours).items()}
    text = f"error {ours.estimate:.4f} [{ours.low:.4f}, {ours.high:.4f}]"
    is_ok = ours.estimate <= limits.max_calibration_loss
    if not is_ok:
        text += f", at most {limits.max_calibration_loss:g} is allowed"
    if champion is not None:
        theirs = _calibration_loss(rounds, champion, resampling)
        figures |= {f"champion_{name}": value for name, value in _figures(theirs).items()}
        text += f", the champion has {theirs.estimate:.4f} [{theirs.low:.4f}, {theirs.high:.4f}]"
        rise = ours.estimate - theirs.estimate
        if rise > limits.max_calibration_rise and ours.low > theirs.estimate:
            is_ok = False
            text += f": a rise of at most {limits.max_calibration_rise:g} is allowed"
    return Finding(code="calibration", is_ok=is_ok, text=text, figures=figures)


def check_contracts(contracts: Contracts, sample: Sample | None) -> tuple[Finding, ...]:
    """Whether every certified promise is kept on the held-out requests, with its confidence."""
    promised = [
        entry
        for entries in contracts.by_tenant.values()
        for entry in entries
        if entry.min_adequacy is not None
    ]
    if not promised:
        return (Finding(code="contract", is_ok=True, text="no threshold is certified: abstains"),)
    if sample is None:
        text = "can't tell: the held-out part shows no choice between models"
        return (Finding(code="contract", is_ok=False, text=text),)
    return tuple(_kept(entry, sample) for entry in promised)


def widened(interval: Interval, n: int) -> Interval:
    """A 95% normal interval as one of n that hold together with 95%.

    >>> widened(Interval(0.0, -1.96, 1.96), 1).high
    1.96
    """
    factor = float(ndtri(1 - 0.025 / max(1, n)) / ndtri(0.975))
    low = interval.estimate - factor * (interval.estimate - interval.low)
    return Interval(
        interval.estimate, low, interval.estimate + factor * (interval.high - interval.estimate)
    )


def _kept(entry: Certified, sample: Sample) -> Finding:
    part = sample
    if entry.tenant != ALL_TENANTS:
        part = sample.rows(sample.tenant.astype(str) == entry.tenant)
    code = f"contract.{'all' if entry.tenant == ALL_TENANTS else entry.tenant}.{entry.alpha:g}"
    threshold = np.array([entry.min_adequacy], dtype=np.float64)
    plan = structs.replace(part.plan(), thresholds=threshold, shares=np.ones(1))
    evidence = part.evidence(plan)
    n_downgraded = float(evidence.weight.sum())
    if not n_downgraded:
        return Finding(code=code, is_ok=True, text="nothing is downgraded", figures={"n": 0.0})
    bound = evidence.bound(0, level=entry.delta)
    measured = float(evidence.loss.sum()) / n_downgraded
    is_kept = bound <= entry.alpha + _SLACK
    text = (
        f"P(inadequate | downgraded) {measured:.4f}, at most {bound:.4f} with confidence "
        f"{1 - entry.delta:g}, promised {entry.alpha:g}, {n_downgraded:.0f} downgraded"
    )
    return Finding(
        code=code,
        is_ok=is_kept,
        text=text if is_kept else f"not shown to be kept: {text}",
        figures={"measured": measured, "bound": bound, "n_downgraded": n_downgraded},
    )


def _calibration_loss(rounds: Rounds, side: Opponent, resampling: Resampling) -> Interval:
    predicted = side.predictor.predict(
        rounds.features, rounds.embedding, list(rounds.models), tenant=rounds.tenant
    )
    p = np.asarray(predicted.p_adequate, dtype=np.float64)
    return calibration_of(rounds, p, resampling=resampling).calibration_loss


def _figures(interval: Interval) -> dict[str, float]:
    names: Sequence[str] = ("estimate", "low", "high")
    return {name: float(getattr(interval, name)) for name in names}

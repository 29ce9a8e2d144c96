"""One judgement of the promotion gate: every check in order, on the same held-out part."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from router_model.artifact import read_manifest, verify
from router_model.contract import CONTRACTS_FILE, Contracts
from router_model.errors import ArtifactError, DatasetError, RouterError
from router_model.policy import CheapestAdequate
from router_training.artifact_probe import probe
from router_training.certification import sample_of
from router_training.fit import FittedPredictor
from router_training.gate import Finding, GateReport, Limits
from router_training.gate_canary import check_canary
from router_training.gate_checks import (
    check_calibration,
    check_contracts,
    check_gain,
    check_slices,
)
from router_training.gate_gain import Gain, Opponent, live_gain, matrix_gains
from router_training.held_out import HeldOut
from router_training.intervals import Resampling

REQUIRED = ("MODEL_CARD.md", CONTRACTS_FILE)
Load = Callable[[Path], FittedPredictor]


def judge(
    challenger: Path,
    champion: Path | None,
    held_out: HeldOut,
    *,
    load: Load,
    champion_name: str = "",
    limits: Limits | None = None,
    resampling: Resampling | None = None,
) -> GateReport:
    """The gate's report on an artifact folder, compared with the champion's when there is one.

    That it is not worse may be shown off-policy on all live decisions or by a canary's sessions;
    where there is neither, by data sets of which every outcome is known. None of them may show
    that it is worse.
    """
    allowed, drawn = limits or Limits(), resampling or Resampling()
    findings = [check_artifact(challenger)]
    if findings[0].is_ok:
        ours = _opponent(challenger, load)
        try:
            theirs = None if champion is None else _opponent(champion, load)
        except ArtifactError as error:
            theirs = None
            findings.append(_cannot_tell("champion", error))
        findings += _against_champion(ours, theirs, held_out, allowed, drawn)
        findings.append(check_calibration(held_out.rounds, ours, theirs, allowed, resampling=drawn))
        sample = sample_of(ours.predictor, held_out.rounds, held_out.logged)
        findings += check_contracts(Contracts.load(challenger), sample)
    return GateReport(
        champion=champion_name,
        n_held_out=held_out.rounds.n_contexts,
        n_live=0 if held_out.logged is None else held_out.logged.n,
        limits=allowed,
        findings=tuple(findings),
    )


def check_artifact(folder: Path) -> Finding:
    """Whether the folder is whole, loads in a process of its own, and repeats its goldens."""
    try:
        manifest = verify(folder)
        if missing := [name for name in REQUIRED if name not in manifest.files]:
            raise ArtifactError(f"{folder}: the manifest lists no {', '.join(missing)}")
        (timing,) = probe(folder)
    except ArtifactError as error:
        return Finding(code="artifact", is_ok=False, text=str(error))
    return Finding(
        code="artifact",
        is_ok=True,
        text=f"{len(manifest.files)} files, golden predictions repeated",
        figures={"n_files": float(len(manifest.files)), "median_us": timing.median_us},
    )


def check_latency(challenger: Path, champion: Path, limits: Limits) -> Finding:
    """One prediction's time against the champion's, both in one process."""
    try:
        ours, theirs = probe(challenger, champion)
    except ArtifactError as error:
        return _cannot_tell("latency", error)
    ratio = ours.median_us / theirs.median_us
    is_ok = ratio <= limits.max_latency_ratio
    text = (
        f"{ours.median_us:.0f} us a prediction (p95 {ours.p95_us:.0f}), {ratio:.2f} of the "
        f"champion's {theirs.median_us:.0f} (p95 {theirs.p95_us:.0f})"
    )
    return Finding(
        code="latency",
        is_ok=is_ok,
        text=text if is_ok else f"{text}; at most {limits.max_latency_ratio:g} is allowed",
        figures={
            "ratio": ratio,
            "challenger_p95_us": ours.p95_us,
            "champion_p95_us": theirs.p95_us,
        },
    )


def _against_champion(
    ours: Opponent,
    theirs: Opponent | None,
    held_out: HeldOut,
    limits: Limits,
    resampling: Resampling,
) -> list[Finding]:
    if theirs is None:
        return []
    findings = [check_latency(ours.folder, theirs.folder, limits)]
    canary = _canary(ours, theirs, held_out, limits)
    is_shown = canary is not None and canary.figures["is_shown"] > 0
    gains: list[Gain] = []
    try:
        if held_out.logged is not None:
            gains.append(live_gain(held_out.logged, ours, theirs, seed=resampling.seed))
    except RouterError as error:  # too little overlap, or a log that one of them can't read
        findings.append(_cannot_tell("utility.live", error, is_ok=is_shown))
    gains += matrix_gains(held_out.rounds, ours, theirs)
    if held_out.logged is None and not gains:
        findings.append(
            _cannot_tell("utility", DatasetError("nothing held out shows what both would do"))
        )
    for gain in gains:
        is_deciding = not is_shown and (gain.is_live or held_out.logged is None)
        findings.append(check_gain(gain, limits, resampling=resampling, is_deciding=is_deciding))
        findings += check_slices(gain, limits)
    return findings if canary is None else [*findings, canary]


def _canary(ours: Opponent, theirs: Opponent, held_out: HeldOut, limits: Limits) -> Finding | None:
    if held_out.logged is None:
        return None
    return check_canary(
        held_out.logged,
        challenger=read_manifest(ours.folder).version,
        champion=read_manifest(theirs.folder).version,
        policy=ours.policy,
        limits=limits,
    )


def _opponent(folder: Path, load: Load) -> Opponent:
    manifest = verify(folder)
    policy = msgspec.convert(manifest.policy, CheapestAdequate)
    return Opponent(folder, load(folder), policy)


def _cannot_tell(code: str, error: Exception, *, is_ok: bool = False) -> Finding:
    text = f"can't tell: {error}"
    return Finding(code=code, is_ok=is_ok, text=f"{text} (the canary tells)" if is_ok else text)

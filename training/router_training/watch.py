"""Watches the champion after its promotion, and rolls back when it breaks a promise.

Two kinds of promises are tested, with tests that may be looked at after every outcome
(`router_model.breach`), so that all looks together break a kept promise with probability at most
delta: that it fails at most `margin` more often than the champion before it, and that of the
requests it downgraded under a contract at most alpha were inadequate. Each kind has half of
delta, contracts share theirs.

Weakness: the champion before it answered earlier requests. When requests have become harder since,
that counts against the new one; a canary compares on the same days.
"""

import math
import re
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from msgspec import Struct

from router_data.rewards import DEFAULT_RULE, AdequacyRule
from router_model.breach import log_evidence, log_evidence_above
from router_model.errors import RouterError
from router_training.live_failures import Failures, LiveOutcomes, live_outcomes
from router_training.registry import Registry, Version
from router_training.rollout import copy_state, read_rollout

_CONTRACT = re.compile(r"contract\(alpha=([0-9.e-]+),")


class Promise(Struct, frozen=True, kw_only=True):
    """What the champion has to keep; a false alarm has probability `delta`."""

    margin: float = 0.02
    delta: float = 0.05
    min_outcomes: int = 100


class PromiseTest(Struct, frozen=True, kw_only=True):
    """One promise: sessions and failures, and the evidence (1 / p at any time) that it is broken.

    `against` is the champion before, or the promised share of a contract.
    """

    name: str
    failures: Failures
    against: str
    evidence: float
    needed: float
    is_broken: bool

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.failures.n_failed} of {self.failures.n} sessions failed, "
            f"against {self.against}; evidence {self.evidence:.3g} of {self.needed:.3g}"
        )


class Look(Struct, frozen=True, kw_only=True):
    """What one look found, and the version that was rolled back to ("" when none was)."""

    champion: str
    since_ms: int
    tests: tuple[PromiseTest, ...]
    reason: str
    rolled_back_to: str
    rollout: str

    @property
    def is_broken(self) -> bool:
        """True when a promise is broken, whether or not there was a version to go back to."""
        return any(test.is_broken for test in self.tests)


def look(
    state: Path,
    registry: Registry,
    *,
    promise: Promise | None = None,
    rule: AdequacyRule = DEFAULT_RULE,
    check: Callable[[Path], object] | None = None,
) -> Look:
    """Test the champion on the log since its promotion; roll back and export on a breach.

    The reason goes into the tags of the version that is taken back. It is not gone back to a
    version that was itself taken back since its last promotion. A canary that the service has
    stopped is noted in MLflow too.
    """
    rollout = _noted_rollout(state, registry)
    champion, previous = registry.get("champion"), registry.find("previous")
    tests = promise_tests(
        live_outcomes(state, rule=rule), champion, previous, promise=promise or Promise()
    )
    reason = "; ".join(str(test) for test in tests if test.is_broken)
    back = ""
    if reason and previous is not None and not previous.tags.get("rolled_back_ms"):
        back = registry.rollback(reason=reason).number
        registry.export("champion", state / "artifact", check=check)
    return Look(
        champion=champion.number,
        since_ms=_promoted_ms(champion),
        tests=tests,
        reason=reason,
        rolled_back_to=back,
        rollout=rollout,
    )


def _noted_rollout(state: Path, registry: Registry) -> str:
    """The rollout's mode, noted in MLflow; or why it is not known, which keeps no test from it."""
    try:
        file = read_rollout(state)
        copy_state(file, state, registry)
    except RouterError as error:
        return f"not known ({error})"
    return file.mode


def watch(
    take_look: Callable[[], Look],
    *,
    every_s: float,
    ended: threading.Event,
    told: Callable[[Look | RouterError], None],
) -> None:
    """Look again and again until `ended` is set; what fails once is told and tried again."""
    while not ended.is_set():
        try:
            told(take_look())
        except RouterError as error:
            told(error)
        ended.wait(every_s)


def promise_tests(
    outcomes: LiveOutcomes, champion: Version, previous: Version | None, *, promise: Promise
) -> tuple[PromiseTest, ...]:
    """Every promise of the champion, tested on what it decided since its promotion."""
    ours = (outcomes.artifact == champion.tags.get("artifact_version")) & (
        outcomes.ts_ms >= _promoted_ms(champion)
    )
    found = []
    if previous is not None:
        before = outcomes.count(outcomes.artifact == previous.tags.get("artifact_version"))
        found.append(_against(outcomes.count(ours), before, previous, promise=promise))
    by_price = ours & outcomes.is_downgraded
    promised = {text: _alpha(text) for text in set(outcomes.contract[by_price].tolist())}
    alphas = sorted({alpha for alpha in promised.values() if alpha is not None})
    for alpha in alphas:
        names = [text for text, value in promised.items() if value == alpha]
        counted = outcomes.count(by_price & np.isin(outcomes.contract.astype(str), names))
        found.append(_contract(counted, alpha, promise=promise, n_contracts=len(alphas)))
    return tuple(found)


def _against(
    ours: Failures, before: Failures, previous: Version, *, promise: Promise
) -> PromiseTest:
    log = log_evidence(ours.n_failed, ours.n, before.n_failed, before.n, margin=promise.margin)
    return _test(
        "champion",
        ours,
        f"{before.n_failed} of {before.n} of version {previous.number} and a margin of "
        f"{promise.margin:g}",
        log=log,
        needed=2 / promise.delta,
        promise=promise,
    )


def _contract(
    counted: Failures, alpha: float, *, promise: Promise, n_contracts: int
) -> PromiseTest:
    return _test(
        f"contract {alpha:g}",
        counted,
        f"at most {alpha:g} of what is downgraded",
        log=log_evidence_above(counted.n_failed, counted.n, limit=alpha),
        needed=2 * n_contracts / promise.delta,
        promise=promise,
    )


def _test(
    name: str, failures: Failures, against: str, *, log: float, needed: float, promise: Promise
) -> PromiseTest:
    return PromiseTest(
        name=name,
        failures=failures,
        against=against,
        evidence=math.exp(min(log, 700.0)),
        needed=needed,
        is_broken=failures.n >= promise.min_outcomes and log >= math.log(needed),
    )


def _alpha(contract: str) -> float | None:
    found = _CONTRACT.match(contract)
    return None if found is None else float(found.group(1))


def _promoted_ms(version: Version) -> int:
    found = version.tags.get("promoted_ms", "")
    return int(found) if found.isdecimal() else 0

"""Tells operators when a subject calls or spends far more than usual at this hour of the week.

The last 60 seconds are compared with `factor` times the usual minute of the same hour in the weeks
before. They slide, so a leap is seen within a minute, and within seconds where it is a high one.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from msgspec import Struct
from prometheus_client import CollectorRegistry, Gauge

from router_model.exploration import MICRO
from router_serving.ledger.notices import Kind, Notices
from router_serving.ledger.subjects import EVERYBODY
from router_serving.ledger.types import Pace
from router_serving.settings import Settings

HOUR_S: Final = 3600
# 12 looks in a minute come to MAX_SUBJECTS, for about a hundredth of the ledger thread's time.
MAX_LOOKED: Final = 256
# One agent at work makes some 10 to 20 calls a minute: starting a second one is no anomaly.
MIN_CALLS: Final = 30
# One call with a long prompt, cold, to a dear model: it is no anomaly either. In micro-dollars.
MINMICROUSD: Final = 500_000


class PaceStore(Protocol):
    """What adds up the counts of all processes (a ledger store)."""

    def pace(self, subject: str, *, now_s: float) -> Pace:
        """How a subject's last 60 seconds compare with the same hour of the weeks before."""


class PaceRule(Struct, frozen=True, kw_only=True):
    """What is an anomaly: at least a minimum, and more than `factor` times the usual.

    The ceilings are for subjects without a baseline, such as a new tenant; None compares nothing.
    """

    factor: float = 10.0
    min_calls: int = MIN_CALLS
    min_microusd: int = MINMICROUSD
    ceiling_calls: int | None = None
    ceiling_microusd: int | None = None

    def is_too_many(self, calls: int, *, usual: float | None) -> bool:
        """Whether so many calls in a minute are an anomaly; `usual` None is not known.

        >>> PaceRule().is_too_many(41, usual=4.0), PaceRule().is_too_many(40, usual=4.0)
        (True, False)
        >>> PaceRule().is_too_many(30, usual=0.0), PaceRule().is_too_many(29, usual=0.0)
        (True, False)
        """
        return self._is_above(calls, usual, self.min_calls, self.ceiling_calls)

    def is_too_dear(self, microusd: int, *, usual: float | None) -> bool:
        """The same for what was spent in a minute.

        >>> PaceRule().is_too_dear(600_001, usual=60_000.0)
        True
        """
        return self._is_above(microusd, usual, self.min_microusd, self.ceiling_microusd)

    def _is_above(self, n: int, usual: float | None, least: int, ceiling: int | None) -> bool:
        if usual is None:
            return ceiling is not None and n > ceiling
        return n >= least and n > self.factor * usual


def rule_of(settings: Settings) -> PaceRule:
    """The rule that the settings ask for."""
    usd = settings.anomaly_usd_per_minute
    return PaceRule(
        factor=settings.anomaly_factor,
        ceiling_calls=settings.anomaly_calls_per_minute,
        ceiling_microusd=None if usd is None else round(usd * MICRO),
    )


class PaceAlarm:
    """Looks at the active subjects; `look` is called every few seconds, by one thread."""

    def __init__(
        self,
        store: PaceStore,
        *,
        active: Callable[[], Sequence[str]],
        notices: Notices,
        registry: CollectorRegistry,
        rule: PaceRule,
    ) -> None:
        self._store = store
        self._active = active
        self._notices = notices
        self._rule = rule
        self._looked_s: dict[str, float] = {}
        self._ratios = {
            unit: Gauge(
                f"router_pace_{unit}_ratio",
                f"{text} as a multiple of the usual: of all, and the highest of a tenant",
                # No names: a label for each tenant would grow with their number.
                ["of"],
                registry=registry,
                multiprocess_mode="livemax",
            )
            for unit, text in (("calls", "Last minute's calls"), ("spend", "Last minute's dollars"))
        }

    def look(self, now_s: float) -> None:
        """Compare the last minute of everybody who is active, the longest not looked at first.

        Raises LedgerError where the store can't tell.
        """
        looked_s = {subject: self._looked_s.get(subject, 0.0) for subject in self._active()}
        highest = dict.fromkeys(
            ((unit, of) for unit in self._ratios for of in (EVERYBODY, "highest_tenant")), 0.0
        )
        for subject in sorted(looked_s, key=looked_s.__getitem__)[:MAX_LOOKED]:
            pace = self._store.pace(subject, now_s=now_s)
            looked_s[subject] = now_s
            self._compare(subject, pace, now_s)
            of = EVERYBODY if subject == EVERYBODY else "highest_tenant"
            for unit, ratio in (("calls", calls_ratio(pace)), ("spend", spend_ratio(pace))):
                highest[unit, of] = max(highest[unit, of], ratio or 0.0)
        self._looked_s = looked_s
        for (unit, of), ratio in highest.items():
            self._ratios[unit].labels(of).set(ratio)

    def _compare(self, subject: str, pace: Pace, now_s: float) -> None:
        has_usual = pace.n_weeks > 0
        if self._rule.is_too_many(pace.calls, usual=pace.usual_calls if has_usual else None):
            self._tell(
                "calls.anomaly",
                subject,
                now_s,
                calls_last_minute=pace.calls,
                usual_calls_per_minute=round(pace.usual_calls, 3) if has_usual else None,
                weeks_compared=pace.n_weeks,
            )
        if self._rule.is_too_dear(pace.microusd, usual=pace.usual_microusd if has_usual else None):
            self._tell(
                "spend.anomaly",
                subject,
                now_s,
                usd_last_minute=pace.microusd / MICRO,
                usual_usd_per_minute=round(pace.usual_microusd / MICRO, 6) if has_usual else None,
                weeks_compared=pace.n_weeks,
            )

    def _tell(self, kind: Kind, subject: str, now_s: float, **fields: float | int | None) -> None:
        hour = int(now_s // HOUR_S)
        self._notices.tell(
            kind,
            subject=subject,
            once=f"{kind}|{subject}|{hour}",
            until_s=float((hour + 1) * HOUR_S),
            **fields,
        )


def calls_ratio(pace: Pace) -> float | None:
    """The last minute's calls as a multiple of the usual; None without a baseline.

    Less than a call a minute counts as one, so that rare ones are not shown as leaps.

    >>> calls_ratio(Pace(calls=12, microusd=0, usual_calls=4.0, usual_microusd=0.0, n_weeks=2))
    3.0
    """
    return pace.calls / max(pace.usual_calls, 1.0) if pace.n_weeks else None


def spend_ratio(pace: Pace) -> float | None:
    """The same for dollars; less than a cent a minute counts as one.

    >>> spend_ratio(Pace(calls=1, microusd=50_000, usual_calls=0, usual_microusd=0, n_weeks=2))
    5.0
    """
    return pace.microusd / max(pace.usual_microusd, 10_000.0) if pace.n_weeks else None

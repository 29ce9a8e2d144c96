import time
from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from structlog.typing import EventDict

from router_serving.ledger.notices import Notices
from router_serving.ledger.pace_alarm import MAX_LOOKED, PaceAlarm, PaceRule, rule_of
from router_serving.ledger.paces import MAX_SUBJECTS
from router_serving.ledger.types import Pace
from router_serving.settings import Settings

HOUR_S = 3600.0
# The beginning of the hour after the present one: what is told in it was not told before.
NOW = (time.time() // HOUR_S + 1) * HOUR_S


class Claimed:
    def __init__(self) -> None:
        self.asked: set[str] = set()

    def claim(self, notice: str, *, until_s: float) -> bool:
        assert (until_s - NOW) % HOUR_S == 0
        is_first = notice not in self.asked
        self.asked.add(notice)
        return is_first


class Paced:
    """Paces by subject, as a store tells them."""

    def __init__(self, paces: Mapping[str, Pace]) -> None:
        self.paces = dict(paces)
        self.asked: list[str] = []

    def pace(self, subject: str, *, now_s: float) -> Pace:
        self.asked.append(subject)
        return self.paces[subject]


def pace(
    calls: int = 0, usd: float = 0.0, *, usual: float = 0, usual_usd: float = 0.0, n: int = 4
) -> Pace:
    return Pace(
        calls=calls,
        microusd=round(usd * 1e6),
        usual_calls=usual,
        usual_microusd=usual_usd * 1e6,
        n_weeks=n,
    )


class Alarms:
    """An alarm over fixed paces, and what it told."""

    def __init__(self, paces: Mapping[str, Pace], rule: PaceRule, claims: Claimed) -> None:
        self.registry = CollectorRegistry()
        self.store = Paced(paces)
        self.notices = Notices(claims, registry=self.registry)
        self.alarm = PaceAlarm(
            self.store,
            active=lambda: tuple(self.store.paces),
            notices=self.notices,
            registry=self.registry,
            rule=rule,
        )

    def told(self, *, at: float = NOW) -> list[tuple[str, str]]:
        """Kind and subject of what one look tells."""
        return [(event["event"], event["subject"]) for event in self.events(at=at)]

    def events(self, *, at: float = NOW) -> list[EventDict]:
        with capture_logs() as logs:
            self.alarm.look(at)
            self.notices.start()
            self.notices.close()
        return [log for log in logs if log["event"].endswith(".anomaly")]

    def ratio(self, unit: str, of: str) -> float | None:
        return self.registry.get_sample_value(f"router_pace_{unit}_ratio", {"of": of})


def told(rule: PaceRule | None = None, **paces: Pace) -> list[tuple[str, str]]:
    return Alarms(paces, rule or PaceRule(), Claimed()).told()


@pytest.mark.parametrize(
    ("calls", "usual", "is_anomaly"),
    [(40, 4.0, False), (41, 4.0, True), (29, 0.1, False), (30, 0.1, True), (30, 3.0, False),
     (31, 3.0, True), (30, 0.0, True), (1000, 100.0, False), (1001, 100.0, True)],
)  # fmt: skip
def test_more_than_ten_times_the_usual_calls_are_an_anomaly(
    calls: int, usual: float, is_anomaly: bool
) -> None:
    expected = [("calls.anomaly", "acme")] if is_anomaly else []
    assert told(acme=pace(calls, usual=usual)) == expected


@pytest.mark.parametrize(
    ("usd", "usual_usd", "is_anomaly"),
    [(0.60, 0.06, False), (0.600001, 0.06, True), (0.499999, 0.0, False), (0.50, 0.0, True),
     (0.50, 0.05, False), (20.0, 2.0, False), (20.01, 2.0, True)],
)  # fmt: skip
def test_more_than_ten_times_the_usual_spending_is_an_anomaly(
    usd: float, usual_usd: float, is_anomaly: bool
) -> None:
    expected = [("spend.anomaly", "acme")] if is_anomaly else []
    assert told(acme=pace(1, usd, usual=1.0, usual_usd=usual_usd)) == expected


def test_without_a_baseline_only_a_ceiling_is_compared() -> None:
    leap = pace(100_000, 5000.0, n=0)
    assert told(acme=leap) == []
    rule = PaceRule(ceiling_calls=99_999, ceiling_microusd=4_999_999_999)
    assert told(rule, acme=leap) == [("calls.anomaly", "acme"), ("spend.anomaly", "acme")]
    assert told(PaceRule(ceiling_calls=100_000), acme=leap) == []
    assert told(rule, acme=pace(100_000, usual=50_000.0)) == []


def test_another_factor_may_be_set() -> None:
    assert told(PaceRule(factor=3.0), acme=pace(31, usual=10.0)) == [("calls.anomaly", "acme")]
    assert told(PaceRule(factor=3.0), acme=pace(30, usual=10.0)) == []


def test_a_notice_says_how_much_it_is_and_how_much_it_usually_is() -> None:
    paces = {"tenant:acme": pace(120, 3.5, usual=2.5, usual_usd=0.05)}
    calls, spend = Alarms(paces, PaceRule(), Claimed()).events()
    assert calls == {
        "event": "calls.anomaly",
        "log_level": "warning",
        "subject": "tenant:acme",
        "calls_last_minute": 120,
        "usual_calls_per_minute": 2.5,
        "weeks_compared": 4,
    }
    assert (spend["usd_last_minute"], spend["usual_usd_per_minute"]) == (3.5, 0.05)


def test_an_anomaly_is_told_once_an_hour_for_each_subject_and_kind() -> None:
    claims, leap = Claimed(), pace(100, 9.0)
    paces = {"all": leap, "tenant:acme": leap}
    expected = {(kind, s) for kind in ("calls.anomaly", "spend.anomaly") for s in paces}

    def look(at: float) -> list[tuple[str, str]]:
        return Alarms(paces, PaceRule(), claims).told(at=at)  # a process of its own each time

    assert set(look(NOW)) == expected
    assert look(NOW + 5) == []
    assert look(NOW + HOUR_S - 1) == []
    assert set(look(NOW + HOUR_S)) == expected


def test_with_many_subjects_each_is_looked_at_within_a_minute() -> None:
    many = {f"tenant:{index}": pace() for index in range(MAX_SUBJECTS)}
    alarms = Alarms({"all": pace(), **many}, PaceRule(), Claimed())
    for look in range(12):
        alarms.alarm.look(NOW + 5 * look)
    assert set(alarms.store.asked) == {"all", *many}
    assert len(alarms.store.asked) == 12 * MAX_LOOKED


@pytest.fixture
def shown() -> Alarms:
    paces = {
        "all": pace(60, 0.8, usual=30.0, usual_usd=0.2),
        "tenant:a": pace(10, 0.1, usual=2.0, usual_usd=0.05),
        "tenant:b": pace(9, 0.3, usual=0.0, usual_usd=0.0),
        "tenant:new": pace(500, 9.0, n=0),
    }
    return Alarms(paces, PaceRule(), Claimed())


def test_the_ratios_of_all_and_the_highest_of_a_tenant_are_shown_without_names(
    shown: Alarms,
) -> None:
    shown.alarm.look(NOW)
    assert shown.ratio("calls", "all") == pytest.approx(2.0)
    assert shown.ratio("spend", "all") == pytest.approx(4.0)
    assert shown.ratio("calls", "highest_tenant") == pytest.approx(9.0)  # of at least one call
    assert shown.ratio("spend", "highest_tenant") == pytest.approx(30.0)  # of at least a cent
    shown.store.paces = {"all": pace(30, usual=30.0)}
    shown.alarm.look(NOW + 5)
    assert shown.ratio("calls", "all") == pytest.approx(1.0)
    assert shown.ratio("calls", "highest_tenant") == 0.0


def test_the_settings_make_the_rule() -> None:
    assert rule_of(Settings()) == PaceRule()
    settings = Settings(
        anomaly_factor=4.0, anomaly_calls_per_minute=200, anomaly_usd_per_minute=2.5
    )
    assert rule_of(settings) == PaceRule(factor=4.0, ceiling_calls=200, ceiling_microusd=2_500_000)

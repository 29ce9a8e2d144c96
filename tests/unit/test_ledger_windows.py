from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from router_serving.ledger.types import Period
from router_serving.ledger.windows import Calendar, window_of

BERLIN = ZoneInfo("Europe/Berlin")
PERIODS: tuple[Period, ...] = ("minute", "hour", "day", "month")


def unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("moment", "name", "hours"),
    [
        ("2026-03-29T00:30+01:00", "2026-03-29@Europe/Berlin", 23),  # clocks go forward
        ("2026-03-29T23:59:59+02:00", "2026-03-29@Europe/Berlin", 23),
        ("2026-10-25T02:30+02:00", "2026-10-25@Europe/Berlin", 25),  # the first 2:30
        ("2026-10-25T02:30+01:00", "2026-10-25@Europe/Berlin", 25),  # the second
        ("2026-10-25T23:59:59+01:00", "2026-10-25@Europe/Berlin", 25),
        ("2026-10-26T00:00+01:00", "2026-10-26@Europe/Berlin", 24),
        ("2024-02-29T12:00+01:00", "2024-02-29@Europe/Berlin", 24),
    ],
)
def test_a_day_lasts_from_midnight_to_midnight_by_the_tenants_clocks(
    moment: str, name: str, hours: int
) -> None:
    window = window_of("day", BERLIN, unix(moment))
    assert (window.name, (window.ends_s - window.begins_s) / 3600) == (name, hours)
    assert window.begins_s <= unix(moment) < window.ends_s


def test_a_month_begins_at_the_tenants_midnight() -> None:
    window = window_of("month", BERLIN, unix("2026-12-31T23:30+01:00"))
    assert window.name == "2026-12@Europe/Berlin"
    assert (window.begins_s, window.ends_s) == (
        unix("2026-12-01T00:00+01:00"),
        unix("2027-01-01T00:00+01:00"),
    )
    assert window_of("month", BERLIN, window.ends_s).name == "2027-01@Europe/Berlin"


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("America/Sao_Paulo", "2018-11-04"),  # midnight is skipped
        ("Africa/Cairo", "2024-04-26"),  # midnight is skipped
        ("America/Havana", "2025-11-02"),  # midnight comes twice
        ("Asia/Beirut", "2025-10-26"),  # the last hour of the day before comes twice
        ("Australia/Lord_Howe", "2026-04-05"),  # half an hour
        ("Pacific/Apia", "2011-12-31"),  # the day before was skipped
    ],
)
def test_days_follow_each_other_without_a_gap_or_an_overlap(zone: str, day: str) -> None:
    there = ZoneInfo(zone)
    moment = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=there).timestamp() - 2 * 86_400
    windows = [window_of("day", there, moment)]
    while len(windows) < 5:
        windows.append(window_of("day", there, windows[-1].ends_s))
    for before, after in pairwise(windows):
        assert before.name != after.name
        assert after.begins_s == before.ends_s
    assert f"{day}@{zone}" in [window.name for window in windows]


@pytest.mark.parametrize("period", PERIODS)
def test_a_window_holds_its_first_moment_and_not_its_end(period: Period) -> None:
    window = window_of(period, BERLIN, unix("2026-10-25T01:59:59+00:00"))
    assert window_of(period, BERLIN, window.begins_s) == window
    assert window_of(period, BERLIN, window.ends_s - 0.001) == window
    assert window_of(period, BERLIN, window.ends_s).begins_s == window.ends_s


def test_hours_are_those_of_utc() -> None:
    now_s = datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC).timestamp()
    assert window_of("hour", ZoneInfo("Asia/Kolkata"), now_s).name == "2026-10-25T00:00Z"


def test_a_calendar_follows_the_clock_forth_and_back() -> None:
    calendar = Calendar()
    moments = [unix("2026-10-24T12:00Z"), unix("2026-10-26T12:00Z"), unix("2026-10-24T12:00Z")]
    assert [calendar.window("day", BERLIN, now_s) for now_s in moments] == [
        window_of("day", BERLIN, now_s) for now_s in moments
    ]

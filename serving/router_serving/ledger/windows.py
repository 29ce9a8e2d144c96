"""Calendar windows of time, days and months in a tenant's own time zone.

A window is part of the key of an account, so that a new one begins by itself: there is no job that
resets anything. A day lasts from midnight to midnight by the tenant's clocks, 23 or 25 hours where
they are changed. Hours and minutes are those of UTC, which no change of clocks repeats or skips.
"""

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from router_serving.ledger.types import Period

_SECONDS: Final[dict[Period, int]] = {"minute": 60, "hour": 3600}
# Few are in use at a time: one for each time zone and period.
_MAX_KEPT: Final = 4096


class Window(Struct, frozen=True):
    """From `begins_s` to before `ends_s`, in Unix seconds; `name` is its beginning."""

    name: str
    begins_s: float
    ends_s: float


def window_of(period: Period, zone: ZoneInfo, now_s: float) -> Window:
    """The window that holds a moment.

    >>> berlin = ZoneInfo("Europe/Berlin")
    >>> window = window_of("day", berlin, 1_792_886_400.0)  # clocks are set back on that day
    >>> window.name, (window.ends_s - window.begins_s) / 3600
    ('2026-10-25@Europe/Berlin', 25.0)
    >>> window_of("hour", berlin, 1_792_886_400.0).name
    '2026-10-25T00:00Z'
    """
    if period in _SECONDS:
        length_s = _SECONDS[period]
        begins_s = now_s // length_s * length_s
        began = datetime.fromtimestamp(begins_s, UTC)
        return Window(f"{began:%Y-%m-%dT%H:%M}Z", begins_s, begins_s + length_s)
    first = datetime.fromtimestamp(now_s, zone).replace(tzinfo=None)
    first = first.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if period == "day":
        name, after = f"{first:%Y-%m-%d}", first + timedelta(days=1)
    else:
        first = first.replace(day=1)
        name, after = f"{first:%Y-%m}", (first + timedelta(days=32)).replace(day=1)
    return Window(f"{name}@{zone.key}", _moment(first, zone), _moment(after, zone))


class Calendar:
    """`window_of`, which finds the present window again without any calendar arithmetic."""

    def __init__(self) -> None:
        self._present: dict[tuple[str, Period], Window] = {}

    def window(self, period: Period, zone: ZoneInfo, now_s: float) -> Window:
        """The window that holds a moment."""
        place = (zone.key, period)
        window = self._present.get(place)
        if window is None or not window.begins_s <= now_s < window.ends_s:
            if len(self._present) >= _MAX_KEPT:
                self._present.clear()
            window = self._present[place] = window_of(period, zone, now_s)
        return window


def _moment(midnight: datetime, zone: ZoneInfo) -> float:
    """When a local day begins: of a midnight that comes twice, the first.

    One that clocks skip is read by the offset before, which is the moment of the change.
    """
    return midnight.replace(tzinfo=zone).timestamp()

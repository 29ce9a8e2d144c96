"""Reads what the last drift report found, `<state>/drift.json`, for the metrics."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

DRIFT_FILE = "drift.json"
DRIFT_NAMES: Final[Mapping[str, str]] = {
    "psi_max": "Largest population stability index of a feature",
    "calibration_gap": "Predicted less observed share of adequate answers",
    "outcome_rate_change_max": "Largest change of a rate of outcomes",
    "price_changes": "Prices that are not those of the artifact any more",
    "new_clients": "Clients that training did not see",
    "alarm": "1 when a threshold of the drift report is exceeded",
    "as_of_ms": "When the report was made, milliseconds since 1970",
}
_log = structlog.get_logger(__name__)


class DriftFile:
    """The numbers of the file, read again when it changes.

    No numbers where there is no file; one that can't be used is ignored, and counted once.
    """

    def __init__(self, path: Path, *, counted: Callable[[str], None]) -> None:
        self._path = path
        self._counted = counted
        self._seen: tuple[int, int, int] | None = None
        self._numbers: Mapping[str, float] = {}

    def read(self) -> Mapping[str, float]:
        """The present numbers by name; those that are not known are left out."""
        try:
            stat = self._path.stat()
        except OSError:
            self._seen, self._numbers = None, {}
            return self._numbers
        seen = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if seen != self._seen:
            self._seen, self._numbers = seen, self._parsed()
        return self._numbers

    def _parsed(self) -> Mapping[str, float]:
        try:
            content = msgspec.json.decode(self._path.read_bytes(), type=dict[str, Any])
            numbers = {name: _number(content.get(name)) for name in DRIFT_NAMES}
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, TypeError) as error:
            self._counted("refused")
            _log.warning("drift.refused", path=str(self._path), error=str(error))
            return {}
        return {name: value for name, value in numbers.items() if value is not None}


def _number(value: object) -> float | None:
    """A number, the length of a list, 0 or 1 for a truth value; TypeError for anything else."""
    if value is None:
        return None
    if isinstance(value, list):
        return float(len(value))
    if not isinstance(value, bool | int | float):
        raise TypeError(f"got {value!r}, expected a number")
    return float(value) if math.isfinite(value) else None

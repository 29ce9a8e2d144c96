"""Reads what the last drift report found, `<state>/drift.json`, for the metrics.

Each number in the file becomes a gauge `router_drift_<name>`, each table of numbers one with the
label `of`; truth values are 0 or 1, lists count. What is null is not known, and left out.
"""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

DRIFT_FILE = "drift.json"
# A gauge costs the scrape about 100 bytes.
MAX_GAUGES: Final = 2_000
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_OF_THE_FILE: Final = frozenset({"schema"})
# Values by the label `of`, which is "" where there is only one.
Gauges = Mapping[str, Mapping[str, float]]
_NONE: Final[Gauges] = {}
_log = structlog.get_logger(__name__)


class DriftFile:
    """The numbers of the file, read again when it changes.

    No numbers where there is no file; one that can't be used is ignored, and counted once.
    """

    def __init__(self, path: Path, *, counted: Callable[[str], None]) -> None:
        self._path = path
        self._counted = counted
        self._seen: tuple[int, int, int] | None = None
        self._gauges = _NONE

    def read(self) -> Gauges:
        """The present numbers by name."""
        try:
            stat = self._path.stat()
        except OSError:
            self._seen, self._gauges = None, _NONE
            return self._gauges
        seen = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if seen != self._seen:
            self._seen, self._gauges = seen, self._parsed()
        return self._gauges

    def _parsed(self) -> Gauges:
        try:
            content = msgspec.json.decode(self._path.read_bytes(), type=dict[str, Any])
            return gauges_of(content)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            self._counted("refused")
            _log.warning("drift.refused", path=str(self._path), error=str(error))
            return _NONE


def gauges_of(content: Mapping[str, Any]) -> Gauges:
    """The numbers of a report by name and label; ValueError names what is none.

    >>> gauges_of({"alarm": True, "psi": {"n_tools": 0.3, "n_turns": None}, "new_clients": ["a"]})
    {'alarm': {'': 1.0}, 'psi': {'n_tools': 0.3}, 'new_clients': {'': 1.0}}
    """
    gauges: dict[str, dict[str, float]] = {}
    for name, value in content.items():
        if name in _OF_THE_FILE:
            continue
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name}: expected a name of lower-case letters, digits and _")
        members = value if isinstance(value, dict) else {"": value}
        numbers = {of: _number(f"{name}.{of}", member) for of, member in members.items()}
        gauges[name] = {of: number for of, number in numbers.items() if number is not None}
    if sum(map(len, gauges.values())) > MAX_GAUGES:
        raise ValueError(f"more than {MAX_GAUGES} numbers")
    return gauges


def _number(place: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, list):
        return float(len(value))
    if not isinstance(value, bool | int | float):
        raise ValueError(f"{place.rstrip('.')}: got {value!r}, expected a number")
    return float(value) if math.isfinite(value) else None

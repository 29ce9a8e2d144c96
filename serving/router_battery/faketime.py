"""A clock that is set while a server runs, by libfaketime."""

import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from router_battery.trial import NotRunError

# Processes look at the file once a second.
NOTICED_S = 1.5
LIBRARY = "libfaketimeMT.so.1"
PLACES = (
    "/usr/lib/*/faketime",
    "/usr/lib/faketime",
    "/usr/lib64/faketime",
    "/usr/local/lib/faketime",
)


@dataclass(frozen=True)
class Clock:
    """A file with the offset from the true time."""

    path: Path
    library: Path

    def set(self, moment_s: float) -> None:
        """Let it be this moment, in Unix seconds; seen within NOTICED_S."""
        temporary = self.path.with_name("clock.new")
        temporary.write_text(f"{moment_s - time.time():+.3f}")
        temporary.replace(self.path)

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment of a process that goes by this clock; waiting goes by the true one."""
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.path),
            "FAKETIME_CACHE_DURATION": "1",
            "NO_FAKE_STAT": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }


def clock(folder: Path) -> Clock:
    """A clock that shows the true time; NotRunError where there is no libfaketime that works."""
    found = [path for place in PLACES for path in Path("/").glob(f"{place[1:]}/{LIBRARY}")]
    if not found:
        raise NotRunError("libfaketime is not installed")
    made = Clock(folder / "clock", found[0])
    made.set(86_400.0)
    said = subprocess.run(
        ["date", "+%s"], env=dict(made.variables), capture_output=True, text=True, check=False
    )
    if said.stdout.strip() not in ("86400", "86401", "86402"):
        raise NotRunError(f"libfaketime does not work here: {said.stdout}{said.stderr}")
    made.set(time.time())
    return made

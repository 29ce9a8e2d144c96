"""The file `<state>/rollout.json`: which artifact is tried, how, and why it was stopped.

{"mode": "canary", "share": 0.1, "artifact": "challenger-8c1f", "margin": 0.02,
 "delta": 0.05, "min_outcomes": 100, "reason": ""}
"""

import os
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from router_serving.canary import Promise
from router_serving.errors import RolloutError

ROLLOUT_FILE = "rollout.json"
Mode = Literal["off", "shadow", "canary", "stopped"]
_RANGES = (("share", 0.0, 1.0), ("margin", 0.0, 1.0), ("delta", 1e-6, 0.5))


class RolloutFile(Struct, frozen=True, kw_only=True):
    """What the file says. `artifact` is a folder, relative to the state folder or absolute.

    With `shadow`, a canary's decisions are logged beside the champion's and the other way round.
    `version` and `since_ms` are those of the registry, and tell one rollout from the next.
    """

    mode: Mode = "off"
    share: float = 0.0
    artifact: str = ""
    margin: float = 0.02
    delta: float = 0.05
    min_outcomes: int = 100
    reason: str = ""
    shadow: bool = False
    version: str = ""
    since_ms: int = 0

    @property
    def is_on(self) -> bool:
        """True when the artifact has a part in what happens."""
        return self.mode in ("shadow", "canary")

    @property
    def promise(self) -> Promise:
        """What the canary has to keep."""
        return Promise(margin=self.margin, delta=self.delta, min_outcomes=self.min_outcomes)


def read_rollout(path: Path) -> RolloutFile:
    """The file's content, off where there is none; RolloutError names what is wrong."""
    try:
        file = msgspec.json.decode(path.read_bytes(), type=RolloutFile)
    except FileNotFoundError:
        return RolloutFile()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RolloutError(f"{path}: can't be used: {error}") from error
    for name, low, high in _RANGES:
        value = getattr(file, name)
        if not low <= value <= high:
            raise RolloutError(f"{path}: {name}: got {value}, expected {low:g} to {high:g}")
    if file.min_outcomes < 1:
        raise RolloutError(f"{path}: min_outcomes: got {file.min_outcomes}, expected at least 1")
    if file.is_on and (not file.artifact or "\0" in file.artifact):
        raise RolloutError(
            f"{path}: artifact: got {file.artifact!r}, expected a folder in mode {file.mode}"
        )
    return file


def write_stopped(path: Path, file: RolloutFile, *, reason: str) -> bool:
    """Say in the file that this rollout was stopped, whatever else it holds; atomically.

    False, and nothing is written, where the file speaks of another rollout by now.
    Raises RolloutError where it can't be written.
    """
    try:
        content: dict[str, Any] = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        if msgspec.convert(content, RolloutFile) != file:
            return False
        content |= {"mode": "stopped", "reason": reason}
        temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
        with temporary.open("wb") as written:
            written.write(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")
            written.flush()
            os.fsync(written.fileno())
        temporary.replace(path)
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise RolloutError(f"{path}: can't be written: {error}") from error
    return True
